"""Generation: settings, what shapes scores, what ends a text, and where tokens go as they are chosen."""

# First, because each of the two needs parts of the other.
from .. import models as _models  # noqa: F401
from .configuration import GenerationConfig, GenerationMode, WatermarkingConfig
from .logits_process import *  # noqa: F403
from .logits_process import __all__ as _processors
from .mixin import GenerationMixin
from .outputs import (
    GenerateBeamDecoderOnlyOutput,
    GenerateBeamEncoderDecoderOutput,
    GenerateDecoderOnlyOutput,
    GenerateEncoderDecoderOutput,
)
from .stopping_criteria import (
    EosTokenCriteria,
    MaxLengthCriteria,
    MaxTimeCriteria,
    StoppingCriteria,
    StoppingCriteriaList,
    StopStringCriteria,
)
from .streamers import AsyncTextIteratorStreamer, BaseStreamer, TextIteratorStreamer, TextStreamer

__all__ = [
    "AsyncTextIteratorStreamer",
    "BaseStreamer",
    "EosTokenCriteria",
    "GenerateBeamDecoderOnlyOutput",
    "GenerateBeamEncoderDecoderOutput",
    "GenerateDecoderOnlyOutput",
    "GenerateEncoderDecoderOutput",
    "GenerationConfig",
    "GenerationMixin",
    "GenerationMode",
    "MaxLengthCriteria",
    "MaxTimeCriteria",
    "StopStringCriteria",
    "StoppingCriteria",
    "StoppingCriteriaList",
    "TextIteratorStreamer",
    "TextStreamer",
    "WatermarkingConfig",
]
__all__ += _processors
