"""Learning rates over the steps of a training: transformers' schedules."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable
from typing import Any

from .. import _engine
from ..tokenizers.strategies import ExplicitEnum
from .metric_schedules import GreedyLR, MetricLR, ReduceLROnPlateau
from .optimizers import Optimizer

logger = logging.getLogger(__name__)


class SchedulerType(ExplicitEnum):
    """The names of the schedules: what ``lr_scheduler_type`` may be."""

    LINEAR = "linear"
    COSINE = "cosine"
    COSINE_WITH_RESTARTS = "cosine_with_restarts"
    POLYNOMIAL = "polynomial"
    CONSTANT = "constant"
    CONSTANT_WITH_WARMUP = "constant_with_warmup"
    INVERSE_SQRT = "inverse_sqrt"
    REDUCE_ON_PLATEAU = "reduce_lr_on_plateau"
    COSINE_WITH_MIN_LR = "cosine_with_min_lr"
    COSINE_WARMUP_WITH_MIN_LR = "cosine_warmup_with_min_lr"
    WARMUP_STABLE_DECAY = "warmup_stable_decay"
    GREEDY = "greedy"

    @property
    def follows_metric(self) -> bool:
        """Whether learning rates follow what evaluations find."""
        return self in (SchedulerType.REDUCE_ON_PLATEAU, SchedulerType.GREEDY)


class LambdaLR:
    """Sets learning rates to factors of what they began with. Equals torch's ``LambdaLR``.

    :param lr_lambda: the factor of each step, from 0 on; or a list of such functions, one for each group.
    :param last_epoch: the step that was taken last, of a training that goes on.
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        self.optimizer = optimizer
        groups = optimizer.param_groups
        for group in groups:
            if last_epoch == -1:
                # One that had a schedule before begins anew where that began.
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    "param 'initial_lr' is not specified in param_groups when resuming an optimizer"
                )
        self.base_lrs = [group["initial_lr"] for group in groups]
        lambdas = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * len(groups)
        if len(lambdas) != len(groups):
            raise ValueError(f"Expected {len(groups)} lr_lambdas, but got {len(lambdas)}")
        self.lr_lambdas: list[Callable[[int], float]] = lambdas
        self.last_epoch = last_epoch
        self._step_count = 0
        self.step()

    def get_lr(self) -> list[float]:
        """The learning rate of each group at this step."""
        pairs = zip(self.base_lrs, self.lr_lambdas, strict=True)
        return [rate * factor(self.last_epoch) for rate, factor in pairs]

    def get_last_lr(self) -> list[float]:
        """The learning rates that were set last."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Go to the next step."""
        self._step_count += 1
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Where it is."""
        return {
            "base_lrs": self.base_lrs,
            "last_epoch": self.last_epoch,
            "_step_count": self._step_count,
            "_last_lr": self._last_lr,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to where another one was."""
        for name in ("base_lrs", "last_epoch", "_step_count", "_last_lr"):
            setattr(self, name, state_dict[name])


#: Either kind of schedule.
LRScheduler = LambdaLR | MetricLR


def _schedule(
    optimizer: Optimizer,
    last_epoch: int,
    kind: str,
    num_warmup_steps: int | None = None,
    num_training_steps: int | None = None,
    **shape: Any,
) -> LambdaLR:
    """The schedule that the engine knows as ``kind``."""
    times = {"warmup": num_warmup_steps, "total": num_training_steps}
    steps = {name: int(count) for name, count in times.items() if count is not None}
    shape = {name: value for name, value in shape.items() if value is not None}
    return LambdaLR(optimizer, _engine.Schedule(json.dumps({"type": kind, **steps, **shape})), last_epoch)


def get_constant_schedule(optimizer: Optimizer, last_epoch: int = -1) -> LambdaLR:
    """The learning rate as it is."""
    return _schedule(optimizer, last_epoch, "constant")


def get_constant_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, last_epoch: int = -1
) -> LambdaLR:
    """Up from 0, then constant."""
    return _schedule(optimizer, last_epoch, "constant_with_warmup", num_warmup_steps)


def get_linear_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int, last_epoch: int = -1
) -> LambdaLR:
    """Up from 0, then down to 0."""
    return _schedule(optimizer, last_epoch, "linear", num_warmup_steps, num_training_steps)


def get_cosine_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    last_epoch: int = -1,
) -> LambdaLR:
    """Up from 0, then down to 0 as a wave."""
    return _schedule(
        optimizer, last_epoch, "cosine", num_warmup_steps, num_training_steps, cycles=num_cycles, floor=0.0
    )


def get_cosine_with_hard_restarts_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: int = 1,
    last_epoch: int = -1,
) -> LambdaLR:
    """Up from 0, then down to 0 as half a wave, several times."""
    return _schedule(
        optimizer, last_epoch, "cosine_with_restarts", num_warmup_steps, num_training_steps, cycles=num_cycles
    )


def get_polynomial_decay_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    lr_end: float = 1e-7,
    power: float = 1.0,
    last_epoch: int = -1,
) -> LambdaLR:
    """Up from 0, then down to ``lr_end`` as a power of what is left."""
    first = optimizer.defaults["lr"]
    if not first > lr_end:
        raise ValueError(f"lr_end ({lr_end}) must be smaller than initial lr ({first})")
    return _schedule(
        optimizer,
        last_epoch,
        "polynomial",
        num_warmup_steps,
        num_training_steps,
        power=power,
        end=lr_end / first,
    )


def get_inverse_sqrt_schedule(
    optimizer: Optimizer, num_warmup_steps: int, timescale: int | None = None, last_epoch: int = -1
) -> LambdaLR:
    """Up from 0, then down as the inverse root of the step."""
    return _schedule(optimizer, last_epoch, "inverse_sqrt", num_warmup_steps, timescale=timescale)


def get_cosine_with_min_lr_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    last_epoch: int = -1,
    min_lr: float | None = None,
    min_lr_rate: float | None = None,
) -> LambdaLR:
    """Up from 0, then down to the least learning rate as a wave."""
    floor = _floor(optimizer, min_lr, min_lr_rate)
    return _schedule(
        optimizer, last_epoch, "cosine", num_warmup_steps, num_training_steps, cycles=num_cycles, floor=floor
    )


def get_cosine_with_min_lr_schedule_with_warmup_lr_rate(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    last_epoch: int = -1,
    min_lr: float | None = None,
    min_lr_rate: float | None = None,
    warmup_lr_rate: float | None = None,
) -> LambdaLR:
    """The same, but from ``warmup_lr_rate`` up, and never 0."""
    floor = _floor(optimizer, min_lr, min_lr_rate)
    shape = {"cycles": num_cycles, "floor": floor, "start": warmup_lr_rate}
    return _schedule(
        optimizer, last_epoch, "cosine_from_above", num_warmup_steps, num_training_steps, **shape
    )


def get_wsd_schedule(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_decay_steps: int,
    num_training_steps: int | None = None,
    num_stable_steps: int | None = None,
    warmup_type: str = "linear",
    decay_type: str = "cosine",
    min_lr_ratio: float = 0,
    num_cycles: float = 0.5,
    last_epoch: int = -1,
) -> LambdaLR:
    """Up, then constant, then down."""
    if num_stable_steps is None:
        if num_training_steps is None:
            raise ValueError("Either num_training_steps or num_stable_steps must be specified.")
        num_stable_steps = max(0, num_training_steps - num_warmup_steps - num_decay_steps)
    for name, kind in (("warmup", warmup_type), ("decay", decay_type)):
        if kind not in ("linear", "cosine", "1-sqrt"):
            raise ValueError(f"Unknown {name} type: {kind}, expected 'linear', 'cosine' or '1-sqrt'")
    return _schedule(
        optimizer,
        last_epoch,
        "warmup_stable_decay",
        num_warmup_steps,
        stable=int(num_stable_steps),
        decay=int(num_decay_steps),
        warmup_type=warmup_type,
        decay_type=decay_type,
        floor=float(min_lr_ratio),
        cycles=num_cycles,
    )


def _floor(optimizer: Optimizer, min_lr: float | None, min_lr_rate: float | None) -> float:
    """The least factor, which is given itself or as a learning rate."""
    if min_lr is not None and min_lr_rate is not None:
        raise ValueError("Only one of min_lr or min_lr_rate should be set")
    if min_lr is not None:
        return float(min_lr / optimizer.defaults["lr"])
    if min_lr_rate is None:
        raise ValueError("One of min_lr or min_lr_rate should be set through the `lr_scheduler_kwargs`")
    return float(min_lr_rate)


_FUNCTIONS: dict[SchedulerType, Callable[..., LRScheduler]] = {
    SchedulerType.LINEAR: get_linear_schedule_with_warmup,
    SchedulerType.COSINE: get_cosine_schedule_with_warmup,
    SchedulerType.COSINE_WITH_RESTARTS: get_cosine_with_hard_restarts_schedule_with_warmup,
    SchedulerType.POLYNOMIAL: get_polynomial_decay_schedule_with_warmup,
    SchedulerType.CONSTANT: get_constant_schedule,
    SchedulerType.CONSTANT_WITH_WARMUP: get_constant_schedule_with_warmup,
    SchedulerType.INVERSE_SQRT: get_inverse_sqrt_schedule,
    SchedulerType.REDUCE_ON_PLATEAU: ReduceLROnPlateau,
    SchedulerType.COSINE_WITH_MIN_LR: get_cosine_with_min_lr_schedule_with_warmup,
    SchedulerType.COSINE_WARMUP_WITH_MIN_LR: get_cosine_with_min_lr_schedule_with_warmup_lr_rate,
    SchedulerType.WARMUP_STABLE_DECAY: get_wsd_schedule,
    SchedulerType.GREEDY: GreedyLR,
}
#: Schedules that end where they do whatever number of steps is said, though their functions may take one.
_ENDLESS = (SchedulerType.WARMUP_STABLE_DECAY,)


def get_scheduler(
    name: str | SchedulerType,
    optimizer: Optimizer,
    num_warmup_steps: int | None = None,
    num_training_steps: int | None = None,
    scheduler_specific_kwargs: dict[str, Any] | None = None,
) -> LRScheduler:
    """The schedule of a name. Equals transformers' ``get_scheduler``.

    :param scheduler_specific_kwargs: further settings of that schedule.
    :raises ValueError: for an unknown name, and for a number of steps that it needs and that is not given.
    :raises TypeError: for settings that the schedule does not have.
    """
    kind = SchedulerType(name)
    make = _FUNCTIONS[kind]
    known = inspect.signature(make).parameters
    settings = dict(scheduler_specific_kwargs or {})
    for key, given in (("num_warmup_steps", num_warmup_steps), ("num_training_steps", num_training_steps)):
        if key not in known:
            continue
        if given is None and key not in settings and not (kind in _ENDLESS and key == "num_training_steps"):
            raise ValueError(f"{kind} requires `{key}`, please provide that argument.")
        settings.setdefault(key, given)
    return make(optimizer, **settings)
