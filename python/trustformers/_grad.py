"""Computing with and without recording for gradients."""

from __future__ import annotations

from contextlib import ContextDecorator
from types import TracebackType

from trustformers._engine import set_grad_enabled


class _Mode(ContextDecorator):
    """Recording on or off, for the thread that runs it: a context manager and a decorator."""

    _enabled: bool
    _before: bool

    def __enter__(self) -> None:
        self._before = set_grad_enabled(self._enabled)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        set_grad_enabled(self._before)

    def _recreate_cm(self) -> _Mode:
        # A decorated function may run in several threads at once: each call remembers its own state.
        return type(self)()


class no_grad(_Mode):
    """Nothing computed within can be differentiated, which saves time and memory."""

    _enabled = False


class enable_grad(_Mode):
    """What is computed within can be differentiated, also within ``no_grad``."""

    _enabled = True
