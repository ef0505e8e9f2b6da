"""From the keywords of ``from_pretrained`` to a model."""

from __future__ import annotations

import copy
import os
import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import _engine
from .._hub import drop_hints, split_gguf, take_source
from ..generation.configuration import GenerationConfig
from .arrays import to_tensor
from .calls import unexpected
from .configuration import PreTrainedConfig
from .report import loading_report

if TYPE_CHECKING:
    from .modeling import PreTrainedModel

#: Keywords of transformers that would change the result and that are not there yet.
_UNSUPPORTED = (
    *("adapter_kwargs", "load_in_4bit", "load_in_8bit"),
    *("quantization_config", "tp_plan"),
)
#: Keywords that say which files are read, and those that say what is made of them.
_FILES = ("variant", "use_safetensors")
_FORMS = ("ignore_mismatched_sizes", "add_pooling_layer", "quantization")
#: The attention implementations of transformers that give what the engine's one gives.
_ATTENTION = (None, "eager", "sdpa")
_DTYPES = ("auto", "float32", "float16", "bfloat16")


def open_model(
    configs: Mapping[str, type[PreTrainedConfig]],
    models: Mapping[str, type[PreTrainedModel]],
    wanted: str,
    name_or_path: str | os.PathLike[str],
    model_args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Open a model as one of ``models``, by model type; ``wanted`` says to people which those are."""
    if model_args:
        raise TypeError(f"from_pretrained takes one positional argument, got also {model_args!r}: name them")
    with_info = kwargs.pop("output_loading_info", False)
    options: dict[str, Any] = {key: kwargs.pop(key) for key in (*_FILES, *_FORMS) if key in kwargs}
    state_dict, key_mapping = kwargs.pop("state_dict", None), kwargs.pop("key_mapping", None) or {}
    generation_config = kwargs.pop("generation_config", None)
    device_map, max_memory = _placing(kwargs)
    dtype = loading_options(kwargs)
    source = take_source(kwargs)
    place, gguf_file = split_gguf(name_or_path, kwargs.pop("gguf_file", None))
    if gguf_file is not None and (state_dict is not None or key_mapping):
        raise ValueError("gguf_file= goes together with neither state_dict= nor key_mapping=")
    repo = _engine.Repo(place, **source)

    given = kwargs.pop("config", None)
    if isinstance(given, PreTrainedConfig):
        config = copy.deepcopy(given)
    elif given is None:
        config = PreTrainedConfig._read(configs, repo, name_or_path, gguf_file=gguf_file)
    else:
        config = PreTrainedConfig._from_pretrained(configs, given, **source)
    config._set(kwargs)
    model_class = chosen(models, config, wanted)
    if kwargs:
        raise unexpected(f"{model_class.__name__}.from_pretrained", next(iter(kwargs)), config.to_dict())

    kept: dict[str, Any] = {
        "class_name": model_class._engine_class,
        "dtype": None if dtype == "auto" else dtype,
        **{key: options[key] for key in _FORMS if key in options},
    }
    files = {key: options[key] for key in _FILES if key in options}
    if state_dict is None and not key_mapping:
        engine = _engine.Model.from_repo(repo, config._as_json(), gguf_file=gguf_file, **files, **kept)
    else:
        if state_dict is None:
            state_dict = _engine.load_checkpoint(repo, **files)
        tensors = {_renamed(key, key_mapping): to_tensor(key, value) for key, value in state_dict.items()}
        kept["dtype"] = kept["dtype"] or config.dtype
        engine = _engine.Model.from_tensors(tensors, config._as_json(), place=str(name_or_path), **kept)
    config.dtype = engine.dtype
    model = model_class.__new__(model_class)
    model._attach(config, engine)
    if model.can_generate():
        if generation_config is not None:
            model.generation_config = generation_config
        elif gguf_file is None:
            model.generation_config = GenerationConfig._of(repo) or model.generation_config
    # What opens the same files again, in another process for instance.
    if repo.commit is not None:
        source["revision"] = repo.commit
    if state_dict is None:
        opening = {**source, **options, "dtype": dtype, "key_mapping": key_mapping, "gguf_file": gguf_file}
        model._source = (place, opening, engine, engine.version)
    if device_map is not None:
        model._place(device_map, max_memory)
    info = engine.loading_info()
    if (report := loading_report(model_class.__name__, name_or_path, info)) is not None:
        import logging

        logging.getLogger(__name__).warning(report)
    return (model, _loading_info(info)) if with_info else model


def _loading_info(info: dict[str, list[Any]]) -> dict[str, Any]:
    """What did not fit, as transformers gives it: sets, and a list of errors, which stop a model of ours."""
    mismatched = {(key, tuple(found), tuple(wanted)) for key, found, wanted in info["mismatched_keys"]}
    sets = {key: set(info[key]) for key in ("missing_keys", "unexpected_keys")}
    return {**sets, "mismatched_keys": mismatched, "error_msgs": []}


def chosen(
    models: Mapping[str, type[PreTrainedModel]], config: PreTrainedConfig, wanted: str
) -> type[PreTrainedModel]:
    """The one of ``models`` for a configuration."""
    if not isinstance(config, PreTrainedConfig) or config.model_type not in models:
        raise ValueError(
            f"Unrecognized configuration class {type(config)} for this kind of AutoModel: {wanted}.\n"
            f"Model type should be one of {', '.join(models)}."
        )
    return models[config.model_type]


def loading_options(kwargs: dict[str, Any]) -> str:
    """Take the keywords that say how to load out of ``kwargs``, refusing what cannot be; return the dtype."""
    drop_hints(kwargs)
    kwargs.pop("weights_only", None)
    for key in _UNSUPPORTED:
        if kwargs.pop(key, None):
            raise ValueError(f"{key}= is not supported yet")
    if (attention := kwargs.pop("attn_implementation", None)) not in _ATTENTION:
        raise ValueError(f"attn_implementation={attention!r} is not supported: use one of {_ATTENTION}")
    if "torch_dtype" in kwargs:
        warnings.warn("`torch_dtype` is deprecated! Use `dtype` instead!", DeprecationWarning, stacklevel=4)
    old = kwargs.pop("torch_dtype", None)
    dtype = kwargs.pop("dtype", old)
    name = "auto" if dtype is None else str(dtype).split(".")[-1]
    if name not in _DTYPES:
        raise ValueError(f"dtype={dtype!r} is not supported: use one of {', '.join(_DTYPES)}")
    return name


def _placing(kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Take the keywords that say where the weights go out of ``kwargs``."""
    # What is on the disk is mapped from where it is.
    kwargs.pop("offload_folder", None)
    device, device_map = kwargs.pop("device", None), kwargs.pop("device_map", None)
    if device is not None and device_map is not None:
        raise ValueError("device= and device_map= say the same: give one of them")
    max_memory = kwargs.pop("max_memory", None)
    place = device if device_map is None else device_map
    if max_memory and place is None:
        raise ValueError("max_memory= goes together with device_map='auto'")
    return place, max_memory


def _renamed(key: str, patterns: Mapping[str, str]) -> str:
    """A tensor's name in the model, by regular expressions and what they become."""
    for pattern, replacement in patterns.items():
        key = re.sub(pattern, replacement, key)
    return key
