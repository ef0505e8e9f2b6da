"""transformers without PyTorch: a drop-in replacement for the text side of Hugging Face transformers.

Importing the package loads nothing but this file; every name is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

#: Where each public name lives, beside the classes that the engine knows (``named`` of models and of
#: tokenizers). The type checker reads the same from the imports below; a test compares the two.
_HOMES = {
    "_dtypes": ["bool", "double", "float", "half", "int", "long", "short"],
    "_engine": [
        "SafetensorError",
        "Tensor",
        "arange",
        "as_tensor",
        "bfloat16",
        "bool_",
        "cat",
        "complex128",
        "complex64",
        "cpu_capabilities",
        "dtype",
        "empty_cache",
        "eye",
        "float16",
        "float32",
        "float64",
        "full",
        "get_num_threads",
        "grad",
        "int16",
        "int32",
        "int64",
        "int8",
        "is_grad_enabled",
        "linspace",
        "load_file",
        "manual_seed",
        "matmul",
        "max_memory_allocated",
        "memory_allocated",
        "memory_reserved",
        "ones",
        "ones_like",
        "rand",
        "randint",
        "randn",
        "randperm",
        "reset_peak_memory_stats",
        "save_file",
        "set_grad_enabled",
        "set_num_threads",
        "stack",
        "tensor",
        "uint16",
        "uint32",
        "uint64",
        "uint8",
        "where",
        "zeros",
        "zeros_like",
    ],
    "_grad": ["enable_grad", "no_grad"],
    "_seed": ["set_seed"],
    "generation": [
        "AsyncTextIteratorStreamer",
        "BaseStreamer",
        "DryLogitsProcessor",
        "EncoderNoRepeatNGramLogitsProcessor",
        "EncoderRepetitionPenaltyLogitsProcessor",
        "EosTokenCriteria",
        "EpsilonLogitsWarper",
        "EtaLogitsWarper",
        "ExponentialDecayLengthPenalty",
        "ForcedBOSTokenLogitsProcessor",
        "ForcedEOSTokenLogitsProcessor",
        "FrequencyPenaltyLogitsProcessor",
        "GenerateBeamDecoderOnlyOutput",
        "GenerateBeamEncoderDecoderOutput",
        "GenerateDecoderOnlyOutput",
        "GenerateEncoderDecoderOutput",
        "GenerationConfig",
        "GenerationMixin",
        "GenerationMode",
        "InfNanRemoveLogitsProcessor",
        "LogitBiasLogitsProcessor",
        "LogitNormalization",
        "LogitsProcessor",
        "LogitsProcessorList",
        "MaxLengthCriteria",
        "MaxTimeCriteria",
        "MinLengthLogitsProcessor",
        "MinNewTokensLengthLogitsProcessor",
        "MinPLogitsWarper",
        "NoBadWordsLogitsProcessor",
        "NoRepeatNGramLogitsProcessor",
        "PrefixConstrainedLogitsProcessor",
        "RepetitionPenaltyLogitsProcessor",
        "SequenceBiasLogitsProcessor",
        "StopStringCriteria",
        "StoppingCriteria",
        "StoppingCriteriaList",
        "SuppressTokensAtBeginLogitsProcessor",
        "SuppressTokensLogitsProcessor",
        "TemperatureLogitsWarper",
        "TextIteratorStreamer",
        "TextStreamer",
        "TopHLogitsWarper",
        "TopKLogitsWarper",
        "TopPLogitsWarper",
        "TypicalLogitsWarper",
        "WatermarkLogitsProcessor",
        "WatermarkingConfig",
    ],
    "models": [
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
    ],
    "models.outputs": [
        "AlbertForPreTrainingOutput",
        "BaseModelOutput",
        "BaseModelOutputWithPast",
        "BaseModelOutputWithPastAndCrossAttentions",
        "BaseModelOutputWithPooling",
        "BaseModelOutputWithPoolingAndCrossAttentions",
        "BertForPreTrainingOutput",
        "CausalLMOutput",
        "CausalLMOutputWithCrossAttentions",
        "CausalLMOutputWithPast",
        "ElectraForPreTrainingOutput",
        "MaskedLMOutput",
        "ModelOutput",
        "MoeCausalLMOutputWithPast",
        "MoeModelOutputWithPast",
        "MultipleChoiceModelOutput",
        "NextSentencePredictorOutput",
        "QuestionAnsweringModelOutput",
        "Seq2SeqLMOutput",
        "Seq2SeqModelOutput",
        "Seq2SeqQuestionAnsweringModelOutput",
        "Seq2SeqSequenceClassifierOutput",
        "SequenceClassifierOutput",
        "SequenceClassifierOutputWithPast",
        "TokenClassifierOutput",
    ],
    "pipelines": [
        "PIPELINE_REGISTRY",
        "AggregationStrategy",
        "ChunkPipeline",
        "FeatureExtractionPipeline",
        "FillMaskPipeline",
        "NerPipeline",
        "Pipeline",
        "PipelineException",
        "PipelineRegistry",
        "QuestionAnsweringPipeline",
        "SentenceSimilarityPipeline",
        "SquadExample",
        "SummarizationPipeline",
        "Text2TextGenerationPipeline",
        "TextClassificationPipeline",
        "TextGenerationPipeline",
        "TokenClassificationPipeline",
        "TranslationPipeline",
        "ZeroShotClassificationPipeline",
        "pipeline",
    ],
    "tokenizers": [
        "AddedToken",
        "AutoTokenizer",
        "BatchEncoding",
        "PreTrainedTokenizerBase",
        "PreTrainedTokenizerFast",
    ],
    "training": [
        "Adafactor",
        "DataCollator",
        "DataCollatorForLanguageModeling",
        "DataCollatorForMultipleChoice",
        "DataCollatorForSeq2Seq",
        "DataCollatorForTokenClassification",
        "DataCollatorWithPadding",
        "DefaultDataCollator",
        "DefaultFlowCallback",
        "EarlyStoppingCallback",
        "EvalPrediction",
        "IntervalStrategy",
        "PrinterCallback",
        "ProgressCallback",
        "SchedulerType",
        "Seq2SeqTrainer",
        "Seq2SeqTrainingArguments",
        "Trainer",
        "TrainerCallback",
        "TrainerControl",
        "TrainerState",
        "TrainingArguments",
        "default_data_collator",
        "get_constant_schedule",
        "get_constant_schedule_with_warmup",
        "get_cosine_schedule_with_warmup",
        "get_cosine_with_hard_restarts_schedule_with_warmup",
        "get_cosine_with_min_lr_schedule_with_warmup",
        "get_cosine_with_min_lr_schedule_with_warmup_lr_rate",
        "get_inverse_sqrt_schedule",
        "get_linear_schedule_with_warmup",
        "get_polynomial_decay_schedule_with_warmup",
        "get_scheduler",
        "get_wsd_schedule",
    ],
    "utils": ["logging", "show_versions"],
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import generation as generation
    from . import models as models
    from . import peft as peft
    from . import pipelines as pipelines
    from . import tokenizers as tokenizers
    from . import training as training
    from . import utils as utils
    from ._dtypes import bool as bool
    from ._dtypes import double as double
    from ._dtypes import float as float
    from ._dtypes import half as half
    from ._dtypes import int as int
    from ._dtypes import long as long
    from ._dtypes import short as short
    from ._engine import SafetensorError as SafetensorError
    from ._engine import Tensor as Tensor
    from ._engine import arange as arange
    from ._engine import as_tensor as as_tensor
    from ._engine import bfloat16 as bfloat16
    from ._engine import bool_ as bool_
    from ._engine import cat as cat
    from ._engine import complex64 as complex64
    from ._engine import complex128 as complex128
    from ._engine import cpu_capabilities as cpu_capabilities
    from ._engine import dtype as dtype
    from ._engine import empty_cache as empty_cache
    from ._engine import eye as eye
    from ._engine import float16 as float16
    from ._engine import float32 as float32
    from ._engine import float64 as float64
    from ._engine import full as full
    from ._engine import get_num_threads as get_num_threads
    from ._engine import grad as grad
    from ._engine import int8 as int8
    from ._engine import int16 as int16
    from ._engine import int32 as int32
    from ._engine import int64 as int64
    from ._engine import is_grad_enabled as is_grad_enabled
    from ._engine import linspace as linspace
    from ._engine import load_file as load_file
    from ._engine import manual_seed as manual_seed
    from ._engine import matmul as matmul
    from ._engine import max_memory_allocated as max_memory_allocated
    from ._engine import memory_allocated as memory_allocated
    from ._engine import memory_reserved as memory_reserved
    from ._engine import ones as ones
    from ._engine import ones_like as ones_like
    from ._engine import rand as rand
    from ._engine import randint as randint
    from ._engine import randn as randn
    from ._engine import randperm as randperm
    from ._engine import reset_peak_memory_stats as reset_peak_memory_stats
    from ._engine import save_file as save_file
    from ._engine import set_grad_enabled as set_grad_enabled
    from ._engine import set_num_threads as set_num_threads
    from ._engine import stack as stack
    from ._engine import tensor as tensor
    from ._engine import uint8 as uint8
    from ._engine import uint16 as uint16
    from ._engine import uint32 as uint32
    from ._engine import uint64 as uint64
    from ._engine import where as where
    from ._engine import zeros as zeros
    from ._engine import zeros_like as zeros_like
    from ._grad import enable_grad as enable_grad
    from ._grad import no_grad as no_grad
    from ._seed import set_seed as set_seed
    from .generation import AsyncTextIteratorStreamer as AsyncTextIteratorStreamer
    from .generation import BaseStreamer as BaseStreamer
    from .generation import DryLogitsProcessor as DryLogitsProcessor
    from .generation import EncoderNoRepeatNGramLogitsProcessor as EncoderNoRepeatNGramLogitsProcessor
    from .generation import EncoderRepetitionPenaltyLogitsProcessor as EncoderRepetitionPenaltyLogitsProcessor
    from .generation import EosTokenCriteria as EosTokenCriteria
    from .generation import EpsilonLogitsWarper as EpsilonLogitsWarper
    from .generation import EtaLogitsWarper as EtaLogitsWarper
    from .generation import ExponentialDecayLengthPenalty as ExponentialDecayLengthPenalty
    from .generation import ForcedBOSTokenLogitsProcessor as ForcedBOSTokenLogitsProcessor
    from .generation import ForcedEOSTokenLogitsProcessor as ForcedEOSTokenLogitsProcessor
    from .generation import FrequencyPenaltyLogitsProcessor as FrequencyPenaltyLogitsProcessor
    from .generation import GenerateBeamDecoderOnlyOutput as GenerateBeamDecoderOnlyOutput
    from .generation import GenerateBeamEncoderDecoderOutput as GenerateBeamEncoderDecoderOutput
    from .generation import GenerateDecoderOnlyOutput as GenerateDecoderOnlyOutput
    from .generation import GenerateEncoderDecoderOutput as GenerateEncoderDecoderOutput
    from .generation import GenerationConfig as GenerationConfig
    from .generation import GenerationMixin as GenerationMixin
    from .generation import GenerationMode as GenerationMode
    from .generation import InfNanRemoveLogitsProcessor as InfNanRemoveLogitsProcessor
    from .generation import LogitBiasLogitsProcessor as LogitBiasLogitsProcessor
    from .generation import LogitNormalization as LogitNormalization
    from .generation import LogitsProcessor as LogitsProcessor
    from .generation import LogitsProcessorList as LogitsProcessorList
    from .generation import MaxLengthCriteria as MaxLengthCriteria
    from .generation import MaxTimeCriteria as MaxTimeCriteria
    from .generation import MinLengthLogitsProcessor as MinLengthLogitsProcessor
    from .generation import MinNewTokensLengthLogitsProcessor as MinNewTokensLengthLogitsProcessor
    from .generation import MinPLogitsWarper as MinPLogitsWarper
    from .generation import NoBadWordsLogitsProcessor as NoBadWordsLogitsProcessor
    from .generation import NoRepeatNGramLogitsProcessor as NoRepeatNGramLogitsProcessor
    from .generation import PrefixConstrainedLogitsProcessor as PrefixConstrainedLogitsProcessor
    from .generation import RepetitionPenaltyLogitsProcessor as RepetitionPenaltyLogitsProcessor
    from .generation import SequenceBiasLogitsProcessor as SequenceBiasLogitsProcessor
    from .generation import StoppingCriteria as StoppingCriteria
    from .generation import StoppingCriteriaList as StoppingCriteriaList
    from .generation import StopStringCriteria as StopStringCriteria
    from .generation import SuppressTokensAtBeginLogitsProcessor as SuppressTokensAtBeginLogitsProcessor
    from .generation import SuppressTokensLogitsProcessor as SuppressTokensLogitsProcessor
    from .generation import TemperatureLogitsWarper as TemperatureLogitsWarper
    from .generation import TextIteratorStreamer as TextIteratorStreamer
    from .generation import TextStreamer as TextStreamer
    from .generation import TopHLogitsWarper as TopHLogitsWarper
    from .generation import TopKLogitsWarper as TopKLogitsWarper
    from .generation import TopPLogitsWarper as TopPLogitsWarper
    from .generation import TypicalLogitsWarper as TypicalLogitsWarper
    from .generation import WatermarkingConfig as WatermarkingConfig
    from .generation import WatermarkLogitsProcessor as WatermarkLogitsProcessor
    from .models import AutoConfig as AutoConfig
    from .models import AutoModel as AutoModel
    from .models import AutoModelForCausalLM as AutoModelForCausalLM
    from .models import AutoModelForMaskedLM as AutoModelForMaskedLM
    from .models import AutoModelForMultipleChoice as AutoModelForMultipleChoice
    from .models import AutoModelForNextSentencePrediction as AutoModelForNextSentencePrediction
    from .models import AutoModelForPreTraining as AutoModelForPreTraining
    from .models import AutoModelForQuestionAnswering as AutoModelForQuestionAnswering
    from .models import AutoModelForSeq2SeqLM as AutoModelForSeq2SeqLM
    from .models import AutoModelForSequenceClassification as AutoModelForSequenceClassification
    from .models import AutoModelForTextEncoding as AutoModelForTextEncoding
    from .models import AutoModelForTokenClassification as AutoModelForTokenClassification
    from .models import Cache as Cache
    from .models import DynamicCache as DynamicCache
    from .models import EncoderDecoderCache as EncoderDecoderCache
    from .models import PreTrainedConfig as PreTrainedConfig
    from .models import PretrainedConfig as PretrainedConfig
    from .models import PreTrainedModel as PreTrainedModel
    from .models import QuantizedCache as QuantizedCache
    from .models.named import *  # noqa: F403
    from .models.outputs import AlbertForPreTrainingOutput as AlbertForPreTrainingOutput
    from .models.outputs import BaseModelOutput as BaseModelOutput
    from .models.outputs import BaseModelOutputWithPast as BaseModelOutputWithPast
    from .models.outputs import (
        BaseModelOutputWithPastAndCrossAttentions as BaseModelOutputWithPastAndCrossAttentions,
    )
    from .models.outputs import BaseModelOutputWithPooling as BaseModelOutputWithPooling
    from .models.outputs import (
        BaseModelOutputWithPoolingAndCrossAttentions as BaseModelOutputWithPoolingAndCrossAttentions,
    )
    from .models.outputs import BertForPreTrainingOutput as BertForPreTrainingOutput
    from .models.outputs import CausalLMOutput as CausalLMOutput
    from .models.outputs import CausalLMOutputWithCrossAttentions as CausalLMOutputWithCrossAttentions
    from .models.outputs import CausalLMOutputWithPast as CausalLMOutputWithPast
    from .models.outputs import ElectraForPreTrainingOutput as ElectraForPreTrainingOutput
    from .models.outputs import MaskedLMOutput as MaskedLMOutput
    from .models.outputs import ModelOutput as ModelOutput
    from .models.outputs import MoeCausalLMOutputWithPast as MoeCausalLMOutputWithPast
    from .models.outputs import MoeModelOutputWithPast as MoeModelOutputWithPast
    from .models.outputs import MultipleChoiceModelOutput as MultipleChoiceModelOutput
    from .models.outputs import NextSentencePredictorOutput as NextSentencePredictorOutput
    from .models.outputs import QuestionAnsweringModelOutput as QuestionAnsweringModelOutput
    from .models.outputs import Seq2SeqLMOutput as Seq2SeqLMOutput
    from .models.outputs import Seq2SeqModelOutput as Seq2SeqModelOutput
    from .models.outputs import Seq2SeqQuestionAnsweringModelOutput as Seq2SeqQuestionAnsweringModelOutput
    from .models.outputs import Seq2SeqSequenceClassifierOutput as Seq2SeqSequenceClassifierOutput
    from .models.outputs import SequenceClassifierOutput as SequenceClassifierOutput
    from .models.outputs import SequenceClassifierOutputWithPast as SequenceClassifierOutputWithPast
    from .models.outputs import TokenClassifierOutput as TokenClassifierOutput
    from .pipelines import PIPELINE_REGISTRY as PIPELINE_REGISTRY
    from .pipelines import AggregationStrategy as AggregationStrategy
    from .pipelines import ChunkPipeline as ChunkPipeline
    from .pipelines import FeatureExtractionPipeline as FeatureExtractionPipeline
    from .pipelines import FillMaskPipeline as FillMaskPipeline
    from .pipelines import NerPipeline as NerPipeline
    from .pipelines import Pipeline as Pipeline
    from .pipelines import PipelineException as PipelineException
    from .pipelines import PipelineRegistry as PipelineRegistry
    from .pipelines import QuestionAnsweringPipeline as QuestionAnsweringPipeline
    from .pipelines import SentenceSimilarityPipeline as SentenceSimilarityPipeline
    from .pipelines import SquadExample as SquadExample
    from .pipelines import SummarizationPipeline as SummarizationPipeline
    from .pipelines import Text2TextGenerationPipeline as Text2TextGenerationPipeline
    from .pipelines import TextClassificationPipeline as TextClassificationPipeline
    from .pipelines import TextGenerationPipeline as TextGenerationPipeline
    from .pipelines import TokenClassificationPipeline as TokenClassificationPipeline
    from .pipelines import TranslationPipeline as TranslationPipeline
    from .pipelines import ZeroShotClassificationPipeline as ZeroShotClassificationPipeline
    from .pipelines import pipeline as pipeline
    from .tokenizers import AddedToken as AddedToken
    from .tokenizers import AutoTokenizer as AutoTokenizer
    from .tokenizers import BatchEncoding as BatchEncoding
    from .tokenizers import PreTrainedTokenizerBase as PreTrainedTokenizerBase
    from .tokenizers import PreTrainedTokenizerFast as PreTrainedTokenizerFast
    from .tokenizers.named import *  # noqa: F403
    from .training import Adafactor as Adafactor
    from .training import DataCollator as DataCollator
    from .training import DataCollatorForLanguageModeling as DataCollatorForLanguageModeling
    from .training import DataCollatorForMultipleChoice as DataCollatorForMultipleChoice
    from .training import DataCollatorForSeq2Seq as DataCollatorForSeq2Seq
    from .training import DataCollatorForTokenClassification as DataCollatorForTokenClassification
    from .training import DataCollatorWithPadding as DataCollatorWithPadding
    from .training import DefaultDataCollator as DefaultDataCollator
    from .training import DefaultFlowCallback as DefaultFlowCallback
    from .training import EarlyStoppingCallback as EarlyStoppingCallback
    from .training import EvalPrediction as EvalPrediction
    from .training import IntervalStrategy as IntervalStrategy
    from .training import PrinterCallback as PrinterCallback
    from .training import ProgressCallback as ProgressCallback
    from .training import SchedulerType as SchedulerType
    from .training import Seq2SeqTrainer as Seq2SeqTrainer
    from .training import Seq2SeqTrainingArguments as Seq2SeqTrainingArguments
    from .training import Trainer as Trainer
    from .training import TrainerCallback as TrainerCallback
    from .training import TrainerControl as TrainerControl
    from .training import TrainerState as TrainerState
    from .training import TrainingArguments as TrainingArguments
    from .training import default_data_collator as default_data_collator
    from .training import get_constant_schedule as get_constant_schedule
    from .training import get_constant_schedule_with_warmup as get_constant_schedule_with_warmup
    from .training import get_cosine_schedule_with_warmup as get_cosine_schedule_with_warmup
    from .training import (
        get_cosine_with_hard_restarts_schedule_with_warmup as get_cosine_with_hard_restarts_schedule_with_warmup,  # noqa: E501
    )
    from .training import (
        get_cosine_with_min_lr_schedule_with_warmup as get_cosine_with_min_lr_schedule_with_warmup,
    )
    from .training import (
        get_cosine_with_min_lr_schedule_with_warmup_lr_rate as get_cosine_with_min_lr_schedule_with_warmup_lr_rate,  # noqa: E501
    )
    from .training import get_inverse_sqrt_schedule as get_inverse_sqrt_schedule
    from .training import get_linear_schedule_with_warmup as get_linear_schedule_with_warmup
    from .training import (
        get_polynomial_decay_schedule_with_warmup as get_polynomial_decay_schedule_with_warmup,
    )
    from .training import get_scheduler as get_scheduler
    from .training import get_wsd_schedule as get_wsd_schedule
    from .utils import logging as logging
    from .utils import show_versions as show_versions

_SUBMODULES = ("generation", "models", "peft", "pipelines", "tokenizers", "training", "utils")

if {"TRUSTFORMERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"} & os.environ.keys():
    importlib.import_module(".utils.logging", __name__).from_environment()


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        return importlib.import_module(f".{name}", __name__)
    if name == "__all__":
        return __dir__()
    if name in _HOME_OF:
        value = getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)
    elif name[:1].isupper() and (home := _home_of(name)) is not None:
        value = getattr(home, name)
    else:
        raise AttributeError(f"module 'trustformers' has no attribute '{name}'")
    globals()[name] = value
    return value


def _home_of(name: str) -> object | None:
    """Give the module of a class that the engine knows."""
    homes = ["tokenizers.named", "models.named"] if "Tokenizer" in name else ["models.named"]
    modules = (importlib.import_module(f".{home}", __name__) for home in homes)
    return next((module for module in modules if name in module.__all__), None)


def __dir__() -> list[str]:
    # A star import takes all but what would hide Python's own names.
    known = (
        name
        for home in (".models.named", ".tokenizers.named")
        for name in importlib.import_module(home, __name__).__all__
    )
    names = _HOME_OF.keys() - {"bool", "float", "int", "logging"}
    return sorted({"__version__", *_SUBMODULES, *names, *known})
