"""What ``generate`` wrote for a batch, taken apart by the inputs that it was written for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..models.arrays import to_array


def by_input(
    sequences: Any,
    inputs: int,
    settings: Mapping[str, Any],
    begin: int,
    before: Sequence[int] | None = None,
    longest: int | None = None,
) -> list[Any]:
    """The texts (1, texts, length) of each input, of ``sequences`` (inputs * texts, length).

    Texts that end early are filled up to the length of the batch, and so are prompts: what an input would not
    have had alone goes.

    :param settings: those of the call, of which the tokens for the end and for padding are read.
    :param begin: where in a row the new tokens begin.
    :param before: how many tokens of a row stand before its prompt.
    :param longest: the length that a text with its prompt may have.
    """
    texts = sequences.shape[0] // inputs
    rows = to_array(sequences).reshape(inputs, texts, -1)
    before = before or [0] * inputs
    parts = []
    for index, (row, first) in enumerate(zip(rows, before, strict=True)):
        end = rows.shape[-1] if inputs == 1 else max(_length(text, settings, begin) for text in row)
        end = end if longest is None else min(end, first + longest)
        start = index * texts
        parts.append(sequences[start : start + texts, first:end].reshape(1, texts, -1))
    return parts


def _length(text: np.ndarray[Any, Any], settings: Mapping[str, Any], begin: int) -> int:
    """How long a text (length,) is without what was written behind its end."""
    ends = np.atleast_1d([] if settings.get("eos_token_id") is None else settings["eos_token_id"])
    found = np.flatnonzero(np.isin(text[begin:], ends))
    if len(found):
        return begin + int(found[0]) + 1
    if not (settings.get("stop_strings") or settings.get("stopping_criteria")):
        return len(text)
    own = np.flatnonzero(text[begin:] != settings.get("pad_token_id"))
    return begin + (int(own[-1]) + 1 if len(own) else 0)
