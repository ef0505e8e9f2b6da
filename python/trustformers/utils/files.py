"""The files of a checkpoint: what they are called, and where they are."""

from __future__ import annotations

import os
from typing import Any

from .. import _engine
from .._hub import take_source

CONFIG_NAME = "config.json"
GENERATION_CONFIG_NAME = "generation_config.json"
WEIGHTS_NAME = "pytorch_model.bin"
WEIGHTS_INDEX_NAME = "pytorch_model.bin.index.json"
SAFE_WEIGHTS_NAME = "model.safetensors"
SAFE_WEIGHTS_INDEX_NAME = "model.safetensors.index.json"
#: SentencePiece's sign for a space.
SPIECE_UNDERLINE = "▁"


def cached_file(path_or_repo_id: str | os.PathLike[str], filename: str, **kwargs: Any) -> str | None:
    """The path of a file of a folder or of a repository, which is downloaded if it is not in the cache.

    :param kwargs: say where from, as those of ``from_pretrained`` do: ``revision``, ``subfolder``,
        ``cache_dir``, ``local_files_only``, ``force_download``, ``token``;
        ``_raise_exceptions_for_missing_entries=False`` gives ``None`` for a file that is not there.
    :raises OSError: for a file or a repository that is not there.
    :raises TypeError: for other keywords.
    """
    strict = kwargs.pop("_raise_exceptions_for_missing_entries", True)
    source = take_source(kwargs)
    if kwargs:
        raise TypeError(f"cached_file() got unexpected keyword arguments: {', '.join(kwargs)}")
    repo = _engine.Repo(path_or_repo_id, **source)
    return repo.require(filename) if strict else repo.file(filename)
