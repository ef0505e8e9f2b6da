"""Tokens labelled, and those that belong together made one: names of people and places, parts of speech."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .._display import entities_html
from ..tokenizers.strategies import ExplicitEnum
from .base import ChunkPipeline, given, is_stream
from .text_classification import softmax

#: What is known about a token, or said about several.
Entity = dict[str, Any]
#: What the model is not given: it is for the answer.
_FOR_THE_ANSWER = (
    *("special_tokens_mask", "offset_mapping", "sentence", "is_last", "word_ids", "word_to_chars_map"),
)


#: What is known about tokenizers by :func:`_marks_subwords`.
_MARKS: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


class AggregationStrategy(ExplicitEnum):
    """How labels of tokens become labels of what they spell."""

    NONE = "none"
    SIMPLE = "simple"
    FIRST = "first"
    AVERAGE = "average"
    MAX = "max"


#: Those that first agree on one label for each word.
_BY_WORD = (AggregationStrategy.FIRST, AggregationStrategy.AVERAGE, AggregationStrategy.MAX)


class Entities(list[Entity]):
    """The entities of a text: a list as any other, which notebooks show as the text with them marked."""

    def __init__(self, entities: Iterable[Entity] = (), *, text: str = "") -> None:
        super().__init__(entities)
        self.text = text

    def _repr_html_(self) -> str | None:
        if any(entity.get("start") is None for entity in self):
            return None  # of a tokenizer that does not know where its tokens are
        return entities_html(self.text, self)


class TokenClassificationPipeline(ChunkPipeline):
    """Labels for the tokens of texts, with a model for token classification.

    Equals transformers' ``TokenClassificationPipeline``: a text gives a list of
    ``{"entity", "score", "index", "word", "start", "end"}``, one for each token whose label counts, or with a
    strategy of ``{"entity_group", "score", "word", "start", "end"}``, one for each group; several texts give
    a list of such lists. Scores are ``numpy.float32``; ``start`` and ``end`` count characters of the text.

    :param aggregation_strategy: "none" leaves every token alone. "simple" joins neighbours with the same tag,
        unless a ``B-`` begins another one. The others do so once all tokens of a word have one label: that of
        its "first" token, of the one that scores highest ("max"), or of the "average" score.
    :param ignore_labels: labels that are left out: ``["O"]``.
    :param stride: reads a text that is longer than ``tokenizer.model_max_length`` in chunks that share so
        many tokens; without it the text is cut there.
    :param is_split_into_words: whether a text is given as a list of words.
    :param delimiter: what stands between such words where characters are counted: a space.
    :param offset_mapping: the characters of each token, in place of the tokenizer's: a list of pairs, or one
        such list for each text.
    :param grouped_entities: the name of transformers 4 for ``aggregation_strategy="simple"``.
    :param ignore_subwords: with that, the name for ``aggregation_strategy="first"``.
    """

    _load_tokenizer = True
    _tasks = ("TokenClassification",)
    _padding_side = "right"
    default_input_names = "sequences"

    def _sanitize_parameters(
        self,
        ignore_labels: Sequence[str] | None = None,
        grouped_entities: bool | None = None,
        ignore_subwords: bool | None = None,
        aggregation_strategy: AggregationStrategy | str | None = None,
        offset_mapping: Any = None,
        is_split_into_words: bool | None = None,
        stride: int | None = None,
        delimiter: str | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        preprocess: dict[str, Any] = {
            "is_split_into_words": is_split_into_words,
            "delimiter": delimiter,
            "offset_mapping": offset_mapping,
        }
        if grouped_entities is not None or ignore_subwords is not None:
            aggregation_strategy = _older_strategy(grouped_entities, ignore_subwords)
        if aggregation_strategy is not None:
            aggregation_strategy = _strategy(aggregation_strategy)
        if isinstance(ignore_labels, str):
            raise TypeError(f"ignore_labels must be a list of labels, got {ignore_labels!r}")
        if stride is not None:
            if not isinstance(stride, int):
                raise TypeError(f"stride must be a number of tokens, got {stride!r}")
            if stride >= self.tokenizer.model_max_length:
                raise ValueError(
                    f"`stride` ({stride}) must be less than `tokenizer.model_max_length` "
                    f"({self.tokenizer.model_max_length}, or even lower if the tokenizer adds special tokens)"
                )
            if aggregation_strategy is AggregationStrategy.NONE:
                raise ValueError(
                    '`stride` was provided to process all the text but `aggregation_strategy="none"`, please '
                    "select another one instead."
                )
            preprocess["tokenizer_params"] = {
                "return_overflowing_tokens": True,
                "padding": True,
                "stride": stride,
            }
        postprocess = {"aggregation_strategy": aggregation_strategy, "ignore_labels": ignore_labels}
        return given(preprocess), {}, given(postprocess)

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Label a text, or a list or a generator of texts; or of lists of words.

        :raises ValueError: for what is neither, for an empty list, for offsets of another number of texts.
        """
        if is_stream(inputs):
            return super().__call__(inputs, *args, **kwargs)
        if not isinstance(inputs, (str, list, tuple)) or (not inputs and not isinstance(inputs, str)):
            raise ValueError(f"At least one input is required: a text or a list of texts, got {inputs!r}")
        split = kwargs.get("is_split_into_words", self._preprocess_params.get("is_split_into_words"))
        if split and not all(isinstance(one, list) for one in inputs):
            inputs = [inputs]
        offsets = kwargs.pop("offset_mapping", None)
        if not offsets:
            return super().__call__(inputs, *args, **kwargs)
        offsets = [offsets] if isinstance(offsets, list) and isinstance(offsets[0], tuple) else offsets
        texts = inputs if isinstance(inputs, list) else [inputs]
        if len(offsets) != len(texts):
            raise ValueError("offset_mapping should have the same batch size as the input")
        answers = [
            super(TokenClassificationPipeline, self).__call__(text, *args, offset_mapping=[each], **kwargs)
            for text, each in zip(texts, offsets, strict=True)
        ]
        return answers if isinstance(inputs, list) else answers[0]

    def preprocess(
        self,
        sentence: Any,
        offset_mapping: Any = None,
        is_split_into_words: bool = False,
        delimiter: str = " ",
        tokenizer_params: dict[str, Any] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Encode a text, in chunks if there is a stride.

        :raises ValueError: if it is no text, or no list of words where that is what was announced.
        """
        if not isinstance(sentence, list if is_split_into_words else str):
            wanted = "a list of tokens" if is_split_into_words else "an untokenized string"
            raise ValueError(
                f"When `is_split_into_words={is_split_into_words}`, `sentence` must be {wanted}, got "
                f"{sentence!r}"
            )
        encoded = self.tokenizer(
            sentence,
            return_tensors=self.framework,
            truncation=bool(self.tokenizer.model_max_length and self.tokenizer.model_max_length > 0),
            return_special_tokens_mask=True,
            return_offsets_mapping=True,
            is_split_into_words=is_split_into_words,
            **(tokenizer_params or {}),
        )
        encoded.pop("overflow_to_sample_mapping", None)
        words: dict[str, Any] = {}
        if is_split_into_words:
            if not isinstance(delimiter, str):
                raise TypeError(f"delimiter must be a text, got {delimiter!r}")
            words["word_to_chars_map"] = _places(sentence, delimiter)
            sentence = delimiter.join(sentence)
        count = len(encoded["input_ids"])
        for row in range(count):
            chunk = {name: value[row : row + 1] for name, value in encoded.items()}
            if offset_mapping is not None:
                chunk["offset_mapping"] = offset_mapping
            if words:
                chunk |= {"word_ids": encoded.word_ids(row), **words}
            yield {**chunk, "sentence": sentence if row == 0 else None, "is_last": row == count - 1}

    def _forward(self, model_inputs: Any) -> Any:
        kept = {name: model_inputs.get(name) for name in _FOR_THE_ANSWER}
        arrays = {name: value for name, value in model_inputs.items() if name not in _FOR_THE_ANSWER}
        return {"logits": self.model(**arrays)["logits"], **kept, **arrays}

    def postprocess(
        self,
        all_outputs: Any,
        aggregation_strategy: AggregationStrategy = AggregationStrategy.NONE,
        ignore_labels: Sequence[str] | None = None,
    ) -> list[Entity]:
        """Make labels and scores of the logits (1, tokens, labels) of each chunk."""
        ignored = ["O"] if ignore_labels is None else ignore_labels
        entities: list[Entity] = []
        for outputs in all_outputs:
            scores = softmax(outputs["logits"][0].float().numpy())
            offsets = outputs["offset_mapping"]
            pre_entities = self.gather_pre_entities(
                all_outputs[0]["sentence"],
                outputs["input_ids"][0].numpy(),
                scores,
                None if offsets is None else _pairs(offsets[0], len(scores)),
                outputs["special_tokens_mask"][0].numpy(),
                aggregation_strategy,
                word_ids=outputs["word_ids"],
                word_to_chars_map=outputs["word_to_chars_map"],
            )
            entities += [
                entity
                for entity in self.aggregate(pre_entities, aggregation_strategy)
                if entity.get("entity") not in ignored and entity.get("entity_group") not in ignored
            ]
        if len(all_outputs) > 1:
            entities = self.aggregate_overlapping_entities(entities)
        return Entities(entities, text=all_outputs[0]["sentence"])

    def aggregate_overlapping_entities(self, entities: list[Entity]) -> list[Entity]:
        """Of entities that overlap, as chunks do, keep the longer one, and of like ones the likelier."""
        kept: list[Entity] = []
        for entity in sorted(entities, key=lambda one: one["start"]):
            last = kept[-1] if kept else None
            if last is None or not last["start"] <= entity["start"] < last["end"]:
                kept.append(entity)
            elif _weight(entity) > _weight(last):
                kept[-1] = entity
        return kept

    def gather_pre_entities(
        self,
        sentence: str,
        input_ids: np.ndarray[Any, Any],
        scores: np.ndarray[Any, Any],
        offset_mapping: list[tuple[int, int]] | None,
        special_tokens_mask: np.ndarray[Any, Any],
        aggregation_strategy: AggregationStrategy,
        word_ids: list[int | None] | None = None,
        word_to_chars_map: list[tuple[int, int]] | None = None,
    ) -> list[Entity]:
        """What is known about each token of a chunk that is not special.

        :param input_ids: (tokens)
        :param scores: probabilities (tokens, labels)
        :param offset_mapping: where each token begins and ends in the text, or in its word.
        :param word_ids: the word of each token, if the text was given in words.
        :param word_to_chars_map: where each of these begins and ends in the text.
        """
        ids = input_ids.tolist()
        prefixed = offset_mapping is not None and _marks_subwords(self.tokenizer)
        if offset_mapping is not None and not prefixed and aggregation_strategy in _BY_WORD:
            warnings.warn(
                "Tokenizer does not support real words, using fallback heuristic", UserWarning, stacklevel=2
            )
        entities = []
        for index, word in enumerate(self.tokenizer.convert_ids_to_tokens(ids)):
            if special_tokens_mask[index]:
                continue
            start = end = None
            is_subword = False
            if offset_mapping is not None:
                start, end = offset_mapping[index]
                place = None if word_ids is None else word_ids[index]
                if place is not None and word_to_chars_map is not None:
                    start, end = start + word_to_chars_map[place][0], end + word_to_chars_map[place][0]
                spelled = sentence[start:end]
                if ids[index] == self.tokenizer.unk_token_id:
                    word = spelled
                elif prefixed:  # "##ing" is longer than what it stands for
                    is_subword = len(word) != len(spelled)
                else:  # all that can be told is whether a space stands before
                    is_subword = start > 0 and " " not in sentence[start - 1 : start + 1]
            entities.append(
                {
                    "word": word,
                    "scores": scores[index],
                    "start": start,
                    "end": end,
                    "index": index,
                    "is_subword": is_subword,
                }
            )
        return entities

    def aggregate(
        self, pre_entities: list[Entity], aggregation_strategy: AggregationStrategy
    ) -> list[Entity]:
        """Label tokens or words, and unless the strategy is NONE join those that belong together."""
        if aggregation_strategy in _BY_WORD:
            return self.group_entities(self.aggregate_words(pre_entities, aggregation_strategy))
        entities = [
            {
                **self._labelled(pre_entity["scores"]),
                **{name: pre_entity[name] for name in ("index", "word", "start", "end")},
            }
            for pre_entity in pre_entities
        ]
        if aggregation_strategy == AggregationStrategy.NONE:
            return entities
        return self.group_entities(entities)

    def _labelled(self, scores: np.ndarray[Any, Any]) -> Entity:
        """The label that scores highest."""
        best = scores.argmax()
        return {"entity": self.model.config.id2label[int(best)], "score": scores[best]}

    def aggregate_word(self, entities: list[Entity], aggregation_strategy: AggregationStrategy) -> Entity:
        """Label one word by the tokens that it is made of."""
        if aggregation_strategy == AggregationStrategy.FIRST:
            scores = entities[0]["scores"]
        elif aggregation_strategy == AggregationStrategy.MAX:
            scores = max((entity["scores"] for entity in entities), key=lambda one: one.max())
        elif aggregation_strategy == AggregationStrategy.AVERAGE:
            scores = np.nanmean(np.stack([entity["scores"] for entity in entities]), axis=0)
        else:
            raise ValueError(f"Invalid aggregation_strategy {aggregation_strategy}: it labels no words")
        return {
            **self._labelled(scores),
            "word": self.tokenizer.convert_tokens_to_string([entity["word"] for entity in entities]),
            "start": entities[0]["start"],
            "end": entities[-1]["end"],
        }

    def aggregate_words(
        self, entities: list[Entity], aggregation_strategy: AggregationStrategy
    ) -> list[Entity]:
        """Label words by their tokens: "micro", "##soft" become "microsoft", which has one label."""
        if aggregation_strategy not in _BY_WORD:
            raise ValueError("NONE and SIMPLE strategies are invalid for word aggregation")
        words: list[list[Entity]] = []
        for entity in entities:
            if words and entity["is_subword"]:
                words[-1].append(entity)
            else:
                words.append([entity])
        return [self.aggregate_word(word, aggregation_strategy) for word in words]

    def group_sub_entities(self, entities: list[Entity]) -> Entity:
        """Join neighbours with the same tag: their score is the mean of theirs."""
        return {
            "entity_group": entities[0]["entity"].split("-", 1)[-1],
            "score": np.nanmean([entity["score"] for entity in entities]),
            "word": self.tokenizer.convert_tokens_to_string([entity["word"] for entity in entities]),
            "start": entities[0]["start"],
            "end": entities[-1]["end"],
        }

    def get_tag(self, entity_name: str) -> tuple[str, str]:
        """Whether a label begins ("B") or goes on ("I"), as one does that says neither; and with what."""
        if entity_name[:2] in ("B-", "I-"):
            return entity_name[0], entity_name[2:]
        return "I", entity_name

    def group_entities(self, entities: list[Entity]) -> list[Entity]:
        """Find the neighbours with the same tag, and join them."""
        groups: list[list[Entity]] = []
        last = None
        for entity in entities:
            begins, tag = self.get_tag(entity["entity"])
            if tag == last and begins != "B":
                groups[-1].append(entity)
            else:
                groups.append([entity])
            last = tag
        return [self.group_sub_entities(group) for group in groups]


#: The name that people know it by.
NerPipeline = TokenClassificationPipeline


def _marks_subwords(tokenizer: Any) -> bool:
    """Whether tokens say themselves that they go on with a word, as WordPiece's do."""
    if tokenizer not in _MARKS:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        # Only these can, and their file says whether they do.
        if backend is not None and backend.model_type in ("WordPiece", "BPE"):
            model = json.loads(backend.to_str())["model"]
            _MARKS[tokenizer] = bool(model.get("continuing_subword_prefix"))
        else:
            _MARKS[tokenizer] = False
    return _MARKS[tokenizer]


def _strategy(name: Any) -> AggregationStrategy:
    values = [member.value for member in AggregationStrategy]
    if not isinstance(name, str):
        raise ValueError(f"Invalid aggregation_strategy {name!r}: it is one of {values}")
    if name.lower() not in values:
        raise KeyError(f"aggregation_strategy={name!r} is not one of {values}")
    return AggregationStrategy(name.lower())


def _older_strategy(grouped_entities: bool | None, ignore_subwords: bool | None) -> AggregationStrategy:
    """The strategy that two keywords of transformers 4 stand for."""
    grouped = AggregationStrategy.FIRST if ignore_subwords else AggregationStrategy.SIMPLE
    strategy = grouped if grouped_entities else AggregationStrategy.NONE
    for name, value in (("grouped_entities", grouped_entities), ("ignore_subwords", ignore_subwords)):
        if value is not None:
            warnings.warn(
                f'`{name}` is deprecated, use `aggregation_strategy="{strategy.value}"` instead.',
                DeprecationWarning,
                stacklevel=5,
            )
    return strategy


def _places(words: Sequence[str], delimiter: str) -> list[tuple[int, int]]:
    """Where each word begins and ends once they are joined."""
    places, start = [], 0
    for word in words:
        places.append((start, start + len(word)))
        start += len(word) + len(delimiter)
    return places


def _pairs(offsets: Any, count: int) -> list[tuple[int, int]]:
    pairs = offsets.tolist() if hasattr(offsets, "tolist") else offsets
    if len(pairs) < count:
        raise IndexError(f"offset_mapping has {len(pairs)} pairs, but there are {count} tokens")
    return [(int(start), int(end)) for start, end in pairs]


def _weight(entity: Entity) -> tuple[int, Any]:
    return entity["end"] - entity["start"], entity["score"]
