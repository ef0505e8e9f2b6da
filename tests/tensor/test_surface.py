"""What the other files leave out, against NumPy; and that no public method is left out."""

import re
from pathlib import Path

import numpy as np
import pytest
from drawn import FLOATS, INTEGERS, check, numbers
from hypothesis import given
from hypothesis import strategies as st
from test_elementwise import EXACT, UNARY, pairs

import trustformers._engine as tf

#: Functions of two numbers: what they compute, of which dtypes, and between which bounds.
BINARY = {
    "add": (np.add, [*FLOATS, *INTEGERS], (0, 8)),
    "sub": (np.subtract, [*FLOATS, *INTEGERS], (0, 8)),
    "mul": (np.multiply, [*FLOATS, *INTEGERS], (0, 8)),
    "div": (np.divide, FLOATS, (0.5, 8)),
    "floor_divide": (np.floor_divide, [*FLOATS, *INTEGERS], (1, 8)),
    "remainder": (np.remainder, [*FLOATS, *INTEGERS], (1, 8)),
    "pow": (np.power, [*FLOATS, *INTEGERS], (1, 4)),
    "atan2": (np.arctan2, FLOATS, (0.5, 8)),
    "bitwise_and": (np.bitwise_and, [*INTEGERS, "bool"], (0, 100)),
    "bitwise_or": (np.bitwise_or, [*INTEGERS, "bool"], (0, 100)),
    "bitwise_xor": (np.bitwise_xor, [*INTEGERS, "bool"], (0, 100)),
    "bitwise_left_shift": (np.left_shift, INTEGERS, (0, 4)),
    "bitwise_right_shift": (np.right_shift, INTEGERS, (0, 4)),
}
COMPARISONS = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less,
    "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
@given(data=st.data())
def test_functions_of_two_numbers(name: str, data) -> None:
    function, dtypes, bounds = BINARY[name]
    x, y = data.draw(pairs(dtypes, *bounds))
    with np.errstate(over="ignore"):
        expected = np.asarray(function(x, y)).astype(x.dtype)
    check(getattr(tf.as_tensor(x), name)(tf.as_tensor(y)), expected, 1e-5, 1e-5)
    if expected.shape == x.shape:
        memory = tf.tensor(x)
        assert getattr(memory, f"{name}_")(y) is memory
        check(memory, expected, 1e-5, 1e-5)


@pytest.mark.parametrize("name", COMPARISONS)
@given(data=st.data())
def test_comparisons_with_nan_and_infinity(name: str, data) -> None:
    special = st.sampled_from([np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, -1.0])
    dtype = data.draw(st.sampled_from(["float16", *FLOATS]))
    x, y = (np.array(data.draw(st.lists(special, min_size=5, max_size=5)), dtype) for _ in range(2))
    check(getattr(tf.as_tensor(x), name)(tf.as_tensor(y)), COMPARISONS[name](x, y), 0, 0)
    check(getattr(tf.as_tensor(x), name)(0.0), COMPARISONS[name](x, 0), 0, 0)


@given(st.data())
def test_extremes_order_and_bounds_with_nan(data) -> None:
    special = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1.0, 2.0, -1.0])
    shape = (data.draw(st.integers(1, 4)), data.draw(st.integers(1, 70)))
    count = shape[0] * shape[1]
    x = np.array(data.draw(st.lists(special, min_size=count, max_size=count)))
    x = x.reshape(shape).astype(data.draw(st.sampled_from(["float16", *FLOATS])))
    t, axis = tf.as_tensor(x), data.draw(st.integers(0, 1))
    for got, expected in [
        (t.amax(axis), np.max(x, axis)), (t.amin(axis), np.min(x, axis)),
        (t.max(), np.max(x)), (t.min(), np.min(x)),
        (t.max(axis).values, np.max(x, axis)), (t.max(axis).indices, np.argmax(x, axis)),
        (t.min(axis).values, np.min(x, axis)), (t.min(axis).indices, np.argmin(x, axis)),
        (t.argmax(axis), np.argmax(x, axis)), (t.argmin(axis), np.argmin(x, axis)),
        (t.argmax(), np.argmax(x)), (t.argmin(), np.argmin(x)),
        (t.sort(axis).values, np.sort(x, axis)), (t.argsort(axis), np.argsort(x, axis, kind="stable")),
        (t.topk(1, axis).values, np.max(x, axis, keepdims=True)),
        (t.clamp(-1, 1), np.clip(x, -1, 1)), (t.clamp(min=0), np.maximum(x, x.dtype.type(0))),
        (t.maximum(t.flip(axis)), np.maximum(x, np.flip(x, axis))),
        (t.minimum(t.flip(axis)), np.minimum(x, np.flip(x, axis))),
        (t.isnan(), np.isnan(x)),
    ]:  # fmt: skip
        assert got.dtype == np.asarray(expected).dtype
        np.testing.assert_array_equal(got.numpy(), expected)


@given(numbers([*FLOATS, "int32", "bool"], -2, 2, min_dims=1), st.data())
def test_running_products(x: np.ndarray, data) -> None:
    dim = data.draw(st.integers(-x.ndim, x.ndim - 1))
    kind = x.dtype if x.dtype.kind == "f" else np.int64
    check(tf.as_tensor(x).cumprod(dim), np.cumprod(x, dim, dtype=kind), 1e-4, 1e-4)


@given(st.data())
def test_names_of_products(data) -> None:
    batch, rows, inner, columns = (data.draw(st.integers(0, 4)) for _ in range(4))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    a = rng.standard_normal((batch, rows, inner)).astype(np.float32)
    b = rng.standard_normal((batch, columns, inner)).astype(np.float32).swapaxes(1, 2)
    check(tf.as_tensor(a).bmm(b), a @ b, 1e-5, 1e-5)
    check(tf.as_tensor(b).mT, b.swapaxes(1, 2), 0, 0)
    if batch:
        check(tf.as_tensor(a[0]).mm(b[0]), a[0] @ b[0], 1e-5, 1e-5)
        check(tf.as_tensor(a[0, 0] if rows else a[0].sum(0)).dot(np.ones(inner, np.float32)),
              np.asarray((a[0, 0] if rows else a[0].sum(0)).sum()), 1e-5, 1e-5)  # fmt: skip


@given(numbers())
def test_shapes_by_other_names(x: np.ndarray) -> None:
    t = tf.as_tensor(x)
    flat = tf.zeros(x.size)
    check(t.ravel(), x.ravel(), 0, 0)
    check(t.reshape_as(flat), x.reshape(-1), 0, 0)
    check(t.contiguous().view_as(flat), x.reshape(-1), 0, 0)
    check(t.expand_as(tf.zeros(2, *x.shape)), np.broadcast_to(x, (2, *x.shape)), 0, 0)
    assert (t.dim(), t.element_size()) == (x.ndim, x.itemsize)
    assert t.is_floating_point()
    assert not t.is_complex()


@given(numbers(["float32", "int32"]))
def test_writing_over(x: np.ndarray) -> None:
    t = tf.tensor(x)
    assert t.clamp_(-1, 2) is t
    check(t, np.clip(x, -1, 2), 0, 0)
    assert t.masked_fill_(t > 0, 5) is t
    expected = np.where(np.clip(x, -1, 2) > 0, x.dtype.type(5), np.clip(x, -1, 2))
    check(t, expected, 0, 0)
    assert t.copy_(x) is t
    check(t, x, 0, 0)
    check(tf.ones_like(t), np.ones_like(x), 0, 0)
    if x.dtype.kind == "i":
        check(t.bitwise_not(), ~x, 0, 0)
        assert t.bitwise_not_() is t
        check(t, ~x, 0, 0)


def test_chunks_of_nothing_are_as_many_as_asked_for() -> None:
    chunks = tf.zeros(0, 3).chunk(3)
    assert [chunk.shape for chunk in chunks] == [(0, 3)] * 3


def test_expanded_but_empty_memory_can_be_written() -> None:
    empty = tf.zeros(1).expand(0, 4)
    empty.fill_(1)
    empty += 1
    assert empty.shape == (0, 4)


def test_devices_that_are_not_there() -> None:
    makers = {
        "zeros": (2,), "ones": (2,), "full": ((2,), 1), "rand": (2,), "randn": (2,), "eye": (2,),
        "arange": (3,), "linspace": (0, 1, 3), "tensor": ([1],), "as_tensor": ([1],),
        "randint": (0, 3, (2,)), "randperm": (3,), "zeros_like": (tf.ones(2),), "ones_like": (tf.ones(2),),
    }  # fmt: skip
    for name, args in makers.items():
        made = getattr(tf, name)(*args, device="cpu")
        assert made.device == "cpu"
        assert (made.is_cpu, made.is_cuda, made.get_device()) == (True, False, -1)
        with pytest.raises(RuntimeError, match="CUDA"):
            getattr(tf, name)(*args, device="cuda:99")
        with pytest.raises(RuntimeError, match="'gpu' is not a device"):
            getattr(tf, name)(*args, device="gpu")
        with pytest.raises(RuntimeError, match="CUDA"):
            made.cuda(99)


def test_products_whose_batches_do_not_fit_name_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"\[2, 3, 4\] and \[5, 4, 6\]"):
        tf.zeros(2, 3, 4) @ tf.zeros(5, 4, 6)


def test_no_public_method_is_left_out() -> None:
    tests = "\n".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    in_tables = {f"{name}_" for name in (*UNARY, *EXACT, *BINARY)}
    names = [name for name in dir(tf.Tensor) if not name.startswith("_")]
    left_out = [name for name in names if name not in in_tables and not re.search(rf"[.\"']{name}\b", tests)]
    assert not left_out
