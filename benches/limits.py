"""What the machine itself can do at most, in calls of a known amount of work."""

import ctypes
import mmap
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "benches" / "limits.rs"
LIBRARY = ROOT / "target" / "benches" / ("limits.dll" if sys.platform == "win32" else "liblimits.so")


@cache
def library() -> ctypes.CDLL:
    """The loops, compiled for this very processor."""
    LIBRARY.parent.mkdir(parents=True, exist_ok=True)
    flags = ["--edition=2024", "--crate-type=cdylib", "-Copt-level=3", "-Ctarget-cpu=native", "-Cpanic=abort"]
    with tempfile.TemporaryDirectory(dir=LIBRARY.parent) as own:  # others may compile it at the same time
        made = Path(own) / LIBRARY.name
        subprocess.run(["rustc", *flags, "-o", str(made), str(SOURCE)], check=True)
        made.replace(LIBRARY)
    return ctypes.CDLL(str(LIBRARY))


def computing(name: str, operations: int, threads: int) -> Callable[[], Any] | None:
    """A loop of limits.rs, for so many operations of all threads; None where the processor lacks it."""
    loop: Any = getattr(library(), name, None)
    if loop is None:
        return None
    loop.argtypes, loop.restype = [ctypes.c_uint64], ctypes.c_uint64
    rounds, pool = [operations // (loop(1) * threads)] * threads, ThreadPoolExecutor(threads)
    return lambda: list(pool.map(loop, rounds))  # ctypes lets go of the GIL


def reading(size: int, threads: int) -> Callable[[], Any]:
    """What reads so many bytes with all threads, as fast as memory gives them: from large pages."""
    read = library().read
    read.argtypes, read.restype = [ctypes.c_void_p, ctypes.c_size_t], ctypes.c_uint64
    memory, pool = on_large_pages(size), ThreadPoolExecutor(threads)
    parts = [(part.ctypes.data, part.size) for part in np.split(memory, threads)]
    return lambda memory=memory: list(pool.map(lambda part: read(*part), parts))


def on_large_pages(size: int) -> np.ndarray:
    """So many bytes that were written to, as words of 8, on large pages where the system has any."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.arange(size // 8)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    words = np.frombuffer(memory, np.int64)
    words[:] = np.arange(size // 8)
    return words
