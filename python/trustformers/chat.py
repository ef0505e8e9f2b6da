"""What ``trustformers chat`` does: lines in, answers out as they are written, until no more lines come."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, TextIO

from .generation import TextStreamer

HELP = "/clear forgets the conversation, /quit or Ctrl-D ends it, Ctrl-C stops an answer"


class Chat:
    """A conversation with a model.

    What both have said so far is in ``messages``. The model keeps what it has read: of a longer text that
    begins in the same way it reads only the rest.
    """

    def __init__(self, model: Any, tokenizer: Any, system: str | None = None, **settings: Any) -> None:
        """Take a model with its tokenizer, what it is told first, and settings of ``generate``.

        :raises ValueError: when the tokenizer has no chat template.
        """
        tokenizer.get_chat_template()
        self._model, self._tokenizer, self._settings = model, tokenizer, settings
        self._first = [{"role": "system", "content": system}] if system else []
        self.clear()

    def clear(self) -> None:
        """Forget what has been said."""
        self.messages = list(self._first)
        self._read: list[int] = []
        self._cache: Any = None

    def answer(self, text: str, out: TextIO) -> str:
        """Write the answer to a text as it comes, and give it; Ctrl-C stops it where it is.

        :raises ValueError: when the conversation has become longer than the model can read.
        """
        self.messages.append({"role": "user", "content": text})
        pieces = _Pieces(self._tokenizer, out)
        try:
            self._generate(pieces)
        except KeyboardInterrupt:
            pieces.end()
            self._read, self._cache = [], None
        except BaseException:
            self.messages.pop()
            self._read, self._cache = [], None
            raise
        answer = pieces.text.strip()
        self.messages.append({"role": "assistant", "content": answer})
        return answer

    def _generate(self, streamer: TextStreamer) -> None:
        ids: list[int] = self._tokenizer.apply_chat_template(
            self.messages, add_generation_prompt=True, return_dict=False
        )
        common = _common(self._read, ids[:-1])
        if self._cache is not None and common < len(self._read):
            self._cache.crop(common - len(self._read))
        done = self._model.generate(
            [ids],
            past_key_values=self._cache,
            streamer=streamer,
            return_dict_in_generate=True,
            **self._settings,
        )
        self._cache = done.past_key_values
        # The last token has been chosen and not read.
        self._read = done.sequences[0][:-1].tolist()


class _Pieces(TextStreamer):
    """Writes an answer as it comes, and keeps it."""

    def __init__(self, tokenizer: Any, out: TextIO) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._out, self.text = out, ""

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self.text += text
        self._out.write(text)
        self._out.flush()


def _common(one: list[int], other: list[int]) -> int:
    """How many tokens two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def talk(chat: Chat, lines: Iterator[str], out: TextIO) -> None:
    """Answer lines one after another, and do what those say that begin with a stroke."""
    for line in lines:
        text = line.strip()
        if text == "/quit":
            return
        if text == "/clear":
            chat.clear()
        elif text.startswith("/"):
            print(HELP, file=out)
        elif text:
            chat.answer(text, out)
            print(file=out, flush=True)


def typed() -> Iterator[str]:
    """The lines that somebody types, up to Ctrl-D; Ctrl-C begins a line anew."""
    import readline  # noqa: F401  (lets lines be edited and found again)

    while True:
        try:
            yield input("> ")
        except KeyboardInterrupt:
            print()
        except EOFError:
            print()
            return


def run(
    name: str,
    gguf_file: str | None = None,
    system: str | None = None,
    **settings: Any,
) -> None:
    """Load a model and talk with it, over a terminal or a pipe.

    :raises OSError: for a model that is not there.
    :raises ValueError: for one that cannot be talked with.
    """
    from .models import AutoModelForCausalLM
    from .tokenizers import AutoTokenizer

    source: dict[str, Any] = {} if gguf_file is None else {"gguf_file": gguf_file}
    tokenizer = AutoTokenizer.from_pretrained(name, **source)
    model = AutoModelForCausalLM.from_pretrained(name, **source)
    chat = Chat(model, tokenizer, system, **settings)
    if sys.stdin.isatty():
        print(f"{name}: {HELP}")
        talk(chat, typed(), sys.stdout)
    else:
        talk(chat, iter(sys.stdin), sys.stdout)
