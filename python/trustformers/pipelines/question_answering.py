"""Questions answered with words of a text."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np

from .._engine import Tensor
from .base import ChunkPipeline, given, is_stream
from .batching import naming
from .text_classification import softmax

logger = logging.getLogger(__name__)

#: The keywords that ask.
_SOURCES = ("question", "context", "X", "data")
#: What takes the place of logits where no answer can be.
_IMPOSSIBLE = np.float32(-10000.0)


@dataclass
class SquadExample:
    """A question and the text that answers it, with the fields of transformers' class of this name."""

    qas_id: str | None
    question_text: str
    context_text: str
    answer_text: str | None = None
    start_position_character: int | None = None
    title: str | None = None
    answers: list[Any] = field(default_factory=list)
    is_impossible: bool = False


class QuestionAnsweringPipeline(ChunkPipeline):
    """The words of a text that answer a question, with a model for extractive question answering.

    Equals transformers 4.57's ``QuestionAnsweringPipeline``: a question gives ``{"score", "start", "end",
    "answer"}``, where ``start`` and ``end`` count the characters of the context; several answers, and several
    questions, give a list. A text that is too long is read in chunks that overlap; the score of an answer is
    the sum over its spans in all chunks, whatever the case of its letters, and may exceed 1.

    :param top_k: how many answers, the likeliest first; there may be fewer. ``topk`` is its older name.
    :param doc_stride: how many tokens of the context two chunks share: 128, or half of a short chunk.
    :param max_answer_len: how many tokens an answer has at most: 15.
    :param max_seq_len: how many tokens a chunk has at most, with the question: 384, or what the model reads.
    :param max_question_len: accepted and unused, as in transformers with fast tokenizers.
    :param handle_impossible_answer: whether ``""`` may be the answer: that there is none.
    :param align_to_words: whether answers begin and end with a word, where the tokenizer knows words: true.
    :param padding: of each chunk, as the tokenizer takes it.
    """

    _load_tokenizer = True
    _tasks = ("QuestionAnswering",)
    _padding_side = "right"
    default_input_names = "question,context"

    @staticmethod
    def create_sample(question: Any, context: Any) -> Any:
        """Put a question and its context together; lists of them give a list."""
        if isinstance(question, list):
            return [SquadExample(None, q, c) for q, c in zip(question, context, strict=False)]
        return SquadExample(None, question, context)

    def _sanitize_parameters(
        self,
        padding: Any = None,
        topk: int | None = None,
        top_k: int | None = None,
        doc_stride: int | None = None,
        max_answer_len: int | None = None,
        max_seq_len: int | None = None,
        max_question_len: int | None = None,
        handle_impossible_answer: bool | None = None,
        align_to_words: bool | None = None,
        **kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if unknown := kwargs.keys() - _SOURCES:
            logger.warning("QuestionAnsweringPipeline knows no %s and ignores it", ", ".join(sorted(unknown)))
        if topk is not None and top_k is None:
            warnings.warn("topk parameter is deprecated, use top_k instead", DeprecationWarning, stacklevel=4)
            top_k = topk
        lengths = given(doc_stride=doc_stride, max_question_len=max_question_len, max_seq_len=max_seq_len)
        sizes = given(top_k=top_k, max_answer_len=max_answer_len)
        for name, value in {**lengths, **sizes}.items():
            if not isinstance(value, Real):
                raise TypeError(f"{name} must be a number, got {value!r}")
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{name} parameter should be >= 1 (got {value})")
        choices = given(handle_impossible_answer=handle_impossible_answer, align_to_words=align_to_words)
        return {**lengths, **given(padding=padding)}, {}, {**sizes, **choices}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Answer ``question=`` with ``context=``, or several with one context or with one each.

        Also taken: ``{"question": ..., "context": ...}``, a :class:`SquadExample`, and lists, generators and
        datasets of these.

        :raises KeyError: for a dictionary without one of them.
        :raises ValueError: for an empty question or context, and for what is neither of all these.
        """
        names = [name for name in _SOURCES if name in kwargs]
        asked = _asked(args, {name: kwargs.pop(name) for name in names})
        if is_stream(asked):
            return super().__call__(asked, **kwargs)
        examples = [self._example(one, index, len(asked)) for index, one in enumerate(asked)]
        return super().__call__(examples[0] if len(examples) == 1 else examples, **kwargs)

    def _example(self, one: Any, index: int, count: int) -> Any:
        """The question and the context that somebody gave, as one of so many."""
        with naming(index if count > 1 else None):
            return _normalized(one, self.create_sample)

    def preprocess(
        self,
        example: Any,
        padding: Any = "do_not_pad",
        doc_stride: int | None = None,
        max_question_len: int = 64,
        max_seq_len: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Encode a question with chunks of its context.

        The question comes first, unless the tokenizer pads on the left.

        :raises ValueError: for chunks that are no longer than what they share.
        """
        if isinstance(example, dict):  # of a stream, whose rows may have other columns
            example = self.create_sample(*(_field(example, name) for name in ("question", "context")))
        _check_example(example)
        if max_seq_len is None:
            max_seq_len = min(self.tokenizer.model_max_length, 384)
        if doc_stride is None:
            doc_stride = min(max_seq_len // 2, 128)
        if doc_stride > max_seq_len:
            raise ValueError(f"`doc_stride` ({doc_stride}) is larger than `max_seq_len` ({max_seq_len})")
        question_first = self._question_first()
        texts = (example.question_text, example.context_text)
        encoded = self.tokenizer(
            *(texts if question_first else texts[::-1]),
            padding=padding,
            truncation="only_second" if question_first else "only_first",
            max_length=max_seq_len,
            stride=doc_stride,
            return_token_type_ids=True,
            return_overflowing_tokens=True,
        )
        count = len(encoded["input_ids"])
        for row in range(count):
            arrays = {name: [encoded[name][row]] for name in encoded if name != "overflow_to_sample_mapping"}
            arrays["p_mask"] = [self._p_mask(encoded[row])]
            yield {
                **{name: Tensor.from_numpy(np.array(value)) for name, value in arrays.items()},
                "example": example,
                "encoding": encoded[row],
                "is_last": row == count - 1,
            }

    def _p_mask(self, encoding: Any) -> list[int]:
        """1 for the tokens of a chunk that cannot be in the answer, 0 for those of the context.

        The first token is not masked, which stands for no answer. If the context comes first, nothing is, as
        in transformers.
        """
        if not self._question_first():
            return [0] * len(encoding)
        first = self.tokenizer.cls_token_id
        return [
            int(sequence != 1 and (first is None or token != first))
            for sequence, token in zip(encoding.sequence_ids, encoding.ids, strict=True)
        ]

    def _question_first(self) -> bool:
        return bool(self.tokenizer.padding_side == "right")

    def _forward(self, inputs: Any) -> Any:
        arrays = {name: inputs[name] for name in self.tokenizer.model_input_names}
        output = self.model(**arrays, **self._no_cache)
        return {**inputs, "start": output["start_logits"], "end": output["end_logits"]}

    def postprocess(
        self,
        model_outputs: Any,
        top_k: int = 1,
        handle_impossible_answer: bool = False,
        max_answer_len: int = 15,
        align_to_words: bool = True,
    ) -> Any:
        """Find the likeliest spans of each chunk, and what they spell."""
        # Spans of the same words are one answer.
        candidates = top_k * 2 + 10 if align_to_words else top_k
        context_index = int(self._question_first())
        answers: dict[str, dict[str, Any]] = {}
        null_score = 1000000.0
        for outputs in model_outputs:
            context, encoding = outputs["example"].context_text, outputs["encoding"]
            allowed = _allowed(outputs, len(encoding))
            start, end = (_probabilities(outputs[name], allowed) for name in ("start", "end"))
            null_score = min(null_score, float(start[0] * end[0]))
            start[0] = end[0] = 0.0  # the first token stands for no answer
            spans = decode_spans(start, end, candidates, max_answer_len, allowed)
            for s, e, score in zip(*(one.tolist() for one in spans), strict=True):
                first, last = self.get_indices(encoding, s, e, context_index, align_to_words)
                text = context[first:last]
                answer = answers.setdefault(
                    text.lower(), {"score": 0.0, "start": first, "end": last, "answer": text}
                )
                answer["score"] += score
        found = list(answers.values())
        if handle_impossible_answer:
            found.append({"score": null_score, "start": 0, "end": 0, "answer": ""})
        best = sorted(found, key=lambda answer: answer["score"], reverse=True)[:top_k]
        return best[0] if len(best) == 1 else best

    def get_indices(
        self, enc: Any, s: int, e: int, sequence_index: int, align_to_words: bool
    ) -> tuple[int, int]:
        """Where the tokens from ``s`` to ``e`` begin and end in the text; or the words that they are of."""
        if align_to_words:
            words = enc.token_to_word(s), enc.token_to_word(e)
            if None not in words:
                first, last = (enc.word_to_chars(word, sequence_index) for word in words)
                if first is not None and last is not None:
                    return first[0], last[1]
        return enc.offsets[s][0], enc.offsets[e][1]


def decode_spans(
    start: np.ndarray[Any, Any],
    end: np.ndarray[Any, Any],
    topk: int,
    max_answer_len: int,
    undesired_tokens: np.ndarray[Any, Any],
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The likeliest spans: their first tokens, their last ones and their probabilities, the likeliest first.

    :param start: the probability (tokens) of each token to be the first one.
    :param end: the probability (tokens) to be the last one.
    :param topk: how many of all pairs are looked at; fewer come back if others are impossible.
    :param undesired_tokens: (tokens), other than 0 for those that may begin and end a span.
    """
    start, end = np.ravel(start), np.ravel(end)
    # An end is not before its start, and not too far behind.
    scores = np.tril(np.triu(np.outer(start, end)), max_answer_len - 1).ravel()
    if topk == 1:
        best = np.argmax(scores, keepdims=True)
    elif len(scores) <= topk:
        best = np.argsort(-scores)
    else:
        best = np.argpartition(-scores, topk)[:topk]
        best = best[np.argsort(-scores[best])]
    starts, ends = np.divmod(best, len(end))
    possible = np.ravel(undesired_tokens) != 0
    kept = possible[starts] & possible[ends]
    return starts[kept], ends[kept], scores[best[kept]]


def _allowed(outputs: dict[str, Any], length: int) -> np.ndarray[Any, Any]:
    """Which tokens of a chunk may be in the answer: (tokens)."""
    allowed: np.ndarray[Any, Any] = outputs["p_mask"][0, :length].numpy() == 0
    mask = outputs.get("attention_mask")
    return allowed if mask is None else allowed & (mask[0, :length].numpy() != 0)


def _probabilities(logits: Any, allowed: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Probabilities (tokens) of logits (1, tokens, and what fills up the row)."""
    return softmax(np.where(allowed, logits[0, : len(allowed)].float().numpy(), _IMPOSSIBLE))


def _asked(args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """What is asked: a stream, or a list of what :func:`_normalized` takes.

    :raises ValueError: if it cannot be told.
    """
    if args:
        texts = len(args) == 2 and all(isinstance(one, str) for one in args)
        asked = dict(zip(("question", "context"), args, strict=True)) if texts else args
        if len(args) == 1:
            asked = args[0]
    elif older := named.keys() & {"X", "data"}:
        name = max(older)
        warnings.warn(
            f"{name}= is deprecated, use question= and context= instead.", DeprecationWarning, stacklevel=3
        )
        asked = named[name]
    elif named.keys() >= {"question", "context"}:
        return _paired(named["question"], named["context"])
    else:
        raise ValueError(f"question= and context= are needed, got {sorted(named) or 'neither'}")
    if is_stream(asked):
        return asked
    if isinstance(asked, dict) or _is_example(asked):
        return [asked]
    if not isinstance(asked, Iterable):
        raise ValueError(f"A question is a dictionary with question and context, got {asked!r}")
    return list(asked)


def _paired(question: Any, context: Any) -> list[Any]:
    """Questions with the context of all, or with one each."""
    if isinstance(question, list) and isinstance(context, str):
        context = [context] * len(question)
    elif isinstance(question, str) and isinstance(context, str):
        question, context = [question], [context]
    elif not (isinstance(question, list) and isinstance(context, list)):
        raise ValueError(
            "Arguments can't be understood: a question is a text or a list of texts, and a context a text or "
            f"a list of as many, got {type(question).__name__} and {type(context).__name__}"
        )
    if len(question) != len(context):
        raise ValueError(
            f"Questions and contexts don't have the same lengths: {len(question)} and {len(context)}"
        )
    return [{"question": q, "context": c} for q, c in zip(question, context, strict=True)]


def _is_example(one: Any) -> bool:
    return hasattr(one, "question_text") and hasattr(one, "context_text")


def _normalized(one: Any, create_sample: Any) -> Any:
    """An example, made of a dictionary if it is none."""
    if not isinstance(one, dict):
        _check_example(one)
        return one
    for name in ("question", "context"):
        value = _field(one, name)
        if value is None:
            raise ValueError(f"`{name}` cannot be None")
        if value == "":
            raise ValueError(f"`{name}` cannot be empty")
    return create_sample(**one)


def _field(row: dict[str, Any], name: str) -> Any:
    if name not in row:
        raise KeyError(
            f"You need to provide a dictionary with keys {{question:..., context:...}}: there is no {name}"
        )
    return row[name]


def _check_example(one: Any) -> None:
    if not _is_example(one):
        raise ValueError(f"{one!r} argument needs to be of type (SquadExample, dict)")
    if not isinstance(one.context_text, str):
        raise TypeError(f"`context` must be a text, got {one.context_text!r}")
