"""Checkpoints: all that a training needs to go on as if it had never stopped."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import random
from pathlib import Path
from typing import Any

import numpy as np

from .. import _engine
from .arguments import SaveStrategy
from .callbacks import metric_name
from .folders import rotate, written
from .metric_schedules import MetricLR
from .optimization import Optimization
from .state import TrainerState

logger = logging.getLogger(__name__)

STATE = "trainer_state.json"
#: The tensors that an optimizer remembers, and everything else.
_OPTIMIZER = "optimizer.safetensors"
_PROGRESS = "progress.json"
#: Arguments that a resumed training should share with the one that was stopped.
_SHARED = ("logging_steps", "eval_steps", "save_steps")


@dataclasses.dataclass
class Saved:
    """What a checkpoint holds beside the weights."""

    folder: Path
    weights: dict[str, _engine.Tensor]
    state: TrainerState
    optimizer: dict[str, Any]
    progress: dict[str, Any]


class Checkpoints(Optimization):
    """How a trainer saves and goes on."""

    _scaler: _engine.GradScaler | None

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the model, the tokenizer and the arguments to a folder, which ``from_pretrained`` opens."""
        folder = str(self.args.output_dir) if output_dir is None else output_dir
        os.makedirs(folder, exist_ok=True)
        self.model.save_pretrained(folder)
        processor = self.processing_class or getattr(self.data_collator, "tokenizer", None)
        if processor is not None:
            processor.save_pretrained(folder)
        Path(folder, "training_args.json").write_text(self.args.to_json_string() + "\n", encoding="utf-8")

    def save_state(self) -> None:
        """Write where the training is to ``output_dir``."""
        os.makedirs(str(self.args.output_dir), exist_ok=True)
        self.state.save_to_json(Path(str(self.args.output_dir), STATE))

    def _run_folder(self) -> Path:
        """Where checkpoints go."""
        return Path(str(self.args.output_dir))

    def _save_checkpoint(self) -> Path:
        """Write ``checkpoint-<step>``, and delete what is too old; gives its folder."""
        state, folder = self.state, self._run_folder()
        target = folder / f"checkpoint-{state.global_step}"
        best = folder / f"checkpoint-{state.best_global_step}"
        if state.best_global_step and (best == target or best.exists()):
            state.best_model_checkpoint = str(best)
        exported: dict[str, Any] = {}
        for one in self._exported():
            exported.setdefault(type(one).__name__, []).append(one.state())
        # Several of a class are a list, one is itself.
        state.stateful_callbacks = {n: v[0] if len(v) == 1 else v for n, v in exported.items()}
        with written(target) as draft:
            self.save_model(str(draft), _internal_call=True)
            if not self.args.save_only_model:
                self._write_progress(draft)
            state.save_to_json(draft / STATE)
        rotate(folder, self.args.save_total_limit, state.best_model_checkpoint)
        return target

    def _write_progress(self, folder: Path) -> None:
        """Write the optimizer, the schedule, the scale of losses and the random numbers."""
        saved = self.optimizer.state_dict()
        tensors: dict[str, Any] = {}
        numbers: dict[str, Any] = {}
        for index, entries in saved["state"].items():
            for name, value in entries.items():
                kept = tensors if isinstance(value, _engine.Tensor) else numbers
                kept[f"{index}.{name}"] = value
        _engine.save_file(tensors, folder / _OPTIMIZER)
        kind, keys, *rest = np.random.get_state()
        progress = {
            "optimizer": type(self.optimizer).__name__,
            "groups": saved["param_groups"],
            "numbers": numbers,
            "schedule": self.lr_scheduler.state_dict(),
            "scaler": None if self._scaler is None else self._scaler.state(),
            "random": {"python": random.getstate(), "numpy": [kind, np.asarray(keys).tolist(), *rest]},
        }
        (folder / _PROGRESS).write_text(json.dumps(progress) + "\n", encoding="utf-8")

    def _read_checkpoint(self, given: str | os.PathLike[str]) -> Saved:
        """Read all of a checkpoint; the trainer is not changed.

        :raises ValueError: for a folder that is no checkpoint of this package's, or a damaged one.
        """
        folder = Path(given)
        if not folder.is_dir():
            raise ValueError(f"Can't find a valid checkpoint at {folder}: there is no such folder")
        missing = [name for name in (STATE, _OPTIMIZER, _PROGRESS) if not (folder / name).is_file()]
        if missing:
            raise ValueError(
                f"Can't find a valid checkpoint at {folder}: it has no {', '.join(missing)}. Another "
                "library, or save_only_model, has written it: open its weights with "
                "from_pretrained, and train anew"
            )
        state = TrainerState.load_from_json(folder / STATE)
        try:
            progress = json.loads((folder / _PROGRESS).read_text(encoding="utf-8"))
            tensors = _engine.load_file(folder / _OPTIMIZER)
            entries: dict[int, dict[str, Any]] = {}
            for name, value in {**tensors, **progress["numbers"]}.items():
                index, _, key = name.partition(".")
                entries.setdefault(int(index), {})[key] = value
            optimizer = {"state": entries, "param_groups": progress["groups"]}
            random_states = progress["random"]
            _ = random_states["python"], random_states["numpy"], progress["schedule"], progress["scaler"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"The checkpoint {folder} is damaged: {error}") from error
        return Saved(folder, _weights(self.model, folder), state, optimizer, progress)

    def _take_up(self, saved: Saved) -> None:
        """Go on as the checkpoint says. Whatever does not fit is found before anything is changed."""
        self._check_fits(saved)
        try:
            self.lr_scheduler.load_state_dict(saved.progress["schedule"])
        except KeyError as error:
            raise ValueError(f"The checkpoint {saved.folder} is of another schedule: no {error}") from error
        self.optimizer.load_state_dict(saved.optimizer)
        self.model.load_state_dict(saved.weights, strict=False)
        if self._scaler is not None and saved.progress["scaler"] is not None:
            self._scaler = scaler(*saved.progress["scaler"])
        self.state = saved.state
        self._restore_callbacks()

    def _check_fits(self, saved: Saved) -> None:
        """Refuse the weights and the optimizer of another model."""
        ours = {name: tuple(p.shape) for name, p in self.model._saved_parameters().items()}
        theirs = {name: tuple(value.shape) for name, value in saved.weights.items()}
        for name, shape in ours.items():
            if theirs.get(name, shape) != shape:
                raise ValueError(
                    f"The checkpoint {saved.folder} is of another model: {name} has shape "
                    f"{theirs[name]}, not {shape}"
                )
        if missing := sorted(ours.keys() - theirs.keys()):
            raise ValueError(f"The checkpoint {saved.folder} is of another model: it has no {missing[0]}")
        name = type(self.optimizer).__name__
        if saved.progress["optimizer"] != name:
            raise ValueError(
                f"The checkpoint {saved.folder} was saved with {saved.progress['optimizer']}, not {name}"
            )
        sizes = [len(group["params"]) for group in saved.progress["groups"]]
        expected = [len(group["params"]) for group in self.optimizer.param_groups]
        if sizes != expected:
            raise ValueError(
                f"The checkpoint {saved.folder} is of an optimizer over groups of {sizes} parameters, not "
                f"{expected}"
            )
        for name in _SHARED:
            before, now = getattr(saved.state, name), getattr(self.state, name)
            if before != now:
                logger.warning("%s is %s, and was %s when the checkpoint was saved", name, now, before)

    def _restore_random(self, saved: Saved) -> None:
        """Go on with the random numbers that would have come."""
        version, keys, gauss = saved.progress["random"]["python"]
        random.setstate((version, tuple(keys), gauss))
        kind, numbers, *rest = saved.progress["random"]["numpy"]
        np.random.set_state((kind, np.array(numbers, dtype=np.uint32), *rest))

    def _restore_callbacks(self) -> None:
        """Give callbacks the states that they had, if ``restore_callback_states_from_checkpoint``."""
        if not self.args.restore_callback_states_from_checkpoint:
            return
        handler = self.callback_handler
        for name, states in self.state.stateful_callbacks.items():
            for state in states if isinstance(states, list) else [states]:
                same = [one for one in handler.callbacks if type(one).__name__ == name]
                for one in same[:1]:
                    handler.callbacks[handler.callbacks.index(one)] = type(one).from_state(state)  # type: ignore[attr-defined]

    def _load_best_model(self) -> None:
        """Take up the weights of the best checkpoint."""
        folder = Path(str(self.state.best_model_checkpoint))
        if not folder.is_dir():
            logger.warning("The best checkpoint %s is gone: the last weights stay", folder)
            return
        logger.info("Loading best model from %s (score: %s).", folder, self.state.best_metric)
        self.model.load_state_dict(_weights(self.model, folder), strict=False)

    def _determine_best_metric(self, metrics: dict[str, Any]) -> bool:
        """Whether an evaluation is better than all before.

        :raises KeyError: when it has no such metric.
        """
        if self.args.metric_for_best_model is None:
            return False
        value, best = self._metric(metrics), self.state.best_metric
        greater = self.args.greater_is_better
        if math.isnan(value) or not (best is None or (value > best if greater else value < best)):
            return False
        self.state.best_metric = value
        if self.args.save_strategy != SaveStrategy.NO:
            self.state.best_global_step = self.state.global_step
        return True

    def _metric(self, metrics: dict[str, Any]) -> float:
        name = metric_name(self.args)
        if name not in metrics:
            raise KeyError(
                f"The `metric_for_best_model` training argument is set to '{name}', which is not found in "
                f"the evaluation metrics. The available evaluation metrics are: {list(metrics)}. Consider "
                "changing the `metric_for_best_model` via the TrainingArguments."
            )
        return float(metrics[name])

    def _evaluate(self, ignore_keys: list[str] | None, first: bool = False) -> dict[str, Any]:
        """Evaluate, and lower the learning rate if that follows metrics."""
        metrics = self.evaluate(ignore_keys=ignore_keys)
        if isinstance(self.lr_scheduler, MetricLR) and not first:
            self.lr_scheduler.step(self._metric(metrics))
        return metrics


def scaler(scale: float = 2.0**16, growth_tracker: int = 0) -> _engine.GradScaler:
    """A factor for losses as torch's ``GradScaler`` begins with."""
    return _engine.GradScaler(scale, 2.0, 0.5, 2000, growth_tracker)


def _weights(model: Any, folder: Path) -> dict[str, _engine.Tensor]:
    try:
        weights: dict[str, _engine.Tensor] = model._read_saved(folder)
        return weights
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"The checkpoint {folder} is damaged: {error}") from error
