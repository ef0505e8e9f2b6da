"""Texts piece by piece, as an asynchronous iterator."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from ..generation.prompts import prompts
from ..generation.streamers import AsyncTextIteratorStreamer
from .pool import in_pool


async def stream(
    generate: Callable[..., Awaitable[Any]],
    inputs: Any,
    *,
    tokenizer: Any,
    skip_prompt: bool,
    skip_special_tokens: bool,
    timeout: float | None,
    kwargs: dict[str, Any],
) -> AsyncGenerator[Any, None]:
    """The pieces of what ``generate`` writes, which gets a streamer; who leaves the loop cancels it."""
    import asyncio
    from contextlib import suppress

    streamer = AsyncTextIteratorStreamer(
        tokenizer, skip_prompt=skip_prompt, timeout=timeout, skip_special_tokens=skip_special_tokens
    )

    async def write() -> None:
        try:
            given = await in_pool(prompts, inputs, tokenizer)
            await generate(given, streamer=streamer, tokenizer=tokenizer, **kwargs)
        except BaseException as error:
            streamer.fail(error)
            raise

    writing = asyncio.ensure_future(write())
    try:
        async for piece in streamer:
            if any(piece):
                yield piece
    finally:
        writing.cancel()
        # An error was raised where the next piece would have come.
        with suppress(asyncio.CancelledError, Exception):
            await writing
