"""Tokenizers that work off the event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .pool import in_pool

if TYPE_CHECKING:
    from ..tokenizers.batch_encoding import BatchEncoding


class AsyncTokenizer:
    """The asynchronous methods of tokenizers: each is the method of its name, off the event loop."""

    async def call_async(self: Any, *args: Any, **kwargs: Any) -> BatchEncoding[Any]:
        """Encode texts as calling the tokenizer does: a ``BatchEncoding``."""
        encoded: BatchEncoding[Any] = await in_pool(self, *args, **kwargs)
        return encoded

    async def encode_async(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Encode a text; see :meth:`encode`. A model takes the ids as a batch of one."""
        return await in_pool(self.encode, *args, **kwargs)

    async def decode_async(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Turn ids back into a text, or several; see :meth:`decode`."""
        return await in_pool(self.decode, *args, **kwargs)

    async def batch_decode_async(self: Any, *args: Any, **kwargs: Any) -> list[str]:
        """Turn rows of ids back into texts; see :meth:`batch_decode`."""
        texts: list[str] = await in_pool(self.batch_decode, *args, **kwargs)
        return texts
