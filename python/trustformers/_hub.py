"""Where models and tokenizers come from: the keywords of ``from_pretrained`` that say so."""

from __future__ import annotations

from typing import Any

#: The keywords that say where files come from, as the engine's ``Repo`` takes them.
_SOURCE = ("revision", "subfolder", "cache_dir", "local_files_only", "force_download", "token")
#: Keywords that transformers accepts too and that change nothing.
_HINTS = (
    *("_commit_hash", "_fast_init", "_from_auto", "_from_pipeline", "code_revision", "from_flax", "from_tf"),
    *("low_cpu_mem_usage", "mirror", "offload_state_dict", "proxies", "resume_download", "trust_remote_code"),
    "use_fast",
)


def take_source(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Take the keywords that say where files come from out of ``kwargs``; drop those that change nothing."""
    for name in _HINTS:
        kwargs.pop(name, None)
    source = {name: kwargs.pop(name) for name in _SOURCE if name in kwargs}
    if "use_auth_token" in kwargs:
        source.setdefault("token", kwargs.pop("use_auth_token"))
    return {name: value for name, value in source.items() if value is not None}
