"""What is timed with tensors: the same calls for trustformers, PyTorch and NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np

SIZES = {"128 MiB": 1 << 25, "1 GiB": 1 << 28}
"""Elements of large tensors, of float32."""
SMALL = "64 elements"
REPEAT = 500
"""Calls of a small operation that are timed as one."""
WIDE = (4096, 768)

MOVES = {
    **{"add": 12, "where": 13, "x > y": 9, "to float64": 12},
    **dict.fromkeys(("multiply by a number", "add a row", "relu", "sqrt", "copy"), 8),
    **dict.fromkeys(("exp", "tanh", "gelu"), 8),
    **dict.fromkeys(("sum", "mean", "max", "argmax", "var"), 4),
    **dict.fromkeys(("sum of columns", "sum of rows", "max of columns", "argmax of rows"), 4),
}
"""Bytes that an operation must at least move, for each element: what the bandwidth goal is about."""


def repeated(call: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(REPEAT):
            call()

    return run


def drawn(size: int) -> np.ndarray:
    """Normally distributed numbers, drawn once and repeated."""
    block = np.random.default_rng(0).standard_normal(min(size, 1 << 20), dtype=np.float32)
    return np.resize(block, size)


def elementwise(tensor: Callable[[np.ndarray], Any], library: Any, gelu: Any, sizes: dict[str, int]) -> dict:
    """Operations that all three have, on large tensors and on small ones."""
    calls: dict[str, Callable[[], Any]] = {}
    for label, size in ({SMALL: 64} | sizes).items():
        x, y = tensor(drawn(size)), tensor(drawn(size))
        table = x.reshape(-1, min(size, 4096))
        row, chosen = table[0], x > y
        operations = {
            "add": lambda x=x, y=y: x + y,
            "multiply by a number": lambda x=x: x * 2.5,
            "add a row": lambda table=table, row=row: table + row,
            "where": lambda chosen=chosen, x=x, y=y: library.where(chosen, x, y),
            "x > y": lambda x=x, y=y: x > y,
            "exp": lambda x=x: library.exp(x),
            "tanh": lambda x=x: library.tanh(x),
            "sqrt": lambda x=x: library.sqrt(x),
            "sum": lambda x=x: x.sum(),
            "mean": lambda x=x: x.mean(),
            "max": lambda x=x: x.max(),
            "argmax": lambda x=x: x.argmax(),
            "var": lambda x=x: x.var(),
            "sum of columns": lambda table=table: table.sum(0),
            "sum of rows": lambda table=table: table.sum(1),
            "argmax of rows": lambda table=table: table.argmax(1),
        }
        if gelu is not None:
            operations |= {
                "relu": lambda x=x: x.relu(),
                "gelu": lambda x=x: gelu(x),
                "copy": lambda x=x: x.clone(),
                "to float64": lambda x=x: x.double(),
                "max of columns": lambda table=table: table.amax(0),
            }
        for name, call in operations.items():
            calls[f"{name}, {label}"] = repeated(call) if label == SMALL else call
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
    classes = tensor(rng.integers(0, WIDE[1], WIDE[0]))

    def both_ways(forward: Callable[[], Any], gradient: Any) -> Callable[[], None]:
        def run() -> None:
            forward().backward(gradient)
            for leaf in leaves:
                leaf.grad = None

        return run

    leaf = leaves[0]
    return {
        "softmax (4096, 768)": lambda: softmax(x, -1),
        "layer_norm (4096, 768)": lambda: functional.layer_norm(x, (768,), scale, shift),
        "gelu (4096, 768)": lambda: functional.gelu(x),
        "softmax, forward and backward": both_ways(lambda: softmax(leaf, -1), x),
        "layer_norm, forward and backward": both_ways(
            lambda: functional.layer_norm(leaf, (768,), scale, shift), x
        ),
        "gelu, forward and backward": both_ways(lambda: functional.gelu(leaf), x),
        "cross_entropy, forward and backward": both_ways(
            lambda: functional.cross_entropy(leaf, classes), None
        ),
        "linear (4096, 768) by 3072": lambda: functional.linear(x, weight, bias),
        "linear, forward and backward": both_ways(lambda: functional.linear(*leaves), gradient),
    }
