"""When generation ends."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _engine
from ..models.arrays import from_tensor, kind_of, to_array, to_tensor


class StoppingCriteria:
    """Says which texts are at their end; subclasses are called after every token."""

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        """Flags for the texts so far (rows, length); ``scores`` are those of every step, if they are kept."""
        raise NotImplementedError("StoppingCriteria needs to be subclassed")

    def __repr__(self) -> str:
        shown = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class MaxLengthCriteria(StoppingCriteria):
    """Stops at a length, prompt included."""

    def __init__(self, max_length: int, max_position_embeddings: int | None = None) -> None:
        self.max_length = max_length
        self.max_position_embeddings = max_position_embeddings

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        """Flags for the texts so far."""
        return _given(np.full(len(input_ids), input_ids.shape[1] >= self.max_length), input_ids)


class MaxTimeCriteria(StoppingCriteria):
    """Stops after some seconds."""

    def __init__(self, max_time: float, initial_timestamp: float | None = None) -> None:
        self.max_time = max_time
        self.initial_timestamp = time.time() if initial_timestamp is None else initial_timestamp

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        """Flags for the texts so far."""
        over = time.time() - self.initial_timestamp > self.max_time
        return _given(np.full(len(input_ids), over), input_ids)


class EosTokenCriteria(StoppingCriteria):
    """Stops behind one of some tokens."""

    def __init__(self, eos_token_id: int | Sequence[int]) -> None:
        self.eos_token_id = [eos_token_id] if isinstance(eos_token_id, int) else list(eos_token_id)

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        """Flags for the texts so far."""
        return _given(np.isin(to_array(input_ids)[:, -1], self.eos_token_id), input_ids)


class StopStringCriteria(StoppingCriteria):
    """Stops where one of some texts has been written, even if tokens are cut otherwise than it."""

    def __init__(self, tokenizer: Any, stop_strings: str | Sequence[str]) -> None:
        self.tokenizer = tokenizer
        self.stop_strings = (stop_strings,) if isinstance(stop_strings, str) else tuple(stop_strings)
        self._ends = _engine.StopStrings(tokenizer.backend_tokenizer, self.stop_strings)

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        """Flags for the texts so far."""
        ends = self._ends(to_tensor("input_ids", input_ids))
        return _given(np.array(ends, dtype=bool), input_ids)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_ends"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._ends = _engine.StopStrings(self.tokenizer.backend_tokenizer, self.stop_strings)


class StoppingCriteriaList(list[StoppingCriteria]):
    """Criteria, any of which stops a text."""

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        """Flags for the texts so far."""
        stopped = np.zeros(len(input_ids), dtype=bool)
        for criterion in self:
            stopped |= flags(criterion(input_ids, scores, **kwargs), len(input_ids))
        return _given(stopped, input_ids)

    @property
    def max_length(self) -> int | None:
        """The length at which one of them stops."""
        return next((one.max_length for one in self if isinstance(one, MaxLengthCriteria)), None)


def _given(stopped: np.ndarray[Any, np.dtype[np.bool_]], input_ids: Any) -> Any:
    """The flags as an array of the kind that the texts are."""
    kind = kind_of(input_ids)
    return stopped if kind == "numpy" else from_tensor(to_tensor("flags", stopped), kind)


def flags(value: Any, rows: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """What a criterion says as a flag for each row; one flag is for all.

    :raises ValueError: when it says something for another number of rows.
    """
    array = to_array(value).astype(bool)
    if array.ndim == 0:
        return np.full(rows, bool(array))
    if array.shape != (rows,):
        raise ValueError(f"a stopping criterion must give a flag for each of {rows} rows, got {array.shape}")
    return array
