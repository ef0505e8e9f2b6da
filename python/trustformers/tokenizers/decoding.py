"""From ids and tokens back to text, and between each other."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .special_tokens import SpecialTokens

if TYPE_CHECKING:
    import torch

#: Keywords that transformers' tokenizers of today take and do not look at.
_UNUSED = ("use_source_tokenizer", "spaces_between_special_tokens")


class Decoding(SpecialTokens):
    """What a tokenizer does with ids."""

    clean_up_tokenization_spaces: bool
    clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output: bool

    def decode(
        self,
        token_ids: int | Sequence[int] | Sequence[Sequence[int]] | np.ndarray[Any, Any] | torch.Tensor,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Turn ids into text, rows of ids into texts.

        :param skip_special_tokens: whether special tokens are left out.
        :param clean_up_tokenization_spaces: whether spaces before punctuation are removed.
        """
        for name in _UNUSED:
            kwargs.pop(name, None)
        warn_about(kwargs)
        rows = _lists(token_ids)
        clean_up = (
            self.clean_up_tokenization_spaces
            if clean_up_tokenization_spaces is None
            else clean_up_tokenization_spaces
        )
        if isinstance(rows, (list, tuple)) and rows and isinstance(rows[0], (list, tuple)):
            return self._decode(
                [[row] if isinstance(row, int) else row for row in rows], skip_special_tokens, clean_up
            )
        return self._decode([[rows] if isinstance(rows, int) else rows], skip_special_tokens, clean_up)[0]

    def batch_decode(
        self,
        sequences: Sequence[int] | Sequence[Sequence[int]] | np.ndarray[Any, Any] | torch.Tensor,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Turn rows of ids into texts; no rows into none."""
        if isinstance(sequences, (list, tuple)) and not sequences:
            return []
        texts = self.decode(sequences, skip_special_tokens, clean_up_tokenization_spaces, **kwargs)
        return [texts] if isinstance(texts, str) else texts

    def _decode(self, rows: list[Any], skip_special_tokens: bool, clean_up: bool) -> list[str]:
        raise NotImplementedError

    @staticmethod
    def clean_up_tokenization(text: str) -> str:
        """Remove the spaces that splitting put before punctuation and contractions."""
        for split in (" .", " ?", " !", " ,"):
            text = text.replace(split, split.strip())
        text = text.replace(" ' ", "'")
        for split in (" n't", " 'm", " 's", " 've", " 're"):
            text = text.replace(split, split.strip())
        return text

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> Any:
        """Give the id of a token, or the ids of several; unknown ones get that of the unknown token."""
        return self._id_of(tokens) if isinstance(tokens, str) else [self._id_of(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: int | Sequence[int], skip_special_tokens: bool = False) -> Any:
        """Give the token of an id, or the tokens of several; `None` for what is not in the vocabulary."""
        if isinstance(ids, (int, np.integer)):
            return self._token_of(int(ids))
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self._token_of(index) for index in map(int, ids) if index not in skipped]


def _lists(ids: Any) -> Any:
    """Turn arrays and tensors into lists, also in a list or under the key `input_ids`."""
    if isinstance(ids, Mapping):
        ids = ids["input_ids"]
    if hasattr(ids, "tolist"):
        return ids.tolist()
    if isinstance(ids, (list, tuple)) and ids and hasattr(ids[0], "tolist"):
        return [row.tolist() if hasattr(row, "tolist") else row for row in ids]
    return ids


def warn_about(kwargs: Mapping[str, Any]) -> None:
    """Warn of keywords that mean nothing."""
    if kwargs:
        warnings.warn(f"Keyword arguments {sorted(kwargs)} not recognized.", stacklevel=4)
