"""Random weights in which a mistake shows, and the layouts in which checkpoints are found."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel


def draw(model: PreTrainedModel, seed: str) -> PreTrainedModel:
    """Draw every parameter anew, each from a seed of its own, so that adding one leaves the others be.

    A fresh model would hide errors: its biases are zero, its norms are one, and its matrices so small that
    attention is nearly uniform. Here activations keep the size of one and attention has clear favourites.
    """
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            rng = np.random.default_rng(zlib.crc32(f"{seed}/{name}".encode()))
            if parameter.ndim == 1 and "norm" in name.lower() and name.endswith("weight"):
                values = rng.uniform(0.5, 1.5, parameter.shape)
            elif parameter.ndim == 1:
                values = rng.normal(0, 0.2, parameter.shape)
            elif id(parameter) in embeddings:
                values = rng.normal(0, 0.05, parameter.shape)
            else:
                values = rng.normal(0, parameter.shape[-1] ** -0.5, parameter.shape)
            parameter.copy_(torch.from_numpy(values))
    return model.eval()


def save(model: PreTrainedModel, folder: Path) -> None:
    model.save_pretrained(folder)


def saved_as(dtype: torch.dtype) -> Callable[[PreTrainedModel, Path], None]:
    return lambda model, folder: model.to(dtype).save_pretrained(folder)


def save_sharded(model: PreTrainedModel, folder: Path) -> None:
    model.save_pretrained(folder, max_shard_size="4KB")


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
