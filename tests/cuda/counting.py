"""What the emulated GPU counts; a real one does not."""

import ctypes

import pytest

from trustformers import cuda

counts = pytest.mark.skipif(
    not cuda.is_available() or cuda.get_device_name()[:8] != "Emulated",
    reason="a real GPU does not count",
)


def counted(*names: str) -> int:
    """How many of these there were so far: "launches", "products", "bytes_to_host" and others."""
    counter = ctypes.CDLL("libcuda.so.1").emulated_cuda_counter
    counter.restype = ctypes.c_uint64
    return sum(int(counter(name.encode())) for name in names)
