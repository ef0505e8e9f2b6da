"""PyTorch tensors as ours and back: the same memory, and gradients that flow through both.

Imported, like PyTorch itself, only when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from trustformers._engine import Tensor


def from_torch(tensor: torch.Tensor) -> Tensor:
    """A tensor over the memory of PyTorch's."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"from_torch takes a torch.Tensor, got {type(tensor).__name__}")
    if tensor.layout is not torch.strided:
        raise TypeError(f"a tensor cannot hold the layout {tensor.layout}: call to_dense() first")
    return Tensor.from_dlpack(tensor.detach().resolve_conj().resolve_neg())


def to_torch(tensor: Tensor) -> torch.Tensor:
    """PyTorch's tensor over the memory of ours.

    PyTorch has no read-only tensors: memory that must not be written, such as a mapped file, is copied.
    """
    if any(stride < 0 for stride in tensor.strides):
        raise ValueError("PyTorch has no negative strides: call contiguous() first")
    read_only = not tensor.is_writable
    shared: torch.Tensor = torch.from_dlpack(tensor.__dlpack__(copy=True) if read_only else tensor)
    return shared


def torch_function(
    func: Callable[..., Any], types: Any, args: tuple[Any, ...] | None, kwargs: dict[str, Any] | None
) -> Any:
    """What ``Tensor.__torch_function__`` does: PyTorch computes, the result is a tensor of ours again."""
    args, kwargs = args or (), kwargs or {}
    result = func(*_map(Tensor, to_torch, args), **_map(Tensor, to_torch, kwargs))
    given = (*args, *kwargs.values())
    # An in-place function, or one with `out`, returns what it was given.
    if any(result is value for value in given):
        return result
    return _map(torch.Tensor, from_torch, result)


def _map(kind: type, convert: Callable[[Any], Any], value: Any) -> Any:
    """``value`` with everything of ``kind`` in it converted."""
    if isinstance(value, kind):
        return convert(value)
    if isinstance(value, tuple | list):
        items = [_map(kind, convert, item) for item in value]
        named = hasattr(value, "_fields") or type(value).__module__ == "torch.return_types"
        return items if type(value) is list else tuple(items) if not named else type(value)(items)
    if isinstance(value, Mapping):
        return {key: _map(kind, convert, item) for key, item in value.items()}
    return value
