"""The threads that work off the event loop: a few, however many calls there are."""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from weakref import WeakSet

from .. import _engine

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

P = ParamSpec("P")
T = TypeVar("T")

#: How many models are loaded at once; more than one, because they wait for disks and networks.
_LOADERS = 4

_lock = threading.Lock()
_pools: dict[str, ThreadPoolExecutor] = {}


class Forkable:
    """What has threads, and locks that they hold: a forked child, which lacks them, begins it anew."""

    def __init__(self) -> None:
        self._begin()
        _forkable.add(self)

    def _begin(self) -> None:
        """Have no thread, nothing that waits, and locks that nobody holds."""
        raise NotImplementedError


_forkable: WeakSet[Forkable] = WeakSet()


def _forget() -> None:
    """Leave the parent's threads to it: a forked child has none of them."""
    global _lock, _pools
    _lock, _pools = threading.Lock(), {}
    for one in _forkable:
        one._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


async def in_pool(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``function`` gives, which computes off the event loop, in the context of this task.

    When the task is cancelled, its computation ends at the next operation and gives back its memory.
    """
    # An operation takes all cores. More threads than cores would only hold up one another and the loop.
    return await _off_loop("compute", max(2, _engine.get_num_threads()), partial(function, *args, **kwargs))


async def in_loading_pool(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """As :func:`in_pool`, for what waits for files: nothing that computes waits behind it."""
    return await _off_loop("load", _LOADERS, partial(function, *args, **kwargs))


async def _off_loop(kind: str, threads: int, function: Callable[[], T]) -> T:
    import asyncio  # takes longer to import than the rest of the package
    from concurrent.futures import ThreadPoolExecutor

    with _lock:
        if (pool := _pools.get(kind)) is None:
            pool = _pools[kind] = ThreadPoolExecutor(threads, f"trustformers-{kind}")
    cancellation, context = _engine.Cancellation(), contextvars.copy_context()
    call: Callable[[], T] = partial(context.run, _called, _engine.is_grad_enabled(), function)
    future = pool.submit(cancellation.run, call)
    answer = asyncio.wrap_future(future)
    future.add_done_callback(_let_the_loop_in)
    try:
        return await answer
    except asyncio.CancelledError:
        cancellation.cancel()
        raise


def _let_the_loop_in(_: object) -> None:
    """Hand the GIL over when a call has been answered.

    A thread that takes its next call at once keeps it for the 5 ms of ``sys.getswitchinterval()``, and
    another may be next in turn: 32 prompts, prepared in two threads, made the loop 7 ms late and make it 2.
    """
    time.sleep(1e-6)


def _called(recording: bool, function: Callable[[], Any]) -> Any:
    """What ``function`` gives, recorded for gradients or not, as where it was asked for."""
    before = _engine.set_grad_enabled(recording)
    try:
        return function()
    finally:
        _engine.set_grad_enabled(before)
