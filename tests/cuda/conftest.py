"""Tests of what runs on a GPU: NVIDIA's, or the emulated one that `make emulated-cuda` builds.

LD_LIBRARY_PATH=target/emulated-cuda pytest tests/cuda
"""

import sys
from pathlib import Path

import pytest

from trustformers import cuda

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "pipelines"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what needs a GPU where there is none."""
    if cuda.is_available():
        return
    reason = "there is no CUDA device: LD_LIBRARY_PATH=target/emulated-cuda gives one"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))
