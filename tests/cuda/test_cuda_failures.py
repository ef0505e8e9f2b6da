"""What goes wrong on a GPU is said, and leaves the process usable.

In processes of their own, most with an emulated GPU that fails on demand.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trustformers import cuda

on_demand = pytest.mark.skipif(
    not (cuda.is_available() and cuda.get_device_name().startswith("Emulated")),
    reason="only an emulated device fails on demand",
)
HEAD = """
import re
import numpy as np, pytest, trustformers
from trustformers import cuda, GPT2Config, GPT2LMHeadModel

def tiny(**sizes):
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2, "vocab_size": 60, "n_positions": 32, **sizes}
    return GPT2LMHeadModel(GPT2Config(**sizes), seed=4).eval()

IDS = np.array([[5, 9, 2, 17]])
"""


def run(code: str, **environment: object) -> None:
    given = {name: str(value) for name, value in environment.items()}
    subprocess.run([sys.executable, "-c", HEAD + code], check=True, timeout=300, env=os.environ | given)


def test_a_device_that_is_not_there() -> None:
    run("""
one = trustformers.ones(1)
for use in (lambda: trustformers.zeros(1, device="cuda:99"), lambda: tiny().to("cuda:99"),
            lambda: one.cuda(99), lambda: cuda.set_device(99), lambda: cuda.get_device_name(99),
            lambda: tiny().to(99)):
    with pytest.raises(RuntimeError, match="there is no cuda:99: .*cuda:0"):
        use()
assert cuda.current_device() == 0
""")


@on_demand
def test_no_device_at_all() -> None:
    run(
        """
assert not cuda.is_available() and cuda.device_count() == 0
with pytest.raises(RuntimeError, match='no CUDA device on this machine: use device="cpu"'):
    tiny().cuda()
assert trustformers.zeros(1, device="auto").device == "cpu"
""",
        EMULATED_CUDA_DEVICES=0,
    )


@on_demand
def test_two_devices() -> None:
    run(
        """
import ctypes, tempfile
assert cuda.device_count() == 2
driver, chosen, now = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p(), ctypes.c_void_p()
driver.cuInit(0)
driver.cuDevicePrimaryCtxRetain(ctypes.byref(chosen), 0)
driver.cuCtxSetCurrent(chosen)
with cuda.device(1):
    there = trustformers.ones(3, device="cuda")
assert (there.device, cuda.current_device()) == ("cuda:1", 0)
with pytest.raises(RuntimeError, match="same device, got cuda:1 and cuda:0"):
    there + there.to("cuda:0")
assert there.to("cuda:0").to("cpu").tolist() == [1, 1, 1]
model = tiny(n_layer=4)
with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    split = GPT2LMHeadModel.from_pretrained(folder, device_map="auto")
assert set(split.hf_device_map.values()) == {0, 1}, split.hf_device_map
np.testing.assert_allclose(split(IDS).logits, model(IDS).logits, atol=1e-5)
asked = dict(max_new_tokens=3, eos_token_id=None, pad_token_id=0)
np.testing.assert_array_equal(split.generate(IDS, **asked), model.generate(IDS, **asked))
assert split.to("cuda:1").device == "cuda:1"
np.testing.assert_allclose(split(IDS).logits, model(IDS).logits, atol=1e-5)
# What another library has chosen for this thread.
driver.cuCtxGetCurrent(ctypes.byref(now))
assert now.value == chosen.value
""",
        EMULATED_CUDA_DEVICES=2,
    )


@on_demand
def test_full_memory_leaves_the_process_usable() -> None:
    run(
        """
held = trustformers.zeros(1 << 20, device="cuda")
with pytest.raises(cuda.OutOfMemoryError, match="out of memory on cuda:0: tried to allocate") as caught:
    trustformers.zeros(1 << 26, device="cuda")
assert isinstance(caught.value, RuntimeError) and trustformers.OutOfMemoryError is cuda.OutOfMemoryError
numbers = re.findall("[0-9]+", str(caught.value).split("cuda:0: ")[1])
wanted, taken, free, total = map(int, numbers[:4])
assert wanted >= 4 << 26 and taken == cuda.memory_allocated() and total == 128 << 20, str(caught.value)
assert free == cuda.mem_get_info()[0] and total - free >= taken >= held.nbytes, str(caught.value)
assert (held + 1)[-1].item() == 1
# What needs room of its own, and more than there is, fails as well, and what there is can be used to its end.
rest = trustformers.zeros(20 << 20, device="cuda")
for use in (rest.argsort, lambda: rest.bool().nonzero(), lambda: rest.cumsum(0)):
    with pytest.raises(cuda.OutOfMemoryError):
        use()
del rest
assert trustformers.zeros(24 << 20, device="cuda")[-1].item() == 0
big = tiny(n_embd=512, n_layer=12, vocab_size=6000)
with pytest.raises(cuda.OutOfMemoryError):
    big.to("cuda")
assert big.device == "cpu" and big(IDS).logits.shape == (1, 4, 6000)
model = tiny().cuda()
np.testing.assert_allclose(model(IDS).logits, tiny()(IDS).logits, atol=1e-5)
""",
        EMULATED_CUDA_MEMORY=128 << 20,
    )


def test_more_than_all_memory() -> None:
    run("""
with pytest.raises(cuda.OutOfMemoryError, match="out of memory on cuda:0: tried to allocate"):
    trustformers.zeros(cuda.mem_get_info()[1] // 4 + 1, device="cuda")
assert (trustformers.ones(2, device="cuda") + 1).tolist() == [2, 2]
""")


@on_demand
def test_a_device_that_is_lost() -> None:
    run(
        """
model = tiny()
expected = model(IDS).logits
model.cuda()
with pytest.raises(RuntimeError, match="cuda:0: .*this process cannot use it any more: start it anew"):
    for _ in range(100):
        model(IDS)
np.testing.assert_array_equal(tiny()(IDS).logits, expected)
""",
        EMULATED_CUDA_LOST_AFTER=30,
    )


@on_demand
def test_a_device_that_is_lost_while_it_writes() -> None:
    run(
        """
asked = dict(max_new_tokens=12, do_sample=True, eos_token_id=None, pad_token_id=0)
model = tiny().cuda()
x = trustformers.zeros(5000, device="cuda")
with pytest.raises(RuntimeError, match="cuda:0: .*this process cannot use it any more: start it anew"):
    for _ in range(100):
        model.generate(IDS, **asked)
for use in (x.argsort, lambda: x.bool().nonzero(), lambda: x.cumsum(0), x.cpu, lambda: tiny().cuda()):
    with pytest.raises(RuntimeError, match="cuda:0: "):
        use()
del x, model
assert tiny().generate(IDS, **asked).shape == (1, 16)
""",
        EMULATED_CUDA_LOST_AFTER=150,
    )


@on_demand
def test_a_driver_that_is_too_old() -> None:
    run(
        """
assert not cuda.is_available()
with pytest.raises(RuntimeError, match=r"driver knows CUDA 11\\.8 and 12\\.0 is needed: update the driver"):
    trustformers.zeros(1, device="cuda")
""",
        EMULATED_CUDA_DRIVER_VERSION=11080,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_cannot_go_on_with_it() -> None:
    run("""
import os
held = trustformers.ones(2, device="cuda")
child = os.fork()
if child == 0:
    status = 1
    try:
        with pytest.raises(RuntimeError, match='before this process was forked.*start processes by "spawn"'):
            held + 1
        assert tiny()(IDS).logits.shape == (1, 4, 60)
        status = 0
    finally:
        os._exit(status)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert (held + 1).tolist() == [2, 2]
""")


WORKS = "assert (trustformers.ones(2, device='cuda') + 1).tolist() == [2, 2]\n"


def test_damaged_kernels_are_compiled_anew(tmp_path: Path) -> None:
    run(WORKS, TRUSTFORMERS_CUDA_CACHE=tmp_path)
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[:-7] + b"damaged")
    run(WORKS, TRUSTFORMERS_CUDA_CACHE=tmp_path)
    for path in kept:
        path.write_bytes(b"")
    run(WORKS, TRUSTFORMERS_CUDA_CACHE=tmp_path)


def test_kernels_need_not_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of a folder")
    run(WORKS, TRUSTFORMERS_CUDA_CACHE=tmp_path / "file" / "folder")
    run(WORKS, TRUSTFORMERS_CUDA_CACHE="")


def test_threads_share_a_device() -> None:
    run("""
from concurrent.futures import ThreadPoolExecutor
model = tiny().cuda()
expected = tiny()(IDS).logits
with ThreadPoolExecutor(4) as pool:
    for found in pool.map(lambda _: model(IDS).logits, range(12)):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert list(pool.map(lambda _: cuda.current_device(), range(4))) == [0] * 4
""")
