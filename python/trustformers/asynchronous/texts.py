"""Texts that are asked for one by one and written together, token by token."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _engine
from .._grad import no_grad
from ..generation.configuration import GenerationMode
from .answers import bring
from .pool import Forkable

if TYPE_CHECKING:
    import asyncio

    from ..generation.mixin import Writing

_STEP_BY_STEP = (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE)


@dataclass(eq=False)
class Text:
    """A text that somebody waits for, or several of one call."""

    writing: Writing
    result: asyncio.Future[dict[str, Any]]

    @property
    def tokens(self) -> int:
        """How many tokens it may come to have, in all its rows and with their prompts."""
        rows, length = _shape(self.writing)
        return rows * length


def goes_together(writing: Writing, positions: int | None) -> bool:
    """Whether a text can be written beside others, token by token; else it is written alone.

    So is one that may come to have more tokens than the model has ``positions``: it would end with an error.
    """
    config = writing.config
    return (
        writing.engine.family == "decoder"
        and writing.mode in _STEP_BY_STEP
        and not writing.has_cache
        and config.use_cache is not False
        and config.cache_implementation != "quantized"
        and not config.return_dict_in_generate
        and (config.guidance_scale or 1.0) == 1.0
        and (positions is None or _shape(writing)[1] <= positions)
    )


def _shape(writing: Writing) -> tuple[int, int]:
    """How many texts there are, and how many tokens each may come to have."""
    config, given = writing.config, writing.tensors
    ids, embeds = given.get("input_ids"), given.get("inputs_embeds")
    prompt = embeds if ids is None else ids
    rows, length = (1, 1) if prompt is None else prompt.shape[:2]
    # The text that is as long as the settings say comes behind vectors, and begins with tokens.
    longest: int = config.max_length + (length if ids is None and embeds is not None else 0)
    return rows * (config.num_return_sequences or 1), longest


class Texts(Forkable):
    """The texts of one model that wait, and those that are being written.

    :param max_batch_tokens: how many tokens the texts that are written together may come to have; one that
        may come to have more is written when no other is.
    """

    def __init__(self, max_batch_tokens: int) -> None:
        self._max_batch_tokens = max_batch_tokens
        self._numbers = itertools.count()
        super().__init__()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, Text]] = deque()
        self._running: dict[int, Text] = {}
        self._left: list[int] = []
        self._worker: threading.Thread | None = None
        self._engine: _engine.Model | None = None

    async def write(self, writing: Writing) -> Any:
        """What ``generate`` gives for ``writing``."""
        import asyncio

        future = asyncio.get_running_loop().create_future()
        number, text = next(self._numbers), Text(writing, future)
        with self._lock:
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(target=self._work, name="trustformers-texts", daemon=True)
                self._worker.start()
            self._waiting.append((number, text))
        try:
            return writing.finish(await text.result)
        finally:
            if text.result.cancelled():
                self._leave(number, text)

    def _leave(self, number: int, text: Text) -> None:
        """Forget a text that nobody waits for."""
        with self._lock:
            if self._running.pop(number, None) is not None:
                self._left.append(number)
            elif (number, text) in self._waiting:
                self._waiting.remove((number, text))

    def _work(self) -> None:
        """Write what waits, until nothing does."""
        while (engine := self._next()) is not None:
            try:
                with no_grad():
                    engine.generate_together(self._turn)
            except BaseException as error:
                with self._lock:
                    failed, self._running = [text.result for text in self._running.values()], {}
                bring((future, error) for future in failed)

    def _next(self) -> _engine.Model | None:
        """What writes the oldest text that waits: the model's engine may have been replaced meanwhile."""
        with self._lock:
            self._engine = self._waiting[0][1].writing.engine if self._waiting else None
            if self._engine is None:
                self._worker = None
            return self._engine

    def _turn(self, ended: list[tuple[int, Any]]) -> tuple[list[tuple[int, _engine.Request]], list[int]]:
        """Between two tokens: take what has ended; say what begins and what is wanted no more."""
        with self._lock:
            over = [(self._running.pop(number, None), answer) for number, answer in ended]
            left, self._left = self._left, []
            begun: list[tuple[int, _engine.Request]] = []
            while self._waiting and self._has_room_for(self._waiting[0][1]):
                number, text = self._waiting.popleft()
                self._running[number] = text
                begun.append((number, text.writing.request))
        bring((text.result, answer) for text, answer in over if text is not None)
        return begun, left

    def _has_room_for(self, text: Text) -> bool:
        """Whether the oldest text that waits fits: none behind it is let past."""
        tokens = sum(other.tokens for other in self._running.values())
        fits = not self._running or tokens + text.tokens <= self._max_batch_tokens
        return fits and text.writing.engine is self._engine
