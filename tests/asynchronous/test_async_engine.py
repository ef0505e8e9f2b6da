"""Many who ask at once get what each would get alone."""

import asyncio
import copy
import pickle
import random
import time
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from async_models import DECODERS, answerer, classifier, decoder, encoder, wide_encoder

import trustformers as tf

CLIENTS = 64


def ids(rng: np.random.Generator, rows: int = 1, longest: int = 12) -> Any:
    return rng.integers(3, 60, (rows, int(rng.integers(1, longest))))


def close(ours: Any, want: Any) -> None:
    assert list(ours) == list(want)
    for name in want:
        np.testing.assert_allclose(ours[name], want[name], rtol=2e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("make", [encoder, classifier, answerer], ids=lambda make: make.__name__)
def test_forwards(make: Callable[[], Any]) -> None:
    model, rng = make(), np.random.default_rng(1)
    inputs = [ids(rng, rows=1 + i % 3) for i in range(CLIENTS)]
    calls: list[dict[str, Any]] = []
    for i, rows in enumerate(inputs):
        mask = np.ones_like(rows)
        mask[0, rows.shape[1] // 2 + 1 :] = 0
        calls.append({"input_ids": rows, **({"attention_mask": mask} if i % 2 else {})})
    if make is not classifier:
        for call in calls[::5]:
            call["token_type_ids"] = (call["input_ids"] > 30).astype(np.int64)
    uses_cache = {"use_cache": False} if make is classifier else {}
    alone = [model(**call, **uses_cache) for call in calls]

    async def ask() -> list[Any]:
        engine = tf.AsyncEngine(model, max_batch_tokens=300)
        return await asyncio.gather(*(engine(**call) for call in calls))

    for ours, want in zip(asyncio.run(ask()), alone, strict=True):
        close(ours, want)


def test_the_kind_of_what_goes_in_comes_out() -> None:
    async def ask() -> None:
        engine = tf.AsyncEngine(encoder())
        of_list, of_tensor, of_mapping = await asyncio.gather(
            engine([5, 6, 7]), engine(tf.tensor([[5, 6, 7]])), engine({"input_ids": np.array([[5, 6, 7]])})
        )
        assert isinstance(of_list.last_hidden_state, np.ndarray)
        assert isinstance(of_tensor.last_hidden_state, tf.Tensor)
        close(of_mapping, of_list)

    asyncio.run(ask())


def test_what_does_not_go_together_runs_alone() -> None:
    async def ask() -> None:
        engine = tf.AsyncEngine(encoder())
        plain, more, short = await asyncio.gather(
            engine([5, 6, 7]), engine([5, 6, 7], output_hidden_states=True), engine([5, 6, 7], max_length=2)
        )
        assert len(more.hidden_states) == 3
        close({"pooler_output": plain.pooler_output}, {"pooler_output": more.pooler_output})
        assert short.last_hidden_state.shape[1] == 2
        cached = await tf.AsyncEngine(decoder("llama"))([5, 6], use_cache=True)
        assert cached.past_key_values.get_seq_length() == 2

    asyncio.run(ask())


def test_an_error_is_given_to_whom_it_belongs() -> None:
    async def ask() -> list[Any]:
        engine = tf.AsyncEngine(encoder())
        calls = (engine([5, 10**6 if i == 7 else 6]) for i in range(16))
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(ask())
    assert isinstance(answers[7], IndexError)
    want = encoder()([5, 6])
    for answer in answers[:7] + answers[8:]:
        close(answer, want)


def settings(i: int, rng: np.random.Generator) -> dict[str, Any]:
    """Settings of every kind that can be written step by step, and some that cannot."""
    chosen: dict[str, Any] = {"max_new_tokens": int(rng.integers(1, 12)), "pad_token_id": 0, "generator": i}
    if i % 3 == 0:
        chosen |= {"do_sample": True, "top_p": 0.9, "num_return_sequences": 1 + i % 2}
    if i % 4 == 0:
        chosen |= {"repetition_penalty": 1.3, "min_new_tokens": 1}
    if i % 5 == 0:
        chosen |= {"logits_processor": [lambda ids, scores: -scores]}
    if i % 13 == 1:
        chosen |= {"num_beams": 3}
    if i % 17 == 2:
        chosen |= {"return_dict_in_generate": True, "output_scores": True}
    return chosen


def requests(count: int, seed: int) -> list[tuple[Any, dict[str, Any]]]:
    rng, calls = np.random.default_rng(seed), []
    for i in range(count):
        rows = ids(rng, rows=1 + i % 2)
        chosen = settings(i, rng)
        if i % 2:
            mask = np.ones_like(rows)
            mask[1, : rows.shape[1] // 2] = 0
            chosen["attention_mask"] = mask
        calls.append((rows, chosen))
    return calls


def answer(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        return error


def expect_same(ours: Any, want: Any) -> None:
    if isinstance(want, Exception):
        assert (type(ours), str(ours)) == (type(want), str(want))
    elif isinstance(want, np.ndarray):
        np.testing.assert_array_equal(ours, want)
    else:
        np.testing.assert_array_equal(ours.sequences, want.sequences)


@pytest.mark.parametrize("name", DECODERS)
def test_texts(name: str) -> None:
    model, calls = decoder(name), requests(CLIENTS, seed=2)
    alone = [answer(lambda call=call: model.generate(call[0], **call[1])) for call in calls]

    async def ask() -> list[Any]:
        engine = tf.AsyncEngine(model, max_batch_tokens=400)
        return await asyncio.gather(
            *(engine.generate(rows, **chosen) for rows, chosen in calls), return_exceptions=True
        )

    for ours, want in zip(asyncio.run(ask()), alone, strict=True):
        expect_same(ours, want)


def test_texts_join_while_others_are_being_written() -> None:
    model, together = decoder("llama"), []

    def dawdle(input_ids: Any, scores: Any, **kwargs: Any) -> bool:
        time.sleep(0.002)
        return False

    async def ask() -> None:
        engine = tf.AsyncEngine(model)
        options: dict[str, Any] = {"max_new_tokens": 1500, "min_new_tokens": 1500}
        long = asyncio.ensure_future(engine.generate([[5, 6]], **options, stopping_criteria=[dawdle]))
        await asyncio.sleep(0.1)
        for length in range(1, 6):
            rows = [[7] * length]
            short = await engine.generate(rows, max_new_tokens=5)
            np.testing.assert_array_equal(short, model.generate(rows, max_new_tokens=5))
            together.append(not long.done())
        long.cancel()

    asyncio.run(ask())
    assert all(together), "the long text held up the others"


def test_a_model_whose_weights_are_replaced_meanwhile() -> None:
    model = tf.LlamaForCausalLM(decoder("llama").config, seed=7)
    engines = {id(model._engine)}

    async def ask() -> Any:
        engine = tf.AsyncEngine(model)
        before = [asyncio.ensure_future(engine.generate([[5, 6]], max_new_tokens=200)) for _ in range(3)]
        await asyncio.sleep(0.01)
        model.half()
        engines.add(id(model._engine))
        written = await engine.generate([[5, 6]], max_new_tokens=5)
        await asyncio.gather(*before)
        return written

    written = asyncio.run(ask())
    assert len(engines) == 2
    np.testing.assert_array_equal(written, model.generate([[5, 6]], max_new_tokens=5))


def test_an_encoder_decoder_writes_alone() -> None:
    config = tf.T5Config(
        d_model=16, d_ff=24, num_layers=2, num_heads=2, d_kv=8, vocab_size=60, decoder_start_token_id=0
    )
    model = tf.T5ForConditionalGeneration(config, seed=1)

    async def ask() -> Any:
        return await tf.AsyncEngine(model).generate([[5, 6, 7]], max_new_tokens=4)

    np.testing.assert_array_equal(asyncio.run(ask()), model.generate([[5, 6, 7]], max_new_tokens=4))


def test_streams(minilm_path: Any) -> None:
    tokenizer = tf.AutoTokenizer.from_pretrained(minilm_path)
    config = tf.GPT2Config(n_embd=16, n_layer=2, n_head=4, vocab_size=tokenizer.vocab_size, eos_token_id=None)
    model = tf.GPT2LMHeadModel(config, seed=3)
    prompts = ["one", "two words", "three words here"] * 4
    alone = [list(model.stream(prompt, tokenizer=tokenizer, max_new_tokens=12)) for prompt in prompts]

    async def listen(engine: Any, prompt: str) -> list[str]:
        return [piece async for piece in engine.stream(prompt, tokenizer=tokenizer, max_new_tokens=12)]

    async def ask() -> list[list[str]]:
        engine = tf.AsyncEngine(model)
        with pytest.raises(ValueError, match="max_new_tokens"):
            _ = [piece async for piece in engine.stream("a", tokenizer=tokenizer, max_new_tokens=-1)]
        return await asyncio.gather(*(listen(engine, prompt) for prompt in prompts))

    assert asyncio.run(ask()) == alone


def test_places_are_given_in_order_and_there_are_only_so_many() -> None:
    order: list[int] = []

    async def ask(engine: Any, number: int) -> None:
        await engine([5] * (1 + number % 7))
        order.append(number)

    async def all_of_them() -> None:
        engine = tf.AsyncEngine(encoder(), max_batch_tokens=20, max_requests=4)
        tasks = [asyncio.ensure_future(ask(engine, number)) for number in range(100)]
        while not all(task.done() for task in tasks):
            assert len(engine._forwards._waiting) <= 4
            await asyncio.sleep(0)

    asyncio.run(all_of_them())
    # Batches are answered whole, so neighbours may change places, and no others.
    assert all(abs(place - number) < 8 for place, number in enumerate(order))


def test_one_engine_in_two_loops() -> None:
    engine = tf.AsyncEngine(decoder("llama"), max_requests=2)

    async def ask() -> None:
        await asyncio.gather(*(engine([5, 6]) for _ in range(6)))
        await asyncio.gather(*(engine.generate([[5, 6]], max_new_tokens=3) for _ in range(6)))

    asyncio.run(ask())
    asyncio.run(ask())


@pytest.mark.alone
def test_a_batch_that_nobody_waits_for_ends() -> None:
    rows = np.arange(64 * 64).reshape(64, 64) % 900 + 5

    async def leave() -> float:
        engine = tf.AsyncEngine(wide_encoder(), max_batch_tokens=1 << 20)
        task = asyncio.ensure_future(engine(rows))
        await asyncio.sleep(0.3)
        since = time.monotonic()
        task.cancel()
        await asyncio.wait([task])
        while engine._forwards._worker is not None:
            await asyncio.sleep(0.01)
        return time.monotonic() - since

    begun = time.monotonic()
    wide_encoder()(rows)
    whole = time.monotonic() - begun
    assert asyncio.run(leave()) < max(0.5, whole / 2)


def test_who_serves_a_model_in_training_mode_is_warned() -> None:
    model = tf.BertModel(encoder().config, seed=1)
    engine = tf.AsyncEngine(model)
    with pytest.warns(UserWarning, match=r"BertModel is in training mode.*call model\.eval\(\)"):
        asyncio.run(engine([[5, 6]]))
    model.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(engine([[5, 6]]))
    # A text is written without dropout in both modes.
    writer = decoder("llama")
    twin = tf.LlamaForCausalLM(writer.config, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written = asyncio.run(tf.AsyncEngine(twin).generate([[5, 6]], max_new_tokens=5))
    np.testing.assert_array_equal(written, writer.generate([[5, 6]], max_new_tokens=5))


def test_texts_go_on_while_a_long_prompt_is_read() -> None:
    model, long = decoder("llama"), [[5 + i % 50 for i in range(1900)]]
    written = [0]
    seen: list[int] = []

    def count(input_ids: Any, scores: Any, **kwargs: Any) -> bool:
        written[0] += 1
        return False

    def note(input_ids: Any, scores: Any, **kwargs: Any) -> bool:
        seen.append(written[0])
        return False

    async def ask() -> Any:
        engine = tf.AsyncEngine(model, max_batch_tokens=1 << 20)
        options: dict[str, Any] = {"max_new_tokens": 1000, "min_new_tokens": 1000}
        running = asyncio.ensure_future(engine.generate([[7, 8]], **options, stopping_criteria=[count]))
        while not written[0]:
            await asyncio.sleep(0.001)
        begun = written[0]
        answer = await engine.generate(long, max_new_tokens=2, stopping_criteria=[note])
        running.cancel()
        # It was read in fifteen pieces, and a token was written behind each of the first fourteen.
        assert seen[0] - begun >= 14
        return answer

    np.testing.assert_array_equal(asyncio.run(ask()), model.generate(long, max_new_tokens=2))


def test_an_engine_is_shown_and_sent() -> None:
    engine = tf.AsyncEngine(encoder(), max_batch_tokens=300, max_wait_ms=1, max_requests=7)
    assert repr(engine) == "AsyncEngine(BertModel, max_batch_tokens=300, max_wait_ms=1, max_requests=7)"
    for twin in (pickle.loads(pickle.dumps(engine)), copy.copy(engine), copy.deepcopy(engine)):
        assert repr(twin) == repr(engine)
        close(asyncio.run(twin([[5, 6]])), encoder()([[5, 6]]))


def test_limits_must_leave_something_to_do() -> None:
    for limits in ({"max_batch_tokens": 0}, {"max_wait_ms": -1}, {"max_requests": 0}):
        with pytest.raises(ValueError, match="must be at least"):
            tf.AsyncEngine(encoder(), **limits)  # type: ignore[arg-type]


def test_a_soak() -> None:
    """Answers, errors, cancellations and impatience, all mixed; benches/soak.py does 100,000 of them."""
    embedder, writer, chance = encoder(), decoder("llama"), random.Random(3)
    rng = np.random.default_rng(3)
    rows = [ids(rng) for _ in range(20)]
    embedded = [embedder(one) for one in rows]
    written = [writer.generate(one, max_new_tokens=6) for one in rows]
    forwards, texts = tf.AsyncEngine(embedder), tf.AsyncEngine(writer)

    async def one() -> str:
        pick, way = chance.randrange(len(rows)), chance.random()
        asks: Awaitable[Any]
        if writes := chance.random() < 0.5:
            asks = texts.generate(rows[pick], max_new_tokens=-1 if way < 0.1 else 6)
        else:
            asks = forwards([[10**6]] if way < 0.1 else rows[pick])
        if way < 0.1:
            with pytest.raises((IndexError, ValueError)):
                await asks
            return "refused"
        if way < 0.3:
            try:
                await asyncio.wait_for(asks, chance.random() * 0.02)
            except asyncio.TimeoutError:
                return "left"
            return "in time"
        if writes:
            np.testing.assert_array_equal(await asks, written[pick])
        else:
            close(await asks, embedded[pick])
        return "answered"

    async def client() -> list[str]:
        return [await one() for _ in range(30)]

    async def all_of_them() -> list[list[str]]:
        return await asyncio.wait_for(asyncio.gather(*(client() for _ in range(30))), 120)

    ends = [end for client in asyncio.run(all_of_them()) for end in client]
    assert {"refused", "left", "answered"} <= set(ends)
