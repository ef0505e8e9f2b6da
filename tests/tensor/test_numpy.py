"""NumPy arrays as tensors and back: one memory, whatever its strides, and whoever is dropped first."""

import gc
import warnings
import weakref

import numpy as np
import pytest
from drawn import NUMPY_DTYPES, arrays
from hypothesis import given

import trustformers._engine as tf
from trustformers import _dtypes


@given(arrays())
def test_a_whole_array_comes_back_as_itself(array: np.ndarray) -> None:
    tensor = tf.Tensor.from_numpy(array)
    assert tensor.to_numpy() is array
    assert tensor.numpy().base is array.base
    assert tensor.shape == array.shape
    assert tensor.size() == array.shape
    assert tensor.ndim == array.ndim
    assert tensor.numel() == array.size
    assert tensor.nelement() == array.size
    assert tensor.dtype == array.dtype
    assert tensor.itemsize == array.itemsize
    assert tensor.nbytes == array.nbytes
    assert tensor.tolist() == array.tolist()
    if array.size:
        steps = [bytes // array.itemsize for bytes in array.strides]
        assert [s for s, n in zip(tensor.strides, array.shape, strict=True) if n > 1] == [
            s for s, n in zip(steps, array.shape, strict=True) if n > 1
        ]
        assert tensor.is_contiguous() == array.flags.c_contiguous


def test_writes_are_seen() -> None:
    array = np.zeros((3, 4), np.float32)
    tensor = tf.Tensor.from_numpy(array[::-2, 1:])
    array[2, 3] = 7
    assert tensor.tolist() == [[0, 0, 7], [0, 0, 0]]
    tensor.numpy()[0, 0] = 5
    assert array[2, 1] == 5


def test_a_read_only_array_stays_read_only() -> None:
    array = np.zeros(3)
    array.flags.writeable = False
    assert not tf.Tensor.from_numpy(array).numpy().flags.writeable


def test_an_array_reshaped_in_place_does_not_come_back() -> None:
    array = np.arange(6)
    tensor = tf.Tensor.from_numpy(array)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array.shape = (2, 3)
    back = tensor.numpy()
    assert back is not array
    assert back.shape == (6,)
    assert np.shares_memory(back, array)


def test_a_mapped_file_is_shared(tmp_path) -> None:
    mapped = np.memmap(tmp_path / "numbers", np.int16, "w+", shape=(4, 5))
    tensor = tf.Tensor.from_numpy(mapped)
    assert tensor.numpy() is mapped
    mapped[1, 1] = 9
    assert tensor.tolist()[1][1] == 9


def test_the_tensor_keeps_the_array() -> None:
    array = np.arange(1000.0)
    tensor, alive = tf.Tensor.from_numpy(array), weakref.ref(array)
    del array
    gc.collect()
    assert alive() is not None
    assert tensor.tolist()[-1] == 999
    del tensor
    gc.collect()
    assert alive() is None


def test_the_array_keeps_our_memory() -> None:
    ours = tf.as_tensor([1, 2, 3], dtype="float64")
    array, alive = ours.numpy(), weakref.ref(ours)
    del ours
    gc.collect()
    assert alive() is None
    assert array.tolist() == [1, 2, 3]
    assert type(array.base) is tf.Tensor


@pytest.mark.parametrize(
    ("array", "remedy"),
    [
        (np.arange(3, dtype=">f4"), "newbyteorder"),
        (np.zeros(3, "i4,f4"), "one field"),
        (np.array([None, 1]), "astype"),
        (np.array(["a"]), "text"),
        (np.array([b"a"]), "text"),
        (np.array(["2026-01-01"], "datetime64[D]"), "int64"),
        (np.zeros(2, "timedelta64[s]"), "int64"),
        (np.zeros(2, "V3"), "astype"),
    ],
)
def test_what_holds_no_plain_numbers_is_refused(array: np.ndarray, remedy: str) -> None:
    with pytest.raises(TypeError, match=remedy):
        tf.Tensor.from_numpy(array)


def test_odd_strides_and_alignment_are_refused_with_a_remedy() -> None:
    field = np.zeros(4, [("a", "u1"), ("b", "<f4")])["b"]
    with pytest.raises(ValueError, match="ascontiguousarray"):
        tf.Tensor.from_numpy(field)
    shifted = np.zeros(17, np.uint8)[1:].view(np.float64)
    with pytest.raises(ValueError, match=r"array\.copy\(\)"):
        tf.Tensor.from_numpy(shifted)
    assert tf.as_tensor(field).shape == (4,)
    assert tf.as_tensor(shifted).tolist() == [0, 0]


def test_from_numpy_names_what_it_got() -> None:
    with pytest.raises(TypeError, match="list"):
        tf.Tensor.from_numpy([1, 2])


def test_as_tensor_shares_where_it_can() -> None:
    array = np.arange(4)
    assert tf.as_tensor(array).numpy() is array
    assert tf.as_tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert tf.as_tensor(2.5).shape == ()
    assert tf.as_tensor(np.arange(3, dtype=">i4")).tolist() == [0, 1, 2]
    for ragged in ([[1], [2, 3]], ["a"], None, {}):
        with pytest.raises((TypeError, ValueError)):
            tf.as_tensor(ragged)


def test_bfloat16_reads_as_float32() -> None:
    tensor = tf.as_tensor([1.0, 1.0078125, 3e38], dtype="bfloat16")
    assert tensor.dtype == "bfloat16"
    assert tensor.itemsize == 2
    assert tensor.numpy().dtype == np.float32
    assert tensor.tolist()[:2] == [1.0, 1.0078125]


def test_dtypes_equal_their_names_and_numpys() -> None:
    assert repr(tf.float32) == "trustformers.float32"
    for name in NUMPY_DTYPES:
        dtype = getattr(tf, name if name != "bool" else "bool_")
        assert dtype == name == dtype.name
        assert dtype == np.dtype(name)
        assert dtype == np.dtype(name).type
        assert np.dtype(dtype) == name
        assert np.zeros(1, dtype).dtype == name
        assert dtype.itemsize == np.dtype(name).itemsize
    assert tf.float32 != tf.float64
    assert tf.float32 != "float8"
    assert tf.float32 != 3
    assert _dtypes.half is tf.float16
    assert _dtypes.bool is tf.bool_
    assert tf.as_tensor([1.0]).dtype is tf.float32
    assert tf.as_tensor(np.array([1.0])).dtype is tf.float64
    assert {tf.float32: 1}[_dtypes.float] == 1
    with pytest.raises(TypeError, match="float8"):
        tf.as_tensor([1], dtype="float8")


def test_repr_can_be_read() -> None:
    assert repr(tf.as_tensor([[1, 2], [3, 4]])) == "tensor([[1, 2],\n        [3, 4]])"
    assert repr(tf.as_tensor([1.5], dtype="bfloat16")) == "tensor([1.5], dtype=trustformers.bfloat16)"
    assert repr(tf.as_tensor(np.zeros((0, 2), "f4"))) == "tensor([], size=(0, 2))"


def test_item_and_len() -> None:
    assert tf.as_tensor([[2.5]]).item() == 2.5
    assert len(tf.as_tensor([[1], [2]])) == 2
    with pytest.raises(ValueError, match="size"):
        tf.as_tensor([1, 2]).item()
    with pytest.raises(TypeError, match="no length"):
        len(tf.as_tensor(1))
