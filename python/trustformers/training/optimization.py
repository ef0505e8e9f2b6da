"""Which parameters change, by which optimizer, at which learning rate."""

from __future__ import annotations

import logging
import re
from typing import Any

from .arguments import OptimizerNames, TrainingArguments
from .evaluation import Evaluation
from .metric_schedules import MetricLR
from .optimizers import SGD, Adafactor, Adagrad, AdamW, AdamW8bit, Lion, RMSprop
from .schedules import get_scheduler

logger = logging.getLogger(__name__)

#: Names of parameters that weight decay leaves alone: biases, and the scales of norms.
_NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)", re.IGNORECASE)


class Optimization(Evaluation):
    """How a trainer changes parameters."""

    def create_optimizer_and_scheduler(self, num_training_steps: int) -> None:
        """Make what was not given."""
        self.create_optimizer()
        self.create_scheduler(num_training_steps)

    def create_optimizer(self, model: Any = None) -> Any:
        """Make the optimizer that the arguments say, if none was given.

        It is over the parameters with ``requires_grad``, in two groups: with weight decay, and without.

        :raises ValueError: when there are none.
        """
        model = self.model if model is None else model
        if self.optimizer is None:
            decayed = set(self.get_decay_parameter_names(model))
            trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
            if not trained:
                raise ValueError(
                    f"There is nothing to train: no parameter of {type(model).__name__} has requires_grad. "
                    "An adapter is opened for training with is_trainable=True"
                )
            groups = [
                {
                    "params": [p for name, p in trained if name in decayed],
                    "weight_decay": self.args.weight_decay,
                },
                {"params": [p for name, p in trained if name not in decayed], "weight_decay": 0.0},
            ]
            make, keywords = self.optimizer_cls_and_kwargs or self.get_optimizer_cls_and_kwargs(
                self.args, model
            )
            self.optimizer = make(groups, **keywords)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Make the schedule that the arguments say, if none was given."""
        if self.lr_scheduler is None:
            self.lr_scheduler = get_scheduler(
                self.args.lr_scheduler_type,
                self.optimizer if optimizer is None else optimizer,
                num_warmup_steps=self.args.get_warmup_steps(num_training_steps),
                num_training_steps=num_training_steps,
                scheduler_specific_kwargs=self.args.lr_scheduler_kwargs,  # type: ignore[arg-type]
            )
        return self.lr_scheduler

    @staticmethod
    def get_optimizer_cls_and_kwargs(
        args: TrainingArguments, model: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        """The class and the keywords of the optimizer that the arguments name.

        :raises ValueError: for ``optim_args`` that are not ``name=value,name=value``.
        """
        betas: dict[str, Any] = {"betas": (args.adam_beta1, args.adam_beta2)}
        adam = {**betas, "eps": args.adam_epsilon}
        make, own = {
            "adamw_torch": (AdamW, adam),
            "adamw_torch_fused": (AdamW, adam),
            "paged_adamw_32bit": (AdamW, adam),
            "adamw_8bit": (AdamW8bit, adam),
            "adamw_bnb_8bit": (AdamW8bit, adam),
            "paged_adamw_8bit": (AdamW8bit, adam),
            "adafactor": (Adafactor, {"scale_parameter": False, "relative_step": False}),
            "lion_32bit": (Lion, betas),
            "paged_lion_32bit": (Lion, betas),
            "sgd": (SGD, {}),
            "adagrad": (Adagrad, {}),
            "rmsprop": (RMSprop, {}),
        }[OptimizerNames(args.optim).value]
        return make, {"lr": args.learning_rate, **own, **_parsed(args.optim_args)}

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        """The names of the parameters that weight decay is for: all but biases and norms."""
        # A norm under another name, such as GPT-2's ln_1, is known by having one axis only.
        return [
            name for name, p in model.named_parameters() if len(p.shape) > 1 and not _NO_DECAY.search(name)
        ]

    def get_num_trainable_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    def get_learning_rates(self) -> list[float]:
        """The learning rate of each group.

        :raises ValueError: before there is an optimizer.
        """
        if self.optimizer is None:
            raise ValueError(
                "Trainer optimizer is None, please make sure you have setup the optimizer before."
            )
        return [group["lr"] for group in self.optimizer.param_groups]

    def get_optimizer_group(self, param: Any = None) -> Any:
        """The group that a parameter is in; the parameters of all groups for one that is in none.

        :raises ValueError: before there is an optimizer.
        """
        if self.optimizer is None:
            raise ValueError(
                "Trainer optimizer is None, please make sure you have setup the optimizer before."
            )
        for group in self.optimizer.param_groups:
            if param is not None and any(one.data_ptr() == param.data_ptr() for one in group["params"]):
                return group
        return [group["params"] for group in self.optimizer.param_groups]

    def _get_learning_rate(self) -> float:
        if isinstance(self.lr_scheduler, MetricLR):
            return float(self.optimizer.param_groups[0]["lr"])
        return float(self.lr_scheduler.get_last_lr()[0])


def _parsed(optim_args: str | None) -> dict[str, Any]:
    keywords: dict[str, Any] = {}
    for pair in (optim_args or "").replace(" ", "").split(","):
        if not pair:
            continue
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"optim_args must be name=value,name=value, got {optim_args!r}")
        if value.lower() in ("true", "false", "none"):
            keywords[name] = {"true": True, "false": False, "none": None}[value.lower()]
            continue
        try:
            keywords[name] = float(value)
        except ValueError:
            raise ValueError(f"optim_args: {value!r} of {name} is no number") from None
    return keywords
