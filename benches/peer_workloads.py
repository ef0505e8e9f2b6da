"""What decides between ours and the peers, and the least that each of it takes on a machine."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import workloads
from generation_workloads import PREFILL, READ, READING, WRITTEN, weights

ROOT = Path(__file__).parent.parent

SHAPES = {"BERT-base f32": ((1, 16), (8, 128), (1, 512)), "BERT-base bf16": ((8, 128),)}
SHAPES["BERT-base int8"] = SHAPES["BERT-base bf16"]
MINILM = "MiniLM f32"
SENTENCES = f"{MINILM}, {len(workloads.RAGGED)} ragged sentences"
#: Those of generation_workloads that are decided here.
WRITING = (
    f"GPT-2 f32, {WRITTEN} tokens",
    f"GPT-2 bf16, {WRITTEN} tokens",
    f"SmolLM2 Q4_1, {WRITTEN} tokens",
    f"SmolLM2 Q4_1, {PREFILL} prompt tokens",
)
TEXTS, BEAMS = 4, 4
TRANSLATION = f"T5-small f32, {TEXTS} texts of {WRITTEN} tokens to {WRITTEN}, beam {BEAMS}"

#: What is computed on a machine to know its limits, and the function of limits.rs that does it.
FMA, BF16, INT8 = "products of f32", "products of bf16", "products of int8"
LOOPS = {FMA: "multiply_f32", BF16: "multiply_bf16", INT8: "multiply_int8"}
#: So many multiplications and additions in a call, of all threads together.
OPERATIONS = 400_000_000
#: A call of a limit, in operations or bytes.
LIMITS = dict.fromkeys(LOOPS, OPERATIONS) | {READING: READ}


@dataclass(frozen=True)
class Work:
    """What a call must do at least, whoever does it: operations of one kind, and bytes of weights to read."""

    operations: float
    bytes: float
    kind: str = FMA

    def limit(self, peaks: dict[str, float]) -> tuple[float, str] | None:
        """Milliseconds that the machine takes at its best, and what keeps it busy then.

        `peaks`: operations or bytes a second. None where it lacks the instructions.
        """
        if self.kind not in peaks or READING not in peaks:
            return None
        computing, reading = self.operations / peaks[self.kind], self.bytes / peaks[READING]
        return max((computing * 1e3, self.kind), (reading * 1e3, "reading"))


def encoder(lengths: list[int], layers: int, hidden: int, kind: str = FMA, size: int = 4) -> Work:
    """BERT on texts of so many tokens: 12 hidden² products a token in a layer, 2 hidden a pair of tokens."""
    parameters = 12 * hidden**2
    products = layers * sum(length * parameters + 2 * length**2 * hidden for length in lengths)
    return Work(2 * products, layers * parameters * size, kind)


def translation() -> Work:
    """T5 of its small size, whose decoder reads its weights at every step."""
    layers, hidden, wide, vocabulary = 6, 512, 2048, 32128
    attention, forward = 4 * hidden**2, 2 * hidden * wide
    # The keys and values of what was read are computed once.
    step = layers * (attention + attention // 2 + forward) + hidden * vocabulary
    once = layers * (attention + forward + attention // 2)
    products = TEXTS * WRITTEN * (once + BEAMS * step)
    return Work(2 * products, 4 * (once + WRITTEN * step))


def prefill() -> Work:
    """SmolLM2-135M reading a prompt: products of blocks are ones of 8-bit integers, attention is left out."""
    layers, hidden, keys, wide, vocabulary = 30, 576, 192, 1536, 49152
    layer = 2 * hidden**2 + 2 * hidden * keys + 3 * hidden * wide
    model = WRITING[-1].partition(",")[0]
    return Work(2 * (PREFILL * layers * layer + hidden * vocabulary), weights(model), INT8)


def works() -> dict[str, Work]:
    """Of every workload."""
    kinds = {"f32": (FMA, 4), "bf16": (BF16, 2), "int8": (INT8, 1)}
    found = {
        f"{name}, {batch} x {length}": encoder([length] * batch, 12, 768, *kinds[name.split()[1]])
        for name, shapes in SHAPES.items()
        for batch, length in shapes
    }
    found[SENTENCES] = encoder(workloads.RAGGED.tolist(), 6, 384)
    for name in WRITING[:-1]:
        found[name] = Work(0, WRITTEN * weights(name.partition(",")[0]))
    return found | {WRITING[-1]: prefill(), TRANSLATION: translation()}


class Encoder(Protocol):
    def forward(self, ids: np.ndarray) -> Any: ...

    def embed(self, texts: list[str]) -> np.ndarray: ...


def encoding(ways: dict[str, list[Callable[[], Encoder]]], texts: list[str]) -> dict[str, Callable[[], Any]]:
    """The workloads of the encoders that a subject has, each in the fastest of the ways in which it can.

    One encoder is in memory at a time: it is opened when it is first asked for.
    """

    @lru_cache(maxsize=1)
    def opened(name: str) -> list[Encoder]:
        return [way() for way in ways[name]]

    @lru_cache(maxsize=1)
    def fastest(workload: str) -> Callable[[], Any]:
        name, _, what = workload.partition(", ")
        if name == MINILM:
            calls = [workloads.in_best_batches(one.embed, texts) for one in opened(name)]
        else:
            shape = tuple(map(int, what.split(" x ")))
            ids = np.random.default_rng(1).integers(1000, 20000, shape)
            calls = [lambda one=one: one.forward(ids) for one in opened(name)]
        return min(calls, key=workloads.seconds) if len(calls) > 1 else calls[0]

    names = [name for name in works() if name.partition(",")[0] in ways]
    return {name: lambda name=name: fastest(name)() for name in names}


def writing(calls: dict[str, Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
    """Of what a subject can write, that which is decided here."""
    return {name: call for name, call in calls.items() if name in WRITING}


def sources() -> np.ndarray:
    """Ids of the texts that are translated: (texts, tokens)."""
    return np.random.default_rng(1).integers(100, 20000, (TEXTS, WRITTEN))


def lazily(opens: dict[str, Callable[[], Callable[[], Any]]]) -> dict[str, Callable[[], Any]]:
    """Workloads whose model is opened when they are first asked for, one at a time."""
    opened = lru_cache(maxsize=1)(lambda name: opens[name]())
    return {name: lambda name=name: opened(name)() for name in opens}
