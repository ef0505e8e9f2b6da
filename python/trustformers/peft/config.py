"""What an adapter is asked: peft's ``LoraConfig``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

from .. import _engine
from .._hub import take_source
from ..models.calls import unexpected

CONFIG_NAME = "adapter_config.json"


class TaskType(str, Enum):
    """What a model with an adapter is for."""

    SEQ_CLS = "SEQ_CLS"
    SEQ_2_SEQ_LM = "SEQ_2_SEQ_LM"
    CAUSAL_LM = "CAUSAL_LM"
    TOKEN_CLS = "TOKEN_CLS"
    QUESTION_ANS = "QUESTION_ANS"
    FEATURE_EXTRACTION = "FEATURE_EXTRACTION"


class PeftType(str, Enum):
    """The kinds of adapters: there is one."""

    LORA = "LORA"


#: Fields of peft's that there are not, with the values that ask for nothing.
_MISSING: dict[str, tuple[Any, ...]] = {
    "alora_invocation_tokens": (None,),
    "arrow_config": (None,),
    "corda_config": (None,),
    "ensure_weight_tying": (False,),
    "eva_config": (None,),
    "kasa_config": (None,),
    "layer_replication": (None,),
    "loftq_config": ({}, None),
    "lora_bias": (False,),
    "lora_ga_config": (None,),
    "megatron_config": (None,),
    "monteclora_config": (None,),
    "target_parameters": (None,),
    "trainable_token_indices": (None,),
    "use_bdlora": (None, False),
    "use_dora": (False,),
    "use_qalora": (False,),
    "velora_config": (None,),
}
#: Fields of peft's that say nothing where those above ask for nothing.
_IDLE = frozenset({"megatron_core", "peft_type", "peft_version", "qalora_group_size", "runtime_config"})
_INITIAL = (True, False, "gaussian")


class _Keywords(type):
    """The type of a configuration that takes all keywords of peft's, and refuses what there is not."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        known = {one.name for one in fields(cls)}  # type: ignore[arg-type]
        for name, value in kwargs.items():
            if name in _MISSING and value not in _MISSING[name]:
                raise ValueError(f"{cls.__name__}: {name}={value!r} is not supported")
            if name not in (*known, *_MISSING, *_IDLE):
                raise unexpected(cls.__name__, name, [*known, *_MISSING])
        return super().__call__(*args, **{name: v for name, v in kwargs.items() if name in known})


@dataclass
class LoraConfig(metaclass=_Keywords):
    """Low-rank adaptation (Hu et al. 2021): a matrix W (out, in) becomes W + scaling · B @ A.

    A is (r, in) and B is (out, r); scaling is ``lora_alpha / r``, with ``use_rslora`` ``lora_alpha / √r``
    (Kalajdzievski 2023).

    :param target_modules: which layers: names that theirs end with, a regular expression that theirs match
        as a whole, ``"all-linear"`` for all but the head; ``None`` for peft's choice for the model type.
    :param exclude_modules: which of those not: names or a regular expression.
    :param layers_to_transform: which of the numbered layers alone, where ``target_modules`` is a list.
    :param layers_pattern: what the numbered layers are called.
    :param bias: which biases are trained too: ``"none"``, ``"all"``, ``"lora_only"`` those of the targets.
    :param modules_to_save: modules that are trained as a whole, and saved with the adapter. A task that
        needs a head, which is new, adds its own.
    :param init_lora_weights: True draws A as a new linear layer has it, ``"gaussian"`` with a deviation of
        ``1 / r``, both with B at zero, so that nothing changes at first; False draws B too.
    :param rank_pattern: names, or regular expressions, that layers end with to ``r`` of their own.
    :param alpha_pattern: the same for ``lora_alpha``.
    :param fan_in_fan_out: taken for peft's sake; layers that are stored as (in, out) are known to be so.
    :param lora_dropout: the share of a layer's inputs that A does not see in training.
    :raises ValueError: for values that cannot be, and for fields of peft's that there are not.
    :raises TypeError: for keywords that do not exist, naming the nearest.
    """

    task_type: TaskType | str | None = None
    base_model_name_or_path: str | None = None
    revision: str | None = None
    inference_mode: bool = False
    auto_mapping: dict[str, str] | None = None
    r: int = 8
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    lora_alpha: float = 8
    lora_dropout: float = 0.0
    fan_in_fan_out: bool = False
    bias: str = "none"
    use_rslora: bool = False
    modules_to_save: list[str] | None = None
    init_lora_weights: bool | str = True
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.task_type = None if self.task_type is None else TaskType(self.task_type)
        self.target_modules = _names(self.target_modules)
        self.exclude_modules = _names(self.exclude_modules)
        self.rank_pattern, self.alpha_pattern = self.rank_pattern or {}, self.alpha_pattern or {}
        for name, rank in {"r": self.r, **self.rank_pattern}.items():
            if not isinstance(rank, int) or rank < 1:
                raise ValueError(
                    f"`r` should be a positive integer value but the value passed for {name} is {rank}"
                )
        if self.bias not in ("none", "all", "lora_only"):
            raise ValueError(f"bias must be 'none', 'all' or 'lora_only', got {self.bias!r}")
        if self.init_lora_weights not in _INITIAL:
            raise ValueError(
                f"init_lora_weights={self.init_lora_weights!r} is not supported: it may be any of {_INITIAL}"
            )
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"lora_dropout must be in [0, 1), got {self.lora_dropout}")
        if isinstance(self.target_modules, str):
            for name in ("layers_to_transform", "layers_pattern"):
                if getattr(self, name) is not None:
                    raise ValueError(f"`{name}` cannot be used when `target_modules` is a str.")
        if self.layers_pattern and self.layers_to_transform is None:
            raise ValueError(
                "When `layers_pattern` is specified, `layers_to_transform` must also be specified."
            )

    #: It adds to matrices, and not to what is asked.
    is_prompt_learning: ClassVar[bool] = False

    @property
    def peft_type(self) -> PeftType:
        """The kind of adapter."""
        return PeftType.LORA

    def to_dict(self) -> dict[str, Any]:
        """Every field, of types that JSON has, with what peft wants to know of the kind."""
        task = None if self.task_type is None else TaskType(self.task_type).value
        return {**asdict(self), "task_type": task, "peft_type": self.peft_type.value}

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write ``adapter_config.json`` into a folder."""
        os.makedirs(save_directory, exist_ok=True)
        text = json.dumps(self.to_dict(), indent=2, sort_keys=True)
        Path(save_directory, CONFIG_NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> LoraConfig:
        """Read ``adapter_config.json`` of a folder or a hub repository.

        Keywords say where from, as for models, or are fields that are to be other than there.

        :raises OSError: when there is no such file.
        :raises ValueError: for an adapter of another kind, or one that asks for what there is not.
        """
        repo = _engine.Repo(pretrained_model_name_or_path, **take_source(kwargs))
        return cls._read(repo, **kwargs)

    @classmethod
    def _read(cls, repo: _engine.Repo, **changed: Any) -> LoraConfig:
        path = repo.require(CONFIG_NAME)
        try:
            saved = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        kind = saved.get("peft_type") if isinstance(saved, Mapping) else None
        if kind != "LORA":
            raise ValueError(f"{path} is of an adapter of the type {kind!r}, and only 'LORA' is supported")
        known = {one.name for one in fields(cls)}
        # peft adds fields with every release: those that ask for nothing are no reason to refuse a file.
        idle: tuple[Any, ...] = (None, False, {}, [])
        kept = {name: v for name, v in saved.items() if name in (*known, *_MISSING, *_IDLE) or v not in idle}
        return cls(**{**kept, **changed})


def _names(given: Iterable[str] | str | None) -> list[str] | str | None:
    return given if given is None or isinstance(given, str) else list(given)


#: peft's base of all configurations, of which there is one here: it reads whatever can be read.
PeftConfig = LoraConfig
