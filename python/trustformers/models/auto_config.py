"""The class that reads from a checkpoint which configuration it has."""

from __future__ import annotations

import os
from typing import Any, Literal, overload

from ..asynchronous.pool import in_loading_pool
from . import named
from .configuration import PreTrainedConfig


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
            named.CONFIGS, pretrained_model_name_or_path, **kwargs
        )
        return read

    @classmethod
    async def from_pretrained_async(cls, *args: Any, **kwargs: Any) -> Any:
        """:meth:`from_pretrained`, off the event loop."""
        return await in_loading_pool(cls.from_pretrained, *args, **kwargs)

    @classmethod
    def for_model(cls, model_type: str, **kwargs: Any) -> PreTrainedConfig:
        """Make the default configuration of a model type, with ``kwargs`` over it."""
        if model_type not in named.CONFIGS:
            raise ValueError(
                f"Unrecognized model identifier: {model_type}. "
                f"Should contain one of {', '.join(named.CONFIGS)}"
            )
        return named.CONFIGS[model_type](**kwargs)
