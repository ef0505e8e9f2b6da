"""What the warmed subjects are asked to do: ids to hidden states, or text to a normalised embedding."""

import time
from collections.abc import Callable

import numpy as np

WORDS = ["the", "cat", "sat", "while", "rain", "fell", "over", "green", "hills", "and", "small", "boats"]
BATCH_SIZES = (4, 8, 16, 32, 64)

RAGGED = np.random.default_rng(2).integers(4, 129, 64)
"""Tokens in each of the 64 sentences, [CLS] and [SEP] included."""

TOKENS = {
    "one sentence": 12,
    "1 x 16 ids": 16,
    "8 x 128 ids": 8 * 128,
    "64 ragged sentences": int(RAGGED.sum()),
}


def prepared(subject, sentence: str) -> dict[str, Callable[[], object]]:
    """The workloads that this subject can do, warmed and each at its fastest setting."""
    calls: dict[str, Callable[[], object]] = {"one sentence": lambda: subject.embed([sentence])}
    if hasattr(subject, "forward"):
        for batch, length in ((1, 16), (8, 128)):
            ids = np.random.default_rng(1).integers(1000, 20000, (batch, length))
            calls[f"{batch} x {length} ids"] = lambda ids=ids: subject.forward(ids)

    calls["64 ragged sentences"] = in_best_batches(subject.embed, ragged_sentences())

    for call in calls.values():
        for _ in range(3):
            call()
    return calls


def ragged_sentences() -> list[str]:
    """Every word is one token."""
    return [" ".join(np.random.default_rng(i).choice(WORDS, n - 2)) for i, n in enumerate(RAGGED)]


def in_best_batches(embed: Callable, texts: list[str]) -> Callable[[], np.ndarray]:
    """In batches of the size that makes it fastest."""
    return min((in_batches(embed, texts, size) for size in BATCH_SIZES), key=seconds)


def in_batches(embed: Callable, texts: list[str], size: int) -> Callable[[], np.ndarray]:
    """Sentences of similar length together, as sentence-transformers does it: less padding is faster."""

    def call() -> np.ndarray:
        order = np.argsort([-len(text) for text in texts])
        parts = [order[i : i + size] for i in range(0, len(order), size)]
        embeddings = np.concatenate([embed([texts[i] for i in part]) for part in parts])
        return embeddings[np.argsort(order)]

    return call


def seconds(call: Callable[[], object]) -> float:
    """The faster of two calls, after one to warm up."""
    call()
    times = []
    for _ in range(2):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
