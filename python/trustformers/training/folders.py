"""Folders of checkpoints: each appears whole or not at all, and old ones go."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint-(\d+)")


def get_last_checkpoint(folder: str | os.PathLike[str]) -> str | None:
    """The checkpoint of the latest step in a folder, or ``None`` if there is none."""
    found = _checkpoints(Path(folder))
    return str(max(found, key=_step)) if found else None


@contextlib.contextmanager
def written(folder: Path) -> Iterator[Path]:
    """A folder to write into, which is named ``folder`` once all that is in it is on the disk.

    Whoever is stopped on the way leaves what was there before, and a folder that no reader takes for a
    checkpoint.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f"{folder.name}.unfinished")
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir()
    try:
        yield draft
        for path in sorted(draft.rglob("*")):
            _sync(path)
        _sync(draft)
        replaced = _replaced(folder)
        if folder.exists():
            if replaced.exists():
                shutil.rmtree(replaced)
            os.rename(folder, replaced)
        os.rename(draft, folder)
        _sync(folder.parent)
        if replaced.exists():
            shutil.rmtree(replaced)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def rotate(folder: Path, limit: int | None, keep: str | None) -> None:
    """Delete the oldest checkpoints beyond ``limit``, but neither the newest nor the one to ``keep``.

    Without a limit, or with one that is not above 0, all stay.
    """
    if limit is None or limit < 1:
        return
    # As many as fit the limit, of which the newest and the best are always two.
    oldest_first = sorted(_checkpoints(folder), key=lambda path: (path.stat().st_mtime_ns, _step(path)))
    kept = {oldest_first[-1]} if oldest_first else set()
    kept |= {path for path in oldest_first if keep is not None and path.resolve() == Path(keep).resolve()}
    for path in reversed(oldest_first):
        if len(kept) < limit:
            kept.add(path)
    for path in oldest_first:
        if path not in kept:
            logger.info("Deleting older checkpoint [%s] due to args.save_total_limit", path)
            shutil.rmtree(path, ignore_errors=True)


def _checkpoints(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    for path in list(folder.iterdir()):
        # Stopped between two renames: the older one is the one that is whole.
        original = path.with_name(path.name.removesuffix(".replaced"))
        if original != path and _NAME.fullmatch(original.name) and not original.exists():
            os.rename(path, original)
    return [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()]


def _step(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def _replaced(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.replaced")


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows has no such call for folders.
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
