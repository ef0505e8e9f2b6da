"""Learning rates that follow a metric, as evaluations find it."""

from __future__ import annotations

import math
from typing import Any

from .optimizers import Optimizer


class MetricLR:
    """What schedules that follow a metric have in common: they take a step with every evaluation."""

    def __init__(self, optimizer: Optimizer, mode: str, factor: float, threshold: float, kind: str) -> None:
        if factor >= 1.0:
            raise ValueError("Factor should be < 1.0.")
        if mode not in ("min", "max"):
            raise ValueError(f"mode {mode} is unknown!")
        if kind not in ("rel", "abs"):
            raise ValueError(f"threshold mode {kind} is unknown!")
        self.optimizer = optimizer
        self.mode, self.factor, self.threshold, self.threshold_mode = mode, factor, threshold, kind
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def is_better(self, value: float, best: float) -> bool:
        """Whether a metric is better than the best one by more than the threshold."""
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "rel":
            return sign * value > sign * best * (1 + sign * self.threshold)
        return sign * value > sign * best + self.threshold

    def get_last_lr(self) -> list[float]:
        """The learning rates that were set last."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """Where it is, and its settings."""
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to where another one was."""
        self.__dict__.update(state_dict)

    def step(self, metrics: Any, epoch: int | None = None) -> None:
        """Take the metric of an evaluation."""
        raise NotImplementedError

    def _limits(self, given: float | list[float], name: str) -> list[float]:
        """A limit of the learning rate for each group."""
        count = len(self.optimizer.param_groups)
        limits = list(given) if isinstance(given, (list, tuple)) else [given] * count
        if len(limits) != count:
            raise ValueError(f"expected {count} {name}s, got {len(limits)}")
        return limits


class ReduceLROnPlateau(MetricLR):
    """Lowers learning rates when a metric has not become better for a while. Equals torch's class."""

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(optimizer, mode, factor, threshold, threshold_mode)
        self.patience, self.cooldown, self.eps = patience, cooldown, eps
        self.min_lrs = self._limits(min_lr, "min_lr")

    def step(self, metrics: Any, epoch: int | None = None) -> None:
        """Take the metric of an evaluation."""
        value = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self.is_better(value, self.best):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                lower = max(group["lr"] * self.factor, least)
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


class GreedyLR(MetricLR):
    """Raises learning rates while a metric becomes better, and lowers them when it does not.

    Equals transformers' class (arXiv:2512.14527). After ``patience`` steps one way rates are divided, or
    multiplied, by ``factor``, within ``min_lr`` and ``max_lr``; ``warmup`` or ``cooldown`` steps then pass
    without another change.

    :param smooth: whether the mean of the last ``window_size`` metrics is looked at.
    :param reset_start: after how many changes at the least rates it begins anew.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.95,
        patience: int = 10,
        threshold: float = 1e-6,
        threshold_mode: str = "abs",
        cooldown: int = 0,
        warmup: int = 0,
        min_lr: float | list[float] = 1e-3,
        max_lr: float | list[float] = 1.0,
        eps: float = 1e-8,
        verbose: bool = False,
        smooth: bool = False,
        window_size: int = 50,
        reset_start: int = 500,
    ) -> None:
        super().__init__(optimizer, mode, factor, threshold, threshold_mode)
        self.patience, self.cooldown, self.warmup, self.eps = patience, cooldown, warmup, eps
        self.min_lrs, self.max_lrs = self._limits(min_lr, "min_lr"), self._limits(max_lr, "max_lr")
        self.verbose, self.smooth, self.window_size = verbose, smooth, window_size
        self.reset_start = self.reset_start_original = reset_start
        self.num_good_epochs = 0
        self.warmup_counter = 0
        self._init_lrs = list(self._last_lr)
        self._seen: list[float] = []

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to where another one was, with its learning rates."""
        super().load_state_dict(state_dict)
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate

    def step(self, metrics: Any, epoch: int | None = None) -> None:
        """Take the metric of an evaluation."""
        value = float(metrics)
        if self.smooth:
            self._seen = [*self._seen, value][-self.window_size :]
            value = sum(self._seen) / len(self._seen)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self.cooldown_counter > 0 or self.warmup_counter > 0:
            waiting = "cooldown_counter" if self.cooldown_counter > 0 else "warmup_counter"
            setattr(self, waiting, getattr(self, waiting) - 1)
            self.num_bad_epochs = self.num_good_epochs = 0
        else:
            self._judge(value)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _judge(self, value: float) -> None:
        if self.is_better(value, self.best):
            self.best = value
            self.num_bad_epochs, self.num_good_epochs = 0, self.num_good_epochs + 1
        else:
            self.num_bad_epochs, self.num_good_epochs = self.num_bad_epochs + 1, 0
        if self.num_good_epochs > self.patience:
            self._change(1)
            self.reset_start = self.reset_start_original
            self.warmup_counter, self.num_good_epochs = self.warmup, 0
        elif self.num_bad_epochs > self.patience:
            self._change(-1)
            self._count_at_least()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _change(self, sign: int) -> None:
        """Raise the rates, or lower them; one that is beyond the limit already stays as it is."""
        limits = zip(self.optimizer.param_groups, self.min_lrs, self.max_lrs, strict=True)
        for number, (group, least, most) in enumerate(limits):
            rate = group["lr"]
            new = min(rate / self.factor, most) if sign > 0 else max(rate * self.factor, least)
            if sign * (new - rate) > self.eps:
                group["lr"] = new
                if self.verbose:
                    word = "increasing" if sign > 0 else "reducing"
                    print(f"Epoch {self.last_epoch}: {word} learning rate of group {number} to {new:.4e}.")

    def _count_at_least(self) -> None:
        """Begin anew after a while at the least rates."""
        pairs = zip(self.optimizer.param_groups, self.min_lrs, strict=True)
        if any(group["lr"] > least for group, least in pairs):
            return
        self.reset_start -= 1
        if self.reset_start <= 0:
            for group, rate in zip(self.optimizer.param_groups, self._init_lrs, strict=True):
                group["lr"] = rate
            self.best = math.inf if self.mode == "min" else -math.inf
            self.num_good_epochs = self.warmup_counter = 0
            self.reset_start = self.reset_start_original
            self._seen = []
