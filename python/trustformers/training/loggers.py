"""What is logged, written to files: for TensorBoard, as a table, as lines of JSON."""

from __future__ import annotations

import csv
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from .arguments import TrainingArguments
from .callbacks import TrainerCallback
from .event_files import EventWriter
from .state import TrainerControl, TrainerState


class TensorBoardCallback(TrainerCallback):
    """Writes event files for TensorBoard: numbers by step, and the arguments and the configuration as texts.

    They go to ``logging_dir``, else to the folder that the environment's ``TENSORBOARD_LOGGING_DIR`` names,
    else to ``runs/<date>_<host>`` in ``output_dir``.
    """

    def __init__(self) -> None:
        self.writer: EventWriter | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin a file."""
        self._begin(args)
        assert self.writer is not None
        self.writer.text("args", _code(args.to_json_string()))
        config = getattr(kwargs.get("model"), "config", None)
        if config is not None:
            self.writer.text("model_config", _code(config.to_json_string()))

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write every number, what training and evaluation found under names of their own."""
        self._begin(args)
        assert self.writer is not None
        for name, value in kwargs["logs"].items():
            if isinstance(value, (int, float)):
                self.writer.scalar(_tag(name), float(value), state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End the file."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def _begin(self, args: TrainingArguments) -> None:
        if self.writer is not None:
            return
        run = f"{time.strftime('%b%d_%H-%M-%S')}_{socket.gethostname()}"
        default = os.path.join(args.output_dir or "", "runs", run)
        folder = args.logging_dir or os.environ.get("TENSORBOARD_LOGGING_DIR") or default
        self.writer = EventWriter(folder)


class JSONLinesCallback(TrainerCallback):
    """Appends what is logged to ``logs.jsonl`` in ``output_dir``, one object a line, with its step."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Append a line."""
        with open(_file(args, "logs.jsonl"), "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **kwargs["logs"]}) + "\n")


class CSVCallback(TrainerCallback):
    """Appends what is logged to ``logs.csv`` in ``output_dir``: step, name, value."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Append a row for each number."""
        path = _file(args, "logs.csv")
        new = not path.exists()
        with open(path, "a", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            if new:
                rows.writerow(["step", "name", "value"])
            rows.writerows([state.global_step, name, value] for name, value in kwargs["logs"].items())


#: By the names that ``report_to`` has.
LOGGERS: dict[str, type[TrainerCallback]] = {
    "tensorboard": TensorBoardCallback,
    "csv": CSVCallback,
    "jsonl": JSONLinesCallback,
}


def _file(args: TrainingArguments, name: str) -> Path:
    folder = Path(args.output_dir or "")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def _tag(name: str) -> str:
    for split in ("eval", "test"):
        if name.startswith(f"{split}_"):
            return f"{split}/{name.removeprefix(f'{split}_')}"
    return f"train/{name}"


def _code(text: str) -> str:
    """A text that Markdown leaves as it is."""
    return "\n".join(f"    {line}" for line in text.splitlines())
