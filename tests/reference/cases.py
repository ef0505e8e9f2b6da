"""What models are called with: for every family and head the calls that a user makes, in NumPy."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
IGNORED = -100  # what transformers leaves out of a loss


@dataclass(frozen=True)
class Case:
    """Calls of one model, one after the other, each given the `past_key_values` of the one before."""

    name: str
    steps: list[Arrays]
    states: bool = False
    """Whether hidden states and attentions are asked for."""


@dataclass
class Subject:
    """What the inputs depend on, and the words from which they are drawn."""

    config: Any
    accepts: frozenset[str]
    """The keywords of the model's forward pass."""
    width: int
    """Of the embeddings that `inputs_embeds` replaces."""
    draw: np.random.Generator
    family: str
    """encoder, decoder or encoder_decoder."""
    length: int = 6
    parts: tuple[float, ...] = (1, 0.5, 0)
    """For every text of a padded batch, how much of that length it has; one word at least."""
    short: bool = False
    """Whether one call or two are enough, because the configuration differs little from another's."""
    pad: int = field(init=False)

    def __post_init__(self) -> None:
        self.pad = self.config.pad_token_id

    def ids(self, *shape: int) -> np.ndarray:
        """Words that are neither padding nor another special token."""
        special = {self.pad, self.config.eos_token_id, getattr(self.config, "bos_token_id", None), 0}
        count = min(
            self.config.vocab_size, getattr(self.config, "decoder_vocab_size", self.config.vocab_size)
        )
        words = [word for word in range(count) if word not in special]
        return self.draw.choice(words, shape)

    def embeddings(self, *shape: int) -> np.ndarray:
        return self.draw.normal(0, 0.5, (*shape, self.width)).astype(np.float32)

    def states(self, *shape: int) -> np.ndarray:
        """What another encoder might have given."""
        return self.draw.normal(0, 1, (*shape, self.config.hidden_size)).astype(np.float32)

    def padded(self, mask: np.ndarray, prefix: str = "") -> Arrays:
        """Words where the mask shows them, the last being the end of the text, and padding elsewhere."""
        ids = self.ids(*mask.shape)
        if self.config.eos_token_id is not None:
            last = mask.shape[1] - 1 - mask[:, ::-1].argmax(1)
            ids[np.arange(len(ids)), last] = self.config.eos_token_id
        return {f"{prefix}input_ids": np.where(mask, ids, self.pad), f"{prefix}attention_mask": mask}

    @property
    def batch(self) -> int:
        """The number of texts of a padded batch."""
        return len(self.parts)

    def right(self, length: int) -> np.ndarray:
        """A mask with padding on the right."""
        lengths = [max(1, int(part * length)) for part in self.parts]
        return (np.arange(length) < np.array(lengths)[:, None]).astype(np.int64)

    def left(self, length: int) -> np.ndarray:
        return self.right(length)[:, ::-1].copy()

    def both(self, length: int) -> np.ndarray:
        """A mask with padding on both sides: rows are whole, or their end is hidden, or their start."""
        shown = np.arange(length)
        kinds = [shown >= 0, shown < length - 2, shown >= length // 2]
        return np.stack([kinds[row % 3] for row in range(self.batch)]).astype(np.int64)

    def holes(self, length: int) -> np.ndarray:
        """A mask with padding anywhere."""
        mask = np.resize([1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0], (self.batch, length))
        mask[~mask.any(1), -1] = 1
        return mask

    def segments(self, *shape: int) -> Arrays:
        """Segments where the model knows them; the GPTs take words."""
        kinds = getattr(self.config, "type_vocab_size", self.config.vocab_size)
        if "token_type_ids" not in self.accepts or not kinds:
            return {}
        return {"token_type_ids": self.draw.integers(0, kinds, shape)}


def additive(visible: np.ndarray) -> np.ndarray:
    """A mask as it is added to scores."""
    return np.where(visible, 0, np.finfo(np.float32).min).astype(np.float32)


# The bare models.


def encoder(s: Subject) -> list[Case]:
    length = s.length
    cases = [Case("right_padded", [s.padded(s.right(length)) | s.segments(s.batch, length)], states=True)]
    if s.short:
        return cases
    ends = np.array([[0, s.config.vocab_size - 1, 0]])
    cases += [
        Case("left_padded", [s.padded(s.left(length)) | s.segments(s.batch, length)]),
        Case("holes", [s.padded(s.holes(length))]),
        Case("no_mask", [{"input_ids": s.ids(2, 5)}]),
        Case("first_and_last_id", [{"input_ids": ends}]),
        Case(
            "embeddings",
            [{"inputs_embeds": s.embeddings(s.batch, length), "attention_mask": s.right(length)}],
        ),
    ]
    if "position_ids" in s.accepts:
        positions = s.draw.permutation(s.config.max_position_embeddings - 4)[:10].reshape(2, 5)
        cases.append(Case("positions", [{"input_ids": s.ids(2, 5), "position_ids": positions}]))
        cases.append(
            Case("one_row_of_positions", [{"input_ids": s.ids(2, 5), "position_ids": positions[:1]}])
        )
    if takes_matrix(s.config):
        visible = s.draw.random((2, 1, 5, 5)) < 0.6
        visible |= np.eye(5, dtype=bool)
        cases.append(Case("matrix", [{"input_ids": s.ids(2, 5), "attention_mask": additive(visible)}]))
    return cases


def takes_matrix(config: Any) -> bool:
    """Whether transformers takes a mask of four dimensions: not where positions are counted by the mask."""
    return config.model_type not in ("bloom", "deberta-v2", "opt") and not getattr(config, "alibi", False)


def decoder(s: Subject) -> list[Case]:
    length = s.length
    # Asked for attentions, Falcon turns to an attention that adds its bias for distance twice.
    states = not getattr(s.config, "alibi", False)
    cases = [Case("right_padded", [s.padded(s.right(length))], states=states), cached(s)]
    if s.short:
        return cases
    cases += [
        Case("left_padded", [s.padded(s.left(length))]),
        Case("holes", [s.padded(s.holes(length))]),
        Case("no_mask", [{"input_ids": s.ids(2, 5)}]),
        Case(
            "embeddings",
            [{"inputs_embeds": s.embeddings(s.batch, length), "attention_mask": s.right(length)}],
        ),
    ]
    if "position_ids" in s.accepts:
        positions = np.array([[3, 4, 5, 6, 7], [0, 2, 1, 7, 5]])
        # With a mask: without one transformers takes a jump of the positions for the start of a new text.
        given = {"input_ids": s.ids(2, 5), "attention_mask": np.ones((2, 5), int), "position_ids": positions}
        cases.append(Case("positions", [given]))
    if getattr(s.config, "max_position_embeddings", 0) > 100_000:
        # Angles between words far apart are right only if every step to them is rounded as transformers does.
        far = np.array([[0, 3, 1000, 60_000, 131_071], [5, 700, 9000, 40_000, 110_000]])
        given = {"input_ids": s.ids(2, 5), "attention_mask": np.ones((2, 5), int), "position_ids": far}
        cases.append(Case("far_positions", [given]))
    if s.segments(2, 5):
        cases.append(Case("segments", [{"input_ids": s.ids(2, 5)} | s.segments(2, 5)]))
    if takes_matrix(s.config):
        visible = np.tril(s.draw.random((2, 1, 5, 5)) < 0.6) | np.eye(5, dtype=bool)
        cases.append(Case("matrix", [{"input_ids": s.ids(2, 5), "attention_mask": additive(visible)}]))
    return cases


def cached(s: Subject) -> Case:
    """A text begun, gone on with by two words at once, and by one. The mask covers the cache too."""
    length = s.length
    whole = s.padded(s.both(length))
    begin, more = length - 3, length - 1
    steps = [
        {"input_ids": whole["input_ids"][:, first:last], "attention_mask": whole["attention_mask"][:, :last]}
        for first, last in ((0, begin), (begin, more), (more, length))
    ]
    return Case("cached", steps)


def encoder_decoder(s: Subject) -> list[Case]:
    length = s.length
    source, target = s.padded(s.right(length)), s.padded(s.right(4), "decoder_")
    cases = [Case("right_padded", [source | target], states=True), cached_target(s)]
    if s.short:
        return cases
    cases += [
        Case("left_padded", [s.padded(s.left(length)) | s.padded(s.left(4), "decoder_")]),
        Case("holes", [s.padded(s.holes(length)) | {"decoder_input_ids": s.ids(s.batch, 4)}]),
        Case("no_mask", [{"input_ids": s.ids(2, 5), "decoder_input_ids": s.ids(2, 3)}]),
        Case(
            "embeddings",
            [
                {
                    "inputs_embeds": s.embeddings(s.batch, length),
                    "attention_mask": s.right(length),
                    "decoder_inputs_embeds": s.embeddings(s.batch, 4),
                }
            ],
        ),
        Case(
            "encoder_outputs",
            [
                {
                    "encoder_outputs": s.states(s.batch, length),
                    "attention_mask": s.right(length),
                    "decoder_input_ids": s.ids(s.batch, 4),
                }
            ],
        ),
    ]
    return cases


def cached_target(s: Subject) -> Case:
    """A text that is read once while its answer is written, by two words and by one."""
    mask = s.both(s.length)
    source = {"encoder_outputs": s.states(*mask.shape), "attention_mask": mask}
    target = s.ids(s.batch, 4)
    steps = [source | {"decoder_input_ids": target[:, a:b]} for a, b in ((0, 1), (1, 3), (3, 4))]
    return Case("cached", steps)


# Their heads.


def words(s: Subject) -> list[Case]:
    """A language model, causal or masked: labels are words."""
    length = s.length
    labels = s.ids(2, 5)
    labels[0, 1] = labels[1, 3:] = IGNORED
    # The first word after padding on the left is not asked either: a hidden position would have to say it.
    said = s.both(length) & np.pad(s.both(length), [(0, 0), (1, 0)])[:, :-1]
    hidden = np.where(said, s.ids(s.batch, length), IGNORED)
    return [
        Case("labels", [{"input_ids": s.ids(2, 5), "labels": labels}]),
        Case("padded", [s.padded(s.both(length)) | {"labels": hidden}]),
    ]


def causal(s: Subject) -> list[Case]:
    labelled, padded = words(s)
    if s.short:
        return [labelled]
    cases = [labelled, padded, cached(s)]
    if "logits_to_keep" in s.accepts:
        kept = {"input_ids": s.ids(2, 5), "logits_to_keep": np.array(2)}
        cases.append(Case("logits_to_keep", [kept]))
    if "encoder_hidden_states" in s.accepts and getattr(s.config, "add_cross_attention", True):
        source = {"encoder_hidden_states": s.states(2, 4), "encoder_attention_mask": s.right(4)[:2]}
        cases.append(Case("encoder_hidden_states", [{"input_ids": s.ids(2, 5)} | source]))
    return cases


def masked(s: Subject) -> list[Case]:
    return words(s)[:1] if s.short else words(s)


def sequence_to_sequence(s: Subject) -> list[Case]:
    """Given labels, the decoder's words are the labels one place later."""
    labels = np.where(s.right(4), s.ids(s.batch, 4), IGNORED)
    labelled = Case("labels", [s.padded(s.both(s.length)) | {"labels": labels}])
    if s.short:
        return [labelled]
    target = {"decoder_input_ids": s.ids(2, 3), "labels": s.ids(2, 3)}
    return [
        labelled,
        Case("padded", [s.padded(s.both(s.length)) | s.padded(s.right(4), "decoder_")]),
        Case("labels_and_words", [{"input_ids": s.ids(2, 5)} | target]),
        cached_target(s),
    ]


def whole_text(s: Subject) -> list[Case]:
    """One answer a text."""
    count = s.config.num_labels
    if s.config.problem_type == "multi_label_classification":
        labels = s.draw.integers(0, 2, (3, count)).astype(np.float32)
    elif count == 1:
        labels = s.draw.normal(0, 1, 3).astype(np.float32)
    else:
        labels = s.draw.integers(0, count, 3)
    ends = s.padded(np.ones((3, 5), int))
    del ends["attention_mask"]
    return [
        Case("labels", [ends | {"labels": labels}]),
        Case("padded", [s.padded(s.right(s.length)) | s.segments(s.batch, s.length)]),
    ]


def every_token(s: Subject) -> list[Case]:
    labels = s.draw.integers(0, s.config.num_labels, (2, 5))
    labels[0, 1] = labels[1, 3:] = IGNORED
    hidden = np.where(s.both(s.length), s.draw.integers(0, s.config.num_labels, (s.batch, s.length)), IGNORED)
    return [
        Case("labels", [{"input_ids": s.ids(2, 5), "labels": labels}]),
        Case("padded", [s.padded(s.both(s.length)) | s.segments(s.batch, s.length) | {"labels": hidden}]),
    ]


def span(s: Subject) -> list[Case]:
    """Where an answer starts and ends; an answer past the end counts for nothing."""
    ends = s.padded(np.ones((2, 5), int))
    answers = {"start_positions": np.array([1, 3]), "end_positions": np.array([2, 5])}
    return [
        Case("labels", [{"input_ids": ends["input_ids"]} | answers]),
        Case("padded", [s.padded(s.right(s.length)) | s.segments(s.batch, s.length)]),
    ]


def choices(s: Subject) -> list[Case]:
    mask = s.right(s.length)
    rows = s.padded(np.concatenate([mask, mask[::-1]])) | s.segments(2 * s.batch, s.length)
    pairs = {name: array.reshape(2, s.batch, s.length) for name, array in rows.items()}
    return [
        Case("labels", [pairs | {"labels": np.array([s.batch - 1, 0])}]),
        Case("no_mask", [{"input_ids": s.ids(1, 2, 5), "attention_mask": np.ones((1, 2, 5), int)}]),
    ]


def next_sentence(s: Subject) -> list[Case]:
    rows = s.padded(s.right(s.length)) | s.segments(s.batch, s.length)
    return [
        Case("labels", [{"input_ids": s.ids(2, 5), "labels": np.array([1, 0])} | s.segments(2, 5)]),
        Case("padded", [rows]),
    ]


def bare(s: Subject) -> list[Case]:
    families = {"encoder": encoder, "decoder": decoder, "encoder_decoder": encoder_decoder}
    return families[s.family](s)


HEADS: dict[str, Callable[[Subject], list[Case]]] = {
    "AutoModel": bare,
    "AutoModelForCausalLM": causal,
    "AutoModelForMaskedLM": masked,
    "AutoModelForSequenceClassification": whole_text,
    "AutoModelForTokenClassification": every_token,
    "AutoModelForQuestionAnswering": span,
    "AutoModelForSeq2SeqLM": sequence_to_sequence,
    "AutoModelForMultipleChoice": choices,
    "AutoModelForNextSentencePrediction": next_sentence,
}
