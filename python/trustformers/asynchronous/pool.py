"""The threads that work off the event loop: a few, however many calls there are."""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from .. import _engine

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

P = ParamSpec("P")
T = TypeVar("T")

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def _forget() -> None:
    """Leave the parent's threads to it: a forked child has none of them."""
    global _lock, _pool
    _lock, _pool = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def submit(
    cancellation: _engine.Cancellation, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> Future[T]:
    """Call ``function`` in one of the threads, in the caller's context, until ``cancellation`` ends it."""
    from concurrent.futures import ThreadPoolExecutor  # asyncio and this take longer to import than we do

    global _pool
    with _lock:
        if _pool is None:
            # An operation takes all cores: more threads are for those that wait for the network.
            workers = max(4, _engine.get_num_threads() + 1)
            _pool = ThreadPoolExecutor(workers, thread_name_prefix="trustformers-async")
        pool = _pool
    context = contextvars.copy_context()
    recording = _engine.is_grad_enabled()
    call: Callable[[], T] = partial(context.run, _called, recording, function, *args, **kwargs)
    return pool.submit(cancellation.run, call)


def _called(recording: bool, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """What ``function`` gives, recorded for gradients or not, as where it was asked for."""
    before = _engine.set_grad_enabled(recording)
    try:
        return function(*args, **kwargs)
    finally:
        _engine.set_grad_enabled(before)


async def in_pool(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``function`` gives, which is called off the event loop, in the context of this task.

    When the task is cancelled, its computation ends at the next operation and gives back its memory.
    """
    import asyncio

    cancellation = _engine.Cancellation()
    future = submit(cancellation, function, *args, **kwargs)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        cancellation.cancel()
        raise
