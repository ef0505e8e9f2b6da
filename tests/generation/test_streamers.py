"""Texts piece by piece, as they are written."""

import asyncio
import queue
import threading
from typing import Any

import numpy as np
import pytest

import trustformers as tf
from fixture_cases import FIXTURES, heads

IDS = np.array([[7, 8, 9, 5]])


class Words:
    """A tokenizer whose every token is a piece of bytes."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces

    def decode(self, tokens: Any, **kwargs: Any) -> str:
        return b"".join(self.pieces[token] for token in tokens).decode(errors="replace")


@pytest.fixture(scope="module")
def gpt2() -> Any:
    rows = heads(FIXTURES / "architectures" / "gpt2")
    return next(head.model for head in rows if head.class_name == "GPT2LMHeadModel")


class Spelled:
    """A tokenizer that spells numbers."""

    def decode(self, tokens: Any, **kwargs: Any) -> str:
        return "".join(f" {token}" for token in tokens)


class Kept(tf.TextStreamer):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.pieces: list[Any] = []

    def on_finalized_text(self, text: Any, stream_end: bool = False) -> None:
        self.pieces.append(text)


def test_a_character_comes_when_all_of_its_bytes_are_there() -> None:
    euro, pair = "€".encode(), "日本".encode()
    words = Words(b"It costs ", euro[:1], euro[1:], b"5 ", pair[:4], pair[4:], b"\n", b"so.")
    streamer = Kept(words)
    for token in range(8):
        streamer.put(np.array([token]))
    streamer.end()
    assert "".join(streamer.pieces) == "It costs €5 日本\nso."
    assert not any("\ufffd" in piece for piece in streamer.pieces)


def test_a_batch_comes_side_by_side() -> None:
    streamer = Kept(Words(b"a ", b"b ", b"\xe2", b"\x82\xac"))
    streamer.put(np.array([[0, 0], [1, 1]]))
    for step in ([2, 0], [3, 1]):
        streamer.put(np.array(step))
    streamer.end()
    assert streamer.pieces[0] == ["a a ", "b b "]
    assert ["".join(column) for column in zip(*streamer.pieces, strict=True)] == ["a a €", "b b a b "]


def test_the_prompt_may_be_left_out(gpt2: Any, capsys: pytest.CaptureFixture[str]) -> None:
    text = gpt2.generate(IDS, max_new_tokens=3, streamer=tf.TextStreamer(Spelled(), skip_prompt=True))
    assert capsys.readouterr().out == "".join(f" {token}" for token in text[0, 4:]) + "\n"
    gpt2.generate(IDS, max_new_tokens=3, streamer=tf.TextStreamer(Spelled()))
    assert capsys.readouterr().out == "".join(f" {token}" for token in text[0]) + "\n"


def test_another_thread_reads_what_one_writes(gpt2: Any) -> None:
    streamer = tf.TextIteratorStreamer(Spelled(), skip_prompt=True, timeout=30)
    options = {"max_new_tokens": 4, "streamer": streamer}
    thread = threading.Thread(target=gpt2.generate, args=(IDS,), kwargs=options)
    thread.start()
    text = "".join(streamer)
    thread.join()
    assert len(text.split()) == 4


def test_an_error_ends_the_stream_and_is_raised_in_it(gpt2: Any) -> None:
    def broken(ids: Any, scores: Any) -> Any:
        raise LookupError("mine")

    streamer = tf.TextIteratorStreamer(Spelled(), timeout=30)
    for options in ({"logits_processor": [broken]}, {"max_length": 2}):
        with pytest.raises((LookupError, ValueError)):
            gpt2.generate(IDS, streamer=streamer, **options)
        with pytest.raises((LookupError, ValueError)):
            list(streamer)
        assert list(streamer) == []
        streamer = tf.TextIteratorStreamer(Spelled(), timeout=0.01)
    with pytest.raises(queue.Empty):
        next(streamer)


def test_a_model_streams(gpt2: Any) -> None:
    wanted = gpt2.generate(IDS, max_new_tokens=5)[0, 4:]
    pieces = list(gpt2.stream(IDS, tokenizer=Spelled(), max_new_tokens=5))
    assert "".join(pieces).split() == [str(token) for token in wanted]
    both = list(gpt2.stream(np.concatenate([IDS, IDS]), tokenizer=Spelled(), max_new_tokens=5))
    assert all(len(piece) == 2 for piece in both)
    with pytest.raises(ValueError, match="max_new_tokens"):
        list(gpt2.stream(IDS, tokenizer=Spelled(), max_new_tokens=0))


def test_who_leaves_a_stream_stops_it(gpt2: Any) -> None:
    before = threading.active_count()
    stream = gpt2.stream(IDS, tokenizer=Spelled(), max_new_tokens=30, eos_token_id=None)
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_an_event_loop_reads_what_a_thread_writes(gpt2: Any) -> None:
    async def read(**options: Any) -> str:
        streamer = tf.AsyncTextIteratorStreamer(Spelled(), skip_prompt=True, timeout=30)
        writing = asyncio.to_thread(gpt2.generate, IDS, streamer=streamer, **options)
        task = asyncio.ensure_future(writing)
        try:
            return "".join([piece async for piece in streamer])
        finally:
            await asyncio.gather(task, return_exceptions=True)

    async def wait() -> None:
        await anext(tf.AsyncTextIteratorStreamer(Spelled(), timeout=0.01))

    assert len(asyncio.run(read(max_new_tokens=4)).split()) == 4
    with pytest.raises(ValueError, match="max_new_tokens"):
        asyncio.run(read(max_new_tokens=0))
    with pytest.raises(TimeoutError):
        asyncio.run(wait())
    with pytest.raises(RuntimeError):
        tf.AsyncTextIteratorStreamer(Spelled())


def test_what_a_streamer_must_have() -> None:
    for call in (lambda: tf.BaseStreamer().put(1), lambda: tf.BaseStreamer().end()):
        with pytest.raises(NotImplementedError):
            call()
