"""Where tokens go as they are chosen."""

from __future__ import annotations

import queue
import unicodedata
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from ..models.arrays import to_array

if TYPE_CHECKING:
    import asyncio

#: What comes: a piece of text, or for a batch a piece for each of its texts.
Piece: TypeAlias = "str | list[str]"


class BaseStreamer:
    """What ``generate`` gives tokens to."""

    def put(self, value: Any) -> None:
        """Take the prompts first (rows, length), then a token for each text (rows)."""
        raise NotImplementedError

    def end(self) -> None:
        """Take the end."""
        raise NotImplementedError

    def fail(self, error: BaseException) -> None:
        """Take the end that an error made: nothing, unless somebody waits."""


class _Text:
    """One text as it grows: what of it can be shown without being taken back."""

    def __init__(self, tokenizer: Any, decode_kwargs: dict[str, Any]) -> None:
        self._tokenizer = tokenizer
        self._decode_kwargs = decode_kwargs
        self._tokens: list[int] = []
        self._shown = 0

    def _decode(self) -> str:
        return cast(str, self._tokenizer.decode(self._tokens, **self._decode_kwargs))

    def put(self, tokens: list[int]) -> str:
        self._tokens.extend(tokens)
        text = self._decode()
        new = text[self._shown :]
        if text.endswith("\n"):
            # The last token stays, so that a space before the next one shows.
            self._tokens = self._tokens[-1:]
            self._shown = len(self._decode())
            return new
        # Letters, digits and spaces stay as they are. Signs may be the beginning of something, or of a
        # character whose bytes are not all there yet.
        if not (_is_cjk(text[-1:]) or all(c.isspace() or unicodedata.category(c)[0] in "LMN" for c in new)):
            new = text[self._shown : text.rfind(" ") + 1]
        self._shown += len(new)
        return new

    def end(self) -> str:
        rest = self._decode()[self._shown :] if self._tokens else ""
        self._tokens, self._shown = [], 0
        return rest


def _is_cjk(character: str) -> bool:
    """Whether it is in one of the CJK Unicode blocks: its texts have no spaces to wait for."""
    code = ord(character) if character else 0
    blocks = (
        *((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F)),
        *((0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
    )
    return any(first <= code <= last for first, last in blocks)


class TextStreamer(BaseStreamer):
    """Prints a text as it is written.

    A subclass that does something else with it overrides :meth:`on_finalized_text`. Of a batch, each piece is
    a list with a piece for each text.
    """

    def __init__(self, tokenizer: Any, skip_prompt: bool = False, **decode_kwargs: Any) -> None:
        """Take how to decode; ``skip_prompt`` leaves the prompt out."""
        self.tokenizer = tokenizer
        self.skip_prompt = skip_prompt
        self.decode_kwargs = decode_kwargs
        self.next_tokens_are_prompt = True
        self._texts: list[_Text] = []

    def put(self, value: Any) -> None:
        """Take tokens, (rows, length) or (rows), and hand on what of the texts stays as it is."""
        rows = to_array(value)
        rows = (
            rows.reshape(-1, 1) if rows.ndim == 1 and len(self._texts) == len(rows) else np.atleast_2d(rows)
        )
        if not self._texts:
            self._texts = [_Text(self.tokenizer, self.decode_kwargs) for _ in rows]
        is_prompt, self.next_tokens_are_prompt = self.next_tokens_are_prompt, False
        if is_prompt and self.skip_prompt:
            return
        self._hand_on([text.put(row) for text, row in zip(self._texts, rows.tolist(), strict=True)], False)

    def end(self) -> None:
        """Hand on what is left."""
        pieces = [text.end() for text in self._texts] or [""]
        self.next_tokens_are_prompt, self._texts = True, []
        self._hand_on(pieces, True)

    def _hand_on(self, pieces: list[str], stream_end: bool) -> None:
        self.on_finalized_text(pieces[0] if len(pieces) == 1 else pieces, stream_end=stream_end)  # type: ignore[arg-type]

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Print a piece of the text."""
        print(text, flush=True, end="" if not stream_end else None)


class TextIteratorStreamer(TextStreamer):
    """Gives the pieces of a text to who iterates over it, in another thread.

    An error in the generating thread ends the iteration and is raised in it.
    """

    def __init__(
        self, tokenizer: Any, skip_prompt: bool = False, timeout: float | None = None, **decode_kwargs: Any
    ) -> None:
        """Take how to decode, and how many seconds to wait for a piece."""
        super().__init__(tokenizer, skip_prompt, **decode_kwargs)
        self.text_queue: queue.Queue[Any] = queue.Queue()
        self.stop_signal = None
        self.timeout = timeout

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Hand a piece to the other thread."""
        self.text_queue.put(text, timeout=self.timeout)
        if stream_end:
            self.text_queue.put(self.stop_signal, timeout=self.timeout)

    def fail(self, error: BaseException) -> None:
        """End the iteration with an error."""
        self.text_queue.put(error)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        piece = self.text_queue.get(timeout=self.timeout)
        if piece is self.stop_signal:
            raise StopIteration
        if isinstance(piece, BaseException):
            self.text_queue.put(self.stop_signal)
            raise piece
        return piece


class AsyncTextIteratorStreamer(TextStreamer):
    """Gives the pieces of a text to who iterates over it in an event loop; made within that loop.

    An error in the generating thread ends the iteration and is raised in it.
    """

    def __init__(
        self, tokenizer: Any, skip_prompt: bool = False, timeout: float | None = None, **decode_kwargs: Any
    ) -> None:
        """Take how to decode, and how many seconds to wait for a piece.

        :raises RuntimeError: outside of an event loop.
        """
        import asyncio  # takes longer to import than the rest of the package

        super().__init__(tokenizer, skip_prompt, **decode_kwargs)
        self.text_queue: asyncio.Queue[Any] = asyncio.Queue()
        self.stop_signal = None
        self.timeout = timeout
        self.loop = asyncio.get_running_loop()

    def _send(self, piece: Any) -> None:
        # Nobody waits in a loop that has been closed meanwhile.
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.text_queue.put_nowait, piece)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Hand a piece to the event loop."""
        self._send(text)
        if stream_end:
            self._send(self.stop_signal)

    def fail(self, error: BaseException) -> None:
        """End the iteration with an error."""
        self._send(error)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        import asyncio

        try:
            piece = await asyncio.wait_for(self.text_queue.get(), self.timeout)
        except asyncio.TimeoutError as error:
            raise TimeoutError from error
        if piece is self.stop_signal:
            raise StopAsyncIteration
        if isinstance(piece, BaseException):
            self.text_queue.put_nowait(self.stop_signal)
            raise piece
        return piece
