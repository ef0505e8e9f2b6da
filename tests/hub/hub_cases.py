"""What the tests of the hub share: the files of a model, and a look at what became of them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

NAME = "org/model"
CONFIG = b'{"model_type": "bert"}'
WEIGHTS = hashlib.sha256(b"weights").digest() * 4096


def read(path: str | None) -> bytes:
    assert path is not None
    return Path(path).read_bytes()


def tree(root: Path) -> dict[str, str | bytes]:
    """Every file below, with its content or where it links to."""
    files = (Path(at, name) for at, _, names in os.walk(root) for name in names)
    return {
        str(path.relative_to(root)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in files
    }


def run(script: str, **how: object) -> subprocess.Popen[str]:
    """Another process that has `Repo` and `NAME`."""
    script = f"from trustformers._engine import Repo\nNAME = {NAME!r}\n{script}"
    pipe = subprocess.PIPE
    how = {"stdout": pipe, "stderr": pipe, "text": True, **how}
    return subprocess.Popen([sys.executable, "-c", script], **how)


def until(condition: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
