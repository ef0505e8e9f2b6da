"""Where models and tokenizers come from, and where they go: the keywords that say so, and uploading."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

#: The keywords that say where files come from, as the engine's ``Repo`` takes them.
_SOURCE = ("revision", "subfolder", "cache_dir", "local_files_only", "force_download", "token")
#: Keywords that transformers accepts too and that change nothing.
_HINTS = (
    *("_commit_hash", "_fast_init", "_from_auto", "_from_pipeline", "code_revision", "from_flax", "from_tf"),
    *("low_cpu_mem_usage", "mirror", "offload_state_dict", "proxies", "resume_download", "trust_remote_code"),
    "use_fast",
)


def drop_hints(kwargs: dict[str, Any]) -> None:
    """Drop the keywords that change nothing."""
    for name in _HINTS:
        kwargs.pop(name, None)


def take_source(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Take the keywords that say where files come from out of ``kwargs``; drop those that change nothing."""
    drop_hints(kwargs)
    source = {name: kwargs.pop(name) for name in _SOURCE if name in kwargs}
    if "use_auth_token" in kwargs:
        source.setdefault("token", kwargs.pop("use_auth_token"))
    return {name: value for name, value in source.items() if value is not None}


def split_gguf(
    name_or_path: str | os.PathLike[str], gguf_file: str | None
) -> tuple[str | os.PathLike[str], str | None]:
    """The path of a GGUF file as its folder and its name; anything else as it is."""
    path = os.fspath(name_or_path)
    if gguf_file is None and path.endswith(".gguf") and os.path.isfile(path):
        return os.path.dirname(path) or ".", os.path.basename(path)
    return name_or_path, gguf_file


def push_folder(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    commit_message: str | None = None,
    commit_description: str | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
) -> Any:
    """Upload the files of a folder to a repository, which is made if need be, and say where they are.

    :raises ImportError: without `huggingface_hub`, which does it.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ImportError("push_to_hub needs huggingface_hub: pip install huggingface_hub") from error
    api = HfApi(token=token)
    name = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    return api.upload_folder(
        repo_id=name,
        folder_path=os.fspath(folder),
        commit_message=commit_message or "Upload model",
        commit_description=commit_description,
        revision=revision,
        create_pr=create_pr,
    )


def push_saved(save: Callable[[str], object], repo_id: str, **kwargs: Any) -> Any:
    """:func:`push_folder` of a folder that is there for that alone, with what ``save`` writes into it."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        save(folder)
        return push_folder(folder, repo_id, **kwargs)
