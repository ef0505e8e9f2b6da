"""Which layers of a model an adapter is for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..models.modeling import PreTrainedModel
from .config import LoraConfig, TaskType

_QUERY_VALUE = ["query", "value"]
_PROJECTED = ["q_proj", "v_proj"]
_JOINED = ["query_key_value"]
#: What peft adapts in a model of a type, where nothing is said.
_DEFAULTS: dict[str, list[str]] = {
    **dict.fromkeys(("bert", "electra", "roberta", "xlm-roberta"), _QUERY_VALUE),
    **dict.fromkeys(("bart", "gemma", "gemma2", "gemma3_text", "gpt_neo", "gptj", "llama"), _PROJECTED),
    **dict.fromkeys(("mistral", "mixtral", "opt", "qwen2", "qwen3", "stablelm"), _PROJECTED),
    **dict.fromkeys(("bloom", "falcon", "gpt_neox"), _JOINED),
    "mt5": ["q", "v"],
    "t5": ["q", "v"],
    "deberta-v2": ["query_proj", "value_proj"],
    "gpt2": ["c_attn"],
    "phi": ["q_proj", "v_proj", "fc1", "fc2"],
}
#: The heads that a task brings, which are new and so are trained as a whole.
_HEADS: dict[str | None, list[str]] = {
    TaskType.SEQ_CLS: ["classifier", "score"],
    TaskType.TOKEN_CLS: ["classifier", "score"],
    TaskType.QUESTION_ANS: ["qa_outputs"],
}
#: Layers that are stored as (in, out): transformers' ``Conv1D``.
_CONV1D = {"gpt2": ("c_attn", "q_attn", "c_proj", "c_fc")}


def is_conv1d(model: PreTrainedModel, module: str) -> bool:
    """Whether the matrix of a layer is stored as (in, out)."""
    return module.rpartition(".")[2] in _CONV1D.get(model.config.model_type, ())


def linear_modules(model: PreTrainedModel) -> list[str]:
    """The linear layers of a model, in its order."""
    engine = model._engine
    tables = {*engine.embeddings(), *engine.buffers()}
    weights = [name for name in engine.parameter_names() if name.endswith(".weight") and name not in tables]
    return [name.removesuffix(".weight") for name in weights if engine.parameter(name).ndim == 2]


def resolved(config: LoraConfig, model: PreTrainedModel) -> list[str]:
    """The layers that an adapter is for; the configuration is completed by what it leaves to us.

    :raises ValueError: when there are none, or some that are no linear layers.
    """
    heads = [name for name in _HEADS.get(config.task_type, []) if name not in (config.modules_to_save or [])]
    if heads:
        config.modules_to_save = [*(config.modules_to_save or []), *heads]
    linear = linear_modules(model)
    if isinstance(config.target_modules, str) and config.target_modules.lower() == "all-linear":
        config.target_modules = [name for name in linear if name not in _head(model, config)]
    if config.target_modules is None:
        model_type = model.config.model_type
        if model_type not in _DEFAULTS:
            raise ValueError(
                f"Please specify `target_modules` in `peft_config`: there is no default for {model_type!r}"
            )
        config.target_modules = list(_DEFAULTS[model_type])
    names = model._engine.parameter_names(tied=True)
    modules = dict.fromkeys(name.removesuffix(".weight") for name in names if name.endswith(".weight"))
    whole = saved_modules(config, model)
    chosen = [name for name in modules if _is_target(config, name) and f"{name}.weight" not in whole]
    if not chosen:
        raise ValueError(
            f"Target modules {config.target_modules} not found in the base model. Please check the target "
            f"modules and try again: its linear layers are called {sorted(_last_parts(linear))}"
        )
    if others := [name for name in chosen if name not in linear]:
        raise ValueError(
            f"Target module {others[0]} is not supported: it is no linear layer with a matrix of its own. To "
            "train it as a whole name it in modules_to_save"
        )
    return chosen


def saved_modules(config: LoraConfig, model: PreTrainedModel) -> dict[str, str]:
    """The parameters of modules that are trained as a whole, with the names of these modules.

    What the model does not have is left out, as lists are written for models with other heads too.
    """
    found: dict[str, str] = {}
    asked = config.modules_to_save or []
    for name in model._engine.parameter_names(tied=True):
        parts = name.split(".")
        paths = (".".join(parts[:depth]) for depth in range(1, len(parts)))
        if path := next((path for path in paths if path.endswith(tuple(asked))), None):
            found[name] = path
    return found


def trained_biases(config: LoraConfig, model: PreTrainedModel, targets: Iterable[str]) -> list[str]:
    """The biases that are trained beside an adapter."""
    if config.bias == "none":
        return []
    names = [name for name in model._engine.parameter_names() if name.rpartition(".")[2] == "bias"]
    adapted = set(targets)
    return [name for name in names if config.bias == "all" or name.removesuffix(".bias") in adapted]


def by_pattern(patterns: Mapping[str, Any], module: str, default: Any) -> Any:
    """What the first pattern says that a layer's name ends with."""
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def _is_target(config: LoraConfig, module: str) -> bool:
    if _named(config.exclude_modules, module):
        return False
    if any(re.match(rf"(^|.*\.){name}($|\..*)", module) for name in config.modules_to_save or []):
        return False
    if not _named(config.target_modules, module):
        return False
    return config.layers_to_transform in (None, []) or _is_in_layer(config, module)


def _named(given: list[str] | str | None, module: str) -> bool:
    """Whether a layer is one of those named, or matches the expression as a whole."""
    if isinstance(given, str):
        return re.fullmatch(given, module) is not None
    return any(module == name or module.endswith(f".{name}") for name in given or ())


def _is_in_layer(config: LoraConfig, module: str) -> bool:
    """Whether a layer is in one of the numbered ones that are asked for; its first number counts."""
    asked, given = config.layers_to_transform, config.layers_pattern
    numbers = [asked] if isinstance(asked, int) else asked or []
    for pattern in [given] if isinstance(given, str) else given or ["[^.]*"]:
        if match := re.match(rf"(?:^|.*?\.){pattern}\.(\d+)\.", module):
            return int(match[1]) in numbers
    return False


def _head(model: PreTrainedModel, config: LoraConfig) -> list[str]:
    """The last layer, which "all-linear" leaves out: of a language model, or of a classifier."""
    named = model._engine.output_embeddings()
    if named is not None:
        return [named[0].removesuffix(".weight")]
    return ["classifier", "score"] if config.task_type == TaskType.SEQ_CLS else []


def _last_parts(modules: Iterable[str]) -> set[str]:
    return {name.rpartition(".")[2] for name in modules}
