"""Configurations and models.

The classes of the architectures are made when they are first asked for; see ``named``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import named
from .auto import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForNextSentencePrediction,
    AutoModelForPreTraining,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTextEncoding,
    AutoModelForTokenClassification,
)
from .cache import Cache, DynamicCache, EncoderDecoderCache, QuantizedCache
from .configuration import PreTrainedConfig, PretrainedConfig
from .modeling import PreTrainedModel

if TYPE_CHECKING:
    from .named import *  # noqa: F403

__all__ = [
    "AutoConfig",
    "AutoModel",
    "AutoModelForCausalLM",
    "AutoModelForMaskedLM",
    "AutoModelForMultipleChoice",
    "AutoModelForNextSentencePrediction",
    "AutoModelForPreTraining",
    "AutoModelForQuestionAnswering",
    "AutoModelForSeq2SeqLM",
    "AutoModelForSequenceClassification",
    "AutoModelForTextEncoding",
    "AutoModelForTokenClassification",
    "Cache",
    "DynamicCache",
    "EncoderDecoderCache",
    "PreTrainedConfig",
    "PreTrainedModel",
    "PretrainedConfig",
    "QuantizedCache",
]
__all__ += named.__all__


def __getattr__(name: str) -> Any:
    if name not in named.__all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(named, name)
