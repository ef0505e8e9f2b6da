"""No peer: what the machine itself can do at most, in calls of a known amount of work."""

import ctypes
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import bandwidth
from peer_workloads import LOOPS, OPERATIONS, READ, READING, ROOT

LABEL = "the machine"
PACKAGES = ("numpy",)

SOURCE = Path(__file__).parent.parent / "limits.rs"
LIBRARY = ROOT / "target" / "benches" / ("limits.dll" if sys.platform == "win32" else "liblimits.so")


def import_it() -> None:
    """Compile the loops for this very processor."""
    LIBRARY.parent.mkdir(parents=True, exist_ok=True)
    flags = ["--edition=2024", "--crate-type=cdylib", "-Copt-level=3", "-Ctarget-cpu=native", "-Cpanic=abort"]
    subprocess.run(["rustc", *flags, "-o", str(LIBRARY), str(SOURCE)], check=True)


def calls(settings: dict) -> dict[str, Callable[[], Any]]:
    threads = settings["threads"]
    pool = ThreadPoolExecutor(threads)
    library = ctypes.CDLL(str(LIBRARY))

    def computing(loop: Any) -> Callable[[], Any]:
        loop.argtypes, loop.restype = [ctypes.c_uint64], ctypes.c_uint64
        rounds = [OPERATIONS // (loop(1) * threads)] * threads
        return lambda: list(pool.map(loop, rounds))  # ctypes lets go of the GIL

    # A loop is not there where the processor has no such instruction.
    loops = {name: getattr(library, loop, None) for name, loop in LOOPS.items()}
    found = {name: computing(loop) for name, loop in loops.items() if loop is not None}
    parts = np.split(np.ones(READ // 4, np.float32), threads)
    return found | {READING: bandwidth.reader(parts, pool)}
