"""Tensors where other libraries expect arrays: NumPy's protocols, buffers, DLPack."""

import ctypes
import gc
import sys
import weakref

import numpy as np
import pytest
from drawn import NUMPY_DTYPES, arrays
from hypothesis import given

import trustformers._engine as tf


@given(arrays())
def test_asarray_shares(array: np.ndarray) -> None:
    tensor = tf.Tensor.from_numpy(array)
    assert np.shares_memory(np.asarray(tensor), array) or not array.size
    copy = np.array(tensor)
    assert not np.shares_memory(copy, array)
    np.testing.assert_array_equal(copy, array)


def test_asarray_converts_only_when_it_may() -> None:
    tensor = tf.as_tensor([1, 2])
    assert np.asarray(tensor, dtype="float32").dtype == np.float32
    with pytest.raises(ValueError, match="without a copy"):
        tensor.__array__("float32", copy=False)
    with pytest.raises(ValueError, match="without a copy"):
        tf.as_tensor([1.0], dtype="bfloat16").__array__(copy=False)


def test_numpy_functions_return_tensors() -> None:
    tensor = tf.as_tensor([0.0, 1.0, 4.0])
    root = np.sqrt(tensor)
    assert type(root) is tf.Tensor
    assert root.tolist() == [0, 1, 2]
    both = np.concatenate([tensor, np.ones(1)])
    assert type(both) is tf.Tensor
    assert both.shape == (4,)
    assert type(np.add.reduce(tensor)) is tf.Tensor
    assert np.sum(tensor).item() == 5
    assert np.shape(tensor) == (3,)
    assert np.allclose(tensor, [0, 1, 4])
    parts = np.split(both, 2)
    assert [type(part) for part in parts] == [tf.Tensor, tf.Tensor]
    divided, rest = np.divmod(tensor, 3)
    assert (divided.tolist(), rest.tolist()) == ([0, 0, 1], [0, 1, 1])


def test_numpy_functions_keep_gradients_or_refuse() -> None:
    leaf = tf.ones(3, requires_grad=True)
    (np.exp(leaf) * np.float64(2)).sum().backward()
    np.testing.assert_allclose(leaf.grad.numpy(), 2 * np.e * np.ones(3), rtol=1e-6)
    for refused in (np.cbrt, np.asarray, np.cumsum, memoryview):
        with pytest.raises((RuntimeError, BufferError), match="detach"):
            refused(leaf)
    assert np.exp(tf.ones(1, dtype="bfloat16")).dtype == "bfloat16"


def test_numpy_writes_into_tensors() -> None:
    tensor, array = tf.as_tensor(np.zeros(2)), np.ones(2)
    assert np.add(array, 1, out=tensor) is tensor
    assert tensor.tolist() == [2, 2]
    array += tensor
    assert type(array) is np.ndarray
    assert array.tolist() == [3, 3]
    np.copyto(tensor, 7)
    assert tensor.tolist() == [7, 7]


def test_other_libraries_keep_their_say() -> None:
    class Other:
        def __array_ufunc__(self, *args, **kwargs):
            return "theirs"

    assert np.add(tf.as_tensor([1]), Other()) == "theirs"


@given(arrays())
def test_memoryview_shares(array: np.ndarray) -> None:
    view, expected = memoryview(tf.Tensor.from_numpy(array)), memoryview(array)
    assert view.shape == expected.shape
    assert view.format == expected.format
    assert view.readonly == expected.readonly
    assert view.tobytes() == expected.tobytes()


def test_a_memoryview_keeps_the_memory() -> None:
    array = np.arange(5.0)
    alive, view = weakref.ref(array), memoryview(tf.as_tensor(array))
    del array
    gc.collect()
    assert view[4] == 4
    view.release()
    gc.collect()
    assert alive() is None


def test_buffers_that_cannot_be_had() -> None:
    with pytest.raises(BufferError, match="bfloat16"):
        memoryview(tf.as_tensor([1.0], dtype="bfloat16"))
    array = np.zeros(2)
    array.flags.writeable = False
    with pytest.raises((BufferError, TypeError, ValueError)):
        (ctypes.c_char * 16).from_buffer(tf.Tensor.from_numpy(array))


@given(arrays())
def test_dlpack_round_trip(array: np.ndarray) -> None:
    tensor = tf.Tensor.from_numpy(array)
    back = np.from_dlpack(tensor)
    np.testing.assert_array_equal(back, array)
    assert back.flags.writeable == array.flags.writeable
    again = tf.Tensor.from_dlpack(array)
    np.testing.assert_array_equal(again.numpy(), array)
    assert again.numpy().flags.writeable == array.flags.writeable
    if array.size:
        assert back.ctypes.data == array.ctypes.data == again.data_ptr()
        assert [s for s, n in zip(again.strides, array.shape, strict=True) if n > 1] == [
            s // array.itemsize for s, n in zip(array.strides, array.shape, strict=True) if n > 1
        ]


@pytest.mark.parametrize("dtype", [*NUMPY_DTYPES, "bfloat16"])
@pytest.mark.parametrize("max_version", [None, (0, 8), (1, 0), (9, 0)])
def test_capsules_of_both_protocols(dtype: str, max_version) -> None:
    tensor = tf.as_tensor([0, 1], dtype=dtype) if dtype[:7] != "complex" else tf.as_tensor(np.zeros(2, dtype))
    capsule = tensor.__dlpack__(max_version=max_version)
    versioned = max_version is not None and max_version[0] >= 1
    assert ('"dltensor_versioned"' in repr(capsule)) == versioned
    back = tf.Tensor.from_dlpack(capsule)
    assert back.dtype == dtype
    assert back.data_ptr() == tensor.data_ptr()
    assert '"used_dltensor' in repr(capsule)
    with pytest.raises(ValueError, match="taken before"):
        tf.Tensor.from_dlpack(capsule)


@pytest.mark.parametrize("take", [True, False])
@pytest.mark.parametrize("max_version", [None, (1, 0)])
def test_a_loan_ends_once(take: bool, max_version) -> None:
    array = np.arange(8.0)
    alive, before = weakref.ref(array), sys.getrefcount(array)
    tensor = tf.Tensor.from_numpy(array)
    capsule = tensor.__dlpack__(max_version=max_version)
    taken = tf.Tensor.from_dlpack(capsule) if take else None
    del tensor, capsule
    gc.collect()
    assert sys.getrefcount(array) == before + (1 if take else 0)
    del taken
    gc.collect()
    assert sys.getrefcount(array) == before
    del array
    assert alive() is None


class Lender:
    """A DLPack lender of before version 1, which takes no keywords."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self):
        return self.array.__dlpack__()

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_old_lenders() -> None:
    array = np.arange(3)
    assert tf.Tensor.from_dlpack(Lender(array)).data_ptr() == array.ctypes.data


def test_wishes_that_cannot_be_met() -> None:
    array = np.zeros(2)
    tensor = tf.Tensor.from_numpy(array)
    assert tensor.__dlpack_device__() == (1, 0)
    for wish in ({"dl_device": (2, 0)}, {"stream": 1}):
        with pytest.raises(BufferError, match="CPU"):
            tensor.__dlpack__(**wish)
    copied = tf.Tensor.from_dlpack(tensor.__dlpack__(copy=True))
    assert copied.data_ptr() != array.ctypes.data
    array.flags.writeable = False
    with pytest.raises(BufferError, match="copy=True"):
        tf.Tensor.from_numpy(array).__dlpack__()
    for nothing in (3, object(), [1]):
        with pytest.raises(TypeError, match="__dlpack__"):
            tf.Tensor.from_dlpack(nothing)
    with pytest.raises(ValueError, match="no DLPack"):
        tf.Tensor.from_dlpack(__import__("datetime").datetime_CAPI)


class Foreign(Lender):
    def __dlpack_device__(self):
        return (2, 99)


def test_memory_of_other_devices_is_refused() -> None:
    with pytest.raises(BufferError, match="device 2"):
        tf.Tensor.from_dlpack(Foreign(np.zeros(1)))
