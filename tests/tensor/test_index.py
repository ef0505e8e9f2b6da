"""Reading and writing through indices, against NumPy."""

import copy
import pickle

import numpy as np
import pytest
from drawn import arrays
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import trustformers._engine as tf


@given(arrays(), st.data())
def test_slices_and_numbers_make_views(x: np.ndarray, data) -> None:
    key = data.draw(hnp.basic_indices(x.shape, allow_newaxis=True, allow_ellipsis=True))
    got, expected = tf.Tensor.from_numpy(x)[key], np.asarray(x[key])
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got.numpy(), expected)
    if expected.size:
        assert np.shares_memory(got.numpy(), x)


@given(arrays(min_dims=1, min_side=1), st.data())
def test_arrays_of_integers(x: np.ndarray, data) -> None:
    key = data.draw(
        hnp.integer_array_indices(x.shape, result_shape=hnp.array_shapes(min_dims=0, max_dims=2, max_side=3))
    )
    np.testing.assert_array_equal(tf.as_tensor(x)[key].numpy(), np.asarray(x[key]))
    as_tensors = tuple(tf.as_tensor(item) for item in key)
    np.testing.assert_array_equal(tf.as_tensor(x)[as_tensors].numpy(), np.asarray(x[key]))


@given(arrays(min_dims=2, min_side=1), st.data())
def test_arrays_among_slices(x: np.ndarray, data) -> None:
    rows = data.draw(
        hnp.arrays(np.int64, st.integers(0, 4), elements=st.integers(-x.shape[0], x.shape[0] - 1))
    )
    t = tf.as_tensor(x)
    np.testing.assert_array_equal(t[rows, ::-1].numpy(), x[rows, ::-1])
    np.testing.assert_array_equal(t[rows.tolist()].numpy(), x[rows.tolist()] if rows.size else x[:0])
    columns = rows % x.shape[-1]
    np.testing.assert_array_equal(t[..., columns].numpy(), x[..., columns])
    np.testing.assert_array_equal(t[rows, ..., columns].numpy(), x[rows, ..., columns])
    np.testing.assert_array_equal(t[rows, None].numpy(), x[rows, None])


@given(arrays(), st.data())
def test_masks(x: np.ndarray, data) -> None:
    dims = data.draw(st.integers(0, x.ndim))
    mask = data.draw(hnp.arrays(bool, x.shape[:dims]))
    np.testing.assert_array_equal(tf.as_tensor(x)[mask].numpy(), x[mask])
    whole = data.draw(hnp.arrays(bool, x.shape))
    if x.dtype.kind != "c":
        np.testing.assert_array_equal(tf.as_tensor(x).masked_select(whole).numpy(), x[whole])
        np.testing.assert_array_equal(tf.as_tensor(whole).nonzero().numpy(), np.argwhere(whole))


@given(arrays(["float32", "int64", "uint8", "complex64"], min_side=1), st.data())
def test_writing(x: np.ndarray, data) -> None:
    keys = [hnp.basic_indices(x.shape, allow_newaxis=True, allow_ellipsis=True), hnp.arrays(bool, x.shape)]
    if x.ndim:
        keys.append(hnp.integer_array_indices(x.shape))
    key = data.draw(st.one_of(keys))
    mine, theirs = np.array(x), np.array(x)
    t = tf.Tensor.from_numpy(mine)
    t[key] = x.dtype.type(3)
    theirs[key] = 3
    np.testing.assert_array_equal(mine, theirs)
    values = np.full(np.asarray(x[key]).shape, 5, x.dtype)
    t[key] = values
    theirs[key] = values
    np.testing.assert_array_equal(mine, theirs)


def test_positions_that_repeat() -> None:
    x = tf.zeros(3)
    x.index_put_((tf.tensor([0, 0, 2]),), tf.tensor([1.0, 2.0, 3.0]), accumulate=True)
    assert x.tolist() == [3, 0, 3]
    y = tf.zeros(2, 3).scatter_add(1, tf.tensor([[0, 0], [2, 1]]), tf.ones(2, 2))
    assert y.tolist() == [[2, 0, 0], [0, 1, 1]]
    assert tf.zeros(2, 3).scatter(1, tf.tensor([[1], [2]]), 7).tolist() == [[0, 7, 0], [0, 0, 7]]
    assert tf.arange(6).reshape(2, 3).index_select(1, tf.tensor([2, 0])).tolist() == [[2, 0], [5, 3]]


def test_indices_that_are_none() -> None:
    x = tf.arange(12).reshape(3, 4)
    for key, error in [
        (3, IndexError), (-4, IndexError), ((0, 4), IndexError), ((0, 0, 0), IndexError), ([5], IndexError),
        (tf.tensor([-4]), IndexError), (1 << 70, IndexError), ((..., ...), ValueError), ("a", TypeError),
        (1.5, TypeError),
        (np.array([0.5]), TypeError), ({}, TypeError), (slice(0, 2, 0), ValueError), (slice("a"), TypeError),
        (np.ones((2, 4), bool), (ValueError, IndexError)), (([0, 1], [0, 1, 2]), (ValueError, IndexError)),
    ]:  # fmt: skip
        with pytest.raises(error):
            x[key]
        with pytest.raises(error):
            x[key] = 1
    with pytest.raises(ValueError, match="broadcast"):
        x[0] = [1, 2, 3]
    assert x[1 << 70 :].shape == (0, 4)
    assert x[: 1 << 70].shape == (3, 4)
    assert x[-(1 << 70) :].shape == (3, 4)


def test_read_only_memory_is_not_written() -> None:
    array = np.zeros((2, 2))
    array.flags.writeable = False
    t = tf.Tensor.from_numpy(array)

    def assign() -> None:
        t[0] = 1

    for change in (assign, t.zero_, lambda: t.add_(1), lambda: t[0].fill_(1), t.exp_, lambda: t.__iadd__(1)):
        with pytest.raises(ValueError, match="read-only"):
            change()
    assert not array.any()


def test_iteration_membership_and_numbers() -> None:
    x = tf.tensor([[1, 2], [3, 4]])
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    assert 3 in x
    assert 9 not in x
    assert [10, 20, 30][tf.tensor(1)] == 20
    assert int(tf.tensor(2.9)) == 2
    assert float(tf.tensor([[2.5]])) == 2.5
    assert complex(tf.tensor(2)) == 2
    assert f"{tf.tensor(1.25):.1f}" == "1.2"
    assert bool(tf.tensor(1))
    with pytest.raises(ValueError, match="ambiguous"):
        bool(x)
    with pytest.raises(ValueError, match="one element"):
        float(x)
    with pytest.raises(TypeError, match="index"):
        [1, 2][tf.tensor(1.0)]
    with pytest.raises(TypeError, match="iterated"):
        iter(tf.tensor(1))


def test_copies_and_pickles() -> None:
    for dtype in ("float32", "bfloat16", "bool", "int8"):
        x = tf.tensor([[0, 1], [2, 3]], dtype=dtype).T
        for again in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
            assert again.dtype == dtype
            assert again.tolist() == x.tolist()
            assert again.data_ptr() != x.data_ptr()
    assert copy.copy(x).data_ptr() == x.data_ptr()
    leaf = tf.ones(1, requires_grad=True)
    assert pickle.loads(pickle.dumps(leaf)).requires_grad
    assert copy.deepcopy(leaf).requires_grad
    assert pickle.loads(pickle.dumps(tf.float16)) is tf.float16
    assert {x: 1}[x] == 1
