"""From the files of a folder or a repository to a tokenizer."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from .._engine import AddedToken, Repo, Tokenizer
from .base import PreTrainedTokenizerBase
from .rules import check, is_id, token_of

_T = TypeVar("_T", bound=PreTrainedTokenizerBase)

#: What callers may say that has no meaning here, and none in transformers 5 either.
_HINTS = ("fix_mistral_regex", "from_slow", "mistral_format")
#: What a file must not say: it could name any other file of this machine.
_NOT_FOR_FILES = ("init_inputs", "merges", "self", "tokenizer_object", "vocab")


class Files:
    """The files of a folder or a repository by name, or a single file."""

    def __init__(self, name_or_path: str | os.PathLike[str], source: Mapping[str, Any]) -> None:
        """Open a folder, a repository with the options of `Repo`, or a file."""
        self.name = os.fspath(name_or_path)
        self.single = os.path.isfile(self.name)
        self.local = os.path.isdir(self.name)
        self._repo = None if self.single else Repo(name_or_path, **source)

    def find(self, name: str) -> str | None:
        """The path of a file, if there is one of this name."""
        return None if self._repo is None else self._repo.file(name)

    def require(self, name: str) -> str:
        """The path of a file that must be there.

        :raises OSError: if there is none of this name.
        """
        path = self.find(name)
        if path is None:
            raise OSError(f"{self.name!r} does not appear to have a file named {name}")
        return path

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The content of a JSON file, if there is one of this name.

        :raises ValueError: if it is not a JSON object.
        """
        path = self.find(name)
        if path is None:
            return None
        try:
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
        except ValueError as error:
            raise ValueError(
                f"{path} is not valid JSON: {error}. Check that it was downloaded whole"
            ) from error
        if not isinstance(content, dict):
            raise ValueError(f"{path} holds a {type(content).__name__} where a JSON object should be")
        return content

    def read_config(self) -> dict[str, Any]:
        """The content of `tokenizer_config.json`, if there is one; what is null there counts as absent.

        :raises ValueError: if it says something that cannot be.
        """
        return check(
            self.read_json("tokenizer_config.json") or {}, f"the tokenizer_config.json of {self.name!r}"
        )


def load(cls: type[_T], files: Files, init_inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> _T:
    """Load a tokenizer of a class; `kwargs` override what the files say."""
    kwargs = {key: value for key, value in kwargs.items() if key not in _HINTS}
    config = files.read_config()
    for name in (*_NOT_FOR_FILES, *cls.vocab_files_names, "tokenizer_class"):
        config.pop(name, None)
    engine, paths = _vocabulary(cls, files, config, kwargs)
    if engine is not None:
        for name in cls.said_by_tokenizer_file:
            config.pop(name, None)
    if (template := _chat_template(files)) is not None:
        config["chat_template"] = template
    config.update(kwargs)
    _gather_named_tokens(cls, config)
    config["added_tokens_decoder"] = _added_tokens(cls, files, config, kwargs, engine)
    config = _revive(config)
    known = {str(token): token for token in config["added_tokens_decoder"].values()}
    for name in cls.SPECIAL_TOKENS_ATTRIBUTES:
        if config.get(name) is not None:
            config[name] = known.get(str(config[name]), config[name])
    config["name_or_path"] = files.name
    if engine is not None:
        config["tokenizer_object"] = engine
    else:
        config.update(paths)
    return cls(*init_inputs, **config)


def load_gguf(
    cls: type[_T], files: Files, gguf_file: str, init_inputs: tuple[Any, ...], kwargs: dict[str, Any]
) -> _T:
    """Load the tokenizer that a GGUF file carries; `kwargs` override what it says."""
    engine, config = Tokenizer.from_gguf(files.require(gguf_file))
    config.update({key: value for key, value in kwargs.items() if key not in _HINTS})
    return cls(*init_inputs, **config, name_or_path=files.name, tokenizer_object=engine)


def _vocabulary(
    cls: type[PreTrainedTokenizerBase], files: Files, config: dict[str, Any], kwargs: Mapping[str, Any]
) -> tuple[Tokenizer | None, dict[str, str]]:
    """Read `tokenizer.json`, or find the files that the class makes a tokenizer from, by keyword."""
    names = {key: name for key, name in cls.vocab_files_names.items() if key != "tokenizer_file"}
    if files.single:
        if files.name.endswith(".json") and "merges_file" not in names:
            return Tokenizer.from_file(files.name), {}
        if list(names) == ["vocab_file"]:
            return None, {"vocab_file": files.name}
        raise ValueError(
            f"Calling {cls.__name__}.from_pretrained() with the path to a single file or url is not "
            "supported for this tokenizer. Use a model identifier or the path to a directory instead."
        )
    path = files.find(_tokenizer_file(config.get("fast_tokenizer_files", ())))
    if path is not None and not cls.vocabulary_only:
        return Tokenizer.from_file(path), {}
    found = {key: kwargs.get(key) or files.find(name) for key, name in names.items()}
    paths = {key: path for key, path in found.items() if path is not None}
    missing = [names[key] for key in names.keys() - paths.keys() - set(cls.optional_files)]
    if missing or not names:
        raise ValueError(
            f"Couldn't instantiate the backend tokenizer: {files.name!r} has no tokenizer.json"
            + "".join(f" and no {name}" for name in sorted(missing))
            + f", which {cls.__name__} is made from. If it has other files, convert them to a "
            "tokenizer.json, or load it with the class that reads them"
        )
    return None, paths


def _tokenizer_file(versions: Any) -> str:
    """The newest of the files that are named for a version of transformers (`tokenizer.4.0.0.json`)."""
    numbered = [
        (match[1], name) for name in versions if (match := re.search(r"tokenizer\.([\d.]+)\.json", name))
    ]
    if not numbered:
        return "tokenizer.json"
    newest: str = max(numbered, key=lambda entry: [int(number) for number in entry[0].split(".")])[1]
    return newest


def _chat_template(files: Files) -> str | dict[str, str] | None:
    """The chat templates that have files of their own."""
    templates = {}
    if (path := files.find("chat_template.jinja")) is not None:
        templates["default"] = Path(path).read_text(encoding="utf-8")
    if files.local:
        for file in sorted(Path(files.name, "additional_chat_templates").glob("*.jinja")):
            templates[file.stem] = file.read_text(encoding="utf-8")
    return templates.get("default") if list(templates) == ["default"] else templates or None


def _gather_named_tokens(cls: type[PreTrainedTokenizerBase], config: dict[str, Any]) -> None:
    """Put a model's own special tokens (`image_token`) where the constructor looks for them."""
    if "additional_special_tokens" in config and not config.get("extra_special_tokens"):
        config["extra_special_tokens"] = config.pop("additional_special_tokens")
    own = {
        name: config.pop(name)
        for name in list(config)
        if name.endswith("_token")
        and name not in cls.SPECIAL_TOKENS_ATTRIBUTES
        and type(config[name]).__name__ in ("str", "AddedToken")
    }
    if isinstance(config.get("extra_special_tokens"), dict):
        own |= config.pop("extra_special_tokens")
    if own:
        config["model_specific_special_tokens"] = own


def _added_tokens(
    cls: type[PreTrainedTokenizerBase],
    files: Files,
    config: dict[str, Any],
    kwargs: dict[str, Any],
    engine: Tokenizer | None,
) -> dict[int, AddedToken]:
    """Give the added tokens by id. Older repositories spread them over several files."""
    if "added_tokens_decoder" in config:
        listed = config["added_tokens_decoder"] or {}
        return {int(index): token_of(token) for index, token in listed.items()}
    lists = ("extra_special_tokens", "additional_special_tokens")
    named = files.read_json("special_tokens_map.json") or {}
    for name, token in check(named, f"the special_tokens_map.json of {files.name!r}").items():
        if (name.endswith("_token") or name in lists) and not kwargs.get(name):
            config[name] = token_of(token, special=True) if isinstance(token, dict) else token
    added: dict[int, AddedToken] = {}
    for content, index in (files.read_json("added_tokens.json") or {}).items():
        special = content in {str(config[name]) for name in cls.SPECIAL_TOKENS_ATTRIBUTES if config.get(name)}
        special = special or content in map(str, config.get("extra_special_tokens") or [])
        if not is_id(index):
            raise ValueError(
                f"the added_tokens.json of {files.name!r} has {index!r} for the id of {content!r}"
            )
        added[index] = AddedToken(content, special=special)
    if engine is not None:
        added.update(engine.get_added_tokens_decoder())
    return added


def _revive(value: Any) -> Any:
    """Turn the tokens in a configuration, at any depth, back into tokens."""
    if isinstance(value, dict):
        if value.get("__type") == "AddedToken" or {"content", "lstrip", "rstrip"} <= value.keys():
            return token_of(value)
        return {key: _revive(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_revive(item) for item in value]
    return value
