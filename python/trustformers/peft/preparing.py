"""What scripts do to a model before it has adapters, and to the numbers of these: peft's functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._engine import Tensor
from ..models.modeling import ModelT
from ..models.weights import IncompatibleKeys
from .model import PeftModel


def prepare_model_for_kbit_training(
    model: ModelT,
    use_gradient_checkpointing: bool = True,
    gradient_checkpointing_kwargs: dict[str, Any] | None = None,
) -> ModelT:
    """Freeze a model, and have its layers computed again for gradients where it is kept in blocks.

    What is not in blocks becomes float32, as norms and heads are to be precise.
    """
    model.requires_grad_(False)
    if not model.is_quantized:
        return model.float()
    if use_gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs)
    return model


def get_peft_model_state_dict(model: PeftModel, adapter_name: str = "default") -> dict[str, Tensor]:
    """The parameters of an adapter, under the names that they have in its file, without gradients."""
    return {name: one.detach() for name, one in model._known(adapter_name).named_parameters()}


def set_peft_model_state_dict(
    model: PeftModel, peft_model_state_dict: Mapping[str, Any], adapter_name: str = "default"
) -> IncompatibleKeys:
    """Take up the parameters of an adapter, as :func:`get_peft_model_state_dict` gave them.

    :raises RuntimeError: when names are missing or unknown, or shapes do not fit; nothing is changed then.
    """
    model._known(adapter_name).load_state_dict(model.model, peft_model_state_dict)
    return IncompatibleKeys([], [])
