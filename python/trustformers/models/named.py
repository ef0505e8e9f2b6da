"""The classes of every architecture under transformers' names, made from the engine's registry.

``named.pyi`` says the same to type checkers; ``make stubs`` writes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from .. import _engine
from .configuration import PreTrainedConfig
from .modeling import PreTrainedModel

T = TypeVar("T")

_REGISTRY: dict[str, dict[str, Any]] = {about["model_type"]: about for about in _engine.architectures()}
#: Configuration class to model type.
_CONFIGS = {about["config_class"]: model_type for model_type, about in _REGISTRY.items()}
#: Model class to model type, task, and where the model without a head is in it.
_MODELS = {
    name: (model_type, task, base)
    for model_type, about in _REGISTRY.items()
    for name, task, base in about["classes"]
}
#: What each task's class is for.
_PURPOSES = {
    "Base": "without a head",
    "PreTraining": "with the heads of its pretraining",
    "CausalLM": "with a head that predicts the next token",
    "MaskedLM": "with a head that predicts masked tokens",
    "Seq2SeqLM": "with a head that predicts the decoder's next token",
    "TextEncoding": "with its encoder alone",
    "SequenceClassification": "with a head that classifies texts",
    "TokenClassification": "with a head that classifies tokens",
    "QuestionAnswering": "with a head that finds where an answer starts and ends",
    "MultipleChoice": "with a head that chooses among texts",
    "NextSentencePrediction": "with a head that says whether the second text follows the first",
}
#: What ``AutoModelForPreTraining`` makes of an architecture without a class for it.
_PRETRAINING = ("PreTraining", "MaskedLM", "CausalLM", "Seq2SeqLM")
#: The encoder-decoders that fill masks with the class that writes texts: they were pretrained on it.
_MASK_FILLERS = {"bart": "BartForConditionalGeneration", "mbart": "MBartForConditionalGeneration"}

__all__ = sorted({*_CONFIGS, *_MODELS})


def __getattr__(name: str) -> Any:
    if name in globals():
        return globals()[name]
    if name in _CONFIGS:
        made: type = _config(name)
    elif name in _MODELS:
        made = _model(name)
    else:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    # Of several threads that make it at once, one makes the class that stays.
    return globals().setdefault(name, made)


def __dir__() -> list[str]:
    return __all__


def _config(name: str) -> type[PreTrainedConfig]:
    model_type = _CONFIGS[name]
    body = {
        "__module__": "trustformers.models",
        "__doc__": f"The configuration of a {model_type} model, with transformers' fields and defaults.",
        "model_type": model_type,
        "attribute_map": dict(_REGISTRY[model_type]["aliases"]),
    }
    return type(name, (PreTrainedConfig,), body)


def _model(name: str) -> type[PreTrainedModel]:
    model_type, task, base = _MODELS[name]
    body = {
        "__module__": "trustformers.models",
        "__doc__": f"A {model_type} model {_PURPOSES[task]}: transformers' ``{name}``.",
        "config_class": CONFIGS[model_type],
        "base_model_prefix": base or _REGISTRY[model_type]["prefix"],
        "_engine_class": name,
        "_task": task,
        "_base": base,
    }
    return type(name, (PreTrainedModel,), body)


class Classes(Mapping[str, type[T]]):
    """Classes by model type, each made when it is first asked for."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def __getitem__(self, model_type: str) -> type[T]:
        made: type[T] = __getattr__(self._names[model_type])
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


#: The configuration class of every model type.
CONFIGS: Classes[PreTrainedConfig] = Classes({model_type: name for name, model_type in _CONFIGS.items()})


def models_for(task: str) -> Classes[PreTrainedModel]:
    """The class for a task of every model type that has one. Of several the first counts."""
    names: dict[str, str] = dict(_MASK_FILLERS) if task == "MaskedLM" else {}
    for wanted in _PRETRAINING if task == "PreTraining" else (task,):
        for name, (model_type, purpose, _) in _MODELS.items():
            if purpose == wanted:
                names.setdefault(model_type, name)
    return Classes(names)
