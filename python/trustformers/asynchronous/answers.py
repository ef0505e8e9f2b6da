"""Bringing what threads have computed back to the event loops where it is waited for."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


def bring(answers: Iterable[tuple[asyncio.Future[Any], Any]]) -> None:
    """Settle futures with what belongs to them, exceptions as such, each in its own loop."""
    for loop, some in groupby(answers, key=lambda answer: answer[0].get_loop()):
        # Nobody waits in a loop that has been closed meanwhile.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, list(some))


def _settle(answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, answer in answers:
        if future.done():
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
