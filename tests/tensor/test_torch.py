"""PyTorch's tensors as ours and back. PyTorch is optional: these tests need it, nothing else does."""

import subprocess
import sys

import numpy as np
import pytest

import trustformers._engine as tf

torch = pytest.importorskip("torch")

DTYPES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_shares_memory_both_ways(dtype: str) -> None:
    theirs = torch.ones(2, 3).to(getattr(torch, dtype)).T
    ours = tf.Tensor.from_torch(theirs)
    assert ours.dtype == dtype
    assert ours.dtype == theirs.dtype
    assert ours.data_ptr() == theirs.data_ptr()
    assert ours.strides == theirs.stride()
    back = ours.to_torch()
    assert back.dtype == theirs.dtype
    assert back.data_ptr() == theirs.data_ptr()
    assert back.stride() == theirs.stride()
    theirs[0, 0] = 0
    assert ours.tolist()[0][0] == 0
    assert torch.from_dlpack(ours).data_ptr() == theirs.data_ptr()


def test_functions_of_torch_return_ours() -> None:
    ours = tf.as_tensor(np.array([[1.0, 2.0], [3.0, 4.0]], np.float32))
    out = torch.softmax(ours, -1)
    assert type(out) is tf.Tensor
    np.testing.assert_allclose(np.asarray(out).sum(-1), 1, rtol=1e-6)
    values, indices = torch.max(ours, dim=1)
    assert values.tolist() == [2, 4]
    assert indices.tolist() == [1, 1]
    assert torch.cat([ours, torch.ones(1, 2)]).shape == (3, 2)
    theirs = torch.zeros(2, 2)
    assert torch.add(theirs, ours, out=theirs) is theirs
    assert theirs.tolist() == [[1, 2], [3, 4]]


def test_what_cannot_be_shared_is_refused() -> None:
    with pytest.raises(TypeError, match="to_dense"):
        tf.Tensor.from_torch(torch.eye(3).to_sparse())
    with pytest.raises(TypeError, match="ndarray"):
        tf.Tensor.from_torch(np.zeros(3))
    with pytest.raises((BufferError, ValueError), match="meta"):
        tf.Tensor.from_torch(torch.zeros(3, device="meta"))


def test_read_only_memory_is_copied() -> None:
    array = np.zeros(3)
    array.flags.writeable = False
    ours = tf.Tensor.from_numpy(array)
    assert not ours.is_writable
    theirs = ours.to_torch()
    theirs += 1
    assert array.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="contiguous"):
        tf.Tensor.from_numpy(np.zeros(3)[::-1]).to_torch()


def test_conjugates_are_resolved() -> None:
    theirs = torch.tensor([1 + 2j]).conj()
    assert tf.Tensor.from_torch(theirs).tolist() == [1 - 2j]


def test_as_tensor_takes_torch() -> None:
    theirs = torch.ones(3, dtype=torch.bfloat16)
    assert tf.as_tensor(theirs).data_ptr() == theirs.data_ptr()
    assert tf.as_tensor([1], dtype=torch.float16).dtype == torch.float16


def test_nobody_imports_torch_unasked() -> None:
    code = (
        "import sys, numpy as np, trustformers._engine as tf\n"
        "t = tf.Tensor.from_numpy(np.ones(3)); np.exp(t); np.from_dlpack(t); repr(t); tf.as_tensor([1])\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
