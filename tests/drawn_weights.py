"""Weights that are a function of their names, so that no fixture has to carry them.

Whoever knows a tensor's name and shape can write it: the script that asks transformers what to expect, and
the tests, which need no torch. It is a hash and integer sums, so it gives the same bits on every machine.

A fresh model would hide errors: its biases are zero, its norms are one, and its matrices so small that
attention is nearly uniform. Here activations keep the size of one, and attention has clear favourites.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np


def draw(seed: str, name: str, shape: Sequence[int]) -> np.ndarray:
    """The float32 values of a tensor.

    A vector called `weight` is a norm's scale: evenly from 0.5 to 1.5. Every other vector is a bias, roughly
    normal with deviation 0.2. A matrix is roughly normal with deviation 1/sqrt(fan_in), where all after the
    first axis comes in (so an embedding's deviation is 1/sqrt(width)).
    """
    count = math.prod(shape)
    if len(shape) < 2 and name.endswith("weight"):
        values = 0.5 + evenly(seed, name, count, parts=1)
    else:
        deviation = 0.2 if len(shape) < 2 or name.endswith("bias") else math.prod(shape[1:]) ** -0.5
        # The sum of four even numbers has variance 1/3 and is close to normal.
        values = deviation * math.sqrt(3) * (evenly(seed, name, count, parts=4) - 2)
    return values.reshape(shape).astype(np.float32)


def draw_all(seed: str, shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint."""
    return {name: draw(seed, name, shape) for name, shape in shapes.items()}


def evenly(seed: str, name: str, count: int, parts: int) -> np.ndarray:
    """Sums of `parts` (up to 4) numbers from [0, 1), each 16 bits of a splitmix64 sequence from `name` on."""
    start = np.frombuffer(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "<u8")
    with np.errstate(over="ignore"):
        bits = start + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits ^= bits >> np.uint64(31)
    return sum(((bits >> np.uint64(16 * part)) & np.uint64(0xFFFF)) / 65536.0 for part in range(parts))
