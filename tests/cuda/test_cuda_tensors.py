"""Tensors on a GPU: where they are made, what they say of themselves, and how they come back."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trustformers
from trustformers import Device, Tensor, cuda

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


def on_gpu() -> Tensor:
    return trustformers.tensor(VALUES, device="cuda")


@pytest.mark.parametrize("device", ["cuda", "cuda:0", 0, Device("cuda"), Device(0), Device("cuda", 0)])
def test_a_device_has_many_names(device: Any) -> None:
    tensor = trustformers.tensor(VALUES).to(device)
    assert tensor.device == "cuda:0"
    assert (tensor.device.type, tensor.device.index, tensor.get_device()) == ("cuda", 0, 0)
    assert tensor.is_cuda
    assert not tensor.is_cpu
    np.testing.assert_array_equal(tensor.cpu().numpy(), VALUES)


MAKERS: dict[str, Any] = {
    "zeros": lambda **on: trustformers.zeros(2, 3, **on),
    "ones": lambda **on: trustformers.ones(2, 3, **on),
    "full": lambda **on: trustformers.full((2, 3), 4.5, **on),
    "arange": lambda **on: trustformers.arange(5, **on),
    "linspace": lambda **on: trustformers.linspace(0, 1, 5, **on),
    "eye": lambda **on: trustformers.eye(3, **on),
    "rand": lambda **on: trustformers.rand(4, **on),
    "randn": lambda **on: trustformers.randn(4, **on),
    "randint": lambda **on: trustformers.randint(0, 9, (4,), **on),
    "randperm": lambda **on: trustformers.randperm(6, **on),
    "tensor": lambda **on: trustformers.tensor([1.5, 2], **on),
    "as_tensor": lambda **on: trustformers.as_tensor([[1, 2]], **on),
    "zeros_like": lambda **on: trustformers.zeros_like(trustformers.ones(2, device="cuda"), **on),
    "ones_like": lambda **on: trustformers.ones_like(trustformers.zeros(2, device="cuda"), **on),
}


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_made_on_a_gpu_is_what_is_made_on_the_cpu(name: str) -> None:
    make = MAKERS[name]
    trustformers.manual_seed(3)
    there = make(device="cuda")
    trustformers.manual_seed(3)
    here = make(device="cpu")
    assert (there.device, here.device) == ("cuda:0", "cpu")
    assert there.dtype == here.dtype
    np.testing.assert_array_equal(there.cpu().numpy(), here.numpy())


def test_likes_are_made_beside_what_they_are_like() -> None:
    assert trustformers.zeros_like(on_gpu()).is_cuda
    assert trustformers.tensor(on_gpu()).is_cuda
    assert trustformers.as_tensor(on_gpu()).is_cuda


def test_to_takes_what_torch_takes() -> None:
    tensor = trustformers.tensor(VALUES)
    there = tensor.to("cuda", trustformers.float16)
    assert (there.device, there.dtype) == ("cuda:0", trustformers.float16)
    both = tensor.to(there)
    assert (both.device, both.dtype) == (there.device, there.dtype)
    assert tensor.to("cuda", non_blocking=True).is_cuda
    assert there.to("cuda") is not tensor
    assert there.to("cuda").data_ptr() == there.data_ptr()
    assert there.to("cuda", copy=True).data_ptr() != there.data_ptr()
    assert there.to(device="cpu", dtype="float32").device == "cpu"
    assert tensor.cuda().is_cuda
    assert tensor.cuda(0).is_cuda
    with pytest.raises(RuntimeError, match="must be cuda device"):
        tensor.cuda("cpu")


def test_numbers_come_to_the_processor_where_python_wants_them() -> None:
    tensor = on_gpu()
    assert tensor.tolist() == VALUES.tolist()
    assert tensor[1, 2].item() == 5.0
    assert float(tensor.sum()) == 15.0
    assert int(tensor[0, 1]) == 1
    assert bool((tensor == tensor).all())
    assert f"{tensor.max():.2f}" == "5.00"
    assert repr(tensor) == repr(trustformers.tensor(VALUES))[:-1] + ", device='cuda:0')"
    assert "cuda:0" in tensor._repr_html_()
    for convert in (Tensor.numpy, np.asarray, memoryview):
        with pytest.raises((TypeError, BufferError), match="cuda:0"):
            convert(tensor)  # type: ignore[operator]


def test_a_tensor_is_pickled_with_its_device() -> None:
    for tensor in (on_gpu(), on_gpu().bfloat16(), on_gpu().requires_grad_()):
        for twin in (pickle.loads(pickle.dumps(tensor)), copy.deepcopy(tensor)):
            assert (twin.device, twin.dtype) == ("cuda:0", tensor.dtype)
            assert twin.requires_grad == tensor.requires_grad
            assert twin.data_ptr() != tensor.data_ptr()
            np.testing.assert_array_equal(twin.detach().float().cpu().numpy(), VALUES)


def test_reading_and_writing_by_index() -> None:
    tensor, here = on_gpu(), VALUES.copy()
    for key in (1, (0, 2), slice(1), (slice(None), -1), [1, 0], np.array([True, False])):
        np.testing.assert_array_equal(tensor[key].cpu().numpy(), VALUES[key])
    picked = tensor[trustformers.tensor([1, 1], device="cuda")]
    np.testing.assert_array_equal(picked.cpu().numpy(), VALUES[[1, 1]])
    tensor[0] = 7
    tensor[1, 1:] = trustformers.tensor([8.0, 9.0])
    here[0], here[1, 1:] = 7, [8, 9]
    np.testing.assert_array_equal(tensor.cpu().numpy(), here)


def test_devices_do_not_mix() -> None:
    for mix in (lambda a, b: a + b, lambda a, b: a @ b.T, lambda a, b: trustformers.cat([a, b])):
        with pytest.raises(RuntimeError, match=r"same device, got cuda:0 and cpu.*to\(device\)"):
            mix(on_gpu(), trustformers.tensor(VALUES))  # type: ignore[no-untyped-call]


def test_gradients_come_back_over_the_border() -> None:
    leaf = trustformers.tensor(VALUES, requires_grad=True)
    (leaf.to("cuda") * 3).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.device == "cpu"
    np.testing.assert_array_equal(leaf.grad.numpy(), np.full((2, 3), 3.0))


class Lender:
    """Another library's array: it is asked as consumers ask, and remembers what it was asked."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.asked: dict[str, Any] = {}

    def __dlpack__(self, **asked: Any) -> Any:
        self.asked = asked
        return self.tensor.__dlpack__(**asked)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.tensor.__dlpack_device__()


def test_memory_is_lent_and_borrowed_where_it_is() -> None:
    tensor = on_gpu()
    lender = Lender(tensor)
    borrowed = Tensor.from_dlpack(lender)
    assert tensor.__dlpack_device__() == (2, 0)
    assert lender.asked["stream"] == trustformers._engine.cuda_stream()
    assert borrowed.data_ptr() == tensor.data_ptr()
    borrowed.add_(1)
    np.testing.assert_array_equal(tensor.cpu().numpy(), VALUES + 1)
    del tensor, lender
    np.testing.assert_array_equal(borrowed.T.cpu().numpy(), VALUES.T + 1)
    # A capsule alone, which no stream was named for.
    assert Tensor.from_dlpack(borrowed.__dlpack__(stream=-1)).data_ptr() == borrowed.data_ptr()
    view = borrowed[:, 1:]
    np.testing.assert_array_equal(Tensor.from_dlpack(view).cpu().numpy(), view.cpu().numpy())
    with pytest.raises(BufferError, match="stream=0"):
        borrowed.__dlpack__(stream=0)
    with pytest.raises(BufferError, match="cuda:0"):
        borrowed.__dlpack__(dl_device=(1, 0), copy=False)
    # NumPy reads the copy that it may ask for.
    np.testing.assert_array_equal(np.from_dlpack(borrowed, device="cpu", copy=True), VALUES + 1)


def test_cuda_array_interface() -> None:
    tensor = on_gpu()
    about = tensor.T.__cuda_array_interface__
    assert about["shape"] == (3, 2)
    assert about["strides"] == (4, 12)
    assert about["typestr"] == "<f4"
    assert about["data"] == (tensor.data_ptr(), False)
    assert about["version"] == 3
    assert about["stream"] not in (0, None)
    assert not hasattr(tensor.cpu(), "__cuda_array_interface__")
    assert not hasattr(tensor.bfloat16(), "__cuda_array_interface__")


def test_files_are_read_to_a_device(tmp_path: Path) -> None:
    trustformers.save_file({"x": on_gpu()}, tmp_path / "x.safetensors")
    for device in ("cpu", "cuda:0"):
        read = trustformers.load_file(tmp_path / "x.safetensors", device=device)["x"]
        assert read.device == device
        np.testing.assert_array_equal(read.cpu().numpy(), VALUES)


def test_what_the_device_says_of_itself() -> None:
    assert cuda.device_count() >= 1
    assert cuda.current_device() == 0
    about = cuda.get_device_properties()
    assert (about.name, (about.major, about.minor)) == (cuda.get_device_name(0), cuda.get_device_capability())
    assert about.multi_processor_count > 0
    free, total = cuda.mem_get_info()
    assert 0 < free <= total == about.total_memory
    assert cuda.is_bf16_supported()
    with cuda.device(0) as chosen:
        assert chosen.idx == 0
    cuda.synchronize()


def test_memory_is_counted_on_its_device() -> None:
    cuda.empty_cache()
    before, before_here = cuda.memory_allocated(), trustformers.memory_allocated()
    cuda.reset_peak_memory_stats()
    tensor = trustformers.zeros(1 << 20, device="cuda")
    assert cuda.memory_allocated() - before >= 4 << 20
    assert trustformers.memory_allocated() - before_here < 1 << 20
    del tensor
    assert cuda.memory_allocated() == before
    assert cuda.max_memory_allocated("cuda:0") - before >= 4 << 20
    assert cuda.memory_reserved() - before >= 4 << 20
    cuda.empty_cache()
    assert cuda.memory_reserved() - before < 4 << 20


def test_tf32_is_allowed_as_in_torch() -> None:
    assert trustformers.backends.cuda.matmul.allow_tf32 is False
    try:
        trustformers.backends.cuda.matmul.allow_tf32 = True
        assert trustformers.backends.cuda.matmul.allow_tf32 is True
    finally:
        trustformers.backends.cuda.matmul.allow_tf32 = False
