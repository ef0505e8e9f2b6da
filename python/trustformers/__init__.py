"""transformers without PyTorch: a drop-in replacement for the text side of Hugging Face transformers.

Importing the package loads nothing but this file; every name is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

#: Where each public name lives. The type checker reads the same from the imports below; a test compares the
#: two.
_HOMES = {
    "_engine": ["SafetensorError", "Tensor", "dtype"],
    "models": [
        "AutoConfig",
        "AutoModel",
        "BertConfig",
        "BertModel",
        "PreTrainedConfig",
        "PreTrainedModel",
        "PretrainedConfig",
    ],
    "models.outputs": [
        "BaseModelOutput",
        "BaseModelOutputWithPooling",
        "BaseModelOutputWithPoolingAndCrossAttentions",
        "ModelOutput",
    ],
    "tokenizers": [
        "AutoTokenizer",
        "BatchEncoding",
        "BertTokenizer",
        "BertTokenizerFast",
        "PreTrainedTokenizerBase",
        "PreTrainedTokenizerFast",
    ],
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = ["__version__", "models", "tokenizers", *_HOME_OF]

if TYPE_CHECKING:
    from . import models as models
    from . import tokenizers as tokenizers
    from ._engine import SafetensorError as SafetensorError
    from ._engine import Tensor as Tensor
    from ._engine import dtype as dtype
    from .models import AutoConfig as AutoConfig
    from .models import AutoModel as AutoModel
    from .models import BertConfig as BertConfig
    from .models import BertModel as BertModel
    from .models import PreTrainedConfig as PreTrainedConfig
    from .models import PretrainedConfig as PretrainedConfig
    from .models import PreTrainedModel as PreTrainedModel
    from .models.outputs import BaseModelOutput as BaseModelOutput
    from .models.outputs import BaseModelOutputWithPooling as BaseModelOutputWithPooling
    from .models.outputs import (
        BaseModelOutputWithPoolingAndCrossAttentions as BaseModelOutputWithPoolingAndCrossAttentions,
    )
    from .models.outputs import ModelOutput as ModelOutput
    from .tokenizers import AutoTokenizer as AutoTokenizer
    from .tokenizers import BatchEncoding as BatchEncoding
    from .tokenizers import BertTokenizer as BertTokenizer
    from .tokenizers import BertTokenizerFast as BertTokenizerFast
    from .tokenizers import PreTrainedTokenizerBase as PreTrainedTokenizerBase
    from .tokenizers import PreTrainedTokenizerFast as PreTrainedTokenizerFast


def __getattr__(name: str) -> object:
    if name in ("models", "tokenizers"):
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOME_OF:
        raise AttributeError(f"module 'trustformers' has no attribute '{name}'")
    value = getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
