"""What a training is asked: transformers' ``TrainingArguments``."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any

from .. import cuda
from .._device import Device
from ..generation.configuration import GenerationConfig
from ..tokenizers.strategies import ExplicitEnum
from ..utils.logging import get_verbosity
from .schedules import SchedulerType
from .setters import Setters
from .spellings import OtherSettings, Spelled

logger = logging.getLogger(__name__)


class IntervalStrategy(ExplicitEnum):
    """When something is done: never, every so many steps, or after every epoch."""

    NO = "no"
    STEPS = "steps"
    EPOCH = "epoch"


class SaveStrategy(ExplicitEnum):
    """When a checkpoint is saved; ``best`` is after an evaluation that was better than all before."""

    NO = "no"
    STEPS = "steps"
    EPOCH = "epoch"
    BEST = "best"


class HubStrategy(ExplicitEnum):
    """What is uploaded, and when: the model at the end, or at every save, alone or with checkpoints."""

    END = "end"
    EVERY_SAVE = "every_save"
    CHECKPOINT = "checkpoint"
    ALL_CHECKPOINTS = "all_checkpoints"


class ParallelMode(Enum):
    """How a training is shared among devices."""

    NOT_PARALLEL = "not_parallel"
    NOT_DISTRIBUTED = "not_distributed"
    DISTRIBUTED = "distributed"


class OptimizerNames(ExplicitEnum):
    """The names of the optimizers: what ``optim`` may be.

    What is ``paged`` is what it is without: its memory is where the parameters are.
    """

    ADAMW_TORCH = "adamw_torch"
    ADAMW_TORCH_FUSED = "adamw_torch_fused"
    ADAMW_8BIT = "adamw_8bit"
    ADAMW_BNB = "adamw_bnb_8bit"
    PAGED_ADAMW = "paged_adamw_32bit"
    PAGED_ADAMW_8BIT = "paged_adamw_8bit"
    ADAFACTOR = "adafactor"
    SGD = "sgd"
    ADAGRAD = "adagrad"
    RMSPROP = "rmsprop"
    LION = "lion_32bit"
    PAGED_LION = "paged_lion_32bit"

    @classmethod
    def _missing_(cls, value: object) -> ExplicitEnum:
        if str(value).startswith(_OTHER_OPTIMIZERS):
            names = [one.value for one in cls]
            raise ValueError(f"optim={value!r} is not supported: choose one of {names}, or give optimizers=")
        return super()._missing_(value)


#: How the names of transformers' other optimizers begin.
_OTHER_OPTIMIZERS = (
    *("adamw_torch_", "adamw_anyprecision", "stable_adamw", "grokadamw", "ademamix", "schedule_free_"),
    *("lion_", "paged_", "rmsprop_bnb", "galore_", "apollo_", "lomo", "adalomo"),
)


#: In what order the examples of an epoch come.
_SAMPLING = ("random", "sequential", "group_by_length")
#: What may watch a training.
_REPORTS = ("tensorboard", "csv", "jsonl")
_LEVELS = ("debug", "info", "warning", "error", "critical", "passive")


@dataclass
class TrainingArguments(Setters, OtherSettings, metaclass=Spelled):
    """All settings of a training, under transformers' names and with its defaults.

    The spellings of transformers 4 are taken with a ``DeprecationWarning``. ``bf16`` and ``fp16`` compute
    products in 16 bits, in training and evaluation, ``bf16_full_eval`` and ``fp16_full_eval`` in evaluations
    that are not part of a training; the weights stay as they are, where transformers converts them for good.
    ``activation_checkpointing`` computes layers again instead of keeping what they computed.

    Steps may be fractions below 1 of all steps: ``logging_steps``, ``eval_steps``, ``save_steps``,
    ``warmup_steps``. With ``auto_find_batch_size`` a training for whose batches there is no memory begins
    again with smaller ones. ``train_sampling_strategy`` is ``"random"``, ``"sequential"`` or
    ``"group_by_length"``. Gradients are clipped to ``max_grad_norm`` if that is above 0, and old checkpoints
    deleted beyond ``save_total_limit`` if that is. ``report_to`` names what is written beside checkpoints:
    ``"tensorboard"``, ``"csv"``, ``"jsonl"``. ``neftune_noise_alpha`` adds noise to the embeddings of tokens
    in training (NEFTune, Jain et al. 2023; 5 is usual). With ``dataloader_num_workers`` a thread collates
    batches while the model runs.

    :raises TypeError: for keywords that do not exist, naming the nearest.
    :raises ValueError: for values that cannot be, contradict each other, or ask for what there is not
        (``deepspeed``, ``fsdp``, ``torch_compile`` and so on).
    """

    output_dir: str | None = None

    per_device_train_batch_size: int = 8
    num_train_epochs: float = 3.0
    max_steps: int = -1
    gradient_accumulation_steps: int = 1
    auto_find_batch_size: bool = False

    learning_rate: float = 5e-5
    lr_scheduler_type: SchedulerType | str = "linear"
    lr_scheduler_kwargs: dict[str, Any] | str | None = None
    warmup_steps: float = 0
    optim: OptimizerNames | str = "adamw_torch_fused"
    optim_args: str | None = None
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float | None = 1.0
    label_smoothing_factor: float = 0.0
    neftune_noise_alpha: float | None = None

    activation_checkpointing: bool = False
    activation_checkpointing_kwargs: dict[str, Any] | str | None = None

    bf16: bool = False
    fp16: bool = False
    bf16_full_eval: bool = False
    fp16_full_eval: bool = False
    use_cache: bool = False
    use_cpu: bool = False

    logging_strategy: IntervalStrategy | str = "steps"
    logging_steps: float = 500
    logging_first_step: bool = False
    logging_nan_inf_filter: bool = True
    logging_dir: str | None = None
    include_num_input_tokens_seen: str | bool = "no"
    log_level: str = "passive"
    disable_tqdm: bool | None = None
    report_to: str | list[str] | None = "none"
    run_name: str | None = None

    eval_strategy: IntervalStrategy | str = "no"
    eval_steps: float | None = None
    eval_delay: float = 0
    per_device_eval_batch_size: int = 8
    prediction_loss_only: bool = False
    eval_on_start: bool = False
    eval_do_concat_batches: bool = True
    include_for_metrics: list[str] = field(default_factory=list)
    batch_eval_metrics: bool = False

    save_strategy: SaveStrategy | str = "steps"
    save_steps: float = 500
    save_total_limit: int | None = None
    save_only_model: bool = False
    load_best_model_at_end: bool = False
    metric_for_best_model: str | None = None
    greater_is_better: bool | None = None
    ignore_data_skip: bool = False
    restore_callback_states_from_checkpoint: bool = False
    resume_from_checkpoint: str | None = None

    seed: int = 42
    data_seed: int | None = None
    dataloader_drop_last: bool = False
    dataloader_num_workers: int = 0
    dataloader_prefetch_factor: int | None = None
    remove_unused_columns: bool = True
    label_names: list[str] | None = None
    train_sampling_strategy: str = "random"
    length_column_name: str = "length"

    push_to_hub: bool = False
    hub_model_id: str | None = None
    hub_strategy: HubStrategy | str = "every_save"
    hub_token: str | None = None
    hub_private_repo: bool | None = None
    hub_always_push: bool = False
    hub_revision: str | None = None

    do_train: bool = False
    do_eval: bool = False
    do_predict: bool = False

    def __post_init__(self) -> None:
        self.output_dir = os.path.expanduser(
            "trainer_output" if self.output_dir is None else os.fspath(self.output_dir)
        )
        if isinstance(self.lr_scheduler_kwargs, str):
            self.lr_scheduler_kwargs = json.loads(self.lr_scheduler_kwargs)
        if isinstance(self.activation_checkpointing_kwargs, str):
            self.activation_checkpointing_kwargs = json.loads(self.activation_checkpointing_kwargs)
        self._normalize()
        self.do_eval = self.do_eval or self.eval_strategy != IntervalStrategy.NO
        self._fill_in()
        self._check_numbers()
        self._check_together()

    def _normalize(self) -> None:
        """Every setting as the type that it stands for."""
        self.lr_scheduler_type = SchedulerType(self.lr_scheduler_type)
        self.optim = OptimizerNames(self.optim)
        self.logging_strategy = IntervalStrategy(self.logging_strategy)
        self.eval_strategy = IntervalStrategy(self.eval_strategy)
        self.save_strategy = SaveStrategy(self.save_strategy)
        if self.disable_tqdm is None:
            self.disable_tqdm = logger.getEffectiveLevel() > logging.WARNING
        if isinstance(self.include_num_input_tokens_seen, bool):
            self.include_num_input_tokens_seen = "all" if self.include_num_input_tokens_seen else "no"
        self.report_to = _reports(self.report_to)
        self.hub_strategy = HubStrategy(self.hub_strategy)

    def _fill_in(self) -> None:
        """What follows from other settings."""
        if self.eval_strategy == IntervalStrategy.STEPS and not self.eval_steps:
            self.eval_steps = self.logging_steps
        follows = SchedulerType(self.lr_scheduler_type).follows_metric
        if (self.load_best_model_at_end or follows) and self.metric_for_best_model is None:
            self.metric_for_best_model = "loss"
        if self.greater_is_better is None and self.metric_for_best_model is not None:
            self.greater_is_better = not self.metric_for_best_model.endswith("loss")

    def _check_numbers(self) -> None:
        for name, kind in (("logging", self.logging_strategy), ("eval", self.eval_strategy)):
            self._check_steps(name, kind == IntervalStrategy.STEPS)
        self._check_steps("save", self.save_strategy == SaveStrategy.STEPS)
        for name in ("per_device_train_batch_size", "per_device_eval_batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.gradient_accumulation_steps < 1:
            raise ValueError(
                f"gradient_accumulation_steps must be at least 1, got {self.gradient_accumulation_steps}"
            )
        for name in ("learning_rate", "weight_decay", "warmup_steps", "num_train_epochs"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"Got {name} = {value}, Expected value {name} >= 0")
        alpha = self.neftune_noise_alpha
        if alpha is not None and not (math.isfinite(alpha) and alpha >= 0):
            raise ValueError(f"neftune_noise_alpha must be a number of at least 0, got {alpha}")
        if not 0 <= self.label_smoothing_factor < 1:
            raise ValueError(f"label_smoothing_factor must be in [0, 1), got {self.label_smoothing_factor}")
        if self.dataloader_num_workers < 0:
            raise ValueError(f"dataloader_num_workers must be at least 0, got {self.dataloader_num_workers}")
        if self.log_level not in _LEVELS:
            raise ValueError(f"log_level must be one of {_LEVELS}, got {self.log_level!r}")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed must be at least 0 and below 2**64, got {self.seed}")

    def _check_steps(self, what: str, used: bool) -> None:
        value = getattr(self, f"{what}_steps")
        if not used:
            return
        if value is None or not value > 0:
            raise ValueError(f"{what} strategy steps requires --{what}_steps above 0, got {value}")
        if value > 1:
            if value != int(value):
                raise ValueError(f"--{what}_steps must be an integer if bigger than 1: {value}")
            setattr(self, f"{what}_steps", int(value))

    def _check_together(self) -> None:
        if self.fp16 and self.bf16:
            raise ValueError("At most one of fp16 and bf16 can be True, but not both")
        if self.fp16_full_eval and self.bf16_full_eval:
            raise ValueError("At most one of fp16 and bf16 can be True for full eval, but not both")
        schedule = SchedulerType(self.lr_scheduler_type)
        if schedule.follows_metric and self.eval_strategy == IntervalStrategy.NO:
            raise ValueError(f"lr_scheduler_type {schedule.value} requires an eval strategy")
        if self.train_sampling_strategy not in _SAMPLING:
            raise ValueError(
                f"train_sampling_strategy must be one of {_SAMPLING}, got {self.train_sampling_strategy!r}"
            )
        if self.include_num_input_tokens_seen not in ("no", "all", "non_padding"):
            raise ValueError(
                "include_num_input_tokens_seen must be one of ('no', 'all', 'non_padding'), got "
                f"{self.include_num_input_tokens_seen!r}"
            )
        if self.dataloader_num_workers == 0 and self.dataloader_prefetch_factor is not None:
            raise ValueError("--dataloader_prefetch_factor requires --dataloader_num_workers above 0")
        if self.load_best_model_at_end and self.save_strategy != SaveStrategy.BEST:
            self._check_best_is_saved()

    def _check_best_is_saved(self) -> None:
        """Every step that may be the best one must be saved."""
        evaluated, saved = IntervalStrategy(self.eval_strategy), SaveStrategy(self.save_strategy)
        if evaluated.value != saved.value:
            raise ValueError(
                "--load_best_model_at_end requires the save and eval strategy to match, but found\n"
                f"- Evaluation strategy: {evaluated.value}\n- Save strategy: {saved.value}"
            )
        if evaluated != IntervalStrategy.STEPS or self.eval_steps is None:
            return
        if (self.save_steps < 1) != (self.eval_steps < 1):
            raise ValueError(
                "--load_best_model_at_end requires the saving steps to be a multiple of the evaluation "
                "steps, which cannot be known of a share and a number: "
                f"{self.save_steps} and {self.eval_steps}"
            )
        times = self.save_steps / self.eval_steps
        if abs(times - round(times)) > 1e-9:
            raise ValueError(
                "--load_best_model_at_end requires the saving steps to be a round multiple of the evaluation "
                f"steps, but found {self.save_steps}, which is not a round multiple of {self.eval_steps}."
            )

    @property
    def train_batch_size(self) -> int:
        """The examples of a forward pass in training."""
        return self.per_device_train_batch_size

    @property
    def eval_batch_size(self) -> int:
        """The examples of a forward pass in evaluation."""
        return self.per_device_eval_batch_size

    @property
    def device(self) -> Device:
        """Where the training runs: the current GPU if there is one, unless ``use_cpu``."""
        return Device("cpu") if self.use_cpu or not cuda.is_available() else Device(cuda.current_device())

    @property
    def n_gpu(self) -> int:
        """How many GPUs the training runs on: one, or none."""
        return int(self.device.type == "cuda")

    @property
    def place_model_on_device(self) -> bool:
        """Whether the trainer brings the model there."""
        return True

    @property
    def gradient_checkpointing(self) -> bool:
        """What ``activation_checkpointing`` was called."""
        return self.activation_checkpointing

    @property
    def gradient_checkpointing_kwargs(self) -> dict[str, Any] | str | None:
        """What ``activation_checkpointing_kwargs`` was called."""
        return self.activation_checkpointing_kwargs

    # One process on one device: what code for several asks.
    world_size = 1
    process_index = 0
    local_process_index = 0
    should_log = True
    should_save = True

    @property
    def parallel_mode(self) -> ParallelMode:
        """How the training is shared: not at all."""
        return ParallelMode.NOT_PARALLEL

    @contextlib.contextmanager
    def main_process_first(self, local: bool = True, desc: str = "work") -> Iterator[None]:
        """What several processes would wait for one another with; here there is one."""
        yield

    def get_process_log_level(self) -> int:
        """``log_level`` as a number; ``"passive"`` is the level that is there."""
        if self.log_level == "passive":
            return get_verbosity()
        return int(getattr(logging, self.log_level.upper()))

    def get_warmup_steps(self, num_training_steps: int) -> int:
        """The number of steps in which the learning rate goes up."""
        if self.warmup_steps >= 1:
            return int(self.warmup_steps)
        return math.ceil(num_training_steps * self.warmup_steps)

    def to_dict(self) -> dict[str, Any]:
        """Every field, of types that JSON has; of a token only that there is one."""
        values = {one.name: _plain(getattr(self, one.name)) for one in fields(self) if one.init}
        return {**values, "hub_token": "<HUB_TOKEN>" if self.hub_token else None}

    def to_json_string(self) -> str:
        """:meth:`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def to_sanitized_dict(self) -> dict[str, Any]:
        """Every field as a number or a text, as lists of hyperparameters want them."""
        kinds = (bool, int, float, str)
        return {name: v if isinstance(v, kinds) else str(v) for name, v in self.to_dict().items()}


@dataclass
class Seq2SeqTrainingArguments(TrainingArguments):
    """The settings of a training of encoder-decoders, which may be evaluated by what they generate."""

    predict_with_generate: bool = False
    generation_max_length: int | None = None
    generation_num_beams: int | None = None
    generation_config: str | Path | GenerationConfig | None = None


def _reports(given: str | list[str] | None) -> list[str]:
    names = [given] if isinstance(given, str) else list(given or [])
    if names == ["none"]:
        return []
    if names == ["all"]:
        return ["tensorboard"]
    for name in names:
        if name not in _REPORTS:
            raise ValueError(
                f"report_to={name!r} is not supported: it may be 'none', 'all', or any of {_REPORTS}; for "
                "another service write a TrainerCallback with on_log"
            )
    return names


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    return value.to_dict() if isinstance(value, GenerationConfig) else value
