"""NumPy's functions called with tensors: ours where we have them, else NumPy's own; tensors come out."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from trustformers._engine import Tensor, as_tensor

#: NumPy's letters for the dtypes that a tensor can hold; all others, such as text, stay arrays.
_HELD = "?bhilqBHILQefdFD"


#: NumPy's functions of elements that are ours too: our rules for dtypes hold, and gradients flow.
_OURS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
    "power": operator.pow,
    "matmul": operator.matmul,
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "bitwise_xor": operator.xor,
    "left_shift": operator.lshift,
    "right_shift": operator.rshift,
    "equal": operator.eq,
    "not_equal": operator.ne,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "negative": operator.neg,
    "absolute": operator.abs,
    "invert": operator.invert,
    "rint": Tensor.round,
    "arcsin": Tensor.asin,
    "arccos": Tensor.acos,
    "arctan": Tensor.atan,
}
_OURS |= {
    name: getattr(Tensor, name)
    for name in (
        *("sign", "square", "floor", "ceil", "trunc", "reciprocal", "sqrt", "exp", "exp2", "expm1", "log"),
        *(
            "log2",
            "log10",
            "log1p",
            "sin",
            "cos",
            "tan",
            "sinh",
            "cosh",
            "tanh",
            "isnan",
            "isinf",
            "isfinite",
        ),
        "logical_not",
    )
}


def array_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: dict[str, Any] | None) -> Any:
    """What ``Tensor.__array_ufunc__`` does: ``ufunc.method(*inputs, **options)``, tensors in and out."""
    if not all(map(_is_ours_to_handle, inputs)):
        return NotImplemented
    ours = _OURS.get(ufunc.__name__)
    if ours is not None and method == "__call__" and not options:
        return ours(*map(_operand, inputs))
    options = options or {}
    result = getattr(ufunc, method)(*_to_numpy(inputs), **_to_numpy(options))
    out = options.get("out")
    if out is not None:
        return out[0] if len(out) == 1 else out
    return _to_tensor(result)


def _operand(value: Any) -> Any:
    """``value`` as our operators take it: NumPy's would call us again."""
    if isinstance(value, np.generic):
        return value.item()
    return as_tensor(value) if isinstance(value, np.ndarray | list | tuple) else value


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
