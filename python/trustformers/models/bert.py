"""BERT under its own names."""

from .configuration import PreTrainedConfig
from .modeling import PreTrainedModel


class BertConfig(PreTrainedConfig):
    """The configuration of a BERT model: the fields and defaults of transformers' ``BertConfig``."""

    model_type = "bert"


class BertModel(PreTrainedModel):
    """The bare BERT encoder with its pooler: transformers' ``BertModel``."""

    config_class = BertConfig
