"""Rows whose point is the file: the layouts in which checkpoints are found. Their weights are committed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from reference.rows import BASE, Config, Row


def save(model: PreTrainedModel, folder: Path) -> None:
    model.save_pretrained(folder)


def saved_as(dtype: torch.dtype) -> Callable[[PreTrainedModel, Path], None]:
    return lambda model, folder: model.to(dtype).save_pretrained(folder)


def save_sharded(model: PreTrainedModel, folder: Path) -> None:
    model.save_pretrained(folder, max_shard_size="3KB")


def save_without_pooler(model: PreTrainedModel, folder: Path) -> None:
    model.pooler = None
    model.save_pretrained(folder)


def save_old_names(model: PreTrainedModel, folder: Path) -> None:
    """As the first conversions from TensorFlow were: gamma and beta, and the positions beside the weights."""
    model.save_pretrained(folder)
    path = folder / "model.safetensors"
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    tensors = {
        next((name.replace(new, old[new]) for new in old if new in name), name): tensor
        for name, tensor in load_file(path).items()
    }
    positions = torch.arange(model.config.max_position_embeddings).expand(1, -1).clone()
    tensors[f"{model.base_model_prefix}.embeddings.position_ids"] = positions
    save_file(tensors, path, {"format": "pt"})


def bert(**changes: Any) -> Config:
    """One layer and few words, so that a dozen files stay small."""
    return {
        "model_type": "bert",
        "vocab_size": 31,
        "hidden_size": 12,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 20,
        "max_position_embeddings": 16,
    } | changes


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


def file(name: str, config: Config | None = None, **options: Any) -> Row:
    return Row(f"bert/{name}", config or bert(), BASE, **{"save": save} | options)


ROWS = [
    file("default", bert(num_hidden_layers=2), short=False),
    file("relu", bert(hidden_act="relu")),
    file("gelu_new", bert(hidden_act="gelu_new")),
    file("odd_sizes", bert(**ODD), short=False, length=7),
    file("no_pooler", save=save_without_pooler, load=NO_POOLER),
    file("from_masked_lm", saved_from="BertForMaskedLM", load=NO_POOLER),
    file("from_pretraining", saved_from="BertForPreTraining"),
    file("old_names", saved_from="BertForPreTraining", save=save_old_names),
    file("float16", save=saved_as(torch.float16)),
    file("bfloat16", save=saved_as(torch.bfloat16)),
    file("sharded", save=save_sharded),
]
