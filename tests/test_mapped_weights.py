"""Weights are mapped: opening reads no tensor, and processes that use the same file have its pages once."""

import json
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trustformers import load_file

LARGE = 10**9

READER = """
import sys, numpy as np, trustformers
tensors = trustformers.load_file(sys.argv[1])
print(sum(float(np.asarray(tensor).sum()) for tensor in tensors.values()), flush=True)
sys.stdin.readline()
"""


def write(path: Path, size: int, count: int) -> None:
    """A file of so many float32 tensors, all zeros: a hole, which takes no room on the disk."""
    each = size // count // 4
    header = {
        f"layer.{i}.weight": {
            "dtype": "F32",
            "shape": [each],
            "data_offsets": [i * each * 4, (i + 1) * each * 4],
        }
        for i in range(count)
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + each * 4 * count)


def test_opening_a_gigabyte_reads_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write(path, LARGE, 400)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        tensors = load_file(path)
        seconds.append(time.perf_counter() - start)
        assert len(tensors) == 400
    assert min(seconds) < 0.05, f"it took {min(seconds) * 1000:.0f} ms"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is shared")
def test_processes_share_the_pages(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write(path, 64 << 20, 4)
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for reader in readers:
        assert reader.stdout is not None
        assert float(reader.stdout.readline()) == 0.0
    resident, proportional = zip(*(mapped(reader.pid, path) for reader in readers), strict=True)
    for reader in readers:
        reader.communicate()
    assert min(resident) > 60_000, "every page was read"
    assert sum(proportional) < 1.1 * max(resident), "and each is there once"


def mapped(process: int, path: Path) -> tuple[int, int]:
    """How much of the file a process has in memory, and its share of that, in kB."""
    resident = proportional = 0
    inside = False
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        if not line.split()[0].endswith(":"):
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            resident += int(line.split()[1])
        elif inside and line.startswith("Pss:"):
            proportional += int(line.split()[1])
    return resident, proportional
