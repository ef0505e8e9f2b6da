"""Measure what many clients of one event loop get: how fast, how long each waits, how late the loop is.

    python benches/asynchronous.py

64 clients embed short sentences with all-MiniLM-L6-v2, and 16 write with SmolLM2-135M-Instruct: through an
AsyncEngine all at once, or one await after another. Each of the 64 asks again as soon as it has its answer. A
loop that ticks every millisecond is timed meanwhile. The results are asynchronous.json, .md and .png in
benches/results.
"""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

import numpy as np

import comparison
import report
import trustformers as tf
from figures import Figure
from packaged import minilm, smollm2

CLIENTS, EACH, WRITERS, TOKENS = 64, 4, 16, 24
TICK = 0.001
LABELS = {"ours": "through AsyncEngine, all at once", "in_turn": "one await after another"}


def main() -> None:
    options = comparison.parser(__doc__, rounds=7).parse_args()
    described = comparison.described_machine()
    tf.set_num_threads(options.threads)
    figures = asyncio.run(measured(options.rounds))
    versions = {"trustformers": tf.__version__, "numpy": np.__version__}
    about = comparison.about(described, versions, options, clients=CLIENTS, each=EACH, writers=WRITERS)
    title = "Many clients in one event loop"
    print(report.write(figures, about, LABELS, options.results, "asynchronous", title))


async def measured(rounds: int) -> list[Figure]:
    embedder = await tf.AutoModel.from_pretrained_async(minilm())
    writer = await tf.AutoModelForCausalLM.from_pretrained_async(smollm2())
    rng = np.random.default_rng(1)
    queries = [rng.integers(1000, 20000, rng.integers(5, 13)).tolist() for _ in range(CLIENTS)]
    prompts = [rng.integers(1000, 20000, (1, rng.integers(5, 13))) for _ in range(WRITERS)]

    count = CLIENTS * EACH
    embedding = Figure(f"{count} embeddings of 5 to 12 tokens", "ms")
    embedding.times_less_than("in_turn", "one by one", 3)
    median, worst = Figure("latency of one, median", "ms"), Figure("latency of one, 99th percentile", "ms")
    writing = Figure(f"{WRITERS} texts of {TOKENS} tokens", "ms").times_less_than("in_turn", "one by one", 2)
    idle = Figure("the loop is late, while nothing runs", "ms")
    loading = Figure("the loop is late, while a model loads", "ms").at_most(10)
    late_embedding = Figure("the loop is late, while 32 forwards run", "ms").at_most(10)
    late_writing = Figure("the loop is late, while a text is written", "ms").at_most(10)

    for warm in [True, *[False] * rounds]:
        waits: list[float] = []
        engine = tf.AsyncEngine(embedder)
        together = await timed(clients(engine, queries, waits))
        alone, in_turn = await one_by_one(embedder.forward_async, queries * EACH)
        settings: dict[str, Any] = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "do_sample": False}
        texts = tf.AsyncEngine(writer)
        written = await timed(asyncio.gather(*(texts.generate(one, **settings) for one in prompts)))
        in_turn_written = await timed(each(writer.generate_async, prompts, settings))
        if warm:
            continue
        embedding.add("ours", together)
        embedding.add("in_turn", in_turn)
        for figure, share in ((median, 50), (worst, 99)):
            figure.add("ours", float(np.percentile(waits, share)))
            figure.add("in_turn", float(np.percentile(alone, share)))
        writing.add("ours", written)
        writing.add("in_turn", in_turn_written)
        idle.add("ours", await lateness(asyncio.sleep(0.5)))
        loading.add("ours", await lateness(tf.AutoModel.from_pretrained_async(minilm(), dtype="float16")))
        forwards = asyncio.gather(*(embedder.forward_async(query) for query in queries[:32]))
        late_embedding.add("ours", await lateness(forwards))
        late_writing.add("ours", await lateness(writer.generate_async(prompts[0], **settings)))
    return [embedding, median, worst, writing, idle, loading, late_embedding, late_writing]


async def timed(work: Awaitable[Any]) -> float:
    """How many milliseconds it takes."""
    start = time.perf_counter()
    await work
    return (time.perf_counter() - start) * 1e3


async def clients(engine: tf.AsyncEngine, queries: list[list[int]], waits: list[float]) -> None:
    """Everyone asks, waits for the answer and asks again."""

    async def client(query: list[int]) -> None:
        for _ in range(EACH):
            waits.append(await timed(engine(query)))

    await asyncio.gather(*(client(query) for query in queries))


async def one_by_one(call: Any, queries: list[list[int]]) -> tuple[list[float], float]:
    """What each takes, and all of them, in milliseconds."""
    waits = [await timed(call(query)) for query in queries]
    return waits, sum(waits)


async def each(call: Any, prompts: list[Any], settings: dict[str, Any]) -> None:
    for prompt in prompts:
        await call(prompt, **settings)


async def lateness(work: Awaitable[Any]) -> float:
    """How many milliseconds a loop that ticks every millisecond was late at most, until `work` was done."""
    task, worst = asyncio.ensure_future(work), 0.0
    while not task.done():
        due = time.perf_counter() + TICK
        await asyncio.sleep(TICK)
        worst = max(worst, time.perf_counter() - due)
    await task
    return worst * 1e3


if __name__ == "__main__":
    main()
