"""NumPy's functions called with tensors: NumPy computes on their memory, the result is a tensor again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from trustformers._engine import Tensor

#: NumPy's letters for the dtypes that a tensor can hold; all others, such as text, stay arrays.
_HELD = "?bhilqBHILQefdFD"


def array_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: dict[str, Any] | None) -> Any:
    """What ``Tensor.__array_ufunc__`` does: ``ufunc.method(*inputs, **options)``, tensors in and out."""
    if not all(map(_is_ours_to_handle, inputs)):
        return NotImplemented
    options = options or {}
    result = getattr(ufunc, method)(*_to_numpy(inputs), **_to_numpy(options))
    out = options.get("out")
    if out is not None:
        return out[0] if len(out) == 1 else out
    return _to_tensor(result)


def array_function(
    func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """What ``Tensor.__array_function__`` does: ``func(*args, **kwargs)``, tensors in and out."""
    if not all(issubclass(kind, Tensor | np.ndarray) for kind in types):
        return NotImplemented
    out = kwargs.get("out")
    result = func(*_to_numpy(args), **_to_numpy(kwargs))
    return _to_tensor(result) if out is None else out


def _is_ours_to_handle(value: Any) -> bool:
    """Whether no other library has a say in what becomes of ``value``."""
    known = isinstance(value, Tensor | np.ndarray | np.generic)
    return known or not hasattr(type(value), "__array_ufunc__")


def _to_numpy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.numpy()
    if isinstance(value, tuple | list):
        return type(value)(map(_to_numpy, value))
    if isinstance(value, Mapping):
        return {key: _to_numpy(item) for key, item in value.items()}
    return value


def _to_tensor(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.char in _HELD:
        return Tensor.from_numpy(np.asarray(value))
    if isinstance(value, tuple):
        items = map(_to_tensor, value)
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return [_to_tensor(item) for item in value] if isinstance(value, list) else value
