"""Where a training is, and what shall be done next: what callbacks see and change."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass, field
from typing import Any

from .arguments import TrainingArguments


class ExportableState:
    """What is saved with a checkpoint, and taken up again: settings, and attributes set on top of them."""

    def state(self) -> dict[str, Any]:
        """``{"args": keywords of the class, "attributes": what is set afterwards}``."""
        raise NotImplementedError("You must implement a `state` function to utilize this class.")

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Any:
        """Make one of what :meth:`state` gave."""
        instance = cls(**state["args"])
        for name, value in state["attributes"].items():
            setattr(instance, name, value)
        return instance


@dataclass
class TrainerControl(ExportableState):
    """What a callback may ask for: it sets these, and returns the object."""

    should_training_stop: bool = False
    should_epoch_stop: bool = False
    should_save: bool = False
    should_evaluate: bool = False
    should_log: bool = False

    def state(self) -> dict[str, Any]:
        """All of them."""
        return {"args": dataclasses.asdict(self), "attributes": {}}


@dataclass
class TrainerState:
    """Where a training is. A step is one change of the parameters, of however many batches.

    It is saved with every checkpoint as ``trainer_state.json``, with transformers' names.
    """

    epoch: float | None = 0
    global_step: int = 0
    max_steps: int = 0
    logging_steps: float = 500
    eval_steps: float = 500
    save_steps: float = 500
    train_batch_size: int | None = None
    num_train_epochs: int = 0
    num_input_tokens_seen: int = 0
    total_flos: float = 0
    log_history: list[dict[str, Any]] = field(default_factory=list)
    best_metric: float | None = None
    best_global_step: int | None = None
    best_model_checkpoint: str | None = None
    is_local_process_zero: bool = True
    is_world_process_zero: bool = True
    is_hyper_param_search: bool = False
    trial_name: str | None = None
    trial_params: dict[str, Any] | None = None
    stateful_callbacks: dict[str, Any] = field(default_factory=dict)

    def save_to_json(self, json_path: str | os.PathLike[str]) -> None:
        """Write all of it."""
        with open(json_path, "w", encoding="utf-8") as file:
            file.write(json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n")

    @classmethod
    def load_from_json(cls, json_path: str | os.PathLike[str]) -> TrainerState:
        """Read what :meth:`save_to_json`, or transformers' method of that name, wrote.

        :raises ValueError: for a file that is no state of a training.
        """
        try:
            with open(json_path, encoding="utf-8") as file:
                saved = json.load(file)
            names = {one.name for one in dataclasses.fields(cls)}
            return cls(**{name: value for name, value in saved.items() if name in names})
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{os.fspath(json_path)} is not the state of a training: {error}") from error

    def compute_steps(self, args: TrainingArguments, max_steps: int) -> None:
        """Turn shares of all steps into numbers of them."""
        for name in ("logging_steps", "eval_steps", "save_steps"):
            count = getattr(args, name)
            if count is not None:
                setattr(self, name, math.ceil(max_steps * count) if count < 1 else count)
