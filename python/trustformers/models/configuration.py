"""A model's configuration as Python sees it: attributes over the values of config.json."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from .. import _engine
from .._hub import split_gguf, take_source
from ..asynchronous.pool import in_loading_pool

ConfigT = TypeVar("ConfigT", bound="PreTrainedConfig")

_TRUE, _FALSE = ("true", "1", "y", "yes"), ("false", "0", "n", "no")


class PreTrainedConfig:
    """The values of config.json as attributes, over the defaults of the model type.

    Equals transformers' ``PreTrainedConfig`` in names and behaviour: unknown values are kept,
    ``num_labels``, ``id2label`` and ``label2id`` follow one another, and what ``save_pretrained`` writes
    transformers reads.
    """

    model_type: ClassVar[str] = ""
    #: Common names of fields that this model calls otherwise: ``hidden_size`` is GPT-2's ``n_embd``.
    attribute_map: ClassVar[dict[str, str]] = {}

    def __init__(self, **kwargs: Any) -> None:
        defaults: dict[str, Any] = {
            "output_hidden_states": False,
            "output_attentions": False,
            "return_dict": True,
            "dtype": None,
            "chunk_size_feed_forward": 0,
            "is_encoder_decoder": False,
            "architectures": None,
            "problem_type": None,
            "_name_or_path": "",
        }
        kwargs.pop("model_type", None)
        values = {**defaults, **(_completed(self.model_type, kwargs) if self.model_type else kwargs)}
        if (dtype := values.pop("torch_dtype", None)) is not None and values["dtype"] is None:
            values["dtype"] = dtype
        if (dtype := values["dtype"]) is not None:
            values["dtype"] = str(dtype).removeprefix("torch.")
        num_labels = values.pop("num_labels", None)
        id2label = _mapping("id2label", values.pop("id2label", None))
        label2id = _mapping("label2id", values.pop("label2id", None))
        if "id2label" in kwargs and "label2id" not in kwargs:
            label2id = None  # A default goes with the default names.
        if id2label is not None and "num_labels" in kwargs and num_labels not in (None, len(id2label)):
            _warn(
                f"You passed `num_labels={num_labels}` which is incompatible to the `id2label` map of length "
                f"`{len(id2label)}`."
            )
            id2label = label2id = None
        for key, value in values.items():
            # A file may hold fields that are names of ours, such as the retired `use_return_dict`.
            if not hasattr(type(self), key):
                setattr(self, key, value)
        if id2label is not None:
            self.id2label: dict[int, str] = {int(index): label for index, label in id2label.items()}
            self.label2id: dict[str, int] = label2id or {label: i for i, label in self.id2label.items()}
        else:
            self.num_labels = num_labels if num_labels is not None else 2
            if label2id is not None:
                self.label2id = label2id

    @property
    def num_labels(self) -> int:
        """The number of labels of a classifier."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, count: int) -> None:
        if len(getattr(self, "id2label", ())) != count:
            self.id2label = {index: f"LABEL_{index}" for index in range(count)}
            self.label2id = {label: index for index, label in self.id2label.items()}

    @property
    def name_or_path(self) -> str:
        """Where the configuration was read from."""
        return str(self._name_or_path)

    @name_or_path.setter
    def name_or_path(self, value: str | os.PathLike[str]) -> None:
        self._name_or_path = str(value)

    @property
    def torch_dtype(self) -> str | None:
        """The dtype of the weights, under its old name."""
        dtype: str | None = self.dtype
        return dtype

    @torch_dtype.setter
    def torch_dtype(self, dtype: object) -> None:
        self.dtype = None if dtype is None else str(dtype).removeprefix("torch.")

    @property
    def use_return_dict(self) -> bool:
        """Whether models return a ``ModelOutput`` and not a tuple."""
        return bool(self.return_dict)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(self.attribute_map.get(name, name), value)

    def __getattr__(self, name: str) -> Any:
        # Called only for what is not there: fields by their common names, and what does not exist.
        if name in self.attribute_map:
            return getattr(self, self.attribute_map[name])
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    @classmethod
    def from_pretrained(
        cls: type[ConfigT], pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> ConfigT:
        """Read config.json of a local folder or a hub repository.

        Keywords: ``revision``, ``subfolder``, ``cache_dir``, ``local_files_only``, ``force_download``,
        ``token``, ``gguf_file`` (a GGUF file that is read instead; a path to one will do too), and fields of
        the configuration, which replace what the file says. With
        ``return_unused_kwargs=True`` the result is the configuration and the keywords that are no fields of
        it.

        :raises OSError: when there is no such folder or repository, or the file is not JSON.
        :raises ValueError: when it names no model type, or one that is not supported.
        """
        config: ConfigT = cls._from_pretrained({cls.model_type: cls}, pretrained_model_name_or_path, **kwargs)
        return config

    @classmethod
    async def from_pretrained_async(cls: type[ConfigT], *args: Any, **kwargs: Any) -> ConfigT:
        """:meth:`from_pretrained`, off the event loop."""
        return await in_loading_pool(cls.from_pretrained, *args, **kwargs)

    @staticmethod
    def _read(
        classes: Mapping[str, type[Any]],
        repo: _engine.Repo,
        name_or_path: str | os.PathLike[str],
        file: str | os.PathLike[str] | None = None,
        gguf_file: str | None = None,
    ) -> Any:
        """Read config.json of an open repository, or ``file``, as one of ``classes``, by model type.

        A single one is taken whatever the file says, with a warning where that is something else.
        """
        only = next(iter(classes)) if len(classes) == 1 else None
        text, named = _engine.read_config(repo, file, gguf_file, model_type=only)
        if gguf_file is not None and named not in classes:
            wanted = ", ".join(classes) or "none"
            raise ValueError(f"{name_or_path} is a {named} model, but {wanted} was asked for")
        if only is not None and named not in (only, None):
            _warn(
                f"You are using a model of type `{named}` to instantiate a model of type `{only}`. This may "
                "be expected if you are loading a checkpoint that shares a subset of the architecture, but "
                "is otherwise not supported and can yield errors. Please verify that the checkpoint is "
                "compatible with the model you are instantiating."
            )
        values = json.loads(text)
        return classes[values["model_type"]](**{**values, "_name_or_path": str(name_or_path)})

    @staticmethod
    def _from_pretrained(
        classes: Mapping[str, type[Any]], name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> Any:
        """Read a configuration as one of ``classes``, by model type; also from a file by its own name."""
        source = take_source(kwargs)
        place, gguf_file = split_gguf(name_or_path, kwargs.pop("gguf_file", None))
        file = place if os.path.isfile(place) else None
        repo = _engine.Repo(place if file is None else os.path.dirname(file) or ".", **source)
        return_unused = kwargs.pop("return_unused_kwargs", False)
        config = PreTrainedConfig._read(classes, repo, name_or_path, file, gguf_file)
        config._set(kwargs)
        return (config, kwargs) if return_unused else config

    def _set(self, kwargs: dict[str, Any]) -> None:
        """Take the fields of this configuration out of ``kwargs`` and set them."""
        for key in [key for key in kwargs if hasattr(self, key)]:
            setattr(self, key, kwargs.pop(key))

    def get_text_config(self: ConfigT, decoder: bool = False, encoder: bool = False) -> ConfigT:
        """The configuration of the text model: this one."""
        return self

    @classmethod
    def from_dict(cls: type[ConfigT], config_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """Make a configuration of the given values, with those of its fields in ``kwargs`` over them.

        With ``return_unused_kwargs=True`` the result is the configuration and the other ``kwargs``.
        """
        return_unused = kwargs.pop("return_unused_kwargs", False)
        config = cls(**config_dict)
        config._set(kwargs)
        return (config, kwargs) if return_unused else config

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The values of config.json as they are there, and the keywords that do not say where that is.

        :raises OSError: when there is no such folder or repository, or the file is not JSON.
        """
        repo = _engine.Repo(pretrained_model_name_or_path, **take_source(kwargs))
        path = repo.require("config.json")
        try:
            with open(path, encoding="utf-8") as file:
                return json.load(file), kwargs
        except ValueError as error:
            raise OSError(f"It looks like the config file at '{path}' is not a valid JSON file.") from error

    @classmethod
    def from_json_file(cls: type[ConfigT], json_file: str | os.PathLike[str]) -> ConfigT:
        """Make a configuration of the values in a JSON file."""
        with open(json_file, encoding="utf-8") as file:
            return cls(**json.load(file))

    def to_dict(self) -> dict[str, Any]:
        """All values, ``model_type`` included."""
        return {**copy.deepcopy(self.__dict__), "model_type": self.model_type}

    def to_diff_dict(self) -> dict[str, Any]:
        """The values that transformers writes: those of the model, of the rest what is not the default."""
        base, own = PreTrainedConfig().__dict__, type(self)().__dict__
        values = {
            key: value
            for key, value in self.to_dict().items()
            if key not in base or value != base[key] or value != own[key]
        }
        return {key: value for key, value in sorted(values.items()) if key != "_name_or_path"}

    def to_json_string(self, use_diff: bool = True) -> str:
        """The values as JSON text."""
        return (
            json.dumps(self.to_diff_dict() if use_diff else self.to_dict(), indent=2, sort_keys=True) + "\n"
        )

    def to_json_file(self, json_file_path: str | os.PathLike[str], use_diff: bool = True) -> None:
        """Write :meth:`to_json_string` to a file."""
        with open(json_file_path, "w", encoding="utf-8") as file:
            file.write(self.to_json_string(use_diff))

    def _as_json(self) -> str:
        """The values as the engine reads them."""
        return json.dumps(self.to_dict(), default=plain)

    def save_pretrained(self, save_directory: str | os.PathLike[str], push_to_hub: bool = False) -> None:
        """Write config.json into a folder, which is made if need be."""
        if push_to_hub:
            raise ValueError("push_to_hub=True is not supported yet")
        if os.path.isfile(save_directory):
            raise AssertionError(f"Provided path ({save_directory}) should be a directory, not a file")
        os.makedirs(save_directory, exist_ok=True)
        with open(os.path.join(save_directory, "config.json"), "w", encoding="utf-8") as file:
            file.write(self.to_json_string())

    def update(self, config_dict: Mapping[str, Any]) -> None:
        """Set several values."""
        for key, value in config_dict.items():
            setattr(self, key, value)

    def update_from_string(self, update_str: str) -> None:
        """Set several values from a text such as ``"n_embd=10,resid_pdrop=0.2,scale_attn_weights=false"``.

        :raises ValueError: for values that there are not, and those of another type than there are.
        """
        for name, _, text in (one.partition("=") for one in update_str.split(",")):
            if not hasattr(self, name):
                raise ValueError(f"key {name} isn't in the original config dict")
            old = getattr(self, name)
            if isinstance(old, bool):
                if text.lower() not in (*_TRUE, *_FALSE):
                    raise ValueError(f"can't derive true or false from {text} (key {name})")
                setattr(self, name, text.lower() in _TRUE)
            elif isinstance(old, (int, float, str)):
                setattr(self, name, type(old)(text))
            else:
                raise TypeError(
                    "You can only update int, float, bool or string values in the config, got "
                    f"{text} for key {name}"
                )

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PreTrainedConfig) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"


def _completed(model_type: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All fields of a model type: what is given over its defaults, and what follows from others filled in."""
    text = json.dumps({**given, "model_type": model_type}, default=plain)
    completed: dict[str, Any] = json.loads(_engine.complete_config(text))
    del completed["model_type"]
    # What the engine left as it was stays the caller's own object, which JSON cannot always say.
    sent = json.loads(text)
    kept = {key for key in given if key in completed and sent[key] == completed[key]}
    return {key: given[key] if key in kept else value for key, value in completed.items()}


def plain(value: Any) -> Any:
    """What JSON does not know as something that it does: NumPy's numbers, and names of dtypes."""
    return value.item() if hasattr(value, "item") else str(value)


def _warn(message: str) -> None:
    import logging

    logging.getLogger(__name__).warning(message)


def _mapping(field: str, value: Any) -> dict[Any, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"config.json: `{field}` must be an object, got {value!r}")
    return value


#: transformers' older spelling.
PretrainedConfig = PreTrainedConfig
