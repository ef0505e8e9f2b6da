"""Models that work off the event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from .pool import in_pool
from .streams import stream


class AsyncModel:
    """The asynchronous methods of models: each is the method of its name, off the event loop.

    A task that is cancelled ends its computation at the next operation, and its memory is given back.
    """

    async def forward_async(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Run the model over a batch; see :meth:`forward`."""
        return await in_pool(self.forward, *args, **kwargs)

    async def generate_async(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Write behind prompts; see :meth:`generate`."""
        return await in_pool(self.generate, *args, **kwargs)

    def stream_async(
        self: Any,
        inputs: Any = None,
        *,
        tokenizer: Any,
        skip_prompt: bool = True,
        skip_special_tokens: bool = True,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[Any, None]:
        """Write behind prompts and give the text piece by piece, to ``async for``.

        The arguments are those of :meth:`stream`. An error is raised where the next piece would have come;
        who leaves the loop stops the generation.
        """
        return stream(
            self.generate_async,
            inputs,
            tokenizer=tokenizer,
            skip_prompt=skip_prompt,
            skip_special_tokens=skip_special_tokens,
            timeout=timeout,
            kwargs=kwargs,
        )
