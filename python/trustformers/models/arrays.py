"""Arrays of every kind as the engine's tensors, and back to the kind that was given."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from .. import _engine

#: What outputs shall be.
Kind: TypeAlias = Literal["numpy", "tensor", "torch"]

_REMEDY = "give rows of numbers of one length, as the tokenizer does with padding=True"


def to_tensor(name: str, value: Any) -> _engine.Tensor:
    """``value`` as a tensor, over the same memory where it can be; ``name`` is for messages."""
    if isinstance(value, (list, tuple)):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{name} holds rows of different lengths: {_REMEDY}") from error
        if value.size == 0 and not name.endswith("inputs_embeds"):
            # An empty list says nothing of its numbers, and NumPy takes them for floats.
            value = value.astype(np.int64)
    try:
        return _engine.as_tensor(value)
    except TypeError as error:
        raise ValueError(f"{name} holds something else than numbers ({error}): {_REMEDY}") from error


def kind_of(value: Any) -> Kind:
    """The kind of an array; lists count as NumPy's."""
    if isinstance(value, _engine.Tensor):
        return "tensor"
    return "torch" if type(value).__module__.split(".")[0] == "torch" else "numpy"


def to_array(value: Any) -> np.ndarray[Any, Any]:
    """``value`` as NumPy's array, brought from the device where it lies."""
    return np.asarray(value.cpu() if callable(getattr(value, "cpu", None)) else value)


def from_tensor(value: Any, kind: Kind) -> Any:
    """A tensor, or a list of them which becomes a tuple, as the kind that was given.

    What NumPy shall have is brought to the processor; all else stays where it was computed.

    :raises RuntimeError: where NumPy shall have what a gradient was recorded for.
    """
    if isinstance(value, list):
        return tuple(from_tensor(item, kind) for item in value)
    if kind == "tensor":
        return value
    if kind == "torch":
        return value.to_torch()
    if value.requires_grad:
        raise RuntimeError(
            "gradients are recorded in training, and NumPy's arrays cannot have them: give Tensors, as the "
            'tokenizer does with return_tensors="tensor", or call eval() before, or work within no_grad()'
        )
    return value.cpu().to_numpy()
