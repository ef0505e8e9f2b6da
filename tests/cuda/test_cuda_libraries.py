"""CUDA's libraries are found in any of their versions, and the driver decides which.

In processes of their own, with copies of the emulated ones under the names and in the folders of NVIDIA's.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trustformers import cuda
from trustformers._cuda_libraries import folders

pytestmark = pytest.mark.skipif(
    not (cuda.is_available() and cuda.get_device_name().startswith("Emulated")),
    reason="only emulated libraries can be renamed",
)
NAMES = ("libnvrtc.so", "libcublasLt.so")
# Without what is installed here, which is found, too. NumPy may lie beside it.
MAPPED = """
import os, site, sys
import numpy, trustformers
trustformers.ones(1)
kept = os.environ["KEPT"]
def is_ours(path):
    has = lambda name: os.path.isdir(os.path.join(path, name))
    return path.startswith(kept) or not (has("nvidia") or has("torch"))
sys.path[:] = filter(is_ours, sys.path)
site.getsitepackages = list
x = trustformers.ones((2, 2), device="cuda")
assert (x @ x + 1).tolist() == [[3, 3], [3, 3]]
print(open("/proc/self/maps").read())
"""


def emulated() -> Path:
    """Where the emulated libraries are."""
    folders = (Path(folder) for folder in os.environ["LD_LIBRARY_PATH"].split(":") if folder)
    return next(folder for folder in folders if (folder / "libcuda.so.1").exists())


def put(folder: Path, *versions: int) -> Path:
    """Copies of the libraries, as versions that they are not."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        for version in versions:
            shutil.copy(emulated() / f"{name}.12", folder / f"{name}.{version}")
    return folder


def opened(tmp_path: Path, driver: int, **environment: object) -> set[str]:
    """Folder and file of the libraries that a process opens with only the driver on the system's paths."""
    alone = tmp_path / "driver"
    if not alone.exists():
        alone.mkdir()
        shutil.copy(emulated() / "libcuda.so.1", alone)
    given = {
        "LD_LIBRARY_PATH": alone,
        "EMULATED_CUDA_DRIVER_VERSION": driver,
        "TRUSTFORMERS_CUDA_CACHE": "",
        "KEPT": tmp_path,
    }
    given |= environment
    done = subprocess.run(
        [sys.executable, "-c", MAPPED],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {name: str(value) for name, value in given.items()},
    )
    assert not done.returncode, done.stderr
    paths = {Path(path) for path in re.findall(r"/\S*/(?:libnvrtc|libcublasLt)\.so\.\d+", done.stdout)}
    return {f"{path.parent.name}/{path.name}" for path in paths}


def test_the_driver_decides_between_versions(tmp_path: Path) -> None:
    folder = put(tmp_path / "both", 12, 13)
    for driver, version in ((12080, 12), (13000, 13), (13020, 13), (14000, 13)):
        found = opened(tmp_path, driver, TRUSTFORMERS_CUDA_PATH=folder)
        assert found == {f"both/{name}.{version}" for name in NAMES}, (driver, found)


def test_a_newer_driver_runs_older_libraries(tmp_path: Path) -> None:
    folder = put(tmp_path / "old", 12)
    assert opened(tmp_path, 13000, TRUSTFORMERS_CUDA_PATH=folder) == {f"old/{name}.12" for name in NAMES}


def test_wheels_of_either_version_are_found(tmp_path: Path) -> None:
    put(tmp_path / "site/nvidia/cu13/lib", 13)
    found = opened(tmp_path, 13000, PYTHONPATH=tmp_path / "site")
    assert found == {f"lib/{name}.13" for name in NAMES}
    for name, package in zip(NAMES, ("cuda_nvrtc", "cublas"), strict=True):
        folder = put(tmp_path / f"site/nvidia/{package}/lib", 12)
        (folder / f"{next(other for other in NAMES if other != name)}.12").unlink()
    assert opened(tmp_path, 12080, PYTHONPATH=tmp_path / "site") == {f"lib/{name}.12" for name in NAMES}


def test_a_toolkit_is_found(tmp_path: Path) -> None:
    put(tmp_path / "toolkit/lib64", 13)
    found = opened(tmp_path, 13000, CUDA_HOME=tmp_path / "toolkit")
    assert found == {f"lib64/{name}.13" for name in NAMES}


def test_what_came_with_torch_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch/lib").mkdir(parents=True)
    (tmp_path / "torch/__init__.py").write_text("raise AssertionError('it is imported')")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert folders()[-1] == str(tmp_path / "torch/lib")


def test_libraries_that_the_driver_does_not_know_are_none(tmp_path: Path) -> None:
    folder = put(tmp_path / "new", 13)
    with pytest.raises(
        AssertionError, match=r"\(NVRTC\) is not installed: pip install 'trustformers\[cuda\]'"
    ):
        opened(tmp_path, 12080, TRUSTFORMERS_CUDA_PATH=folder)
