"""Configurations and models."""

from .auto import AutoConfig, AutoModel
from .bert import BertConfig, BertModel
from .configuration import PreTrainedConfig, PretrainedConfig
from .modeling import PreTrainedModel

__all__ = [
    "AutoConfig",
    "AutoModel",
    "BertConfig",
    "BertModel",
    "PreTrainedConfig",
    "PreTrainedModel",
    "PretrainedConfig",
]
