"""Searches for settings: by optuna where it is installed, and by a study of a few lines everywhere."""

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import tasks

import trustformers as tf
from trustformers import training
from trustformers.training import BestRun


class Trial:
    """A trial that takes the values of a list."""

    def __init__(self, number: int, rates: list[float], bad: list[int]) -> None:
        self.number, self.rates, self.bad = number, rates, bad
        self.params: dict[str, Any] = {}
        self.reported: list[tuple[float, int]] = []
        self.value: Any = None

    def suggest_float(self, name: str, low: float, high: float, log: bool = False) -> float:
        assert low <= self.rates[self.number] <= high
        return self.params.setdefault(name, self.rates[self.number])

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return self.params.setdefault(name, low)

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        return self.params.setdefault(name, choices[0])

    def report(self, value: float, step: int) -> None:
        self.reported.append((value, step))

    def should_prune(self) -> bool:
        return self.number in self.bad

    @property
    def values(self) -> Any:
        return self.value


class Study:
    """Runs trials one after the other, as optuna's does."""

    made: "Study"

    def __init__(self, direction: Any = None, directions: Any = None, **kwargs: Any) -> None:
        self.directions = directions or [direction]
        self.rates, self.bad = kwargs.pop("rates"), kwargs.pop("bad", [])
        assert not kwargs
        self.trials: list[Trial] = []
        Study.made = self

    def optimize(self, objective: Any, n_trials: int) -> None:
        for number in range(n_trials):
            trial = Trial(number, self.rates, self.bad)
            self.trials.append(trial)
            try:
                trial.value = objective(trial)
            except TrialPruned:
                continue

    @property
    def best_trial(self) -> Trial:
        done = [trial for trial in self.trials if trial.value is not None]
        choose = min if self.directions == ["minimize"] else max
        return choose(done, key=lambda trial: trial.value)

    @property
    def best_trials(self) -> list[Trial]:
        return self.trials[:1]


class TrialPruned(Exception):
    """What says that a trial is given up."""


@pytest.fixture
def small_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("optuna")
    fake.create_study = Study  # type: ignore[attr-defined]
    fake.TrialPruned = TrialPruned  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "optuna", fake)


def searching(folder: Path, **settings: Any) -> Any:
    settings = {"eval_strategy": "epoch", "save_strategy": "epoch", **settings}
    parts = {"model_init": tasks.model, "eval_dataset": tasks.examples(6)}
    return tasks.trainer(folder, parts=parts, **settings)


def space(trial: Any) -> dict[str, Any]:
    return {"learning_rate": trial.suggest_float("learning_rate", 0, 1), "num_train_epochs": 2.0}


@pytest.mark.usefixtures("small_optuna")
def test_the_best_settings_are_found(tmp_path: Path) -> None:
    trainer = searching(tmp_path)
    before = trainer.args
    names: list[Any] = []

    class Watch(tf.TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            names.append((state.is_hyper_param_search, state.trial_params["learning_rate"]))

    trainer.add_callback(Watch)
    best = trainer.hyperparameter_search(hp_space=space, n_trials=3, rates=[1e-5, 1e-2, 1e-4])
    assert best == BestRun("1", best.objective, {"learning_rate": 1e-2})
    assert names == [(True, 1e-5), (True, 1e-2), (True, 1e-4)]
    # What was found is what a training of its own with these settings finds.
    alone = searching(tmp_path / "alone", learning_rate=1e-2)
    alone.train()
    assert best.objective == pytest.approx(alone.evaluate()["eval_loss"], rel=1e-6)
    assert trainer.args is before
    assert {path.name for path in tmp_path.glob("run-*")} == {"run-0", "run-1", "run-2"}
    assert {path.name for path in (tmp_path / "run-1").iterdir()} == {"checkpoint-6", "checkpoint-12"}
    assert [step for _, step in Study.made.trials[1].reported] == [6, 12]


@pytest.mark.usefixtures("small_optuna")
def test_a_trial_that_does_badly_is_given_up(tmp_path: Path) -> None:
    trainer = searching(tmp_path)
    best = trainer.hyperparameter_search(hp_space=space, n_trials=2, rates=[1e-9, 2e-2], bad=[0])
    assert best.run_id == "1"
    given_up = Study.made.trials[0]
    assert (given_up.value, len(given_up.reported)) == (None, 1)
    assert not trainer.is_in_train


@pytest.mark.usefixtures("small_optuna")
def test_objectives_and_names_of_ones_own(tmp_path: Path) -> None:
    made: list[Any] = []

    def model_init(trial: Any) -> Any:
        made.append(None if trial is None else trial.number)
        return tasks.model()

    parts = {"model_init": model_init, "eval_dataset": tasks.examples(6)}
    trainer = tasks.trainer(tmp_path, parts=parts, max_steps=2, save_strategy="steps", save_steps=2)
    seen: list[dict[str, float]] = []

    def objective(metrics: dict[str, float]) -> float:
        seen.append(metrics)
        return -metrics["eval_loss"]

    best = trainer.hyperparameter_search(
        hp_space=space,
        compute_objective=objective,
        n_trials=2,
        direction="maximize",
        hp_name=lambda trial: f"rate {trial.params['learning_rate']}",
        rates=[0.0, 2e-2],
    )
    assert (best.run_id, made, len(seen)) == ("1", [None, 0, 1], 2), "evaluated at the end, if not before"
    assert (tmp_path / "rate 0.02" / "checkpoint-2").is_dir()
    several = trainer.hyperparameter_search(
        hp_space=space,
        compute_objective=lambda metrics: [metrics["eval_loss"], 1.0],
        n_trials=1,
        direction=["minimize", "maximize"],
        rates=[1e-3],
    )
    assert [run.objective[1] for run in several] == [1.0]


@pytest.mark.usefixtures("small_optuna")
def test_the_usual_settings_are_transformers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    best = searching(tmp_path, save_strategy="no").hyperparameter_search(n_trials=1, rates=[5e-5])
    assert best.hyperparameters == {
        "learning_rate": 5e-5,
        "num_train_epochs": 1,
        "seed": 1,
        "per_device_train_batch_size": 4,
    }
    metrics = {"eval_loss": 1.0, "epoch": 2.0, "eval_runtime": 3.0, "eval_steps_per_second": 9.0}
    assert training.default_compute_objective(metrics) == 1.0
    assert training.default_compute_objective({**metrics, "eval_f1": 0.5, "eval_accuracy": 0.25}) == 0.75
    trainer = searching(tmp_path, save_strategy="no")
    trainer.hyperparameter_search(
        hp_space=lambda trial: {"colour": 1, "max_steps": 2.0}, n_trials=1, rates=[]
    )
    assert "Trying to set colour" in caplog.text
    assert trainer.state.global_step == 2


@pytest.mark.usefixtures("small_optuna")
def test_what_cannot_be_searched(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="model_init"):
        tasks.trainer(tmp_path).hyperparameter_search()
    trainer = searching(tmp_path)
    for keywords, message in (
        ({"n_jobs": 2}, "n_jobs"),
        ({"backend": "ray"}, "'ray'"),
        ({"backend": "x"}, "x"),
    ):
        with pytest.raises(ValueError, match=message):
            trainer.hyperparameter_search(**keywords)
    before = trainer.args
    with pytest.raises(ValueError, match="learning_rate"):
        trainer.hyperparameter_search(hp_space=lambda trial: {"learning_rate": -1.0}, n_trials=1, rates=[])
    assert trainer.args is before
    with pytest.raises(ValueError, match="hyperparameter_search"):
        trainer.train(trial=object())


def test_without_optuna_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(RuntimeError, match="pip install optuna"):
        searching(tmp_path).hyperparameter_search()


@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="optuna is not installed")
def test_optuna_searches(tmp_path: Path) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trainer = searching(tmp_path)
    best = trainer.hyperparameter_search(
        hp_space=lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-6, 5e-2, log=True)},
        n_trials=4,
        backend="optuna",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.ThresholdPruner(upper=10.0),
        study_name="mine",
    )
    assert set(best.hyperparameters) == {"learning_rate"}
    alone = searching(tmp_path / "alone", **best.hyperparameters)
    alone.train()
    assert best.objective == pytest.approx(alone.evaluate()["eval_loss"], rel=1e-6)
    pruned = searching(tmp_path / "pruned")
    with pytest.raises(ValueError, match="No trials are completed"):
        pruned.hyperparameter_search(
            hp_space=lambda trial: {}, n_trials=1, pruner=optuna.pruners.ThresholdPruner(upper=0.0)
        )
