"""The right tokenizer for a model."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, ClassVar

from .._hub import split_gguf, take_source
from ..asynchronous.pool import in_loading_pool
from . import named
from .base import PreTrainedTokenizerBase
from .fast import PreTrainedTokenizerFast
from .loading import Files, load, load_gguf

#: Names that stand for any tokenizer with a `tokenizer.json`.
_ANY = ("PreTrainedTokenizer", "PreTrainedTokenizerFast", "TokenizersBackend")
#: What a configuration says about its tokenizer.
_KEYS = ("tokenizer_class", "model_type")


class AutoTokenizer:
    """Makes the tokenizer that a model needs; see :meth:`from_pretrained`."""

    _registered: ClassVar[dict[str, type[PreTrainedTokenizerFast]]] = {}

    def __init__(self) -> None:
        """Raise an error: tokenizers are made by :meth:`from_pretrained`."""
        raise OSError(
            "AutoTokenizer is designed to be instantiated "
            "using the `AutoTokenizer.from_pretrained(pretrained_model_name_or_path)` method."
        )

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *inputs: Any,
        config: Any = None,
        tokenizer_type: str | None = None,
        **kwargs: Any,
    ) -> PreTrainedTokenizerFast:
        """Load the tokenizer of a folder or of a repository. Its `tokenizer.json` is followed to the letter.

        :param pretrained_model_name_or_path: a folder, a repository as 'name' or 'namespace/name', or a GGUF
            file.
        :param config: a configuration, if `config.json` should not be asked for the type of the model.
        :param tokenizer_type: the type of the model, if no file should be asked for it.
        :param kwargs: say where from (`revision`, `subfolder`, `cache_dir`, `local_files_only`,
            `force_download`, `token`, `gguf_file`), or override what the files say: `pad_token="<pad>"`,
            `model_max_length=512`, ...
        :raises OSError: for a model that is not there.
        :raises ValueError: for a model without a tokenizer, and for files that are damaged.
        """
        source = take_source(kwargs)
        place, gguf_file = split_gguf(pretrained_model_name_or_path, kwargs.pop("gguf_file", None))
        files = Files(place, source)
        if gguf_file is not None:
            return load_gguf(PreTrainedTokenizerFast, files, gguf_file, inputs, kwargs)
        chosen = cls._choose(files, config) if tokenizer_type is None else cls._of_type(tokenizer_type)
        if chosen.__name__ == "LlamaTokenizer" and _is_byte_level(files):
            # The class is named after SentencePiece's special tokens, which Llama 3 and others do not have.
            chosen = PreTrainedTokenizerFast
        if _loads_itself(chosen):
            return chosen.from_pretrained(pretrained_model_name_or_path, *inputs, **source, **kwargs)
        return load(chosen, files, inputs, kwargs)

    @classmethod
    async def from_pretrained_async(cls, *args: Any, **kwargs: Any) -> PreTrainedTokenizerFast:
        """:meth:`from_pretrained`, off the event loop."""
        return await in_loading_pool(cls.from_pretrained, *args, **kwargs)

    @classmethod
    def _of_type(cls, tokenizer_type: str) -> type[PreTrainedTokenizerFast]:
        if (chosen := cls._for_model(tokenizer_type)) is not None:
            return chosen
        types = sorted({*named.BY_MODEL_TYPE, *cls._registered})
        raise ValueError(
            f"Passed `tokenizer_type` {tokenizer_type} does not exist. "
            f"`tokenizer_type` should be one of {', '.join(types)}."
        )

    @classmethod
    def _for_model(cls, model_type: str) -> type[PreTrainedTokenizerFast] | None:
        if model_type in cls._registered:
            return cls._registered[model_type]
        name = named.BY_MODEL_TYPE.get(model_type)
        found: type[PreTrainedTokenizerFast] | None = None if name is None else getattr(named, name)
        return found

    @classmethod
    def _choose(cls, files: Files, config: Any) -> type[PreTrainedTokenizerFast]:
        """Choose a class: the one that the tokenizer names, or else the one for the type of the model."""
        name = files.read_config().get("tokenizer_class")
        model = {"tokenizer_class": name}
        if name is None:
            model = config or files.read_json("config.json") or {}
        model = model if isinstance(model, dict) else {key: getattr(model, key, None) for key in _KEYS}
        if isinstance(name := model.get("tokenizer_class"), str):
            registered = {known.__name__: known for known in cls._registered.values()}
            for spelled in (name, name.removesuffix("Fast")):
                if spelled in registered:
                    return registered[spelled]
                if spelled in named.__all__:
                    found: type[PreTrainedTokenizerFast] = getattr(named, spelled)
                    return found
            if name in _ANY or files.find("tokenizer.json") is not None:
                return PreTrainedTokenizerFast
        return cls._for_model(str(model.get("model_type"))) or PreTrainedTokenizerFast

    @classmethod
    def register(
        cls,
        config_class: Any,
        tokenizer_class: type[PreTrainedTokenizerFast] | None = None,
        slow_tokenizer_class: type[PreTrainedTokenizerFast] | None = None,
        fast_tokenizer_class: type[PreTrainedTokenizerFast] | None = None,
        exist_ok: bool = False,
    ) -> None:
        """Make a class the one for the model type of a configuration class."""
        chosen = tokenizer_class or fast_tokenizer_class or slow_tokenizer_class
        if chosen is None:
            raise ValueError("You need to pass a `tokenizer_class`")
        model_type = config_class.model_type
        if not exist_ok and cls._for_model(model_type) is not None:
            raise ValueError(
                f"'{model_type}' is already used by a tokenizer: pass exist_ok=True to replace it"
            )
        cls._registered[model_type] = chosen


def _is_byte_level(files: Files) -> bool:
    """Whether a `tokenizer.json` splits texts into bytes."""
    path = files.find("tokenizer.json")
    return path is not None and re.search(rb'"type":\s*"ByteLevel"', Path(path).read_bytes()) is not None


def _loads_itself(chosen: type[PreTrainedTokenizerBase]) -> bool:
    """Whether a class has a `from_pretrained` of its own, as registered ones may."""
    own = getattr(chosen.from_pretrained, "__func__", None)
    return own is not vars(PreTrainedTokenizerBase)["from_pretrained"].__func__
