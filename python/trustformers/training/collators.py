"""Examples to batches: transformers' data collators, over NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import numpy as np

from ..models.arrays import Kind, from_tensor, to_tensor
from ..tokenizers.base import PreTrainedTokenizerBase
from ..tokenizers.batch_encoding import BatchEncoding
from ..tokenizers.padding import rounded_up
from ..tokenizers.strategies import PaddingStrategy, TensorType

#: Takes the examples of a batch, and gives the arguments of the forward pass.
DataCollator: TypeAlias = Callable[[list[Any]], Mapping[str, Any]]

_LABELS = ("label", "label_ids")

_Batch = TypeVar("_Batch", dict[str, Any], BatchEncoding[Any])


def default_data_collator(features: Sequence[Any], return_tensors: str = "np") -> dict[str, Any]:
    """Stack what the examples have, under the same names; texts and ``None`` are left out.

    Examples are dictionaries or objects with attributes, all of the same names. ``label`` (a number) and
    ``label_ids`` (a list of them) become ``labels``.

    :raises ValueError: for no examples, and for rows of different lengths.
    """
    rows = _dictionaries(features)
    batch: dict[str, Any] = {}
    for name in _LABELS:
        if rows[0].get(name) is not None:
            batch["labels"] = _labels([row[name] for row in rows])
            break
    for name, value in rows[0].items():
        if name not in _LABELS and value is not None and not isinstance(value, str):
            batch[name] = _stacked(name, [row[name] for row in rows])
    return converted(batch, return_tensors)


@dataclass
class DefaultDataCollator:
    """:func:`default_data_collator`, which remembers the kind of arrays."""

    return_tensors: str = "np"

    def __call__(self, features: Sequence[Any], return_tensors: str | None = None) -> dict[str, Any]:
        """Stack what the examples have."""
        return default_data_collator(features, return_tensors or self.return_tensors)


@dataclass
class DataCollatorWithPadding:
    """Fills the rows of a batch up to the longest of them, or as ``padding`` says.

    :param padding: True or ``"longest"``, ``"max_length"``, or False.
    :param return_tensors: ``"np"``, ``"pt"`` or ``"tensor"``.
    """

    tokenizer: PreTrainedTokenizerBase
    padding: bool | str | PaddingStrategy = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    return_tensors: str = "np"

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> BatchEncoding[Any]:
        """Fill up, and stack; ``label`` and ``label_ids`` become ``labels``."""
        batch = _padded(self, features)
        for name in _LABELS:
            if name in batch:
                batch["labels"] = batch.pop(name)
        return converted(batch, self.return_tensors)


@dataclass
class DataCollatorForTokenClassification:
    """Fills up rows, and their labels to the same length with what no loss counts.

    :param label_pad_token_id: what labels are filled up with.
    """

    tokenizer: PreTrainedTokenizerBase
    padding: bool | str | PaddingStrategy = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    label_pad_token_id: int = -100
    return_tensors: str = "np"

    def __call__(
        self, features: Sequence[Mapping[str, Any]], return_tensors: str | None = None
    ) -> BatchEncoding[Any]:
        """Fill up, and stack."""
        name, labels, others = _without_labels(features)
        batch = _padded(self, others)
        if labels is not None:
            length = np.asarray(batch["input_ids"]).shape[1]
            batch[name] = filled_up(labels, length, self.label_pad_token_id, self.tokenizer.padding_side)
        return converted(batch, return_tensors or self.return_tensors)


@dataclass
class DataCollatorForSeq2Seq:
    """Fills up rows, and their labels, which have lengths of their own, with what no loss counts.

    Given a ``model`` that has ``prepare_decoder_input_ids_from_labels``, it adds the decoder's input, which
    the model would make of the labels itself.
    """

    tokenizer: PreTrainedTokenizerBase
    model: Any = None
    padding: bool | str | PaddingStrategy = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    label_pad_token_id: int = -100
    return_tensors: str = "np"

    def __call__(
        self, features: Sequence[Mapping[str, Any]], return_tensors: str | None = None
    ) -> BatchEncoding[Any]:
        """Fill up, and stack."""
        _, labels, others = _without_labels(features)
        batch = _padded(self, others)
        kind = return_tensors or self.return_tensors
        if labels is None or all(label is None for label in labels):
            return converted(batch, kind)
        length = max(len(label) for label in labels)
        if self.padding == PaddingStrategy.MAX_LENGTH and self.max_length is not None:
            length = self.max_length
        if self.padding in (False, PaddingStrategy.DO_NOT_PAD) and any(len(one) != length for one in labels):
            raise ValueError("labels hold rows of different lengths: collate them with padding=True")
        length = rounded_up(length, self.pad_to_multiple_of)
        batch["labels"] = filled_up(labels, length, self.label_pad_token_id, self.tokenizer.padding_side)
        result = converted(batch, kind)
        if hasattr(self.model, "prepare_decoder_input_ids_from_labels"):
            made = self.model.prepare_decoder_input_ids_from_labels(labels=result["labels"])
            result["decoder_input_ids"] = made
        return result


@dataclass
class DataCollatorForMultipleChoice:
    """Fills up all choices of all examples, to (batch, choices, length)."""

    tokenizer: PreTrainedTokenizerBase
    padding: bool | str | PaddingStrategy = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    return_tensors: str = "np"

    def __call__(
        self, features: Sequence[Mapping[str, Any]], return_tensors: str | None = None
    ) -> dict[str, Any]:
        """Fill up, and stack."""
        _, labels, others = _without_labels(features)
        choices = len(others[0]["input_ids"])
        flat = [{name: value[i] for name, value in row.items()} for row in others for i in range(choices)]
        batch = {
            name: np.asarray(value).reshape(len(others), choices, -1)
            for name, value in _padded(self, flat).items()
        }
        if labels is not None:
            batch["labels"] = _labels(labels)
        return converted(batch, return_tensors or self.return_tensors)


@dataclass
class DataCollatorWithFlattening(DefaultDataCollator):
    """One long row of all examples, which takes no padding: a decoder sees each of them by itself.

    It is told where examples begin by ``position_ids``, which begin anew there, and its attention looks at
    no more than an example. Of the ``labels`` (or else ``input_ids``), the first of each example is
    ``separator_id``, as nothing before it predicts it.

    :param position_ids_start: the position of the first token of an example.
    """

    return_position_ids: bool = field(default=True, kw_only=True)
    separator_id: int = field(default=-100, kw_only=True)
    return_flash_attn_kwargs: bool = field(default=False, kw_only=True)
    return_seq_idx: bool = field(default=False, kw_only=True)
    position_ids_start: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        """Check what is asked for.

        :raises ValueError: for what other libraries' kernels ask for.
        """
        for name in ("return_flash_attn_kwargs", "return_seq_idx"):
            if getattr(self, name):
                raise ValueError(f"{name}= is not supported: position_ids say where examples begin")

    def __call__(
        self, features: Sequence[Any], return_tensors: str | None = None, separator_id: int | None = None
    ) -> dict[str, Any]:
        """Put the examples that have tokens behind one another: arrays of (1, tokens).

        :raises ValueError: when none has any.
        """
        rows = [row for row in _dictionaries(features) if len(row["input_ids"])]
        if not rows:
            raise ValueError("DataCollatorWithFlattening received a batch where every example is empty.")
        first = self.separator_id if separator_id is None else separator_id
        labels = [[first, *row.get("labels", row["input_ids"])[1:]] for row in rows]
        batch = {"input_ids": [row["input_ids"] for row in rows], "labels": labels}
        if self.return_position_ids:
            batch["position_ids"] = [self.position_ids_start + np.arange(len(row)) for row in labels]
        flat = {
            name: np.concatenate([np.asarray(one, dtype=np.int64) for one in all])[None]
            for name, all in batch.items()
        }
        return converted(flat, return_tensors or self.return_tensors)


def filled_up(rows: Sequence[Any], length: int, value: int, side: str) -> np.ndarray[Any, Any]:
    """Rows of numbers as one array of (rows, length).

    :raises ValueError: for a row that is longer.
    """
    result = np.full((len(rows), length), value, dtype=np.int64)
    for index, row in enumerate(rows):
        if len(row) > length:
            raise ValueError(f"{len(row)} labels for {length} tokens: cut both to the same length")
        if len(row):
            part = slice(len(row)) if side == "right" else slice(length - len(row), None)
            result[index, part] = np.asarray(row)
    return result


def converted(batch: _Batch, kind: str) -> _Batch:
    """The batch, its arrays made NumPy's, torch's or our own.

    :raises ValueError: for another kind.
    """
    if kind == TensorType.NUMPY:
        return batch
    if kind not in (TensorType.PYTORCH, TensorType.TENSOR):
        raise ValueError(f"Framework '{kind}' not recognized!")
    into: Kind = "torch" if kind == TensorType.PYTORCH else "tensor"
    for name, value in batch.items():
        batch[name] = from_tensor(to_tensor(name, _single(value)), into)
    return batch


def _single(value: Any) -> Any:
    """Floats of Python's, which NumPy takes for float64, as torch takes them: as float32."""
    return value.astype(np.float32) if getattr(value, "dtype", None) == np.float64 else value


def _padded(collator: Any, features: Sequence[Mapping[str, Any]]) -> BatchEncoding[Any]:
    """The rows filled up by the tokenizer, as a collator's fields say."""
    _dictionaries(features)
    batch: BatchEncoding[Any] = collator.tokenizer.pad(
        list(features),
        padding=collator.padding,
        max_length=collator.max_length,
        pad_to_multiple_of=collator.pad_to_multiple_of,
        return_tensors="np",
    )
    return batch


def _without_labels(
    features: Sequence[Mapping[str, Any]],
) -> tuple[str, list[Any] | None, list[dict[str, Any]]]:
    """What the labels are called, the labels, and the examples without them."""
    rows = _dictionaries(features)
    name = "label" if "label" in rows[0] else "labels"
    labels = [row[name] for row in rows] if name in rows[0] else None
    return name, labels, [{key: value for key, value in row.items() if key != name} for row in rows]


def _dictionaries(features: Sequence[Any]) -> list[dict[str, Any]]:
    if not features:
        raise ValueError("there are no examples to collate")
    rows = [dict(one) if isinstance(one, Mapping) else dict(vars(one)) for one in features]
    for row in rows:
        if row.keys() != rows[0].keys():
            differing = sorted(row.keys() ^ rows[0].keys())
            raise ValueError(f"the examples of a batch have different columns: not all have {differing}")
    return rows


def _labels(values: list[Any]) -> np.ndarray[Any, Any]:
    """Whole numbers as int64, others as float32."""
    array = _stacked("labels", values)
    return array.astype(np.int64 if array.dtype.kind in "iub" else np.float32)


def _stacked(name: str, values: list[Any]) -> np.ndarray[Any, Any]:
    try:
        array = np.stack([np.asarray(value) for value in values])
    except ValueError as error:
        raise ValueError(
            f"{name} holds rows of different lengths: use a collator that pads, as DataCollatorWithPadding"
        ) from error
    return array.astype(np.float32) if array.dtype == np.float64 else array
