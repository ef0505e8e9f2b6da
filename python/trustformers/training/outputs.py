"""What trainings, evaluations and predictions give."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple


class TrainOutput(NamedTuple):
    """How many steps were taken, the mean loss over those of this call, and metrics of the whole."""

    global_step: int
    training_loss: float
    metrics: dict[str, Any]


class PredictionOutput(NamedTuple):
    """Arrays over all examples, or tuples of them, and metrics if there were labels."""

    predictions: Any
    label_ids: Any
    metrics: dict[str, Any] | None


class EvalLoopOutput(NamedTuple):
    """A ``PredictionOutput``, and how many examples there were."""

    predictions: Any
    label_ids: Any
    metrics: dict[str, Any] | None
    num_samples: int | None


class EvalPrediction:
    """What ``compute_metrics`` is given: predictions and labels, and inputs and losses if asked for.

    It unpacks into those that are there.
    """

    def __init__(self, predictions: Any, label_ids: Any, inputs: Any = None, losses: Any = None) -> None:
        self.predictions = predictions
        self.label_ids = label_ids
        self.inputs = inputs
        self.losses = losses
        self.elements = (predictions, label_ids, *(one for one in (inputs, losses) if one is not None))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.elements)

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self.elements):
            raise IndexError("tuple index out of range")
        return self.elements[index]


def metrics_format(metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics as people read them: times with minutes, operations by 2**30, numbers of four places."""
    result = dict(metrics)
    for name, value in metrics.items():
        if "_mem_" in name:
            result[name] = f"{value >> 20}MB"
        elif "_runtime" in name:
            hundredths = int(value % 1 * 100)
            result[name] = f"{timedelta(seconds=int(value))}.{hundredths:02d}"
        elif name == "total_flos":
            result[name] = f"{int(value) >> 30}GF"
        elif isinstance(value, float):
            result[name] = round(value, 4)
    return result


def speed_metrics(split: str, start: float, **counts: float | None) -> dict[str, float]:
    """The seconds since ``start``, and how many of each thing counted were done in one.

    :param counts: ``samples``, ``steps`` or ``tokens``, as far as they are known.
    """
    seconds = time.time() - start
    result = {f"{split}_runtime": round(seconds, 4)}
    for name, count in counts.items():
        if count is not None and seconds > 0:
            result[f"{split}_{name}_per_second"] = round(count / seconds, 3)
    return result
