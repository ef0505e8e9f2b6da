"""Ask for 100,000 things of every kind: all must be answered, rightly, and memory stay what it was.

    python benches/soak.py
    python benches/soak.py --requests 10000

Clients of two AsyncEngines ask for embeddings, texts and streams. Some ask for what cannot be, some wait for
a few milliseconds only, some go away in the middle of it, and some leave a stream after its first piece.
Every answer is compared with what the model gives alone. Memory after a fifth of the requests is compared
with the less of what it is after four fifths and at the end. The result is soak.json in benches/results.
"""

import argparse
import asyncio
import ctypes
import gc
import json
import platform
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import comparison
import machine
import memory
import trustformers as tf
from packaged import minilm

CLIENTS = 64
#: Longer than anything takes.
PATIENCE = 600.0


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    options = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    options.add_argument("--requests", type=int, default=100_000)
    options.add_argument("--results", type=Path, default=comparison.RESULTS)
    chosen = options.parse_args()
    result = asyncio.run(Soak().run(chosen.requests))
    about = {"machine": machine.describe(), "versions": {"trustformers": tf.__version__}}
    (chosen.results / "soak.json").write_text(json.dumps(about | result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    grown = result["growth_of_memory"]
    if grown > 0.02:
        raise SystemExit(f"memory has grown by {grown:.1%}")


class Soak:
    """Clients, what they ask for, and what became of it."""

    def __init__(self) -> None:
        small: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        self.tokenizer = tf.AutoTokenizer.from_pretrained(minilm())
        vocabulary = self.tokenizer.vocab_size
        self.embedder = tf.BertModel(tf.BertConfig(**small, intermediate_size=64, vocab_size=1000), seed=1)
        config = tf.GPT2Config(n_embd=16, n_layer=2, n_head=4, vocab_size=vocabulary, eos_token_id=None)
        self.writer = tf.GPT2LMHeadModel(config, seed=2)
        self.forwards, self.texts = tf.AsyncEngine(self.embedder), tf.AsyncEngine(self.writer)
        rng = np.random.default_rng(3)
        self.rows = [rng.integers(5, 900, (1, rng.integers(1, 24))) for _ in range(50)]
        self.embedded = [self.embedder(one).last_hidden_state for one in self.rows]
        self.written = [self.writer.generate(one, max_new_tokens=6) for one in self.rows]
        self.ends: Counter[str] = Counter()
        self.chance = random.Random(4)

    async def run(self, requests: int) -> dict[str, Any]:
        start = time.perf_counter()
        marks, held = [], []
        for _ in range(5):
            shares = [self.client(requests // 5 // CLIENTS) for _ in range(CLIENTS)]
            await asyncio.gather(*shares)
            await asyncio.sleep(0.5)  # for threads that have nothing left to do
            marks.append(in_use_mb())
            held.append((tf.memory_allocated(), len(gc.get_objects())))
        return {
            "requests": sum(self.ends.values()),
            "ends": dict(self.ends),
            "seconds": round(time.perf_counter() - start, 1),
            "resident_mb": [round(mark, 1) for mark in marks],
            "bytes_of_the_engine": [engine for engine, _ in held],
            "objects_of_python": [objects for _, objects in held],
            # What is freed leaves holes, now more and now fewer. What is lost would be lost at both ends.
            "growth_of_memory": round(min(marks[-2:]) / marks[0] - 1, 4),
        }

    async def client(self, requests: int) -> None:
        for _ in range(requests):
            # Nothing may hang: this ends everything.
            self.ends[await asyncio.wait_for(self.request(), PATIENCE)] += 1

    async def request(self) -> str:
        pick, way, kind = self.chance.randrange(len(self.rows)), self.chance.random(), self.chance.random()
        if way < 0.1:
            return await self.refused(kind)
        if kind < 0.1:
            return await self.stream(pick, leaves=way < 0.4)
        asked = self.embedding(pick) if kind < 0.55 else self.text(pick)
        if way < 0.25:
            try:
                await asyncio.wait_for(asked, self.chance.random() * 0.01)
            except asyncio.TimeoutError:
                return "too late"
            return "in time"
        if way < 0.35:
            task = asyncio.ensure_future(asked)
            await asyncio.sleep(self.chance.random() * 0.01)
            task.cancel()
            await asyncio.wait([task])
            return "gone" if task.cancelled() else "in time"
        await asked
        return "answered"

    async def embedding(self, pick: int) -> None:
        outputs = await self.forwards(self.rows[pick])
        np.testing.assert_allclose(outputs.last_hidden_state, self.embedded[pick], rtol=1e-3, atol=1e-4)

    async def text(self, pick: int) -> None:
        written = await self.texts.generate(self.rows[pick], max_new_tokens=6)
        np.testing.assert_array_equal(written, self.written[pick])

    async def stream(self, pick: int, leaves: bool) -> str:
        pieces = self.texts.stream(self.rows[pick], tokenizer=self.tokenizer, max_new_tokens=6)
        found = []
        async for piece in pieces:
            found.append(piece)
            if leaves:
                await pieces.aclose()
                return "left"
        new = self.written[pick][0, self.rows[pick].shape[1] :]
        assert "".join(found) == self.tokenizer.decode(new, skip_special_tokens=True)
        return "streamed"

    async def refused(self, kind: float) -> str:
        try:
            if kind < 0.5:
                await self.forwards([[5, 10**6]])
            else:
                await self.texts.generate([[5]], max_new_tokens=-1)
        except (IndexError, ValueError):
            return "refused"
        raise AssertionError("what cannot be was answered")


def in_use_mb() -> float:
    """The memory of this process, after everyone has given back what they keep for reuse."""
    gc.collect()
    tf.empty_cache()
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
    return memory.resident_mb()


if __name__ == "__main__":
    main()
