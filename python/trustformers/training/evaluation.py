"""Evaluations and predictions: a model over a whole dataset."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import _engine
from .._grad import no_grad
from ..models.arrays import to_array
from .data import Batches, has_length
from .losses import Losses
from .outputs import EvalLoopOutput, EvalPrediction, PredictionOutput, speed_metrics

logger = logging.getLogger(__name__)


class Evaluation(Losses):
    """How a trainer looks at what a model can do."""

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, Any]:
        """The loss over a dataset and what ``compute_metrics`` says, by names with a prefix.

        Of a dictionary of datasets each is evaluated, with its name in the prefix.

        :param ignore_keys: outputs of the model that are not kept.
        """
        override = eval_dataset is not None
        given = eval_dataset if override else self.eval_dataset
        if isinstance(given, dict):
            metrics: dict[str, Any] = {}
            for name, dataset in given.items():
                prefix = f"{metric_key_prefix}_{name}"
                metrics |= self.evaluate(dataset if override else name, ignore_keys, prefix)
            return metrics
        start = time.time()
        batches = self.get_eval_dataloader(eval_dataset)
        only_loss = True if self.compute_metrics is None else None
        output = self.evaluation_loop(batches, "Evaluation", only_loss, ignore_keys, metric_key_prefix)
        result = output.metrics or {}
        result |= self._speed(metric_key_prefix, start, output.num_samples or 0)
        self.log(result)
        self.control.should_evaluate = False
        self._event("on_evaluate", metrics=result)
        return result

    def predict(
        self, test_dataset: Any, ignore_keys: list[str] | None = None, metric_key_prefix: str = "test"
    ) -> PredictionOutput:
        """What the model says of every example, and metrics if there are labels.

        Arrays of different lengths are filled up on the right with -100.
        """
        start = time.time()
        batches = self.get_test_dataloader(test_dataset)
        output = self.evaluation_loop(batches, "Prediction", None, ignore_keys, metric_key_prefix)
        metrics = output.metrics or {}
        metrics |= self._speed(metric_key_prefix, start, output.num_samples or 0)
        self._event("on_predict", metrics=metrics)
        return PredictionOutput(output.predictions, output.label_ids, metrics)

    def _speed(self, prefix: str, start: float, samples: int) -> dict[str, float]:
        steps = math.ceil(samples / self.args.eval_batch_size)
        return speed_metrics(prefix, start, samples=samples, steps=steps)

    def evaluation_loop(
        self,
        dataloader: Batches,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Run the model over batches, with or without labels."""
        args = self.args
        only_loss = args.prediction_loss_only if prediction_loss_only is None else prediction_loss_only
        self.model.eval()
        self.callback_handler.eval_dataloader = dataloader
        logger.info("***** Running %s *****", description)
        whole = description == "Prediction" or not args.batch_eval_metrics
        losses: list[float] = []
        kept: dict[str, list[Any]] = {"predictions": [], "labels": [], "inputs": []}
        metrics: dict[str, Any] = {}
        count = 0
        batches = iter(dataloader)
        inputs = next(batches, None)
        while inputs is not None:
            following = next(batches, None)
            size = _batch_size(inputs)
            count += size
            loss, logits, labels = self.prediction_step(self.model, dict(inputs), only_loss, ignore_keys)
            if logits is not None and self.preprocess_logits_for_metrics is not None:
                logits = self.preprocess_logits_for_metrics(logits, labels)
            seen = {"predictions": logits, "labels": labels, "inputs": None}
            if "inputs" in args.include_for_metrics:
                name = getattr(self.model, "main_input_name", "input_ids")
                seen["inputs"] = _engine.as_tensor(inputs[name])
            if loss is not None:
                losses += [float(np.asarray(_numpy(loss)).mean())] * size
            if whole:
                for name, value in seen.items():
                    if value is not None:
                        kept[name].append(_numpy(value))
            self._event("on_prediction_step")
            if args.batch_eval_metrics and self.compute_metrics is not None and seen["labels"] is not None:
                given = self._for_metrics(seen["predictions"], seen["labels"], seen["inputs"], losses[-size:])
                metrics = self.compute_metrics(given, compute_result=following is None)
            inputs = following

        gather = concatenated if args.eval_do_concat_batches else list
        predictions, label_ids, main = (gather(kept[name]) if kept[name] else None for name in kept)
        compute = None if args.batch_eval_metrics else self.compute_metrics
        if compute is not None and predictions is not None and label_ids is not None:
            metrics = compute(self._for_metrics(predictions, label_ids, main, losses))
        metrics = {name: _plain(value) for name, value in metrics.items()}
        if losses:
            finite = [loss for loss in losses if math.isfinite(loss)]
            counted = finite if args.logging_nan_inf_filter and finite else losses
            metrics[f"{metric_key_prefix}_loss"] = sum(counted) / len(counted)
        prefix = f"{metric_key_prefix}_"
        # Those that have the prefix come first, as in transformers.
        for name in [name for name in metrics if not name.startswith(prefix)]:
            metrics[prefix + name] = metrics.pop(name)
        samples = len(dataloader.dataset) if has_length(dataloader.dataset) else count
        return EvalLoopOutput(predictions, label_ids, metrics, samples)

    def _for_metrics(self, predictions: Any, labels: Any, inputs: Any, losses: list[float]) -> EvalPrediction:
        asked = self.args.include_for_metrics
        return EvalPrediction(
            predictions, labels, inputs=inputs, losses=np.array(losses) if "loss" in asked else None
        )

    def prediction_step(
        self,
        model: Any,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Any, Any, Any]:
        """The loss, the logits and the labels of a batch, each if there is such a thing; to be overridden.

        Several outputs beside the loss, or several kinds of labels, are tuples.
        """
        has_labels = bool(self.label_names) and all(inputs.get(name) is not None for name in self.label_names)
        inputs = self._prepare_inputs(inputs)
        if ignore_keys is None:
            config = getattr(self.model, "config", None)
            ignore_keys = getattr(config, "keys_to_ignore_at_inference", ["past_key_values"])
        labels = _one_or_tuple([inputs[name] for name in self.label_names]) if has_labels else None
        with no_grad(), self._evaluation_context():
            if has_labels:
                items = self._get_num_items_in_batch([inputs])
                loss, outputs = self.compute_loss(
                    model, inputs, return_outputs=True, num_items_in_batch=items
                )
                loss = loss.detach().mean()
            else:
                loss, outputs = None, model(**inputs)
        if prediction_loss_only:
            return loss, None, None
        left_out = {*ignore_keys, "loss"} if has_labels else set(ignore_keys)
        if isinstance(outputs, Mapping):
            logits = [value for name, value in outputs.items() if name not in left_out]
        else:
            logits = list(outputs[1:] if has_labels else outputs)
        return loss, _one_or_tuple(logits), labels


def concatenated(arrays: list[Any], fill: int = -100) -> Any:
    """Batches of arrays, or of tuples of them, one after the other; shorter ones are filled up."""
    first = arrays[0]
    if isinstance(first, (tuple, list)):
        return tuple(concatenated([one[index] for one in arrays], fill) for index in range(len(first)))
    if isinstance(first, Mapping):
        return {name: concatenated([one[name] for one in arrays], fill) for name in first}
    rows = [np.atleast_1d(one) for one in arrays]
    shape = np.max([one.shape[1:] for one in rows], axis=0) if rows[0].ndim > 1 else ()
    shape = tuple(int(length) for length in shape)
    if all(one.shape[1:] == shape for one in rows):
        return np.concatenate(rows)
    result = np.full((sum(map(len, rows)), *shape), fill, dtype=rows[0].dtype)
    start = 0
    for one in rows:
        place = (slice(start, start + len(one)), *map(slice, one.shape[1:]))
        result[place] = one
        start += len(one)
    return result


def _one_or_tuple(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)


def _numpy(value: Any) -> Any:
    """Tensors, and what holds them, as NumPy arrays."""
    if isinstance(value, (tuple, list)):
        return tuple(_numpy(one) for one in value)
    if isinstance(value, Mapping):
        return {name: _numpy(one) for name, one in value.items()}
    if isinstance(value, _engine.Tensor):
        return value.detach().cpu().numpy()
    return value if value is None else to_array(value)


def _plain(value: Any) -> Any:
    """A number of NumPy's or a tensor of one as Python's."""
    return value.item() if hasattr(value, "item") and np.size(value) == 1 else value


def _batch_size(inputs: Mapping[str, Any]) -> int:
    for value in inputs.values():
        if getattr(value, "ndim", 0) or isinstance(value, (list, tuple)):
            return len(value)
    return 1
