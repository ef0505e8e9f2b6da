"""A model with adapters: peft's ``PeftModel``."""

from __future__ import annotations

import contextlib
import json
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .. import _engine
from .._engine import Tensor
from .._grad import no_grad
from ..models.arrays import to_tensor
from ..models.modeling import PreTrainedModel
from ..models.modules import Modules
from ..models.weights import IncompatibleKeys
from .config import LoraConfig, PeftType
from .files import AdapterFiles
from .lora import PREFIX, Adapter

#: What of a model runs it, and so must run it with the adapters.
_RUNS = frozenset({"_current_engine", "generate", "get_decoder", "get_encoder", "stream"})


def get_peft_model(
    model: PreTrainedModel, peft_config: LoraConfig, adapter_name: str = "default"
) -> PeftModel:
    """Put an adapter on a model, whose own parameters are frozen.

    :raises ValueError: when the configuration names what the model does not have.
    """
    peft_config.base_model_name_or_path = model.name_or_path or None
    return PeftModel(model, peft_config, adapter_name)


class PeftModel(AdapterFiles, Modules):
    """A model whose own parameters stay as they are, with adapters, of which one or several are active.

    It is called, generates and is trained as the model is, and has all that the model has. Where gradients
    are recorded, ``W + scaling · B @ A`` is computed once for each forward pass and takes the place of W;
    elsewhere it is kept until an adapter has changed, so that a pass costs what it costs without adapters.
    In training with ``lora_dropout``, ``scaling · dropout(x) @ Aᵀ @ Bᵀ`` is added beside W instead.
    """

    def __init__(
        self, model: PreTrainedModel, peft_config: LoraConfig, adapter_name: str = "default"
    ) -> None:
        self.model = model
        self.peft_config: dict[str, LoraConfig] = {}
        self._adapters: dict[str, Adapter] = {}
        self._active: list[str] = []
        self._disabled = False
        #: What the adapters were when they were last computed into the model, and that model.
        self._kept: tuple[list[Any], PreTrainedModel] | None = None
        #: What the engine with adapters beside its layers was made of, and that engine.
        self._beside: tuple[list[Any], _engine.Model] | None = None
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        self.add_adapter(adapter_name, peft_config)
        self.set_adapter(adapter_name)

    def __getattr__(self, name: str) -> Any:
        # Called only for what is not there: what the model has.
        if name.startswith("__") or name == "model":
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        if name in _RUNS:
            with no_grad():
                return getattr(self._adapted(), name)
        return getattr(self.model, name)

    def __getstate__(self) -> dict[str, Any]:
        # What was computed is computed again.
        return {**self.__dict__, "_kept": None, "_beside": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.model.requires_grad_(False)

    @property
    def base_model(self) -> PeftModel:
        """Itself: peft has an object in between, which holds the model as its ``model`` too."""
        return self

    def get_base_model(self) -> PreTrainedModel:
        """The model without adapters."""
        return self.model

    # Running.

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model with the active adapters; see the model's ``forward``."""
        return self._adapted().forward(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model with the active adapters; see the model's ``forward``."""
        return self.forward(*args, **kwargs)

    def train(self, mode: bool = True) -> PeftModel:
        """Return the model, with ``training`` as ``mode`` says."""
        self.model.train(mode)
        return self

    def eval(self) -> PeftModel:
        """Return the model, with ``training`` False."""
        return self.train(False)

    def to(self, *args: Any, **kwargs: Any) -> PeftModel:
        """Convert the model to a dtype, or bring it and its adapters to a device, in place."""
        self.model.to(*args, **kwargs)
        for adapter in self._adapters.values():
            adapter.follow(self.model)
        self._kept = self._beside = None
        return self

    def cuda(self, device: Any = None) -> PeftModel:
        """Bring it to a GPU, the current one unless ``device`` names another."""
        return self.to("cuda" if device is None else device)

    def cpu(self) -> PeftModel:
        """Bring it to the processor."""
        return self.to("cpu")

    @contextlib.contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Within, the model runs as it was before it had adapters."""
        before, self._disabled = self._disabled, True
        try:
            yield
        finally:
            self._disabled = before

    def _adapted(self) -> PreTrainedModel:
        """The model with what the active adapters make of its parameters."""
        if self._disabled:
            return self.model
        adapters = [self._adapters[name] for name in self._active]
        if self.model.training and any(adapter.config.lora_dropout for adapter in adapters):
            return self._dropping(adapters)
        parameters = [parameter for adapter in adapters for parameter in adapter.parameters()]
        if _engine.is_grad_enabled() and any(parameter.requires_grad for parameter in parameters):
            return self._with(self._replaced())
        engine = self.model._current_engine()
        # They are small, so that what they were is kept beside what was made of them.
        arrays = [parameter.detach().cpu().numpy() for parameter in parameters]
        seen = [engine, engine.version, list(self._active), arrays]
        kept = self._kept
        if kept is None or not _same(kept[0], seen):
            with no_grad():
                twin = self._with(self._replaced())
            kept = self._kept = ([*seen[:3], [array.copy() for array in arrays]], twin)
        kept[1].training = self.model.training
        return kept[1]

    def _dropping(self, adapters: list[Adapter]) -> PreTrainedModel:
        """The model with adapters beside its layers, as dropout stands before their matrices alone."""
        seen = [self.model._current_engine(), *adapters]
        if self._beside is None or not _are(self._beside[0], seen):
            added = [
                (module, one.a, one.b, one.scaling, adapter.config.lora_dropout)
                for adapter in adapters
                for module, one in adapter.layers.items()
            ]
            copies = {name: copy for adapter in adapters for name, copy in adapter.copies.items()}
            self._beside = (seen, self._adapted_engine(copies, added))
        return self._around(self._beside[1])

    def _replaced(self) -> dict[str, Tensor]:
        """The parameters of the model that adapters change, as they make them."""
        engine = self.model._engine
        adapters = [self._adapters[name] for name in self._active]
        # First what is taken whole: a head or a table that peft saved with the adapter that is added to it.
        replaced = {name: copy for adapter in adapters for name, copy in adapter.copies.items()}
        for adapter in adapters:
            for module, added in adapter.layers.items():
                weight = f"{module}.weight"
                before = replaced[weight] if weight in replaced else engine.parameter(weight)
                changed = added.added_to(before)
                # Where nothing is recorded it is nobody's to train.
                replaced[weight] = changed if changed.requires_grad else changed.requires_grad_(False)
        return replaced

    def _with(self, replaced: Mapping[str, Tensor]) -> PreTrainedModel:
        """The model, sharing all but some parameters."""
        return self._around(self._adapted_engine(replaced))

    def _adapted_engine(
        self,
        replaced: Mapping[str, Tensor],
        added: Sequence[tuple[str, Tensor, Tensor, float, float]] = (),
    ) -> _engine.Model:
        """The engine, sharing all but some parameters, with what is added to layers."""
        engine = self.model._current_engine()
        config = json.loads(self.model.config._as_json())
        if config.get("tie_word_embeddings") and replaced.keys() & _tied(engine):
            # What shared a tensor has one of its own now.
            config["tie_word_embeddings"] = False
        return engine.with_tensors(dict(replaced), json.dumps(config), list(added))

    def _around(self, engine: _engine.Model) -> PreTrainedModel:
        """The model as it is, run by another engine."""
        twin = type(self.model).__new__(type(self.model))
        twin.__dict__.update(self.model.__dict__)
        twin._engine, twin._source = engine, None
        return twin

    # Adapters.

    @property
    def active_adapters(self) -> list[str]:
        """The adapters that the model runs with."""
        return list(self._active)

    @property
    def active_adapter(self) -> str:
        """The adapter that the model runs with, the first of several."""
        return self._active[0]

    def add_adapter(self, adapter_name: str, peft_config: LoraConfig) -> None:
        """Draw another adapter, which is not active before :meth:`set_adapter`.

        :raises ValueError: for a name that there is, or that cannot be one, and as :func:`get_peft_model`.
        """
        if adapter_name in self.peft_config:
            raise ValueError(f"Adapter with name {adapter_name} already exists. Please use a different name.")
        if not adapter_name or {*"./\\"} & {*adapter_name}:
            raise ValueError(f"{adapter_name!r} cannot be the name of an adapter: it is part of file names")
        if self.peft_config and any(one.bias != "none" for one in (peft_config, *self.peft_config.values())):
            raise ValueError("Only a single adapter may train biases: set bias to 'none' for all of several")
        self._adapters[adapter_name] = Adapter(self.model, peft_config)
        self.peft_config[adapter_name] = peft_config

    def set_adapter(self, adapter_name: str | Sequence[str]) -> None:
        """Run the model with this adapter, or these, and train it alone."""
        names = [adapter_name] if isinstance(adapter_name, str) else list(adapter_name)
        for name in names:
            self._known(name)
        self._active = names
        for name, adapter in self._adapters.items():
            adapter.set_trainable(name in names and not adapter.config.inference_mode)

    def delete_adapter(self, adapter_name: str) -> None:
        """Forget an adapter; if it was the only active one, the first of the others is active then."""
        self._known(adapter_name)
        if len(self._adapters) == 1:
            raise ValueError("The only adapter cannot be deleted: unload() gives the model without it")
        del self._adapters[adapter_name], self.peft_config[adapter_name]
        names = [name for name in self._active if name != adapter_name]
        self.set_adapter(names or next(iter(self._adapters)))

    def _known(self, adapter_name: str) -> Adapter:
        if adapter_name not in self._adapters:
            raise ValueError(f"Adapter {adapter_name} not found. Available adapters: {list(self._adapters)}")
        return self._adapters[adapter_name]

    def merge_and_unload(
        self, progressbar: bool = False, safe_merge: bool = False, adapter_names: list[str] | None = None
    ) -> PreTrainedModel:
        """The model itself, changed to what it is with the active adapters, or with those named.

        :raises ValueError: with ``safe_merge``, for parameters that are not finite; nothing is changed then.
        """
        if adapter_names is not None:
            self.set_adapter(adapter_names)
        with no_grad():
            replaced = self._replaced()
            if safe_merge:
                for name, tensor in replaced.items():
                    if not np.isfinite(tensor.detach().cpu().numpy()).all():
                        raise ValueError(
                            f"NaNs detected in the merged weights ({name}): the adapter is broken"
                        )
        return self._given_up(replaced)

    def unload(self) -> PreTrainedModel:
        """The model itself without adapters, but with what the active ones trained as a whole."""
        adapters = [self._adapters[name] for name in self._active]
        return self._given_up({name: copy for one in adapters for name, copy in one.copies.items()})

    def _given_up(self, replaced: Mapping[str, Tensor]) -> PreTrainedModel:
        """The model itself with other parameters, which stay frozen as the others are."""
        with no_grad():
            own = self.model.dtype
            converted = {name: tensor.detach().to(own).clone() for name, tensor in replaced.items()}
        for tensor in converted.values():
            tensor.requires_grad_(False)
        if converted.keys() & _tied(self.model._current_engine()):
            self.model.config.tie_word_embeddings = False
        if converted:
            self.model._replace(converted)
        return self.model

    # Parameters.

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Every parameter under peft's name: the model's, which are frozen, and those of all adapters."""
        before = f"{prefix}.{PREFIX}" if prefix else PREFIX
        trained = self._saved_parameters()
        for name, parameter in self.model.named_parameters(remove_duplicate=remove_duplicate):
            names = (adapter.wrapped(name) for adapter in self._adapters.values())
            wrapped = next((new for new in names if new != name), name)
            if PREFIX + wrapped not in trained:
                yield before + wrapped, parameter
        for name, parameter in trained.items():
            yield f"{prefix}.{name}" if prefix else name, parameter

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """The number of numbers in the parameters of the model and of all adapters, or in those trained."""
        adapters, names = self._adapters.values(), self.model._engine.parameter_names()
        # Biases that are trained take the place of the model's.
        replaced = {PREFIX + adapter.wrapped(name) for adapter in adapters for name in names}
        added = (
            parameter.numel()
            for name, parameter in self._saved_parameters().items()
            if (parameter.requires_grad if only_trainable else name not in replaced)
        )
        return self.model.num_parameters(only_trainable, exclude_embeddings) + sum(added)

    def get_submodule(self, target: str) -> Any:
        """The part of the model of a name, with or without peft's prefix, as it is without adapters."""
        return self.model.get_submodule(target.removeprefix(PREFIX))

    def _paths(self) -> list[str]:
        return self.model._paths()

    @property
    def peft_type(self) -> PeftType:
        """The kind of its adapters."""
        return self.active_peft_config.peft_type

    @property
    def active_peft_config(self) -> LoraConfig:
        """What the active adapter was asked."""
        return self.peft_config[self.active_adapter]

    def state_dict(self) -> dict[str, Tensor]:
        """Name to tensor, as :meth:`named_parameters` has them, without gradients."""
        entries = self.named_parameters(remove_duplicate=False)
        return {name: tensor.detach() if tensor.requires_grad else tensor for name, tensor in entries}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy tensors or arrays into the parameters of the same names.

        :raises RuntimeError: for shapes that do not fit, and with ``strict`` for names that are missing or
            that there are not; nothing is copied then.
        """
        own = self.state_dict()
        given = {name: to_tensor(name, value) for name, value in state_dict.items()}
        missing, unexpected = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
        problems = [
            f"size mismatch for {name}: {given[name].shape}, and {own[name].shape} in the model"
            for name in own.keys() & given.keys()
            if own[name].shape != given[name].shape
        ]
        if strict:
            problems += [f"Missing key in state_dict: {name}" for name in missing]
            problems += [f"Unexpected key in state_dict: {name}" for name in unexpected]
        if problems:
            raise RuntimeError("Error(s) in loading state_dict for PeftModel:\n\t" + "\n\t".join(problems))
        with no_grad():
            for name in own.keys() & given.keys():
                own[name].copy_(given[name])
        return IncompatibleKeys(missing, unexpected)

    def get_nb_trainable_parameters(self) -> tuple[int, int]:
        """How many numbers are trained, and how many there are."""
        counts = [(p.numel(), p.requires_grad) for p in self.parameters()]
        return sum(count for count, trained in counts if trained), sum(count for count, _ in counts)

    def print_trainable_parameters(self) -> None:
        """Print how many numbers are trained, and how many there are."""
        trained, total = self.get_nb_trainable_parameters()
        share = 100 * trained / total
        print(f"trainable params: {trained:,d} || all params: {total:,d} || trainable%: {share:.4f}")

    # What checkpoints of a training hold.

    def _saved_parameters(self) -> dict[str, Tensor]:
        return {
            name: parameter
            for adapter_name, adapter in self._adapters.items()
            for name, parameter in adapter.named_parameters(adapter_name)
        }

    def __repr__(self) -> str:
        return f"PeftModel({self.model!r}, adapters: {', '.join(self._adapters)})"


def _are(kept: list[Any], seen: list[Any]) -> bool:
    return len(kept) == len(seen) and all(map(operator.is_, kept, seen))


def _same(kept: list[Any], seen: list[Any]) -> bool:
    if kept[0] is not seen[0] or kept[1:3] != seen[1:3] or len(kept[3]) != len(seen[3]):
        return False
    return all(np.array_equal(before, now) for before, now in zip(kept[3], seen[3], strict=True))


def _tied(engine: _engine.Model) -> set[str]:
    """The further names of parameters that share a tensor."""
    return {*engine.parameter_names(tied=True)} - {*engine.parameter_names()}
