"""One adapter: the matrices beside a model's own, and what is trained as a whole with them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .. import _engine
from .._engine import Tensor
from .._grad import no_grad
from ..models.arrays import to_tensor
from ..models.modeling import PreTrainedModel
from .config import LoraConfig
from .targets import by_pattern, is_conv1d, resolved, saved_modules, trained_biases

#: What peft puts before the names of a model's parameters.
PREFIX = "base_model.model."


@dataclass
class LowRank:
    """What is added to the matrix of a layer: ``scaling · B @ A``."""

    a: Tensor
    """(r, in)"""
    b: Tensor
    """(out, r)"""
    scaling: float
    is_conv1d: bool

    def added_to(self, weight: Tensor) -> Tensor:
        """The matrix, (out, in) or as it is stored, with what is added; in float32."""
        product = self.a.T @ self.b.T if self.is_conv1d else self.b @ self.a
        return weight.float() + product * self.scaling


class Adapter:
    """The parameters of an adapter, drawn for a model."""

    def __init__(self, model: PreTrainedModel, config: LoraConfig) -> None:
        """Draw the matrices, and copy what is trained as a whole.

        :raises ValueError: when the configuration names what the model does not have.
        """
        self.config = config
        targets = resolved(config, model)
        with no_grad():
            self.layers = {module: _drawn(config, model, module) for module in targets}
            #: The parameters of modules that are trained as a whole, with the names of these.
            self._paths = saved_modules(config, model)
            copied = dict.fromkeys([*trained_biases(config, model, targets), *self._paths])
            #: Own copies of parameters of the model, which take the place of the model's.
            self.copies = {name: _copy(model, name) for name in copied}
        self.set_trainable(not config.inference_mode)

    def named_parameters(self, adapter: str = "") -> Iterator[tuple[str, Tensor]]:
        """Every parameter under peft's name: that of its files, or with the name of the adapter in it."""
        inner = f".{adapter}" if adapter else ""
        whole = f".modules_to_save{inner}" if adapter else ""
        for module, one in self.layers.items():
            yield f"{PREFIX}{module}.lora_A{inner}.weight", one.a
            yield f"{PREFIX}{module}.lora_B{inner}.weight", one.b
        for name, copy in self.copies.items():
            path = self._paths.get(name)
            if path is None:
                yield PREFIX + self.wrapped(name), copy
            else:
                yield f"{PREFIX}{path}{whole}{name[len(path) :]}", copy

    def wrapped(self, name: str) -> str:
        """What peft calls a parameter of the model, whose module is within another one now."""
        if path := self._paths.get(name):
            return f"{path}.original_module{name[len(path) :]}"
        module, _, kind = name.rpartition(".")
        return f"{module}.base_layer.{kind}" if module in self.layers else name

    def parameters(self) -> Iterator[Tensor]:
        """Every parameter."""
        return (parameter for _, parameter in self.named_parameters())

    def set_trainable(self, trainable: bool) -> None:
        """Let gradients flow to all of it, or to nothing."""
        for parameter in self.parameters():
            parameter.requires_grad_(trainable)

    def follow(self, model: PreTrainedModel) -> None:
        """Go to the devices of the matrices that it stands beside."""
        for module, one in self.layers.items():
            device = model._engine.parameter_device(f"{module}.weight")
            one.a, one.b = _brought(one.a, device), _brought(one.b, device)
        for name, copy in self.copies.items():
            self.copies[name] = _brought(copy, model._engine.parameter_device(name))

    def load_state_dict(self, model: PreTrainedModel, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`named_parameters` gave, or what peft saved.

        Parameters of the model that are there too, as embeddings that peft has saved with an adapter, take
        the place of the model's.

        :raises RuntimeError: when names are missing or unknown, or shapes do not fit; all are listed, and
            nothing is changed.
        """
        given = {_plain(name): to_tensor(name, value) for name, value in state.items() if not _is_twice(name)}
        own = {_plain(name): tensor for name, tensor in self.named_parameters()}
        theirs = {PREFIX + name for name in model._engine.parameter_names(tied=True)} - own.keys()
        problems = [f"missing: {name}" for name in own.keys() - given.keys()]
        problems += [f"unexpected: {name}" for name in given.keys() - own.keys() - theirs]
        for name in own.keys() & given.keys():
            if own[name].shape != given[name].shape:
                problems.append(f"{name} has shape {given[name].shape}, not {own[name].shape}")
        if problems:
            raise RuntimeError("Error(s) in loading the adapter:\n\t" + "\n\t".join(sorted(problems)))
        with no_grad():
            for name, tensor in own.items():
                tensor.detach().copy_(given[name])
            for name in given.keys() & theirs:
                own_name = name.removeprefix(PREFIX)
                device = model._engine.parameter_device(own_name)
                self.copies[own_name] = given[name].to(device, copy=True)


def _drawn(config: LoraConfig, model: PreTrainedModel, module: str) -> LowRank:
    conv1d = is_conv1d(model, module)
    shape = model._engine.parameter(f"{module}.weight").shape
    outputs, inputs = reversed(shape) if conv1d else shape
    rank = by_pattern(config.rank_pattern, module, config.r)
    alpha = by_pattern(config.alpha_pattern, module, config.lora_alpha)
    if config.init_lora_weights == "gaussian":
        a = _engine.randn(rank, inputs) / rank
    else:
        a = _uniform(rank, inputs)
    b = _engine.zeros(outputs, rank) if config.init_lora_weights else _uniform(outputs, rank)
    device = model._engine.parameter_device(f"{module}.weight")
    a, b = a.to(device), b.to(device)
    return LowRank(a, b, alpha / (math.sqrt(rank) if config.use_rslora else rank), conv1d)


def _uniform(outputs: int, inputs: int) -> Tensor:
    """A matrix as torch draws that of a new linear layer: within ±1/√inputs."""
    return (_engine.rand(outputs, inputs) * 2 - 1) / math.sqrt(inputs)


def _brought(parameter: Tensor, device: Any) -> Tensor:
    """A parameter on a device: itself if it is there."""
    if parameter.device == device:
        return parameter
    return parameter.detach().to(device).requires_grad_(parameter.requires_grad)


def _copy(model: PreTrainedModel, name: str) -> Tensor:
    """A copy in float32, as small steps would be lost in 16 bits."""
    return model._engine.parameter(name).detach().float().clone()


def _plain(name: str) -> str:
    return name.replace(".base_layer.", ".")


def _is_twice(name: str) -> bool:
    """Whether it is there under another name too: peft saves the biases of heads several times over."""
    return ".original_module." in name or ".modules_to_save." in name
