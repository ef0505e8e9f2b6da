"""Searches for the settings that train best: transformers' ``hyperparameter_search``, by optuna."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..tokenizers.strategies import ExplicitEnum
from .arguments import TrainingArguments
from .outputs import TrainOutput
from .pushing import Pushing

logger = logging.getLogger(__name__)


class HPSearchBackend(ExplicitEnum):
    """The libraries that choose what is tried next."""

    OPTUNA = "optuna"


class BestRun(NamedTuple):
    """The trial that was best: its number, what it reached, and its settings."""

    run_id: str
    objective: float | list[float]
    hyperparameters: dict[str, Any]
    run_summary: Any = None


def default_compute_objective(metrics: dict[str, float]) -> float:
    """The loss of an evaluation, or the sum of its metrics if there are any."""
    loss = metrics.get("eval_loss")
    left_out = ("_runtime", "_per_second")
    others = [v for k, v in metrics.items() if k not in ("eval_loss", "epoch") and not k.endswith(left_out)]
    return sum(others) if others or loss is None else loss


def default_hp_space_optuna(trial: Any) -> dict[str, Any]:
    """The learning rate, the number of epochs, the seed and the size of batches."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-6, 1e-4, log=True),
        "num_train_epochs": trial.suggest_int("num_train_epochs", 1, 5),
        "seed": trial.suggest_int("seed", 1, 40),
        "per_device_train_batch_size": trial.suggest_categorical(
            "per_device_train_batch_size", [4, 8, 16, 32, 64]
        ),
    }


class Search(Pushing):
    """How a trainer tries settings."""

    #: What a trial is made of; only there while there is a search.
    hp_space: Callable[[Any], dict[str, Any]] | None = None
    compute_objective: Callable[[dict[str, float]], Any] = staticmethod(default_compute_objective)
    hp_name: Callable[[Any], str] | None = None
    #: The trial that is trained, and what its last evaluation reached.
    _trial: Any = None
    objective: Any = None

    train: Callable[..., TrainOutput]

    def hyperparameter_search(
        self,
        hp_space: Callable[[Any], dict[str, Any]] | None = None,
        compute_objective: Callable[[dict[str, float]], Any] | None = None,
        n_trials: int = 20,
        direction: str | list[str] = "minimize",
        backend: str | None = None,
        hp_name: Callable[[Any], str] | None = None,
        **kwargs: Any,
    ) -> BestRun | list[BestRun]:
        """Train with different settings, and say which were best; the arguments are then as they were.

        Each trial makes its model by ``model_init``, which may take the trial, and its checkpoints go to
        ``run-<number>`` in ``output_dir``. One that does badly at an evaluation is given up if the study has
        a pruner.

        :param hp_space: the settings of a trial, by the names of arguments.
        :param compute_objective: of the metrics of an evaluation, what is to be small or large; several
            values with a list of directions, which then give a list of best runs.
        :param hp_name: the name of a trial, and of its folder.
        :param kwargs: those of ``optuna.create_study``; ``timeout``, ``gc_after_trial`` and ``catch`` of
            ``Study.optimize``.
        :raises RuntimeError: without optuna, and without ``model_init``.
        :raises ValueError: for other libraries, and for several trials at once.
        """
        optuna = _optuna(backend)
        if self.model_init is None:
            raise RuntimeError(
                "To use hyperparameter search, you need to pass your model through a model_init function."
            )
        if kwargs.pop("n_jobs", 1) != 1:
            raise ValueError("n_jobs must be 1: a trainer trains one trial at a time, on all cores")
        self.hp_space = default_hp_space_optuna if hp_space is None else hp_space
        self.compute_objective = default_compute_objective if compute_objective is None else compute_objective
        self.hp_name = hp_name
        how = {name: kwargs.pop(name) for name in ("timeout", "gc_after_trial", "catch") if name in kwargs}
        aims = {"directions" if isinstance(direction, list) else "direction": direction}
        study = optuna.create_study(**aims, **kwargs)
        before = self.args
        try:
            study.optimize(self._tried, n_trials=n_trials, **how)
        finally:
            self.args, self._trial, self.hp_space = before, None, None
        best = study.best_trials if isinstance(direction, list) else [study.best_trial]
        runs = [
            BestRun(str(one.number), one.values if isinstance(direction, list) else one.value, one.params)
            for one in best
        ]
        return runs if isinstance(direction, list) else runs[0]

    def _tried(self, trial: Any) -> Any:
        """What a trial reaches."""
        before = self.args
        try:
            self.train(trial=trial)
            if self.objective is None:
                self._trial = None  # It has been trained to its end: there is nothing to give up any more.
                self.objective = self.compute_objective(self.evaluate())
        finally:
            self.args = before
        return self.objective

    def _begin_trial(self, trial: Any) -> None:
        """Take up the settings of a trial.

        :raises ValueError: for settings that arguments cannot have, and outside a search.
        """
        self._trial, self.objective = trial, None
        if trial is not None:
            if self.hp_space is None:
                self._trial = None
                raise ValueError("trial= is given by hyperparameter_search(..): call that")
            self.args = _with(self.args, self.hp_space(trial))
            logger.info("Trial: %s", trial.params)

    def _run_folder(self) -> Path:
        if self._trial is None:
            return super()._run_folder()
        name = f"run-{self._trial.number}" if self.hp_name is None else self.hp_name(self._trial)
        return super()._run_folder() / name

    def _evaluate(self, ignore_keys: list[str] | None, first: bool = False) -> dict[str, Any]:
        metrics = super()._evaluate(ignore_keys, first)
        if self._trial is not None:
            self.objective = self.compute_objective(copy.copy(metrics))
            if isinstance(self.objective, (int, float)):
                self._trial.report(self.objective, self.state.global_step)
                if self._trial.should_prune():
                    self._event("on_train_end")
                    raise _optuna(None).TrialPruned()
        return metrics


def _with(args: TrainingArguments, settings: dict[str, Any]) -> TrainingArguments:
    names = {one.name for one in dataclasses.fields(args) if one.init}
    changed: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in names:
            logger.warning(
                "Trying to set %s in the hyperparameter search but there is no corresponding field in "
                "`TrainingArguments`.",
                name,
            )
            continue
        before = getattr(args, name)
        # A study may give 3.0 where 3 is meant.
        changed[name] = type(before)(value) if isinstance(before, (int, float)) else value
    return dataclasses.replace(args, **changed)


def _optuna(backend: str | None) -> Any:
    if backend in ("ray", "wandb"):
        raise ValueError(f"backend={backend!r} is not supported: use 'optuna'")
    HPSearchBackend(backend or "optuna")
    try:
        import optuna
    except ImportError as error:
        raise RuntimeError(
            "hyperparameter_search needs optuna, which is not installed: pip install optuna"
        ) from error
    return optuna
