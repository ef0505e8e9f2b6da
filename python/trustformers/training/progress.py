"""What is shown of a training on the terminal."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sized
from typing import Any, TextIO

from ..utils.logging import is_progress_bar_enabled
from .arguments import TrainingArguments
from .callbacks import TrainerCallback
from .state import TrainerControl, TrainerState


class Bar:
    """A bar that grows on one line of a terminal; elsewhere nothing is drawn.

    :param total: how often :meth:`update` is called, or ``None`` if nobody knows.
    :param leave: whether the bar stays when it is closed.
    """

    def __init__(self, total: int | None, *, leave: bool = True, stream: TextIO | None = None) -> None:
        self.total, self.leave, self.done = total, leave, 0
        self.stream = sys.stderr if stream is None else stream
        self._start = time.monotonic()
        self._drawn = 0.0
        self._draw()

    def update(self, count: int = 1) -> None:
        """So many more are done."""
        self.done += count
        # Ten times a second is as often as anybody reads.
        if self.done == self.total or time.monotonic() - self._drawn > 0.1:
            self._draw()

    def write(self, line: str) -> None:
        """Print a line above the bar."""
        self._clear()
        print(line, file=sys.stdout if self.stream is sys.stderr else self.stream, flush=True)
        self._draw()

    def close(self) -> None:
        """End the line, or take the bar away."""
        if not self.stream.isatty() or not is_progress_bar_enabled():
            return
        if self.leave:
            self._draw()
            self.stream.write("\n")
        else:
            self._clear()
        self.stream.flush()

    def text(self) -> str:
        """The bar as it is now: the share that is done, the number, the time, and the time that is left."""
        seconds = time.monotonic() - self._start
        rate = self.done / seconds if seconds > 0 else 0.0
        said = f" {self.done}/{'?' if self.total is None else self.total} [{_clock(seconds)}"
        if self.total and rate > 0:
            said += f"<{_clock((self.total - self.done) / rate)}"
        said += f", {rate:.2f}/s]"
        if not self.total:
            return said.strip()
        share = min(self.done / self.total, 1.0)
        width = max(min(shutil.get_terminal_size().columns - len(said) - 8, 60), 4)
        filled = round(share * width)
        return f"{share:4.0%}|{'█' * filled}{' ' * (width - filled)}|{said}"

    def _draw(self) -> None:
        if self.stream.isatty() and is_progress_bar_enabled():
            self.stream.write(f"\r\x1b[K{self.text()}")
            self.stream.flush()
            self._drawn = time.monotonic()

    def _clear(self) -> None:
        if self.stream.isatty():
            self.stream.write("\r\x1b[K")


class ProgressCallback(TrainerCallback):
    """Shows bars over the steps and over the batches of evaluations, and prints what is logged.

    :param max_str_len: how many characters of a text are printed.
    """

    def __init__(self, max_str_len: int = 100) -> None:
        self.max_str_len = max_str_len
        self.training_bar: Bar | None = None
        self.prediction_bar: Bar | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show a bar of all steps."""
        self.training_bar = Bar(state.max_steps)
        self.training_bar.done = state.global_step

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Let it grow."""
        if self.training_bar is not None:
            self.training_bar.update(state.global_step - self.training_bar.done)

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show a bar of an evaluation."""
        batches = kwargs.get("eval_dataloader")
        if self.prediction_bar is None:
            total = len(batches) if isinstance(batches, Sized) else None
            self.prediction_bar = Bar(total, leave=self.training_bar is None)
        self.prediction_bar.update()

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the bar of the evaluation away."""
        if self.prediction_bar is not None:
            self.prediction_bar.close()
        self.prediction_bar = None

    def on_predict(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        """Take the bar of the prediction away."""
        self.on_evaluate(args, state, control)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Print it above the bar."""
        if self.training_bar is not None:
            self.training_bar.write(str(shown(kwargs["logs"], self.max_str_len)))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the bar away."""
        if self.training_bar is not None:
            self.training_bar.close()
        self.training_bar = None


class PrinterCallback(TrainerCallback):
    """Prints what is logged, and nothing else."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Print it."""
        print(shown(kwargs["logs"]))


def shown(logs: dict[str, Any], longest: int = 10**9) -> dict[str, Any]:
    """What is logged, as people read it."""
    result: dict[str, Any] = {}
    for name, value in logs.items():
        if isinstance(value, str) and len(value) > longest:
            result[name] = f"{value[:longest]}… ({len(value)} characters)"
        elif name != "total_flos":
            result[name] = f"{value:.4g}" if isinstance(value, float) else value
    return result


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"
