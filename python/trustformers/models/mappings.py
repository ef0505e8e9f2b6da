"""Which classes there are, by configuration: transformers' ``MODEL_FOR_..._MAPPING``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from . import named
from .configuration import PreTrainedConfig
from .modeling import PreTrainedModel

#: The configuration class of every model type.
CONFIG_MAPPING = named.CONFIGS


class ModelMapping(Mapping[type[PreTrainedConfig], type[PreTrainedModel]]):
    """The model classes for a task by their configuration classes."""

    def __init__(self, task: str) -> None:
        self._models = named.models_for(task)

    def __getitem__(self, config_class: type[PreTrainedConfig]) -> type[PreTrainedModel]:
        return self._models[config_class.model_type]

    def __iter__(self) -> Iterator[type[PreTrainedConfig]]:
        return (named.CONFIGS[model_type] for model_type in self._models)

    def __len__(self) -> int:
        return len(self._models)


MODEL_MAPPING = ModelMapping("Base")
MODEL_FOR_PRETRAINING_MAPPING = ModelMapping("PreTraining")
MODEL_FOR_CAUSAL_LM_MAPPING = ModelMapping("CausalLM")
MODEL_FOR_MASKED_LM_MAPPING = ModelMapping("MaskedLM")
MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING = ModelMapping("Seq2SeqLM")
MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING = ModelMapping("SequenceClassification")
MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING = ModelMapping("TokenClassification")
MODEL_FOR_QUESTION_ANSWERING_MAPPING = ModelMapping("QuestionAnswering")
MODEL_FOR_MULTIPLE_CHOICE_MAPPING = ModelMapping("MultipleChoice")
MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING = ModelMapping("NextSentencePrediction")
MODEL_FOR_TEXT_ENCODING_MAPPING = ModelMapping("TextEncoding")
