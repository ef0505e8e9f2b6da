"""Mixed precision: products in 16 bits, everything else as it is."""

from __future__ import annotations

from contextlib import ContextDecorator
from types import TracebackType

from trustformers._engine import set_autocast


class autocast(ContextDecorator):
    """Linear layers, matrix products and attention within are computed in ``dtype``: torch's ``autocast``.

    Parameters stay as they are, and get gradients of their own dtype; norms, sums with float32 and losses are
    in float32. ``None`` asks for nothing. It holds for the thread that runs it.

    :raises TypeError: for other dtypes than ``"float16"`` and ``"bfloat16"``.
    """

    def __init__(self, dtype: str | None) -> None:
        self._dtype = dtype
        self._before: list[str | None] = []

    def __enter__(self) -> None:
        self._before.append(set_autocast(self._dtype))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        set_autocast(self._before.pop())

    def _recreate_cm(self) -> autocast:
        # A decorated function may run in several threads at once: each call remembers its own state.
        return type(self)(self._dtype)
