"""From a tokenizer to files, as transformers writes and reads them."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._engine import AddedToken

if TYPE_CHECKING:
    from .base import PreTrainedTokenizerBase

#: What a tokenizer was told about this machine, and what its other files say better.
_PRIVATE = {
    "add_bos_token",
    "add_eos_token",
    "added_tokens_decoder",
    "additional_special_tokens",
    "device_map",
    "files_loaded",
    "is_local",
    "local_files_only",
    "name_or_path",
    "slow_tokenizer_class",
    "special_tokens_map_file",
    "tokenizer_file",
    "tokenizer_object",
}


def save(
    tokenizer: PreTrainedTokenizerBase,
    save_directory: str | os.PathLike[str],
    legacy_format: bool | None,
    filename_prefix: str | None,
    save_jinja_files: bool,
) -> tuple[str, ...]:
    """Write all files of a tokenizer and give their paths."""
    folder = Path(save_directory)
    if folder.is_file():
        raise ValueError(f"Provided path ({folder}) should be a directory, not a file")
    folder.mkdir(parents=True, exist_ok=True)
    prefix = f"{filename_prefix}-" if filename_prefix else ""

    config = {
        key: value for key, value in copy.deepcopy(tokenizer.init_kwargs).items() if key not in _PRIVATE
    }
    for name in {*config, "model_max_length"} - set(tokenizer.SPECIAL_TOKENS_ATTRIBUTES):
        if hasattr(tokenizer, name):
            config[name] = getattr(tokenizer, name)
    config.update(tokenizer.special_tokens_map)
    if tokenizer.extra_special_tokens:
        config["extra_special_tokens"] = tokenizer.extra_special_tokens
    for name in tokenizer.vocab_files_names:
        config.pop(name, None)
    config["tokenizer_class"] = type(tokenizer).__name__
    templates = _save_chat_templates(tokenizer.chat_template, folder, prefix, config, save_jinja_files)

    config_file = folder / f"{prefix}tokenizer_config.json"
    text = json.dumps(_plain(config), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    config_file.write_text(text, encoding="utf-8")
    written = [str(config_file), *templates]
    if legacy_format or tokenizer.vocabulary_only:
        if not hasattr(tokenizer, "save_vocabulary"):
            raise ValueError(f"{type(tokenizer).__name__} has no legacy format: leave out legacy_format=True")
        written += tokenizer.save_vocabulary(folder, filename_prefix)
    if not tokenizer.vocabulary_only:
        tokenizer_file = folder / f"{prefix}tokenizer.json"
        tokenizer.backend_tokenizer.save(tokenizer_file)
        written.append(str(tokenizer_file))
    return tuple(written)


def _save_chat_templates(
    template: str | dict[str, str] | None, folder: Path, prefix: str, config: dict[str, Any], as_files: bool
) -> list[str]:
    config.pop("chat_template", None)
    if template is None:
        return []
    if not as_files:
        config["chat_template"] = template
        if isinstance(template, dict):
            config["chat_template"] = [{"name": name, "template": text} for name, text in template.items()]
        return []
    saved = []
    for name, text in ({"default": template} if isinstance(template, str) else template).items():
        path = folder / f"{prefix}chat_template.jinja"
        if name != "default":
            path = folder / f"{prefix}additional_chat_templates" / f"{name}.jinja"
            if path.resolve().parent != (folder / f"{prefix}additional_chat_templates").resolve():
                raise ValueError(f"Invalid chat template name: {name!r}")
            path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        saved.append(str(path))
    return saved


def _plain(value: Any) -> Any:
    """Turn tokens, at any depth, into what JSON has."""
    if isinstance(value, AddedToken):
        return {**value.__getstate__(), "__type": "AddedToken"}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
