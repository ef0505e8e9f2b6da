"""Filling up rows that are already encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .batch_encoding import BatchEncoding
from .strategies import PaddingStrategy, TensorType

if TYPE_CHECKING:
    from .base import PreTrainedTokenizerBase


def pad(
    tokenizer: PreTrainedTokenizerBase,
    encoded: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    strategy: PaddingStrategy,
    max_length: int | None,
    pad_to_multiple_of: int | None,
    side: str,
    return_attention_mask: bool | None,
    return_tensors: str | TensorType | None,
) -> BatchEncoding[Any]:
    """Fill up the rows of a batch, or a single row, to one length."""
    if isinstance(encoded, (list, tuple)) and encoded and isinstance(encoded[0], Mapping):
        encoded = {key: [example[key] for example in encoded] for key in encoded[0]}
    if not isinstance(encoded, Mapping):
        raise ValueError(
            f"You should supply an encoding or a list of encodings to this method, got {encoded!r}"
        )
    main = tokenizer.model_input_names[0]
    if main not in encoded:
        raise ValueError(
            "You should supply an encoding or a list of encodings to this method "
            f"that includes {main}, but you provided {list(encoded)}"
        )
    if encoded[main] is None or len(encoded[main]) == 0:
        masks: dict[str, Any] = {"attention_mask": []} if return_attention_mask else {}
        return BatchEncoding({**encoded, **masks})

    return_tensors = return_tensors or _kind_of(encoded[main])
    whole_masks = _whole_masks(encoded.get("attention_mask"))
    values = {
        key: _plain(value)
        for key, value in encoded.items()
        if not (key == "attention_mask" and whole_masks is not None)
    }
    single = not isinstance(values[main][0], (list, tuple))
    if single:
        values = {key: [value] for key, value in values.items()}
    rows = values[main]
    if any(len(value) != len(rows) for value in values.values()):
        raise ValueError("Some items in the output dictionary have a different batch size than others.")
    masked = (
        "attention_mask" in tokenizer.model_input_names
        if return_attention_mask is None
        else return_attention_mask
    )
    if masked and "attention_mask" not in values and whole_masks is None:
        values["attention_mask"] = [[1] * len(row) for row in rows]

    width = _width(strategy, rows, max_length, pad_to_multiple_of)
    fills = {
        main: tokenizer.pad_token_id,
        "token_type_ids": tokenizer.pad_token_type_id,
        "special_tokens_mask": 1,
    }
    if masked:
        fills["attention_mask"] = 0
    missing = [max(width - len(row), 0) for row in rows]
    if any(missing) and side not in ("left", "right"):
        raise ValueError(f"Invalid padding strategy:{side}")
    for key, fill in fills.items():
        if key in values:
            padding = [[fill] * count for count in missing]
            pairs = zip(padding, map(list, values[key]), strict=True)
            values[key] = [fill + row if side == "left" else row + fill for fill, row in pairs]
    if single:
        values = {key: value[0] for key, value in values.items()}
    if whole_masks is not None:
        values["attention_mask"] = whole_masks
    return BatchEncoding(values, tensor_type=return_tensors)


def _width(strategy: PaddingStrategy, rows: list[Any], max_length: int | None, multiple: int | None) -> int:
    if strategy is PaddingStrategy.DO_NOT_PAD:
        return 0
    longest = max_length if strategy is PaddingStrategy.MAX_LENGTH else max(map(len, rows))
    assert longest is not None  # padding to a length that nobody knows is no padding
    return rounded_up(longest, multiple)


def rounded_up(length: int, multiple: int | None) -> int:
    """The next multiple, if there is to be one."""
    return length if not multiple else -(-length // multiple) * multiple


def _plain(value: Any) -> Any:
    """An array, or a list of arrays, as lists; a number as it is."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [row.tolist() if hasattr(row, "tolist") else row for row in value]
    return value


def _kind_of(value: Any) -> TensorType | None:
    """Say what kind of tensor the rows are, if they are tensors."""
    first = value[0]
    if isinstance(first, (list, tuple)):
        first = next((row[0] for row in value if len(row)), first)
    if isinstance(first, (int, list, tuple)):
        return None
    module = type(first).__module__.partition(".")[0]
    kinds = {"numpy": TensorType.NUMPY, "torch": TensorType.PYTORCH, "trustformers": TensorType.TENSOR}
    if module not in kinds:
        raise ValueError(
            f"type of {first} unknown: {type(first)}. Should be one of a python, numpy, or pytorch object."
        )
    return kinds[module]


def _whole_masks(masks: Any) -> np.ndarray[Any, Any] | None:
    """Stack masks of more than one dimension, which have their padding already."""
    if isinstance(masks, list) and masks and getattr(masks[0], "ndim", 0) > 1:
        return np.stack(masks)
    return None
