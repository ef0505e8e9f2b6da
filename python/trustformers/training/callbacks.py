"""Callbacks: what is called as a training goes along, and may change where it goes."""

from __future__ import annotations

import logging
from typing import Any

from .arguments import IntervalStrategy, SaveStrategy, TrainingArguments
from .state import ExportableState, TrainerControl, TrainerState

logger = logging.getLogger(__name__)


class TrainerCallback:
    """What is called at the events of a training; each may return the control, changed.

    The keywords of every event are ``model``, ``processing_class``, ``optimizer``, ``lr_scheduler``,
    ``train_dataloader`` and ``eval_dataloader``, and for some events ``metrics`` or ``logs``.
    """

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        """The trainer has been made."""
        return None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        """The training begins."""
        return None

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        """The training has ended."""
        return None

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        """An epoch begins."""
        return None

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        """An epoch has ended."""
        return None

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        """A step begins, which may take several batches."""
        return None

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        """Gradients are there and clipped; the parameters are about to change."""
        return None

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        """The parameters have changed; the gradients are still there."""
        return None

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        """A batch that is not the last of its step is done."""
        return None

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        """A step is done."""
        return None

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        """An evaluation is done; ``metrics`` are what it found."""
        return None

    def on_predict(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, Any],
        **kwargs: Any,
    ) -> TrainerControl | None:
        """A prediction is done; ``metrics`` are what it found."""
        return None

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        """A checkpoint has been saved."""
        return None

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        """Something is reported: ``logs``, names and numbers."""
        return None

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        """A batch of an evaluation or a prediction is done."""
        return None

    def on_push_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        """The model is about to be uploaded."""
        return None


class CallbackHandler:
    """Calls a list of callbacks in turn."""

    def __init__(
        self, callbacks: list[Any], model: Any, processing_class: Any, optimizer: Any, lr_scheduler: Any
    ) -> None:
        self.callbacks: list[TrainerCallback] = []
        for callback in callbacks:
            self.add_callback(callback)
        self.model = model
        self.processing_class = processing_class
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.train_dataloader: Any = None
        self.eval_dataloader: Any = None

    def add_callback(self, callback: type[TrainerCallback] | TrainerCallback) -> None:
        """Add one, or one of a class."""
        one = callback() if isinstance(callback, type) else callback
        if any(type(other) is type(one) for other in self.callbacks):
            logger.warning(
                "You are adding a %s to the callbacks of this Trainer, but there is already one", type(one)
            )
        self.callbacks.append(one)

    def pop_callback(self, callback: type[TrainerCallback] | TrainerCallback) -> TrainerCallback | None:
        """Take one out, or the first of a class, and give it; ``None`` if it is not there."""
        for one in self.callbacks:
            if isinstance(one, callback) if isinstance(callback, type) else one is callback:
                self.callbacks.remove(one)
                return one
        return None

    def remove_callback(self, callback: type[TrainerCallback] | TrainerCallback) -> None:
        """Take one out, or the first of a class."""
        self.pop_callback(callback)

    def call_event(
        self,
        event: str,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> TrainerControl:
        """Call an event of every callback, each with the control that the one before returned."""
        for callback in self.callbacks:
            result = getattr(callback, event)(
                args,
                state,
                control,
                model=self.model,
                processing_class=self.processing_class,
                optimizer=self.optimizer,
                lr_scheduler=self.lr_scheduler,
                train_dataloader=self.train_dataloader,
                eval_dataloader=self.eval_dataloader,
                **kwargs,
            )
            if result is not None:
                control = result
        return control


class DefaultFlowCallback(TrainerCallback):
    """Asks for logs, evaluations, checkpoints and the end when the arguments say so."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Whatever is due after so many steps."""
        step = state.global_step
        last = step >= state.max_steps
        by_steps = args.logging_strategy == IntervalStrategy.STEPS
        if (step == 1 and args.logging_first_step) or (by_steps and step % state.logging_steps == 0):
            control.should_log = True
        if args.eval_strategy == IntervalStrategy.STEPS and args.eval_delay <= step:
            control.should_evaluate |= step % state.eval_steps == 0 or last
        if args.save_strategy == SaveStrategy.STEPS:
            control.should_save |= step % state.save_steps == 0 or last
        control.should_training_stop |= last
        return control

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Whatever is due after an epoch."""
        control.should_log |= args.logging_strategy == IntervalStrategy.EPOCH
        due = state.epoch is not None and args.eval_delay <= state.epoch
        control.should_evaluate |= args.eval_strategy == IntervalStrategy.EPOCH and due
        control.should_save |= args.save_strategy == SaveStrategy.EPOCH
        return control


class EarlyStoppingCallback(TrainerCallback, ExportableState):
    """Stops a training whose ``metric_for_best_model`` has not become better for a while.

    :param early_stopping_patience: after how many evaluations without one that is better.
    :param early_stopping_threshold: by how much it must be better.
    """

    def __init__(
        self, early_stopping_patience: int = 1, early_stopping_threshold: float | None = 0.0
    ) -> None:
        self.early_stopping_patience = early_stopping_patience
        self.early_stopping_threshold = early_stopping_threshold
        self.early_stopping_patience_counter = 0

    def check_metric_value(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metric_value: float
    ) -> None:
        """Count an evaluation that was not better than the best."""
        best = state.best_metric
        gain = 0.0 if best is None else metric_value - best if args.greater_is_better else best - metric_value
        if best is None or gain > max(self.early_stopping_threshold or 0.0, 0.0):
            self.early_stopping_patience_counter = 0
        else:
            self.early_stopping_patience_counter += 1

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Refuse what cannot work.

        :raises AssertionError: without a metric or evaluations.
        """
        if not args.load_best_model_at_end:
            logger.warning(
                "Using EarlyStoppingCallback without load_best_model_at_end=True. "
                "Once training is finished, the best model will not be loaded automatically."
            )
        if args.metric_for_best_model is None:
            raise AssertionError("EarlyStoppingCallback requires metric_for_best_model to be defined")
        if args.eval_strategy == IntervalStrategy.NO:
            raise AssertionError("EarlyStoppingCallback requires IntervalStrategy of steps or epoch")

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look at the metric."""
        name = metric_name(args)
        value = kwargs["metrics"].get(name)
        if value is None:
            logger.warning(
                "early stopping required metric_for_best_model, but did not find %s so early stopping is "
                "disabled",
                name,
            )
            return
        self.check_metric_value(args, state, control, value)
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_training_stop = True

    def state(self) -> dict[str, Any]:
        """The settings and the count."""
        return {
            "args": {
                "early_stopping_patience": self.early_stopping_patience,
                "early_stopping_threshold": self.early_stopping_threshold,
            },
            "attributes": {"early_stopping_patience_counter": self.early_stopping_patience_counter},
        }


def metric_name(args: TrainingArguments) -> str:
    """What the metric that says which model is best is called among those of an evaluation."""
    name = args.metric_for_best_model or "loss"
    return name if name.startswith("eval_") else f"eval_{name}"
