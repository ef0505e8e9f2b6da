"""What a tokenizer returns: a dictionary of numbers that knows its way back to the text."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

import numpy as np

from .._engine import EncodedBatch, Encoding
from .strategies import TensorType

if TYPE_CHECKING:
    import torch

#: What the values are: lists, or arrays of a kind.
V = TypeVar("V")


class CharSpan(NamedTuple):
    """Characters of a text: the first one, and the one after the last."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens of a row: the first one, and the one after the last."""

    start: int
    end: int


class BatchEncoding(UserDict[str, V]):
    """The output of a tokenizer: a dictionary that knows where its values come from.

    ``encoding["input_ids"]`` and ``encoding.input_ids`` are the ids, ``encoding[0]`` is everything that is
    known about the first row, and ``encoding[0:2]`` is a dictionary with the first two of each value.

    :param data: the values.
    :param encoding: what is known about each row, from the tokenizer.
    :param tensor_type: "np", "pt" or "tensor" turns all values into arrays or tensors.
    :param prepend_batch_axis: puts each value into a batch of one before that.
    :param n_sequences: how many sequences each row was made of.
    """

    def __init__(
        self,
        data: Mapping[str, V] | None = None,
        encoding: EncodedBatch | Encoding | Sequence[Encoding] | None = None,
        tensor_type: str | TensorType | None = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
    ) -> None:
        """Take the values, and what is known about them."""
        super().__init__(data)
        self._encodings = [encoding] if isinstance(encoding, Encoding) else encoding
        self._n_sequences = n_sequences
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    @property
    def n_sequences(self) -> int | None:
        """How many sequences each row was made of (1 or 2), or `None` if that is not known."""
        if self._n_sequences is None and self._encodings:
            self._n_sequences = self._encodings[0].n_sequences
        return self._n_sequences

    @property
    def is_fast(self) -> bool:
        """Whether the rows know where their tokens come from."""
        return self._encodings is not None

    @property
    def encodings(self) -> list[Encoding] | None:
        """What is known about each row."""
        rows = self._encodings
        if rows is not None and not isinstance(rows, list):
            self._encodings = rows = [rows[index] for index in range(len(rows))]
        return rows

    @overload
    def __getitem__(self, item: str) -> V: ...

    @overload
    def __getitem__(self, item: int) -> Encoding: ...

    @overload
    def __getitem__(self, item: slice) -> dict[str, V]: ...

    def __getitem__(self, item: str | int | slice) -> Any:
        """Give a value by name, what is known about a row by index, or some rows of all values by slice."""
        if isinstance(item, str):
            return self.data[item]
        if isinstance(item, slice):
            values: dict[str, Any] = self.data
            return {key: value[item] for key, value in values.items()}
        if self.encodings is not None:
            return self.encodings[item]
        raise KeyError(
            "Invalid key. Only three types of key are available: "
            "(1) string, (2) integers for backend Encoding, and (3) slices for data subsetting."
        )

    def __getattr__(self, item: str) -> V:
        """Give a value by its name."""
        try:
            values: dict[str, V] = self.__dict__["data"]
            return values[item]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {item!r}") from None

    def __getstate__(self) -> dict[str, Any]:
        """Give what is pickled."""
        return {"data": self.data, "encodings": self.encodings, "n_sequences": self.n_sequences}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what was pickled."""
        self.data = state["data"]
        self._encodings = state["encodings"]
        self._n_sequences = state["n_sequences"]

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of a row as text."""
        return self._row(batch_index, "tokens").tokens

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of a row the index of its sequence; `None` for special tokens."""
        return self._row(batch_index, "sequence_ids").sequence_ids

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of a row the index of its word in its sequence; `None` for special tokens."""
        return self._row(batch_index, "word_ids").word_ids

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The index of the sequence of a token, `(token)` of the only row or `(row, token)`."""
        row, token = self._find("token_to_sequence", batch_or_token_index, token_index)
        return row.token_to_sequence(_from_start(token, row))

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The index of the word of a token, `(token)` of the only row or `(row, token)`."""
        row, token = self._find("token_to_word", batch_or_token_index, token_index)
        return row.token_to_word(_from_start(token, row))

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """The characters of a token, `(token)` of the only row or `(row, token)`; `None` if it is special."""
        row, token = self._find("token_to_chars", batch_or_token_index, token_index)
        chars = row.token_to_chars(_from_start(token, row))
        return None if chars is None else CharSpan(*chars)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The tokens of a word, `(word)` of the only row or `(row, word)`; `None` if it has none."""
        row, word = self._find("word_to_tokens", batch_or_word_index, word_index)
        tokens = row.word_to_tokens(word, sequence_index)
        return None if tokens is None else TokenSpan(*tokens)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """The characters of a word, `(word)` of the only row or `(row, word)`; `None` if it has no tokens."""
        row, word = self._find("word_to_chars", batch_or_word_index, word_index)
        chars = row.word_to_chars(word, sequence_index)
        return None if chars is None else CharSpan(*chars)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The token of a character, `(char)` of the only row or `(row, char)`; spaces may have none."""
        row, char = self._find("char_to_token", batch_or_char_index, char_index)
        return row.char_to_token(char, sequence_index)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The word of a character, `(char)` of the only row or `(row, char)`; spaces may have none."""
        row, char = self._find("char_to_word", batch_or_char_index, char_index)
        return row.char_to_word(char, sequence_index)

    def _row(self, index: int, method: str) -> Encoding:
        if not self.encodings:
            raise ValueError(f"{method}() is not available when using Python based tokenizers")
        return self.encodings[index]

    def _find(self, method: str, row_or_index: int, index: int | None) -> tuple[Encoding, int]:
        if index is None:
            return self._row(0, method), row_or_index
        return self._row(row_or_index, method), index

    def convert_to_tensors(
        self, tensor_type: str | TensorType | None = None, prepend_batch_axis: bool = False
    ) -> BatchEncoding[V]:
        """Turn all values into arrays or tensors.

        :raises ValueError: for values that are none, such as rows of different lengths.
        """
        if tensor_type is None:
            return self
        is_tensor, make = converter(TensorType(tensor_type))
        values: dict[str, Any] = self.data
        for key, value in values.items():
            value = [value] if prepend_batch_axis else value
            try:
                values[key] = value if is_tensor(value) else make(value)
            except (ValueError, TypeError, RuntimeError) as error:
                raise no_tensor(key) from error
        return self

    def to(self, device: str | int | torch.device, *, non_blocking: bool = False) -> BatchEncoding[V]:
        """Move all tensors to a device; values that cannot be moved stay as they are."""
        if not isinstance(device, (str, int)) and type(device).__module__.partition(".")[0] not in (
            "torch",
            "trustformers",
        ):
            import logging

            logging.getLogger("trustformers").warning(
                "Attempting to cast a BatchEncoding to type %s. This is not supported.", device
            )
            return self
        values: dict[str, Any] = self.data
        for key, value in values.items():
            if callable(getattr(value, "to", None)):
                options = {"non_blocking": True} if non_blocking else {}
                values[key] = value.to(device=device, **options)
        return self


def converter(tensor_type: TensorType) -> tuple[Callable[[Any], bool], Callable[[Any], Any]]:
    """Say how to recognize a tensor of this type, and how to make one.

    :raises ImportError: for torch tensors without torch.
    """
    if tensor_type is TensorType.PYTORCH:
        try:
            import torch
        except ImportError as error:
            raise ImportError(
                "Unable to convert output to PyTorch tensors format, PyTorch is not installed. "
                'Install torch, or use return_tensors="np".'
            ) from error
        return torch.is_tensor, lambda value: torch.from_numpy(_array(value))
    if tensor_type is TensorType.TENSOR:
        from .._engine import Tensor

        return lambda value: isinstance(value, Tensor), lambda value: Tensor.from_numpy(_array(value))
    return lambda value: isinstance(value, np.ndarray), _array_or_rows


def no_tensor(key: str) -> ValueError:
    """Make the error of a value that cannot be a tensor."""
    return ValueError(
        "Unable to create tensor, you should probably activate truncation and/or padding with"
        " 'padding=True' 'truncation=True' to have batched tensors with the same length. Perhaps your"
        f" features (`{key}` in this case) have excessive nesting (inputs type `list` where type `int` is"
        " expected)."
    )


def _array(value: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(value)
    if array.dtype == object:
        raise ValueError("not numbers")
    return array.astype(np.int64) if array.size == 0 else array


def _array_or_rows(value: Any) -> np.ndarray[Any, Any]:
    """An array; of rows of different lengths, as in transformers, an array of objects that are arrays."""
    nested = isinstance(value, (list, tuple)) and all(isinstance(row, (list, tuple)) for row in value)
    if not nested or len({len(row) for row in value}) < 2:
        return _array(value)
    rows = np.empty(len(value), dtype=object)
    rows[:] = [_array(row) for row in value]
    return rows


def _from_start(token: int, row: Encoding) -> int:
    return token + len(row) if token < 0 else token
