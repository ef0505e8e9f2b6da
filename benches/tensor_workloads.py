"""What is timed with tensors: the same calls for trustformers, PyTorch and NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np

LARGE = 1 << 25
"""Elements of a large tensor: 128 MiB of float32, beyond any cache."""
REPEAT = 500
"""Calls of a small operation that are timed as one."""
WIDE = (4096, 768)

#: Bytes that an operation must at least move, for each element: what the bandwidth goal is about.
MOVES = {"add": 12, "multiply by a number": 8, "exp": 8, "sum": 4, "max": 4}


def repeated(call: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(REPEAT):
            call()

    return run


def elementwise(tensor: Callable[[np.ndarray], Any], library: Any) -> dict[str, Callable[[], Any]]:
    """Operations that all three have, on a large tensor and on one of 64 elements."""
    calls: dict[str, Callable[[], Any]] = {}
    rng = np.random.default_rng(0)
    for label, size in (("large", LARGE), ("64", 64)):
        x, y = (tensor(rng.standard_normal(size, dtype=np.float32)) for _ in range(2))
        operations = {
            "add": lambda x=x, y=y: x + y,
            "multiply by a number": lambda x=x: x * 2.5,
            "exp": lambda x=x: library.exp(x),
            "sum": lambda x=x: x.sum(),
            "max": lambda x=x: x.max(),
        }
        for name, call in operations.items():
            calls[f"{name}, {label}"] = call if size == LARGE else repeated(call)
    return calls


def networks(
    tensor: Callable[[np.ndarray], Any], functional: Any, softmax: Callable[[Any, int], Any]
) -> dict:
    """Operations of networks, for those that have them and gradients."""
    rng = np.random.default_rng(0)
    x, scale, shift = (tensor(rng.standard_normal(s, dtype=np.float32)) for s in (WIDE, WIDE[1], WIDE[1]))
    weight, bias = (tensor(rng.standard_normal(s, dtype=np.float32)) for s in ((3072, 768), 3072))
    leaves = [t.detach().clone().requires_grad_() for t in (x, weight, bias)]
    gradient = tensor(rng.standard_normal((4096, 3072), dtype=np.float32))

    def backward() -> None:
        functional.linear(*leaves).backward(gradient)
        for leaf in leaves:
            leaf.grad = None

    return {
        "softmax (4096, 768)": lambda: softmax(x, -1),
        "layer_norm (4096, 768)": lambda: functional.layer_norm(x, (768,), scale, shift),
        "gelu (4096, 768)": lambda: functional.gelu(x),
        "linear (4096, 768) by 3072": lambda: functional.linear(x, weight, bias),
        "linear, forward and backward": backward,
    }
