"""Where Python packages have installed the libraries of CUDA that the engine opens."""

from __future__ import annotations

import importlib.util
import os
import site
import sys
from collections.abc import Iterator


def folders() -> list[str]:
    """Folders with libraries or headers: those of NVIDIA's wheels, and those of an installed PyTorch.

    PyTorch is found, not imported.
    """
    wheels = [folder for root in _roots() for folder in _of_wheels(root)]
    return [folder for folder in dict.fromkeys([*wheels, *_of_torch()]) if os.path.isdir(folder)]


def _roots() -> Iterator[str]:
    """The folders that packages are installed in."""
    yield from (path for path in sys.path if path)
    yield from site.getsitepackages()


def _of_wheels(root: str) -> Iterator[str]:
    nvidia = os.path.join(root, "nvidia")
    # Wheels of CUDA 12 have a folder for each library, those of 13 one for all.
    for package in sorted(os.listdir(nvidia)) if os.path.isdir(nvidia) else ():
        kinds = ("lib", "bin", os.path.join("bin", "x86_64"), "include")
        yield from (os.path.join(nvidia, package, kind) for kind in kinds)


def _of_torch() -> Iterator[str]:
    spec = importlib.util.find_spec("torch")
    if spec is not None and spec.submodule_search_locations:
        yield from (os.path.join(folder, "lib") for folder in spec.submodule_search_locations)
