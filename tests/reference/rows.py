"""The table of fixtures: one row is one checkpoint with its cases. A new architecture is a new row."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from cases import Case, encoder, encoder_short
from weights import save, save_old_names, save_sharded, saved_as


@dataclass(frozen=True)
class Row:
    folder: str
    """Under tests/fixtures; also the seed of the weights."""
    model: type[hf.PreTrainedModel]
    config: hf.PreTrainedConfig
    cases: Callable[[hf.PreTrainedConfig], list[Case]] = encoder_short
    save: Callable[[hf.PreTrainedModel, Path], None] = save
    build: dict[str, Any] = field(default_factory=dict)
    """Keywords of the model's constructor."""
    load: dict[str, Any] = field(default_factory=dict)
    """Keywords of `AutoModel.from_pretrained`, in transformers and in ours."""


def bert(**changes: Any) -> hf.BertConfig:
    """One layer and few words, so that a dozen variants stay small."""
    tiny = {
        "vocab_size": 31,
        "hidden_size": 12,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 20,
        "max_position_embeddings": 16,
    }
    return hf.BertConfig(**tiny | changes)


ODD = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 37,
    "max_position_embeddings": 40,
    "type_vocab_size": 3,
    "layer_norm_eps": 1e-5,
}
NO_POOLER = {"add_pooling_layer": False}

ROWS = [
    Row("bert/default", hf.BertModel, bert(num_hidden_layers=2), cases=encoder),
    Row("bert/odd_sizes", hf.BertModel, bert(**ODD), cases=encoder),
    # The activations.
    Row("bert/gelu_new", hf.BertModel, bert(hidden_act="gelu_new")),
    Row("bert/gelu_pytorch_tanh", hf.BertModel, bert(hidden_act="gelu_pytorch_tanh")),
    Row("bert/relu", hf.BertModel, bert(hidden_act="relu")),
    Row("bert/silu", hf.BertModel, bert(hidden_act="silu")),
    # What checkpoints in the wild look like.
    Row("bert/no_pooler", hf.BertModel, bert(), build=NO_POOLER, load=NO_POOLER),
    Row("bert/from_masked_lm", hf.BertForMaskedLM, bert(), load=NO_POOLER),
    Row("bert/from_pretraining", hf.BertForPreTraining, bert()),
    Row("bert/old_names", hf.BertForPreTraining, bert(), save=save_old_names),
    Row("bert/float16", hf.BertModel, bert(), save=saved_as(torch.float16)),
    Row("bert/bfloat16", hf.BertModel, bert(), save=saved_as(torch.bfloat16)),
    Row("bert/sharded", hf.BertModel, bert(), save=save_sharded),
]
