"""Asynchronous methods give what the others give, off the event loop, and can be cancelled."""

import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from async_models import decoder, encoder, wide_encoder

import trustformers as tf

TEXT = "A model answers, and the loop goes on."


@pytest.fixture(scope="module")
def tokenizer(minilm_path: Path) -> Any:
    return tf.AutoTokenizer.from_pretrained(minilm_path)


def test_loading(minilm_path: Path) -> None:
    async def load() -> list[Any]:
        return await asyncio.gather(
            tf.AutoConfig.from_pretrained_async(minilm_path),
            tf.BertConfig.from_pretrained_async(minilm_path),
            tf.AutoModel.from_pretrained_async(minilm_path),
            tf.BertModel.from_pretrained_async(minilm_path, add_pooling_layer=False),
            tf.AutoTokenizer.from_pretrained_async(minilm_path),
            tf.BertTokenizer.from_pretrained_async(minilm_path),
        )

    config, own, model, bare, tokenizer, named = asyncio.run(load())
    assert config == own == tf.AutoConfig.from_pretrained(minilm_path)
    assert model.num_parameters() > bare.num_parameters()
    assert tokenizer.encode(TEXT) == named.encode(TEXT)


def test_what_is_not_there_raises_what_it_always_does(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        asyncio.run(tf.AutoConfig.from_pretrained_async(tmp_path / "nowhere"))


def test_a_tokenizer(tokenizer: Any) -> None:
    async def use() -> None:
        ids = await tokenizer.encode_async(TEXT)
        assert ids == tokenizer.encode(TEXT)
        assert dict(await tokenizer.call_async([TEXT, "b"], padding=True)) == dict(
            tokenizer([TEXT, "b"], padding=True)
        )
        assert await tokenizer.decode_async(ids) == tokenizer.decode(ids)
        assert await tokenizer.batch_decode_async([ids]) == tokenizer.batch_decode([ids])

    asyncio.run(use())


def test_ids_and_encodings_go_straight_into_a_model(tokenizer: Any, minilm_path: Path) -> None:
    async def embed() -> tuple[Any, Any]:
        model = await tf.AutoModel.from_pretrained_async(minilm_path)
        ids = await tokenizer.encode_async(TEXT)
        encoded = await tokenizer.call_async(TEXT, return_tensors="np")
        return await model.forward_async(ids), await model.forward_async(encoded)

    of_ids, of_encoding = asyncio.run(embed())
    assert of_ids.last_hidden_state.shape[0] == 1
    np.testing.assert_array_equal(of_ids.last_hidden_state, of_encoding.last_hidden_state)


def test_generating() -> None:
    model = decoder("llama")
    written = asyncio.run(model.generate_async([[5, 6, 7]], max_new_tokens=9))
    np.testing.assert_array_equal(written, model.generate([[5, 6, 7]], max_new_tokens=9))


def streaming(tokenizer: Any) -> Any:
    """A model that writes the tokenizer's tokens."""
    config = tf.GPT2Config(n_embd=16, n_layer=2, n_head=4, vocab_size=tokenizer.vocab_size, eos_token_id=None)
    return tf.GPT2LMHeadModel(config, seed=3)


def test_streaming(tokenizer: Any) -> None:
    model = streaming(tokenizer)

    async def pieces(**kwargs: Any) -> list[str]:
        return [piece async for piece in model.stream_async(TEXT, tokenizer=tokenizer, **kwargs)]

    found = asyncio.run(pieces(max_new_tokens=12))
    assert len(found) > 1
    assert found == list(model.stream(TEXT, tokenizer=tokenizer, max_new_tokens=12))
    with pytest.raises(ValueError, match="not used by the model"):
        asyncio.run(pieces(max_new_tokens=12, nonsense=1))


def test_who_leaves_a_stream_stops_it(tokenizer: Any) -> None:
    model = streaming(tokenizer)
    written: list[int] = []

    def count(input_ids: Any, scores: Any, **kwargs: Any) -> bool:
        written.append(input_ids.shape[1])
        return False

    async def leave() -> None:
        options: dict[str, Any] = {"max_new_tokens": 900, "stopping_criteria": [count]}
        stream = model.stream_async(TEXT, tokenizer=tokenizer, **options)
        async for _ in stream:
            break
        await stream.aclose()

    asyncio.run(leave())
    assert settled(lambda: len(written)) < 800


def settled(number: Callable[[], int]) -> int:
    """A number that has stopped growing."""
    before = -1
    while (now := number()) != before:
        before = now
        time.sleep(0.2)
    return now


def test_pipelines(tokenizer: Any) -> None:
    model = tf.BertForSequenceClassification(
        tf.BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64),
        seed=1,
    ).eval()
    pipe = tf.pipeline("text-classification", model=model, tokenizer=tokenizer)

    async def ask() -> None:
        assert await pipe.acall(TEXT) == pipe(TEXT)
        assert await pipe.acall([TEXT, "b"], batch_size=2) == pipe([TEXT, "b"])
        assert await pipe.acall(text for text in (TEXT, "b")) == pipe([TEXT, "b"])

    asyncio.run(ask())


def test_context_variables_and_the_mode_of_gradients_are_kept() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")
    model, seen = decoder("llama"), []

    def look(input_ids: Any, scores: Any, **kwargs: Any) -> bool:
        seen.append((name.get(), threading.current_thread() is threading.main_thread()))
        return True

    async def generate(who: str) -> None:
        name.set(who)
        await model.generate_async([[5]], max_new_tokens=2, stopping_criteria=[look])

    async def both() -> None:
        await asyncio.gather(generate("one"), generate("other"))

    asyncio.run(both())
    assert sorted(seen) == [("one", False), ("other", False)]

    trained = tf.BertModel(encoder().config, seed=1)
    next(trained.parameters()).requires_grad_()
    with tf.no_grad():
        assert not asyncio.run(trained.forward_async(tf.tensor([[5]]))).last_hidden_state.requires_grad
    assert asyncio.run(trained.forward_async(tf.tensor([[5]]))).last_hidden_state.requires_grad


LONG = np.arange(64 * 512).reshape(64, 512) % 900 + 5


@pytest.fixture
def no_memory_is_left() -> Any:
    """Memory that the engine holds afterwards is what it held before."""
    wide_encoder()(LONG[:1])  # what is packed once stays
    gc.collect()
    before = tf.memory_allocated()
    yield
    gc.collect()
    ends = time.monotonic() + 10
    while tf.memory_allocated() > before and time.monotonic() < ends:
        time.sleep(0.01)
    assert tf.memory_allocated() <= before


@pytest.mark.usefixtures("no_memory_is_left")
def test_a_forward_that_is_cancelled_ends_and_gives_its_memory_back() -> None:
    async def cancel() -> tuple[int, float]:
        task = asyncio.ensure_future(wide_encoder().forward_async(LONG))
        await asyncio.sleep(0.3)
        used = tf.memory_allocated()
        since = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return used, time.monotonic() - since

    before = tf.memory_allocated()
    used, took = asyncio.run(cancel())
    assert used > before + 50e6, "it had not begun"
    assert took < 1


@pytest.mark.usefixtures("no_memory_is_left")
def test_wait_for_cancels() -> None:
    async def wait() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(wide_encoder().forward_async(LONG), 0.2)

    asyncio.run(wait())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there are no task groups")
@pytest.mark.usefixtures("no_memory_is_left")
def test_an_error_in_a_task_group_cancels_the_others() -> None:
    async def together() -> None:
        async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined, unused-ignore]
            group.create_task(wide_encoder().forward_async(LONG))
            group.create_task(encoder().forward_async([[10**6]]))

    with pytest.raises(BaseException) as raised:  # noqa: PT011  (an ExceptionGroup, which 3.10 does not have)
        asyncio.run(together())
    (error,) = raised.value.exceptions  # type: ignore[attr-defined, unused-ignore]
    assert isinstance(error, IndexError)


def test_a_call_that_waits_for_a_thread_is_cancelled_before_it_begins() -> None:
    begun: list[int] = []

    def stop(input_ids: Any, scores: Any, **kwargs: Any) -> bool:
        begun.append(1)
        time.sleep(0.01)
        return False

    async def many() -> None:
        model = decoder("llama")
        options: dict[str, Any] = {"max_new_tokens": 20, "stopping_criteria": [stop]}
        tasks = [asyncio.ensure_future(model.generate_async([[5]], **options)) for _ in range(500)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    asyncio.run(many())
    assert settled(lambda: len(begun)) < 500


def test_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def use() -> Any:
        engine = tf.AsyncEngine(encoder())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(wide_encoder().forward_async(LONG), 0.1)
        return await asyncio.gather(encoder().forward_async([[5, 6]]), engine([[5, 6]]))

    loop = uvloop.new_event_loop()
    try:
        for outputs in loop.run_until_complete(use()):
            want = encoder()([[5, 6]]).last_hidden_state
            np.testing.assert_allclose(outputs.last_hidden_state, want, rtol=1e-5, atol=1e-6)
    finally:
        loop.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    code = """
import asyncio, os, threading
from async_models import decoder, encoder
import trustformers as tf
model = decoder("llama")
forwards, texts = tf.AsyncEngine(encoder()), tf.AsyncEngine(model)
async def all_of_it():
    return [
        (await model.generate_async([[5, 6]], max_new_tokens=4)).tolist(),
        (await texts.generate([[5, 6]], max_new_tokens=4)).tolist(),
        (await forwards([5, 6])).last_hidden_state.tolist(),
    ]
write = lambda: asyncio.run(all_of_it())
before = write()
# Other threads hold the engines' locks at that moment, and are gone in the child.
held, forked = threading.Barrier(3), threading.Event()
def hold(lock):
    with lock:
        held.wait()
        forked.wait()
locks = forwards._forwards._changed, texts._texts._lock
holders = [threading.Thread(target=hold, args=(lock,)) for lock in locks]
for holder in holders:
    holder.start()
held.wait()
child = os.fork()
if child == 0:
    os._exit(int(write() != before))
forked.set()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert write() == before
"""
    place = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=120, env={**os.environ, "PYTHONPATH": place}
    )


def test_the_package_is_imported_without_asyncio() -> None:
    code = (
        "import sys, trustformers as tf; tf.AutoModel, tf.AutoTokenizer; assert 'asyncio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
