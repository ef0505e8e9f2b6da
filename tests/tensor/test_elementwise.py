"""Functions of elements, against NumPy, over drawn shapes, strides and dtypes."""

import math
import operator

import numpy as np
import pytest
from drawn import FLOATS, INTEGERS, check, numbers
from hypothesis import assume, given
from hypothesis import strategies as st

import trustformers._engine as tf

erf = np.vectorize(math.erf, otypes=[float])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def normal(x):
    return (1 + erf(x / math.sqrt(2))) / 2


#: Each function of one number: what it computes, and where.
UNARY = {
    "exp": (np.exp, -8, 8),
    "exp2": (np.exp2, -8, 8),
    "expm1": (np.expm1, -2, 8),
    "log": (np.log, 0.01, 9),
    "log2": (np.log2, 0.01, 9),
    "log10": (np.log10, 0.01, 9),
    "log1p": (np.log1p, -0.9, 9),
    "sqrt": (np.sqrt, 0, 9),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 0.1, 9),
    "reciprocal": (lambda x: 1 / x, 0.1, 9),
    "sin": (np.sin, -6, 6),
    "cos": (np.cos, -6, 6),
    "tan": (np.tan, -1.4, 1.4),
    "asin": (np.arcsin, -0.99, 0.99),
    "acos": (np.arccos, -0.99, 0.99),
    "atan": (np.arctan, -8, 8),
    "sinh": (np.sinh, -4, 4),
    "cosh": (np.cosh, -4, 4),
    "tanh": (np.tanh, -4, 4),
    "erf": (erf, -4, 4),
    "sigmoid": (sigmoid, -8, 8),
    "silu": (lambda x: x * sigmoid(x), -8, 8),
    "gelu": (lambda x: x * normal(x), -4, 4),
}
#: Those that are exact, and keep integers integers.
EXACT = {
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "square": np.square,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "trunc": np.trunc,
    "relu": lambda x: np.maximum(x, x.dtype.type(0)),
}


@pytest.mark.parametrize("name", UNARY)
@given(data=st.data())
def test_functions_of_one_number(name: str, data) -> None:
    function, low, high = UNARY[name]
    x = data.draw(numbers(low=low, high=high))
    expected = np.asarray(function(x.astype(np.float64))).astype(x.dtype)
    rtol = 4e-6
    check(getattr(tf.as_tensor(x), name)(), expected, rtol, rtol)
    if hasattr(tf.Tensor, f"{name}_"):
        copy = tf.tensor(x)
        assert getattr(copy, f"{name}_")() is copy
        check(copy, expected, rtol, rtol)


@pytest.mark.parametrize("name", EXACT)
@given(data=st.data())
def test_exact_functions(name: str, data) -> None:
    x = data.draw(numbers([*FLOATS, "int8", "int32", "int64"]))
    expected = EXACT[name](x).astype(x.dtype)
    got = getattr(tf.as_tensor(x), name)()
    assert got.dtype == x.dtype
    np.testing.assert_array_equal(got.numpy(), expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", UNARY)
def test_half_precision_rounds_once(name: str, dtype: str) -> None:
    function, low, high = UNARY[name]
    x = tf.tensor(np.linspace(low, high, 300), dtype=dtype)
    got, exact = getattr(x, name)(), function(x.double().numpy())
    assert got.dtype == dtype
    steps = 2.0**-10 if dtype == "float16" else 2.0**-7
    np.testing.assert_allclose(got.double().numpy(), exact, rtol=steps, atol=steps / 8)


@pytest.mark.parametrize("name", UNARY)
def test_fractions_of_integers_are_float32(name: str) -> None:
    assert getattr(tf.tensor([1]), name)().dtype == "float32"


OPERATORS = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
}


@st.composite
def pairs(
    draw: st.DrawFn, dtypes: list[str], low: float = -8, high: float = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays that broadcast."""
    x = draw(numbers(dtypes, low, high))
    keep = [draw(st.booleans()) for _ in x.shape]
    shape = [size if kept else 1 for size, kept in zip(x.shape, keep, strict=True)]
    shape = shape[draw(st.integers(0, x.ndim)) :]
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    y = rng.uniform(low, high, shape).astype(x.dtype)
    return (x, y) if draw(st.booleans()) else (y, x)


@pytest.mark.parametrize("sign", OPERATORS)
@given(data=st.data())
def test_arithmetic(sign: str, data) -> None:
    x, y = data.draw(pairs([*FLOATS, *INTEGERS], 0, 8))
    with np.errstate(over="ignore"):
        expected = np.asarray(OPERATORS[sign](x, y))
    got = OPERATORS[sign](tf.as_tensor(x), tf.as_tensor(y))
    check(got, expected, 0, 0)
    check(OPERATORS[sign](x, tf.as_tensor(y)), expected, 0, 0)
    check(OPERATORS[sign](tf.as_tensor(x), y), expected, 0, 0)


@given(pairs(FLOATS, 0.5, 8))
def test_division(pair) -> None:
    x, y = pair
    check(tf.as_tensor(x) / tf.as_tensor(y), np.asarray(x / y))
    check(tf.as_tensor(x) // tf.as_tensor(y), np.asarray(x // y), 0, 0)
    check(tf.as_tensor(x) % tf.as_tensor(y), np.asarray(x % y), 1e-5, 1e-5)
    check(tf.as_tensor(x) ** tf.as_tensor(y), np.asarray(x**y), 1e-5)
    check(tf.maximum(tf.as_tensor(x), y), np.asarray(np.maximum(x, y)), 0, 0)
    check(tf.minimum(tf.as_tensor(x), y), np.asarray(np.minimum(x, y)), 0, 0)
    check(tf.atan2(tf.as_tensor(x), y), np.asarray(np.arctan2(x, y)))


@given(pairs(["int8", "int32", "int64"], 1, 9))
def test_division_of_integers(pair) -> None:
    x, y = pair
    x = -x
    check(tf.as_tensor(x) // tf.as_tensor(y), np.asarray(x // y))
    check(tf.as_tensor(x) % tf.as_tensor(y), np.asarray(x % y))
    check(tf.as_tensor(x) / tf.as_tensor(y), np.asarray(x / y).astype(np.float32))
    check(tf.as_tensor(x) & tf.as_tensor(y), np.asarray(x & y))
    check(tf.as_tensor(x) | tf.as_tensor(y), np.asarray(x | y))
    check(tf.as_tensor(x) ^ tf.as_tensor(y), np.asarray(x ^ y))
    check(~tf.as_tensor(x), np.asarray(~x))


def test_integers_divided_by_zero() -> None:
    for function in (lambda x, y: x // y, lambda x, y: x % y):
        with pytest.raises((ValueError, ZeroDivisionError)):
            function(tf.tensor([1]), tf.tensor([0]))


@given(pairs([*FLOATS, "int32", "bool"], 0, 3))
def test_comparisons(pair) -> None:
    x, y = pair
    a, b = tf.as_tensor(x), tf.as_tensor(y)
    for got, expected in [
        (a == b, x == y), (a != b, x != y), (a < b, x < y), (a <= b, x <= y),
        (a > b, x > y), (a >= b, x >= y),
        (tf.logical_and(a, b), np.logical_and(x, y)), (tf.logical_or(a, b), np.logical_or(x, y)),
        (tf.logical_xor(a, b), np.logical_xor(x, y)), (a.logical_not(), np.logical_not(x)),
    ]:  # fmt: skip
        check(got, np.asarray(expected), 0, 0)


@given(pairs(FLOATS))
def test_choosing(pair) -> None:
    x, y = pair
    a, b = tf.as_tensor(x), tf.as_tensor(y)
    check(tf.where(a > b, a, b), np.asarray(np.where(x > y, x, y)), 0, 0)
    check(tf.where(a > b, a, 0.5), np.where(x > y, x, x.dtype.type(0.5)), 0, 0)
    check(a.clamp(-1, 2), np.clip(x, -1, 2), 0, 0)
    check(a.clamp(min=0), np.maximum(x, 0), 0, 0)
    check(a.masked_fill(a > 0, -1), np.where(x > 0, x.dtype.type(-1), x), 0, 0)
    assert a.isfinite().all().item()


def test_not_a_number() -> None:
    x = np.array([1, np.nan, np.inf, -np.inf], np.float32)
    t = tf.as_tensor(x)
    assert t.isnan().tolist() == [False, True, False, False]
    assert t.isinf().tolist() == [False, False, True, True]
    assert (t == t).tolist() == [True, False, True, True]
    assert np.isnan(t.relu().numpy()[1])
    assert np.isnan(tf.maximum(t, 0).numpy()[1])


@given(pairs([*FLOATS, "int64"], 1, 8))
def test_in_place_writes_the_arrays_memory(pair) -> None:
    x, y = pair
    if np.broadcast_shapes(x.shape, y.shape) != x.shape:
        x, y = y, x
    assume(np.broadcast_shapes(x.shape, y.shape) == x.shape)
    memory = x.copy()
    t = tf.Tensor.from_numpy(memory)
    same = t
    t += y
    t *= 2
    t -= y
    assert t is same
    with np.errstate(over="ignore"):
        expected = (x + y) * 2 - y
    np.testing.assert_allclose(memory, expected, rtol=1e-6)
    assert t.add_(1).sub_(1, alpha=2) is t
    np.testing.assert_allclose(memory, expected - 1, rtol=1e-6)
    assert t.zero_().sum().item() == 0
    assert not memory.any()


def test_python_numbers_do_not_widen() -> None:
    for dtype in ["float16", "bfloat16", "float32", "float64"]:
        x = tf.ones(2, dtype=dtype)
        for result in (
            x + 1,
            1 + x,
            x * 2.5,
            2.5 * x,
            x - True,
            1 / x,
            x**2,
            2**x,
            np.float64(2) * x,
            x + np.int64(1),
        ):
            assert result.dtype == dtype
    x = tf.ones(2, dtype="uint8")
    assert (x + 1).dtype == "uint8"
    assert (x * 1.5).dtype == "float32"
    assert (1.5 - tf.ones(2, dtype="float64")).tolist() == [0.5, 0.5]
    assert (1.1 - tf.zeros(1, dtype="float64")).item() == 1.1


def test_lists_and_arrays_are_operands() -> None:
    x = tf.tensor([1.0, 2.0])
    assert operator.add(x, [1, 2]).tolist() == [2, 4]
    assert operator.add([1, 2], x).tolist() == [2, 4]
    assert ([1, 2] - x).tolist() == [0, 0]
    assert (np.array([3.0, 4.0]) / x).tolist() == [3, 2]
    assert type(np.float32(3) * x) is tf.Tensor
    assert (x == "text") is False
    assert (x != None) is True  # noqa: E711
