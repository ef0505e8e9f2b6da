"""Numbers about many elements, and views, against NumPy, over drawn shapes, strides and dtypes."""

import numpy as np
import pytest
from drawn import FLOATS, NUMPY_DTYPES, arrays, check, numbers
from hypothesis import given
from hypothesis import strategies as st

import trustformers._engine as tf


@st.composite
def with_axes(draw: st.DrawFn, **kind) -> tuple[np.ndarray, tuple[int, ...] | None]:
    x = draw(numbers(**kind))
    axes = draw(st.sets(st.integers(-x.ndim, x.ndim - 1))) if x.ndim else set()
    axes = tuple({axis % x.ndim: axis for axis in axes}.values())
    return x, axes or None


REDUCTIONS = {
    "sum": lambda x, axis, keepdims: np.sum(x, axis, keepdims=keepdims),
    "prod": lambda x, axis, keepdims: np.prod(x, axis, keepdims=keepdims),
    "mean": lambda x, axis, keepdims: np.mean(x, axis, keepdims=keepdims),
    "amax": lambda x, axis, keepdims: np.max(x, axis, keepdims=keepdims),
    "amin": lambda x, axis, keepdims: np.min(x, axis, keepdims=keepdims),
    "var": lambda x, axis, keepdims: np.var(x, axis, ddof=0, keepdims=keepdims),
    "std": lambda x, axis, keepdims: np.std(x, axis, ddof=0, keepdims=keepdims),
    "logsumexp": lambda x, axis, keepdims: np.log(np.sum(np.exp(x), axis, keepdims=keepdims)),
    "norm": lambda x, axis, keepdims: np.sqrt(np.sum(x * x, axis, keepdims=keepdims)),
    "any": lambda x, axis, keepdims: np.any(x, axis, keepdims=keepdims),
    "all": lambda x, axis, keepdims: np.all(x, axis, keepdims=keepdims),
}


@pytest.mark.parametrize("name", REDUCTIONS)
@given(data=st.data())
def test_reductions(name: str, data) -> None:
    x, axes = data.draw(with_axes(low=-2.0, high=2.0, min_side=1))
    keepdim = data.draw(st.booleans())
    wide = x if name in ("any", "all") else x.astype(np.float64)
    expected = np.asarray(REDUCTIONS[name](wide, axes, keepdim))
    expected = expected.astype(bool if name in ("any", "all") else x.dtype)
    options = {"correction": 0} if name in ("var", "std") else {}
    got = getattr(tf.as_tensor(x), name)(dim=axes, keepdim=keepdim, **options)
    check(got, expected, 1e-5, 1e-5)
    if axes:
        check(getattr(tf.as_tensor(x), name)(axis=axes, keepdim=keepdim, **options), expected, 1e-5, 1e-5)


@given(arrays(["int8", "uint8", "int32", "int64", "bool"]))
def test_sums_of_integers_are_int64(x: np.ndarray) -> None:
    check(tf.as_tensor(x).sum(), np.asarray(np.sum(x, dtype=np.int64)))
    check(tf.as_tensor(x).prod(), np.asarray(np.prod(x, dtype=np.int64)))


def test_reductions_of_nothing() -> None:
    x = tf.zeros(0, 3)
    assert x.sum(0).tolist() == [0, 0, 0]
    assert x.prod().item() == 1
    assert np.isnan(x.mean().item())
    assert x.all().item()
    for refused in (x.amax, x.argmax, lambda: x.max(0)):
        with pytest.raises((ValueError, IndexError), match="no elements"):
            refused()
    assert x.amax(1).shape == (0,)


REALS = [dtype for dtype in NUMPY_DTYPES if not dtype.startswith("complex")]


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@given(x=arrays(REALS, min_side=1), data=st.data())
def test_places_of_extremes_are_the_first(name: str, x: np.ndarray, data) -> None:
    if x.dtype.kind == "f" and data.draw(st.booleans(), "with NaN"):
        x = np.where(x % 5 == 3, np.nan, x).astype(x.dtype)
    t = tf.Tensor.from_numpy(x)
    dim = data.draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]), "dim")
    keep = data.draw(st.booleans(), "keepdim")
    check(getattr(t, name)(dim, keep), np.asarray(getattr(np, name)(x, dim, keepdims=keep)))


@given(numbers([*FLOATS, "int32"], min_dims=1, min_side=1), st.data())
def test_extremes(x: np.ndarray, data) -> None:
    dim = data.draw(st.integers(-x.ndim, x.ndim - 1))
    t = tf.as_tensor(x)
    check(t.argmax(dim), np.asarray(np.argmax(x, dim)))
    check(t.argmin(dim), np.asarray(np.argmin(x, dim)))
    check(t.argmax(), np.asarray(np.argmax(x)))
    values, indices = t.max(dim)
    check(values, np.asarray(np.max(x, dim)), 0, 0)
    check(indices, np.asarray(np.argmax(x, dim)))
    assert t.min(dim).values.tolist() == np.min(x, dim).tolist()
    check(t.max(), np.asarray(np.max(x)), 0, 0)
    check(t.cumsum(dim), np.cumsum(x, dim, dtype=x.dtype if x.dtype.kind == "f" else np.int64), 1e-4, 1e-4)


@given(numbers([*FLOATS, "int32"], min_dims=1, min_side=1), st.data())
def test_sorting(x: np.ndarray, data) -> None:
    dim = data.draw(st.integers(-x.ndim, x.ndim - 1))
    t = tf.as_tensor(x)
    order = np.argsort(x, dim, kind="stable")
    check(t.argsort(dim), order)
    values, indices = t.sort(dim)
    check(values, np.sort(x, dim), 0, 0)
    check(indices, order)
    k = data.draw(st.integers(0, x.shape[dim]))
    top = t.topk(k, dim)
    check(top.values, np.flip(np.sort(x, dim), dim).take(range(k), dim), 0, 0)
    check(t.gather(dim, top.indices), top.values.numpy(), 0, 0)
    values, inverse, counts = t.unique(return_inverse=True, return_counts=True)
    expected = np.unique(x, return_counts=True)
    check(values, expected[0], 0, 0)
    check(counts, expected[1])
    check(values[inverse], x, 0, 0)


@given(arrays(), st.data())
def test_views(x: np.ndarray, data) -> None:
    t = tf.Tensor.from_numpy(x)

    def same(got: tf.Tensor, expected: np.ndarray, shared: bool = True) -> None:
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got.numpy(), expected)
        if shared and x.size:
            assert np.shares_memory(got.numpy(), x)

    order = data.draw(st.permutations(range(x.ndim)))
    same(t.permute(*order), x.transpose(order))
    same(t.permute(order), x.transpose(order))
    same(t.T, x.T)
    same(t.unsqueeze(-1), x[..., None])
    same(t.unsqueeze(0).squeeze(0), x)
    same(t.squeeze(), x.squeeze())
    same(t.reshape(-1) if x.size else t.reshape(0), x.reshape(-1), shared=False)
    same(t.flatten(), x.reshape(-1), shared=False)
    same(t.expand(3, *x.shape), np.broadcast_to(x, (3, *x.shape)))
    same(t.contiguous(), x, shared=False)
    same(t.clone(), x, shared=False)
    assert not np.shares_memory(t.clone().numpy(), x)
    same(t.repeat(2, *[1] * x.ndim), np.tile(x, (2, *[1] * x.ndim)), shared=False)
    if x.ndim:
        axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
        same(t.transpose(axis, 0), np.swapaxes(x, axis, 0))
        same(t.movedim(axis, 0), np.moveaxis(x, axis, 0))
        same(t.flip(axis), np.flip(x, axis), shared=False)
        same(t.roll(2, axis), np.roll(x, 2, axis), shared=False)
        for part, expected in zip(
            t.split(2, axis), np.split(x, range(2, x.shape[axis], 2), axis), strict=True
        ):
            same(part, expected, shared=False)
        if x.shape[axis]:
            same(tf.cat(t.chunk(3, axis), axis), x, shared=False)
            same(tf.stack(t.unbind(axis), axis), x, shared=False)
            same(t.select(axis, -1), x.take(-1, axis))
            same(t.narrow(axis, -1, 1), x.take([-1], axis))


def test_cat_promotes_and_stack_wants_one_shape() -> None:
    joined = tf.cat([tf.tensor([1]), tf.tensor([2.5])])
    assert joined.dtype == "float32"
    assert joined.tolist() == [1, 2.5]
    with pytest.raises(ValueError, match=r"\[2\].*\[3\]|\[3\].*\[2\]"):
        tf.stack([tf.zeros(2), tf.zeros(3)])
    with pytest.raises((ValueError, TypeError)):
        tf.cat([])


@pytest.mark.parametrize("source", [*NUMPY_DTYPES[:12], "bfloat16"])
@pytest.mark.parametrize("target", [*NUMPY_DTYPES[:12], "bfloat16"])
def test_every_dtype_converts_to_every_other(source: str, target: str) -> None:
    x = tf.tensor([0, 1, 3], dtype=source)
    y = x.to(target)
    assert y.dtype == target
    expected = [0, 1, 1] if "bool" in (source, target) else [0, 1, 3]
    assert y.double().tolist() == expected
    assert x.to(x.dtype).data_ptr() == x.data_ptr()
    assert x.to(x.dtype, copy=True).data_ptr() != x.data_ptr()


def test_torchs_names_of_conversions() -> None:
    x = tf.tensor([1.5, 0])
    for name, dtype in {
        "half": "float16", "bfloat16": "bfloat16", "float": "float32", "double": "float64",
        "long": "int64", "int": "int32",
        "short": "int16", "char": "int8", "byte": "uint8", "bool": "bool",
    }.items():  # fmt: skip
        assert getattr(x, name)().dtype == dtype
    assert x.cpu().to("cpu").to(tf.tensor([1])).tolist() == [1, 0]
    assert x.type_as(tf.tensor([1])).dtype == "int64"
    assert x.view("int32").dtype == "int32"
    assert x.view(tf.int32).view("float32").tolist() == [1.5, 0]
    with pytest.raises(ValueError, match="width"):
        x.view("float64")
    with pytest.raises(RuntimeError, match="CUDA"):
        x.to("cuda:99")
    with pytest.raises(TypeError, match="float8"):
        x.to(dtype="float8")


def test_creation() -> None:
    check(tf.zeros(2, 3), np.zeros((2, 3), np.float32))
    check(tf.ones((2,), dtype="int8"), np.ones(2, np.int8))
    check(tf.full((2, 2), 7), np.full((2, 2), 7))
    check(tf.full((1,), 0.5), np.full(1, 0.5, np.float32))
    check(tf.arange(5), np.arange(5))
    check(tf.arange(1, 2, 0.25), np.arange(1, 2, 0.25, np.float32))
    check(tf.arange(5, 0, -2), np.arange(5, 0, -2))
    check(tf.linspace(0, 1, 5), np.linspace(0, 1, 5, dtype=np.float32))
    check(tf.eye(3), np.eye(3, dtype=np.float32))
    check(tf.zeros_like(tf.ones(2, dtype="int16")), np.zeros(2, np.int16))
    check(tf.tensor([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]]))
    array = np.ones(3)
    assert tf.tensor(array).data_ptr() != array.ctypes.data
    assert tf.tensor(array).dtype == "float64"
    check(tf.ones(3, 3).tril(), np.tril(np.ones((3, 3), np.float32)))
    check(tf.ones(3, 3).triu(1), np.triu(np.ones((3, 3), np.float32), 1))


def test_random_numbers_repeat_after_a_seed() -> None:
    tf.manual_seed(3)
    first = tf.rand(4), tf.randn(4), tf.randint(0, 9, (4,)), tf.randperm(5)
    tf.manual_seed(3)
    second = tf.rand(4), tf.randn(4), tf.randint(0, 9, (4,)), tf.randperm(5)
    for a, b in zip(first, second, strict=True):
        assert a.tolist() == b.tolist()
    assert sorted(tf.randperm(50).tolist()) == list(range(50))
    sample = tf.randn(20000)
    assert abs(sample.mean().item()) < 0.05
    assert abs(sample.std().item() - 1) < 0.05


@given(numbers(min_dims=1), st.data())
def test_softmax(x: np.ndarray, data) -> None:
    dim = data.draw(st.integers(-x.ndim, x.ndim - 1))
    wide = x.astype(np.float64)
    exp = np.exp(wide)
    expected = exp / exp.sum(dim, keepdims=True)
    check(tf.as_tensor(x).softmax(dim), expected.astype(x.dtype), 1e-5, 1e-6)
    check(tf.softmax(tf.as_tensor(x), dim=dim), expected.astype(x.dtype), 1e-5, 1e-6)
    check(tf.as_tensor(x).log_softmax(axis=dim), np.log(expected).astype(x.dtype), 1e-5, 1e-5)


@given(st.data())
def test_products(data) -> None:
    rows, inner, columns, batch = (data.draw(st.integers(0, 6)) for _ in range(4))
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 30)))
    dtype = data.draw(st.sampled_from(FLOATS))
    a = rng.standard_normal((rows, inner)).astype(dtype)
    b = rng.standard_normal((columns, inner)).astype(dtype).T
    many = rng.standard_normal((batch, 1, inner, rows)).astype(dtype).swapaxes(2, 3)
    for x, y in [
        (a, b),
        (a, b[:, 0] if columns else b),
        (many, b),
        (many, rng.standard_normal((3, inner, 2)).astype(dtype)),
    ]:
        expected = (x.astype(np.float64) @ y.astype(np.float64)).astype(dtype)
        check(tf.as_tensor(x) @ tf.as_tensor(y), expected, 1e-5, 1e-5)
        check(tf.matmul(tf.as_tensor(x), y), expected, 1e-5, 1e-5)
        check(np.asarray(x) @ tf.as_tensor(y), expected, 1e-5, 1e-5)


def test_products_that_do_not_fit_name_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"\[2, 3\] and \[4, 5\]"):
        tf.zeros(2, 3) @ tf.zeros(4, 5)
    with pytest.raises(ValueError, match=r"\[2\b.* and \[3\b"):
        tf.zeros(2, 2, 3) @ tf.zeros(3, 3, 2)
