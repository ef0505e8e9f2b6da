"""The classes that read from a checkpoint which model it is."""

from __future__ import annotations

import os
from typing import Any, Literal, overload

from .bert import BertConfig, BertModel
from .configuration import PreTrainedConfig
from .modeling import PreTrainedModel, loading_options

#: Model type to its classes.
CONFIGS: dict[str, type[PreTrainedConfig]] = {"bert": BertConfig}
MODELS: dict[str, type[PreTrainedModel]] = {"bert": BertModel}


class AutoConfig:
    """Makes the configuration that config.json describes."""

    def __init__(self) -> None:
        raise OSError(
            "AutoConfig is designed to be instantiated using the "
            "`AutoConfig.from_pretrained(pretrained_model_name_or_path)` method."
        )

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        return_unused_kwargs: Literal[True],
        **kwargs: Any,
    ) -> tuple[PreTrainedConfig, dict[str, Any]]: ...

    @overload
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> PreTrainedConfig: ...

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> PreTrainedConfig | tuple[PreTrainedConfig, dict[str, Any]]:
        """Read the configuration of a folder or repository; see :meth:`PreTrainedConfig.from_pretrained`."""
        read: PreTrainedConfig | tuple[PreTrainedConfig, dict[str, Any]] = PreTrainedConfig._from_pretrained(
            CONFIGS, pretrained_model_name_or_path, **kwargs
        )
        return read

    @classmethod
    def for_model(cls, model_type: str, **kwargs: Any) -> PreTrainedConfig:
        """Make the default configuration of a model type, with ``kwargs`` over it."""
        if model_type not in CONFIGS:
            raise ValueError(
                f"Unrecognized model identifier: {model_type}. Should contain one of {', '.join(CONFIGS)}"
            )
        return CONFIGS[model_type](**kwargs)


class AutoModel:
    """Makes the bare model that a checkpoint describes."""

    def __init__(self) -> None:
        raise OSError(
            "AutoModel is designed to be instantiated using the "
            "`AutoModel.from_pretrained(pretrained_model_name_or_path)` or "
            "`AutoModel.from_config(config)` methods."
        )

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *model_args: Any,
        output_loading_info: Literal[True],
        **kwargs: Any,
    ) -> tuple[PreTrainedModel, dict[str, Any]]: ...

    @overload
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *model_args: Any, **kwargs: Any
    ) -> PreTrainedModel: ...

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *model_args: Any, **kwargs: Any
    ) -> PreTrainedModel | tuple[PreTrainedModel, dict[str, Any]]:
        """Open the model of a folder or repository; see :meth:`PreTrainedModel.from_pretrained`."""
        opened: PreTrainedModel | tuple[PreTrainedModel, dict[str, Any]] = PreTrainedModel._open(
            MODELS, pretrained_model_name_or_path, *model_args, **kwargs
        )
        return opened

    @classmethod
    def from_config(cls, config: PreTrainedConfig, **kwargs: Any) -> PreTrainedModel:
        """Make a model with freshly drawn weights."""
        if not isinstance(config, PreTrainedConfig) or config.model_type not in MODELS:
            raise ValueError(
                f"AutoModel.from_config takes a configuration of one of the types {', '.join(MODELS)}, "
                f"got {config!r}"
            )
        if (dtype := loading_options(kwargs)) not in ("auto", "float32"):
            raise ValueError(f"dtype={dtype!r} is not supported for freshly drawn weights: they are float32")
        return MODELS[config.model_type](config, **kwargs)
