"""Batches for language models: labels from the tokens themselves, with some of the tokens masked."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..tokenizers.base import PreTrainedTokenizerBase
from ..tokenizers.batch_encoding import BatchEncoding
from .collators import converted

_Array = np.ndarray[Any, np.dtype[Any]]


@dataclass
class DataCollatorForLanguageModeling:
    """Fills up rows, and makes their labels.

    With ``mlm`` a share of the tokens is masked, and they alone have labels (Devlin et al. 2019); without,
    every token is its own label, which a causal model shifts itself. Special tokens are not masked, and what
    rows are filled up with has no label.

    What is masked is drawn from ``generator`` if there is one (a :class:`Trainer` gives one for each batch,
    so that a resumed training draws what an uninterrupted one does), else from ``numpy.random``.

    :param whole_word_mask: mask words, not tokens; the examples need an ``offset_mapping``.
    :param mlm_probability: the share of the tokens that is masked.
    :param mask_replace_prob: the share of those that become the mask token.
    :param random_replace_prob: the share of those that become any token; the rest stays as it is.
    :raises ValueError: for shares that cannot be, and a tokenizer without a mask token.
    """

    tokenizer: PreTrainedTokenizerBase
    mlm: bool = True
    whole_word_mask: bool = False
    mlm_probability: float | None = 0.15
    mask_replace_prob: float = 0.8
    random_replace_prob: float = 0.1
    pad_to_multiple_of: int | None = None
    return_tensors: str = "np"
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.mlm and self.tokenizer.mask_token is None:
            raise ValueError(
                "This tokenizer does not have a mask token which is necessary for masked language modeling. "
                "You should pass `mlm=False` to train on causal language modeling instead."
            )
        if self.mlm and (self.mlm_probability is None or not 0 <= self.mlm_probability <= 1):
            raise ValueError(f"mlm_probability should be between 0 and 1, got {self.mlm_probability}")
        if self.whole_word_mask and not self.mlm:
            raise ValueError("Whole word masking can only be used with mlm=True.")
        for name in ("mask_replace_prob", "random_replace_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} should be between 0 and 1, got {getattr(self, name)}")
        if self.mask_replace_prob + self.random_replace_prob > 1:
            raise ValueError("The sum of mask_replace_prob and random_replace_prob should not exceed 1")
        if self.whole_word_mask and self.mask_replace_prob < 1:
            warnings.warn(
                "Random token replacement is not supported with whole word masking. "
                "Setting mask_replace_prob to 1.",
                stacklevel=3,
            )
            self.mask_replace_prob, self.random_replace_prob = 1.0, 0.0
        self.generator = None if self.seed is None else np.random.default_rng(self.seed)

    def __call__(self, features: Sequence[Any], return_tensors: str | None = None) -> BatchEncoding[Any]:
        """Fill up, stack, and make labels. Examples are dictionaries, or the ids alone."""
        rows = [dict(one) if isinstance(one, Mapping) else {"input_ids": one} for one in features]
        if not rows:
            raise ValueError("there are no examples to collate")
        offsets = [row.pop("offset_mapping", None) for row in rows]
        given_ids_alone = not isinstance(features[0], Mapping)
        batch: BatchEncoding[Any] = self.tokenizer.pad(
            rows, pad_to_multiple_of=self.pad_to_multiple_of, return_tensors="np"
        )
        if given_ids_alone:
            batch = BatchEncoding({"input_ids": batch["input_ids"]})
        special = batch.pop("special_tokens_mask", None)
        ids = np.array(batch["input_ids"])
        if self.mlm:
            ids, labels = self._masked(ids, self._special(ids, special), offsets)
        else:
            labels = ids.copy()
            if self.tokenizer.pad_token_id is not None:
                labels[labels == self.tokenizer.pad_token_id] = -100
        batch["input_ids"], batch["labels"] = ids, labels
        return converted(batch, return_tensors or self.return_tensors)

    def _special(self, ids: _Array, given: Any) -> _Array:
        """Where nothing is masked: at special tokens, and so where rows were filled up."""
        masks = (
            [
                self.tokenizer.get_special_tokens_mask(row, already_has_special_tokens=True)
                for row in ids.tolist()
            ]
            if given is None
            else given
        )
        return np.asarray(masks, dtype=bool)

    def _masked(self, ids: _Array, special: _Array, offsets: list[Any]) -> tuple[_Array, _Array]:
        """The ids with tokens masked, and labels where they are."""
        rng = np.random.default_rng(np.random.randint(2**31)) if self.generator is None else self.generator
        words = self._words(special, offsets)
        # A word is masked if its first token is drawn.
        luck: _Array = np.asarray(rng.random(ids.shape))
        drawn: _Array = np.take_along_axis(luck, words, axis=1)
        chosen: _Array = (drawn < (self.mlm_probability or 0.0)) & ~special
        labels = np.where(chosen, ids, -100)
        fate = rng.random(ids.shape)
        mask = np.int64(self.tokenizer.mask_token_id or 0)
        ids = np.where(chosen & (fate < self.mask_replace_prob), mask, ids)
        anything = chosen & (fate >= self.mask_replace_prob)
        anything &= fate < self.mask_replace_prob + self.random_replace_prob
        others = rng.integers(len(self.tokenizer), size=ids.shape)
        return np.where(anything, others, ids), labels

    def _words(self, special: _Array, offsets: list[Any]) -> _Array:
        """For each token, the place of the first one of its word."""
        places = np.broadcast_to(np.arange(special.shape[1]), special.shape)
        if not self.whole_word_mask:
            return places
        if any(row is None for row in offsets):
            raise ValueError(
                "Whole word masking needs the offset_mapping of the examples: "
                "call the tokenizer with return_offsets_mapping=True, and keep that column"
            )
        begins = np.ones(special.shape, dtype=bool)
        left = self.tokenizer.padding_side == "left"
        for index, row in enumerate(offsets):
            spans = np.asarray(row).reshape(-1, 2)
            first = special.shape[1] - len(spans) if left else 0
            # A token goes on with a word if it begins where the one before ended, within the text.
            goes_on = spans[1:, 0] == spans[:-1, 1]
            goes_on &= ~special[index, first : first + len(spans) - 1]
            begins[index, first + 1 : first + len(spans)] = ~goes_on
        begins |= special
        return np.maximum.accumulate(np.where(begins, places, 0), axis=1)
