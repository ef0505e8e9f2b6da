"""On what the package runs, for reports of bugs."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TextIO

from .. import __version__, _engine

#: Packages that something of ours works together with.
_PACKAGES = ("numpy", "torch", "transformers", "tokenizers", "huggingface_hub", "datasets")


def versions() -> dict[str, str]:
    """What is installed here, and what the processor can do."""
    processor = _engine.cpu_capabilities()
    found = {
        "trustformers": __version__,
        "Python": platform.python_version(),
        "platform": platform.platform(),
        "processor": f"{processor['level']} of {', '.join(processor['available'])}",
        "threads": str(processor["threads"]),
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def show_versions(file: TextIO | None = None) -> None:
    """Print what is installed here, and what the processor can do."""
    for name, value in versions().items():
        print(f"- {name}: {value}", file=file or sys.stdout)
