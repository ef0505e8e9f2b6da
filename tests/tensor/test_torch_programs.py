"""Programs of operations drawn at random: values, dtypes, gradients and refusals, against PyTorch's."""

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest

import trustformers._engine as tf

torch = pytest.importorskip("torch")

Operation = Callable[[Any, Any, Any], Any]
UNARY = ("exp", "tanh", "sigmoid", "relu", "abs", "neg", "square", "sin", "cos", "erf", "logical_not")
ALONG = (
    "softmax",
    "log_softmax",
    "cumsum",
    "cumprod",
    "logsumexp",
    "amax",
    "amin",
    "var",
    "std",
    "sum",
    "mean",
)


def drawn_index(random: Random, shape: tuple[int, ...]) -> Callable[[Any], tuple]:
    """An index of any kind, made anew for each library."""
    parts: list[Any] = []
    for size in shape:
        start, stop = sorted(random.randint(0, size) for _ in range(2))
        choices: list[Any] = [slice(None), slice(start, stop), slice(start, None, 2), None]
        if not any(isinstance(part, np.ndarray) for part in parts):
            choices.append(np.array([random.random() < 0.5 for _ in range(size)], bool))
            choices.append(np.array([random.randrange(-size, size) for _ in range(3) if size], int))
        if size:
            choices.append(random.randrange(-size, size))
        part = random.choice(choices)
        parts += [None, slice(None)] if part is None else [part]
    if random.random() < 0.3:
        parts = [*parts[: random.randint(0, len(parts))], ...]
    return lambda library: tuple(
        library.as_tensor(part) if isinstance(part, np.ndarray) else part for part in parts
    )


def drawn_operation(random: Random, shape: tuple[int, ...]) -> Operation:
    """One that takes a tensor of `shape`, any other tensor, and the library that both are of."""
    dim = random.randrange(-len(shape), len(shape)) if shape else 0
    order = random.sample(range(len(shape)), len(shape))
    unary, along, index = random.choice(UNARY), random.choice(ALONG), drawn_index(random, shape)
    binary, largest = random.choice(["add", "sub", "mul", "maximum"]), random.random() < 0.5

    def written(x: Any, y: Any, library: Any) -> Any:
        result = x * 1.0
        result[index(library)] = result[index(library)] * 0.5 if largest else 0.25
        return result

    return random.choice([
        lambda x, y, library: getattr(x, unary)() * 1.0,
        lambda x, y, library: getattr(x, binary)(y),
        lambda x, y, library: x / (y.abs() + 1),
        lambda x, y, library: getattr(x, along)(dim),
        lambda x, y, library: x.max(dim)[0] if largest else x.min(dim, keepdim=True)[0],
        lambda x, y, library: x.norm(2, dim),
        lambda x, y, library: x.permute(order),
        lambda x, y, library: x.reshape(-1),
        lambda x, y, library: x.flip(dim),
        lambda x, y, library: x.sort(dim, descending=largest)[0],
        lambda x, y, library: x.clamp(-0.5, 0.7),
        lambda x, y, library: x[index(library)],
        written,
        lambda x, y, library: library.where(x > y, x, y * 2),
        lambda x, y, library: library.cat([x, y], dim),
        lambda x, y, library: x @ y,
    ])  # fmt: skip


def outcome(operation: Callable[[], Any]) -> Any:
    """What it gives, or that it is refused."""
    try:
        return operation()
    except (ValueError, IndexError, TypeError, RuntimeError) as refusal:
        return refusal


@pytest.mark.parametrize("seed", range(150))
def test_programs(seed: int) -> None:
    random, rng = Random(seed), np.random.default_rng(seed)
    dtype = random.choice(["float32", "float64"])
    close = {"rtol": 1e-3, "atol": 1e-3} if dtype == "float32" else {"rtol": 1e-7, "atol": 1e-8}
    shapes = [[random.choice([0, 1, 2, 3, 4, 4, 3]) for _ in range(random.randint(0, 3))] for _ in range(3)]
    arrays = [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]
    theirs = [torch.tensor(array, requires_grad=True) for array in arrays]
    ours = [tf.tensor(array, requires_grad=True) for array in arrays]
    leaves = len(arrays)
    for _ in range(random.randint(2, 9)):
        first, second = random.randrange(len(ours)), random.randrange(len(ours))
        operation = drawn_operation(random, ours[first].shape)
        expected = outcome(lambda: operation(theirs[first], theirs[second], torch))  # noqa: B023
        got = outcome(lambda: operation(ours[first], ours[second], tf))  # noqa: B023
        assert isinstance(got, Exception) == isinstance(expected, Exception), (got, expected)
        if isinstance(got, Exception):
            continue
        assert got.shape == tuple(expected.shape)
        assert got.dtype == expected.dtype
        values = expected.detach().numpy()
        np.testing.assert_allclose(got.detach().numpy(), values, **close)
        if not np.all(np.abs(values) < 1e4):
            break  # Rounding would decide from here on.
        theirs.append(expected)
        ours.append(got)
    if len(ours) == leaves or not theirs[-1].requires_grad:
        return
    direction = np.asarray(rng.standard_normal(ours[-1].shape), dtype)
    theirs[-1].backward(torch.tensor(direction))
    ours[-1].backward(tf.tensor(direction))
    for mine, other in zip(ours[:leaves], theirs[:leaves], strict=True):
        assert (mine.grad is None) == (other.grad is None)
        if other.grad is not None:
            np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), **close)
