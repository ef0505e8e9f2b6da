"""DLPack beyond NumPy and PyTorch: memory of devices that are not there, refused by name, and jax."""

import ctypes

import numpy as np
import pytest

import trustformers._engine as tf

CUDA = 2
#: Vulkan's.
UNKNOWN = 7


class Loan(ctypes.Structure):
    """DLPack's older, unversioned `DLManagedTensor`, field by field."""

    _fields_ = [
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16), ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64),
        ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p),
    ]  # fmt: skip


class Lender:
    """Lends memory that it says lies on `device`."""

    def __init__(self, device: int, kind: int | None = None, index: int = 0) -> None:
        self.kind, self.index = device if kind is None else kind, index
        self.shape = (ctypes.c_int64 * 1)(4)
        self.memory = (ctypes.c_float * 4)()
        self.ended = 0
        self.deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.end)
        self.loan = Loan(
            ctypes.addressof(self.memory), device, index, 1, 2, 32, 1, self.shape, None, 0, None,
            ctypes.cast(self.deleter, ctypes.c_void_p),
        )  # fmt: skip

    def end(self, _loan: int) -> None:
        self.ended += 1

    def __dlpack__(self, stream: int | None = None) -> object:
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return new(ctypes.addressof(self.loan), b"dltensor", None)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, self.index


def test_a_loan_of_the_cpus_memory_is_taken_and_ended() -> None:
    lender = Lender(1)
    tensor = tf.Tensor.from_dlpack(lender)
    lender.memory[2] = 5
    assert tensor.tolist() == [0, 0, 5, 0]
    assert lender.ended == 0
    del tensor
    assert lender.ended == 1


@pytest.mark.parametrize("kind", [CUDA, UNKNOWN])
@pytest.mark.parametrize("said", [True, False], ids=["said", "unsaid"])
def test_a_loan_of_another_devices_memory_is_refused(kind: int, said: bool) -> None:
    """Also where the lender says one thing and its capsule another; the loan is ended all the same."""
    lender = Lender(kind, kind if said else 1, index=99)
    with pytest.raises(BufferError, match=rf"device {kind} cannot be read.*CPU"):
        tf.Tensor.from_dlpack(lender)
    assert lender.ended == (not said)
    capsule = lender.__dlpack__()
    with pytest.raises(BufferError, match=rf"device {kind} cannot be read.*CPU"):
        tf.Tensor.from_dlpack(capsule)


def test_who_wants_memory_of_another_device_is_told() -> None:
    with pytest.raises(BufferError, match="CPU"):
        tf.zeros(3).__dlpack__(dl_device=(CUDA, 0))


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "float16", "bool"])
def test_jax(dtype: str) -> None:
    jax = pytest.importorskip("jax")
    ours = tf.tensor(np.arange(6).reshape(2, 3), dtype=dtype)
    theirs = jax.dlpack.from_dlpack(ours)
    assert theirs.shape == (2, 3)
    np.testing.assert_array_equal(np.asarray(theirs), ours.numpy())
    back = tf.Tensor.from_dlpack(jax.numpy.asarray(np.arange(6).reshape(2, 3), dtype=dtype))
    assert back.dtype == dtype
    np.testing.assert_array_equal(back.numpy(), np.arange(6).reshape(2, 3).astype(dtype))
    assert np.asarray(jax.numpy.exp(jax.dlpack.from_dlpack(ours.float()))).shape == (2, 3)
