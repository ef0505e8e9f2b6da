"""Dtypes of results and gradients of network operations, against PyTorch's."""

import numpy as np
import pytest

import trustformers._engine as tf

torch = pytest.importorskip("torch")

REAL = ["bool", "int8", "int16", "int32", "int64", "uint8", "float16", "bfloat16", "float32", "float64"]


def both(dtype: str, shape: tuple[int, ...]):
    theirs = torch.ones(shape, dtype=getattr(torch, dtype))
    return theirs, tf.Tensor.from_torch(theirs)


@pytest.mark.parametrize("left", REAL)
@pytest.mark.parametrize("right", REAL)
@pytest.mark.parametrize("shapes", [((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())])
def test_dtypes_promote_as_torchs(left: str, right: str, shapes) -> None:
    (a, x), (b, y) = both(left, shapes[0]), both(right, shapes[1])
    operations = {"add": (a + b, x + y), "mul": (a * b, x * y), "div": (a / b, x / y), "eq": (a == b, x == y)}
    operations["maximum"] = torch.maximum(a, b), x.maximum(y)
    operations["where"] = torch.where(a == b, a, b), tf.where(x == y, x, y)
    operations["cat"] = torch.cat([a.reshape(-1), b.reshape(-1)]), tf.cat([x.reshape(-1), y.reshape(-1)])
    for name, (theirs, ours) in operations.items():
        assert ours.dtype == theirs.dtype, name


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("number", [True, 2, 2.5])
@pytest.mark.parametrize("shape", [(2,), ()])
def test_dtypes_beside_numbers(dtype: str, number, shape) -> None:
    a, x = both(dtype, shape)
    assert (x + number).dtype == (a + number).dtype
    assert (number + x).dtype == (number + a).dtype
    assert (x * number).dtype == (a * number).dtype
    assert (x / number).dtype == (a / number).dtype
    assert (number / x).dtype == (number / a).dtype
    if "bool" not in (dtype, type(number).__name__):
        assert (number - x).dtype == (number - a).dtype


FUNCTIONS = {
    "softmax": lambda m, f, x, w, b: m.softmax(x, -1),
    "log_softmax": lambda m, f, x, w, b: m.log_softmax(x, 0),
    "gelu": lambda m, f, x, w, b: f.gelu(x),
    "gelu by tanh": lambda m, f, x, w, b: f.gelu(x, approximate="tanh"),
    "layer_norm": lambda m, f, x, w, b: f.layer_norm(x, (6,), w[0], b[0]),
    "linear": lambda m, f, x, w, b: f.linear(x, w, b[:, 0]),
    "matmul": lambda m, f, x, w, b: x @ w.T,
    "embedding": lambda m, f, x, w, b: f.embedding(m.tensor([[3, 0], [0, 1]]), w),
    "cross_entropy": lambda m, f, x, w, b: f.cross_entropy(x, m.tensor([0, 5, -100, 2]), label_smoothing=0.1),
    "var": lambda m, f, x, w, b: x.var(1, correction=0) + x.std(),
    "max": lambda m, f, x, w, b: x.max(1).values * x.amax(),
    "index": lambda m, f, x, w, b: x[[1, 1, 0], 2:] * w[:3, ::2][:, :1],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name: str) -> None:
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(shape) for shape in ((4, 6), (5, 6), (5, 6))]
    theirs = [torch.tensor(array, requires_grad=True) for array in arrays]
    ours = [tf.tensor(array, requires_grad=True) for array in arrays]
    expected = FUNCTIONS[name](torch, torch.nn.functional, *theirs)
    got = FUNCTIONS[name](tf, tf, *ours)
    np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-6, atol=1e-7)
    (expected.square().sum()).backward()
    (got.square().sum()).backward()
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine.grad is None) == (other.grad is None)
        if other.grad is not None:
            np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-6, atol=1e-7)
