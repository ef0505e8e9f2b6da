"""Devices by name, which need not be there."""

import copy
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

import trustformers
from trustformers import Device


def test_a_device_is_its_name() -> None:
    device = Device("cuda:1")
    assert trustformers.device is Device
    assert (device.type, device.index) == ("cuda", 1)
    assert (device, str(device), f"{device}") == ("cuda:1", "cuda:1", "cuda:1")
    assert repr(device) == "device(type='cuda', index=1)"
    assert repr(Device("cpu")) == "device(type='cpu')"
    assert json.dumps({"device": device}) == '{"device": "cuda:1"}'
    assert {device: 1}["cuda:1"] == 1
    assert Device("cuda", 1) == Device(1) == device
    assert Device("cuda") != Device("cuda:0")
    assert Device("cuda").index is None
    assert Device(Device("cpu")) == "cpu"


def test_a_device_is_copied_and_pickled() -> None:
    for twin in (pickle.loads(pickle.dumps(Device("cuda:3"))), copy.deepcopy(Device("cuda:3"))):
        assert (type(twin), twin.index) == (Device, 3)


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:-1", "cuda:01", "cuda:1:2", "cpu:x", None, True])
def test_what_is_no_device_is_refused(name: object) -> None:
    with pytest.raises(RuntimeError, match="is not a device"):
        Device(name)
    with pytest.raises(RuntimeError, match="is not a device"):
        trustformers.zeros(1, device=name if name is not None else "None")


def test_pytorch_takes_a_device_for_its_own() -> None:
    torch = pytest.importorskip("torch")
    device = trustformers.zeros(1).device
    assert torch.device(device) == torch.device("cpu")
    assert torch.zeros(1, device=device).to(device).device.type == "cpu"
    assert trustformers.zeros(1, device=torch.device("cpu")).device == "cpu"
    assert Device(torch.device("cuda:1")) == "cuda:1"


def test_a_tensor_on_the_processor() -> None:
    tensor = trustformers.tensor([1.0])
    assert (tensor.device, tensor.device.type, tensor.device.index) == ("cpu", "cpu", None)
    assert (tensor.is_cpu, tensor.is_cuda, tensor.get_device()) == (True, False, -1)
    assert tensor.to("cpu").data_ptr() == tensor.cpu().data_ptr() == tensor.data_ptr()
    assert tensor.to("cpu", False, True).data_ptr() != tensor.data_ptr()
    np.testing.assert_array_equal(tensor.to("cpu", "float64").numpy(), np.ones(1))


def test_importing_opens_no_library_of_cuda() -> None:
    code = (
        "import sys, trustformers; trustformers.zeros(2).sum(); trustformers.cuda.current_device();"
        "assert 'trustformers._cuda_libraries' not in sys.modules;"
        "assert 'libcuda' not in open('/proc/self/maps').read();"
        "trustformers.cuda.is_available();"
        "assert 'trustformers._cuda_libraries' in sys.modules"
    )
    if sys.platform == "linux":
        subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
