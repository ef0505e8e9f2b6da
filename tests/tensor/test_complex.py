"""Complex numbers: held, taken apart, converted and written; not computed with."""

import numpy as np
import pytest
from drawn import arrays
from hypothesis import given

import trustformers._engine as tf

COMPLEX = ["complex64", "complex128"]


@given(arrays(COMPLEX))
def test_parts_are_views(x: np.ndarray) -> None:
    memory = np.array(x * (1 - 2j), order="K")
    t = tf.Tensor.from_numpy(memory)
    for got, expected in [(t.real, memory.real), (t.imag, memory.imag), (t.conj(), memory.conj())]:
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got.numpy(), expected)
    t.imag.fill_(7)
    np.testing.assert_array_equal(memory.imag, np.full(memory.shape, 7))


@given(arrays())
def test_every_dtype_converts_to_and_from_complex(x: np.ndarray) -> None:
    t = tf.Tensor.from_numpy(x)
    for dtype in COMPLEX:
        np.testing.assert_array_equal(t.to(dtype).numpy(), x.astype(dtype))
    assert t.cfloat().dtype == "complex64"
    assert t.cdouble().dtype == "complex128"


@pytest.mark.parametrize("dtype", COMPLEX)
def test_imaginary_parts_are_discarded_with_a_warning(dtype: str) -> None:
    t = tf.tensor([1 + 2j, 3j], dtype=dtype)
    with pytest.warns(UserWarning, match="imaginary"):
        assert t.to("float32").tolist() == [1, 0]
    with pytest.warns(UserWarning, match="imaginary"):
        assert t.int().tolist() == [1, 0]
    assert t.bool().tolist() == [True, True]  # as torch, without a warning


def test_pythons_complex_numbers() -> None:
    t = tf.tensor([[1 + 2j, 3], [0, -1j]])
    assert t.dtype == "complex64"
    assert t.tolist() == [[1 + 2j, 3], [0, -1j]]
    assert t[0, 0].item() == 1 + 2j
    assert complex(t[0, 0]) == 1 + 2j
    assert repr(t[0]) == "tensor([1.+2.j, 3.+0.j])"
    assert "dtype=trustformers.complex128" in repr(t.cdouble())
    assert t[t != 0].tolist() == [1 + 2j, 3, -1j]
    assert (t == 3).tolist() == [[False, True], [False, False]]
    assert tf.full((2,), 1j).tolist() == [1j, 1j]
    assert tf.ones(2, dtype="complex128").tolist() == [1, 1]
    assert bool(tf.tensor(1j))


def test_indexing_and_assignment() -> None:
    memory = np.zeros((3, 2), np.complex64)
    t = tf.Tensor.from_numpy(memory)
    t[0] = 1 + 2j
    t[[1, 2], [0, 1]] = np.array([3j, 4])
    t[1, 1] = 5
    t[2:, 0] = tf.tensor([6j])
    np.testing.assert_array_equal(memory, [[1 + 2j, 1 + 2j], [3j, 5], [6j, 4]])
    assert t[[0, 2], 0].tolist() == [1 + 2j, 6j]
    t.fill_(1j)
    assert (memory == 1j).all()
    real = tf.zeros(2)
    for key in (0, [0]):
        with pytest.raises(TypeError, match=r"\.real"):
            real[key] = 1j


def test_what_is_not_there_says_so() -> None:
    t = tf.tensor([1j])
    with pytest.raises(TypeError, match="imaginary"):
        _ = tf.zeros(1).imag
    for refused in (lambda: t + 1, lambda: t < 1, lambda: t.exp(), lambda: t.sum(), lambda: t @ t):
        with pytest.raises(TypeError, match="real"):
            refused()
    with pytest.raises(RuntimeError, match="gradient"):
        tf.zeros(1, requires_grad=True).to("complex64")
