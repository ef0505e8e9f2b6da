"""CUDA's devices, by the names of ``torch.cuda``. Nothing of CUDA is opened before it is asked for."""

from __future__ import annotations

from types import TracebackType
from typing import Any, NamedTuple

from . import _engine
from ._engine import OutOfMemoryError as OutOfMemoryError


class DeviceProperties(NamedTuple):
    """What a GPU is."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int


def is_available() -> bool:
    """Whether there is a GPU to compute on."""
    return device_count() > 0


def device_count() -> int:
    """How many GPUs there are; 0 without a driver, or with one that is too old."""
    return _engine.cuda_device_count()


def current_device() -> int:
    """The number of the GPU that is meant where none is named, in this thread."""
    return _engine.cuda_current_device()


def set_device(device: Any) -> None:
    """Make a GPU the one that is meant where none is named, in this thread.

    :raises RuntimeError: when there is none such.
    """
    _engine.cuda_set_device(_engine.cuda_index(device))


class device:
    """Within it another GPU is the current one."""

    def __init__(self, device: Any) -> None:
        self.idx = -1 if device is None else _engine.cuda_index(device)
        self.prev_idx = -1

    def __enter__(self) -> device:
        self.prev_idx = current_device()
        if self.idx >= 0:
            _engine.cuda_set_device(self.idx)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.idx >= 0:
            _engine.cuda_set_device(self.prev_idx)


def get_device_name(device: Any = None) -> str:
    """What its maker calls it."""
    return get_device_properties(device).name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """Its compute capability, such as (9, 0)."""
    about = get_device_properties(device)
    return about.major, about.minor


def get_device_properties(device: Any = None) -> DeviceProperties:
    """What it is.

    :raises RuntimeError: when there is none such.
    """
    name, (major, minor), processors, total = _engine.cuda_device(device)
    return DeviceProperties(name, major, minor, total, processors)


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether bfloat16 can be computed with: by the GPU itself from Ampere on, or in float32's guise."""
    return is_available() and (including_emulation or get_device_capability() >= (8, 0))


def synchronize(device: Any = None) -> None:
    """Wait until all that was asked of a GPU is done.

    :raises RuntimeError: when any of it has failed.
    """
    _engine.cuda_synchronize(device)


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Bytes of a GPU that nobody holds, and bytes that there are."""
    return _engine.cuda_mem_get_info(device)


def memory_allocated(device: Any = None) -> int:
    """Bytes that tensors of this process hold on a GPU."""
    return _engine.memory_allocated(_name(device))


def max_memory_allocated(device: Any = None) -> int:
    """The most that :func:`memory_allocated` has been since :func:`reset_peak_memory_stats`."""
    return _engine.max_memory_allocated(_name(device))


def memory_reserved(device: Any = None) -> int:
    """Bytes that tensors hold on a GPU, and those that lie idle to be used again."""
    return _engine.memory_reserved(_name(device))


def reset_peak_memory_stats(device: Any = None) -> None:
    """Start :func:`max_memory_allocated` anew from what is allocated now."""
    _engine.reset_peak_memory_stats(_name(device))


def empty_cache() -> None:
    """Give all memory that lies idle back to the GPUs."""
    for index in range(device_count()):
        _engine.empty_cache(f"cuda:{index}")


def manual_seed(seed: int) -> None:
    """Make all random numbers that follow repeatable: they are drawn from one generator, on every device."""
    _engine.manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """:func:`manual_seed`, as torch calls it for all GPUs."""
    _engine.manual_seed(seed)


def _name(device: Any) -> str:
    return f"cuda:{_engine.cuda_index(device)}"
