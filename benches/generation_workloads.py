"""What a language model is timed at: one token after another, a prompt at once, several texts at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from packaged import smollm2

#: Tokens that are written in one call.
WRITTEN = 32
#: Prompts, in tokens.
SHORT, LONG, PREFILL = 10, 1000, 512

#: Bytes that are read to know how fast memory is.
READ = 512 << 20
READING = "reading 512 MiB"
PARAMETERS_OF_GPT2 = 124_439_808


def weights(model: str) -> int:
    """Bytes that a step must read at least."""
    if model.startswith("SmolLM2"):
        return Path(smollm2()).stat().st_size
    return PARAMETERS_OF_GPT2 * (4 if model.endswith("f32") else 2)


class Model(Protocol):
    """A model as a subject opens it."""

    def write(self, prompt: list[list[int]], tokens: int) -> Any:
        """Write so many tokens behind prompts of one length, the likeliest ones, and stop for nothing."""


def prompt(length: int, batch: int = 1) -> list[list[int]]:
    """Token numbers that mean nothing."""
    return [[100 + (7 * row + 13 * place) % 20000 for place in range(length)] for row in range(batch)]


def calls(models: dict[str, Callable[[], Model]]) -> dict[str, Callable[[], Any]]:
    """The workloads of each model that a subject has; models are opened when they are first asked."""
    opened: dict[str, Model] = {}

    def write(name: str, length: int, tokens: int, batch: int = 1) -> Callable[[], Any]:
        def call() -> Any:
            if name not in opened:
                opened[name] = models[name]()
            return opened[name].write(prompt(length, batch), tokens)

        return call

    found = {}
    for name in models:
        found[f"{name}, {WRITTEN} tokens"] = write(name, SHORT, WRITTEN)
        found[f"{name}, {PREFILL} prompt tokens"] = write(name, PREFILL, 1)
        found[f"{name}, {WRITTEN} tokens behind {LONG - WRITTEN}"] = write(name, LONG - WRITTEN, WRITTEN)
        found[f"{name}, 1 token behind {LONG - WRITTEN}"] = write(name, LONG - WRITTEN, 1)
        found[f"{name}, {WRITTEN} tokens in each of 16 texts"] = write(name, SHORT, WRITTEN, 16)
    return found
