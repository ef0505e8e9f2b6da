"""The training loop: transformers' ``Trainer``."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from .. import _engine
from .._seed import set_seed
from ..models.arrays import to_array
from ..models.modeling import PreTrainedModel
from ..models.trainable import make_trainable
from ..tokenizers.base import PreTrainedTokenizerBase
from .aligning import align_special_tokens
from .arguments import SaveStrategy
from .checkpoints import Saved, scaler
from .data import Batches, has_length
from .folders import get_last_checkpoint, rotate
from .gradients import clip_grad_norm_, get_total_norm
from .metric_schedules import MetricLR
from .outputs import TrainOutput, speed_metrics
from .search import Search
from .setup import without_adapters
from .state import TrainerState

logger = logging.getLogger(__name__)


class _TooLargeError(Exception):
    """There is no memory for a batch, and smaller ones shall be tried."""


@dataclass
class _Plan:
    """How many batches and steps there will be."""

    batches_in_epoch: int
    steps_in_epoch: int
    epochs: int
    steps: int
    samples: float


class Trainer(Search):
    """Trains and evaluates a model. Takes what transformers' ``Trainer`` takes, and is subclassed as it is.

    The model is trained in place: all parameters but those whose ``requires_grad`` was set to False. Its
    configuration takes the tokens that pad, begin and end texts from the tokenizer. With ``bf16`` and
    ``fp16`` products are computed in 16 bits: linear layers, matrix products and attention take operands and
    give results of that dtype, which are added up in float32; parameters, norms, losses and the optimizer
    stay in float32. With ``fp16`` the loss is scaled, and a step whose gradients overflow is left out. On the
    CPU that saves memory, and no time.

    The same arguments give the same bits: the order of examples and all random numbers of a step follow from
    the seed and the step, so that a training that is resumed from a checkpoint goes on as if it had never
    been stopped.

    With gradient accumulation, losses of models that are told how many labels a whole step has (causal
    language models), of ``compute_loss_func`` and of smoothed labels are divided by that number; all others
    are means over their batch, and are divided by the number of batches.
    """

    _scaler: _engine.GradScaler | None = None
    _made_schedule = False

    def train(
        self,
        resume_from_checkpoint: str | os.PathLike[str] | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput:
        """Train until the arguments or a callback say that it is enough.

        :param trial: of a search for settings: what these are taken from.
        :param resume_from_checkpoint: the folder of a checkpoint to go on from; True for the last one in
            ``output_dir``.
        :raises ValueError: without data, and for a checkpoint that is missing, damaged, or of another model.
        :raises IndexError: for labels and tokens that there are not, with their step and batch.
        :raises FloatingPointError: when a loss, or the gradients, are not finite; the parameters are those
            of the step before.
        """
        self.is_in_train = True
        self._begin_trial(trial)
        self._train_batch_size = self.args.train_batch_size
        try:
            checkpoint = self._found(resume_from_checkpoint)
            while True:
                try:
                    return self._train(checkpoint, ignore_keys_for_eval)
                except _TooLargeError:
                    # Behind this the error goes, and with its frames what they hold of memory.
                    self._take_smaller_batches()
        finally:
            self.is_in_train = False
            self._disturb(None)

    def _take_smaller_batches(self) -> None:
        """Go on with nine tenths of each batch, as ``auto_find_batch_size`` asks for."""
        smaller = int(0.9 * self._train_batch_size)
        if smaller == 0:
            raise RuntimeError("No executable batch size found, reached zero.")
        logger.warning("There is no memory for batches of %s: trying %s", self._train_batch_size, smaller)
        self._train_batch_size = smaller
        self.optimizer.zero_grad()

    def _disturb(self, alpha: float | None) -> None:
        """Have the model add so much of NEFTune's noise to its embeddings in training."""
        model = without_adapters(self.model)
        if isinstance(model, PreTrainedModel):
            model._noise = alpha

    def _found(self, given: str | os.PathLike[str] | bool | None) -> str | os.PathLike[str] | None:
        if given is None or given is False:
            return None
        if given is not True:
            return given
        last = get_last_checkpoint(str(self.args.output_dir))
        if last is None:
            raise ValueError(f"No valid checkpoint found in output directory ({self.args.output_dir})")
        return last

    def _train(self, checkpoint: str | os.PathLike[str] | None, ignore_keys: list[str] | None) -> TrainOutput:
        args = self.args
        saved = None if checkpoint is None else self._read_checkpoint(checkpoint)
        if saved is not None and args.auto_find_batch_size:
            found = saved.state.train_batch_size or self._train_batch_size
            self._train_batch_size = min(found, self._train_batch_size)
        if self.model_init is not None:
            set_seed(args.seed)
            self.model = self._given_model(None, self._trial)
            self._place_model()
            self.optimizer = self.lr_scheduler = None
        if isinstance(self.processing_class, PreTrainedTokenizerBase) and hasattr(self.model, "config"):
            align_special_tokens(self.model, self.processing_class)
        batches = self.get_train_dataloader()
        plan = self._planned(batches)
        self._prepare(plan, saved)
        self._say(plan)

        self._started, first = time.time(), self.state.global_step
        self._tokens_before = self.state.num_input_tokens_seen
        self._loss_since_log = self._loss_logged = 0.0
        self._step_logged = first
        handler = self.callback_handler
        handler.model, handler.optimizer, handler.lr_scheduler = self.model, self.optimizer, self.lr_scheduler
        handler.train_dataloader = batches
        self.model.train()
        self._disturb(args.neftune_noise_alpha)
        self.optimizer.zero_grad()
        self.control.should_training_stop = False
        self._event("on_train_begin")
        if args.eval_on_start:
            self._evaluate(ignore_keys, first=True)
        for epoch in range(self.state.global_step // plan.steps_in_epoch, plan.epochs):
            if self.control.should_training_stop or self.state.global_step >= plan.steps:
                break
            self._run_epoch(epoch, batches, plan, saved, ignore_keys)
            saved = None
        return self._finish(plan, first)

    def _planned(self, batches: Batches) -> _Plan:
        """Count batches, steps and epochs."""
        args, accumulated = self.args, self.args.gradient_accumulation_steps
        if not has_length(batches):
            total = args.max_steps * self._train_batch_size * accumulated
            return _Plan(args.max_steps * accumulated, args.max_steps, sys.maxsize, args.max_steps, total)
        steps_in_epoch = math.ceil(len(batches) / accumulated)
        if args.max_steps > 0:
            epochs = math.ceil(args.max_steps / steps_in_epoch)
            total = args.max_steps * self._train_batch_size * accumulated
            return _Plan(len(batches), steps_in_epoch, epochs, args.max_steps, total)
        steps = math.ceil(args.num_train_epochs * steps_in_epoch)
        samples = self.num_examples(batches) * args.num_train_epochs
        return _Plan(len(batches), steps_in_epoch, math.ceil(args.num_train_epochs), steps, samples)

    def _prepare(self, plan: _Plan, saved: Saved | None) -> None:
        """Make the optimizer, the schedule and the state, or take up those of a checkpoint."""
        args = self.args
        self.state = TrainerState(train_batch_size=self._train_batch_size)
        if (trial := self._trial) is not None:
            self.state.is_hyper_param_search, self.state.trial_params = True, dict(trial.params)
            self.state.trial_name = None if self.hp_name is None else self.hp_name(trial)
        self.state.compute_steps(args, plan.steps)
        make_trainable(self.model.parameters())
        if args.activation_checkpointing:
            given = args.activation_checkpointing_kwargs
            asked = dict(given) if isinstance(given, dict) else {}
            of_model = {name: asked.pop(name) for name in ("every_n_layers", "offload") if name in asked}
            self.model.activation_checkpointing_enable(asked, **of_model)
        self._scaler = scaler() if args.fp16 else None
        if self._made_schedule:
            # It may have been made for another number of steps.
            self.lr_scheduler = None
        self._made_schedule = self.lr_scheduler is None
        self.create_optimizer_and_scheduler(plan.steps)
        if saved is not None:
            self._take_up(saved)
        self.state.max_steps, self.state.num_train_epochs = plan.steps, plan.epochs

    def _run_epoch(
        self, epoch: int, batches: Batches, plan: _Plan, saved: Saved | None, ignore_keys: list[str] | None
    ) -> None:
        """Take the steps of an epoch, or those that a checkpoint has left of it."""
        args, accumulated = self.args, self.args.gradient_accumulation_steps
        resumed = saved is not None and not args.ignore_data_skip
        done = self.state.global_step - epoch * plan.steps_in_epoch if resumed else 0
        batches.set_epoch(epoch)
        iterator = batches.beginning_with(done * accumulated)
        if saved is not None:
            self._restore_random(saved)
        self.control.should_epoch_stop = False
        self._event("on_epoch_begin")
        norm = rate = None
        for step in range(done, plan.steps_in_epoch):
            first = step * accumulated
            group = list(islice(iterator, min(accumulated, plan.batches_in_epoch - first)))
            if not group:
                break
            norm, rate = self._take_step(epoch, first, group)
            self.state.global_step += 1
            self.state.epoch = epoch + (first + len(group)) / plan.batches_in_epoch
            self._event("on_step_end")
            self._log_evaluate_save(norm, rate, ignore_keys)
            if self.control.should_epoch_stop or self.control.should_training_stop:
                break
        _close(iterator)
        if norm is None and done < plan.steps_in_epoch:
            logger.warning(
                "There seems not to be a single sample in your epoch_iterator, stopping training at step %s! "
                "This is expected if you're using an IterableDataset and set num_steps (%s) higher than the "
                "number of available samples.",
                self.state.global_step,
                plan.steps,
            )
            self.control.should_training_stop = True
        self._event("on_epoch_end")
        self._log_evaluate_save(norm, rate, ignore_keys)

    def _take_step(self, epoch: int, first: int, group: list[Mapping[str, Any]]) -> tuple[float, float]:
        """Change the parameters by the gradients of some batches; gives their norm and the learning rate."""
        args = self.args
        # The random numbers of a step follow from its number, so that nothing has to be remembered of them.
        seed = np.random.SeedSequence([args.seed, self.state.global_step]).generate_state(1, np.uint64)
        _engine.manual_seed(int(seed[0]))
        self.control.should_log = self.control.should_evaluate = self.control.should_save = False
        self._event("on_step_begin")
        items = self._get_num_items_in_batch(group)
        self.current_gradient_accumulation_steps = len(group)
        for index, inputs in enumerate(group):
            place = f"at step {self.state.global_step + 1}, batch {first + index} of epoch {epoch}"
            try:
                loss = float(self.training_step(self.model, dict(inputs), items))
            except IndexError as error:
                # A label or a token that there is not.
                raise IndexError(f"{error} ({place})") from error
            except (MemoryError, _engine.OutOfMemoryError):
                if args.auto_find_batch_size:
                    raise _TooLargeError from None
                raise
            if not math.isfinite(loss):
                self.optimizer.zero_grad()
                raise FloatingPointError(
                    f"The loss is {loss} {place}. The parameters are those of the step before. Look at that "
                    "batch (are all of its labels -100?), or lower learning_rate"
                )
            self._loss_since_log += loss
            self._count(inputs)
            if index < len(group) - 1:
                self._event("on_substep_end")
        return self._step_optimizer(place)

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: float | None = None
    ) -> Any:
        """The loss of a batch, and its gradients added to those that are there; to be overridden.

        Gives the loss as its gradients were made of it, divided for accumulation.
        """
        model.train()
        inputs = self._prepare_inputs(inputs)
        with self.compute_loss_context_manager():
            loss = self.compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)
        if not self._scaled_for_accumulation(num_items_in_batch):
            loss = loss / self.current_gradient_accumulation_steps
        if math.isfinite(loss.item()):
            (loss if self._scaler is None else loss * self._scaler.state()[0]).backward()
        return loss.detach()

    def _step_optimizer(self, place: str) -> tuple[float, float]:
        """Clip the gradients, and take a step if they are finite."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        finite = True if self._scaler is None else self._scaler.unscale(parameters)
        limit = self.args.max_grad_norm
        norm = (
            clip_grad_norm_(parameters, limit)
            if limit is not None and limit > 0
            else get_total_norm(parameters)
        )
        if self._scaler is None and not math.isfinite(norm):
            self.optimizer.zero_grad()
            raise FloatingPointError(
                f"The gradients are not finite {place}, though the loss is. The parameters are those of the "
                "step before. Lower learning_rate"
            )
        self._event("on_pre_optimizer_step")
        if finite:
            self.optimizer.step()
        self._event("on_optimizer_step")
        rate = self._get_learning_rate()
        if finite and not isinstance(self.lr_scheduler, MetricLR):
            self.lr_scheduler.step()
        if self._scaler is not None:
            self._scaler.update(finite)
        self.optimizer.zero_grad()
        return norm, rate

    def _count(self, inputs: Mapping[str, Any]) -> None:
        """Count tokens, and what computing them takes: 6 operations for each and each parameter."""
        ids = inputs.get(getattr(self.model, "main_input_name", "input_ids"))
        if ids is None:
            return
        tokens = to_array(ids).size
        if hasattr(self.model, "num_parameters"):
            self.state.total_flos += 6.0 * tokens * self.model.num_parameters(exclude_embeddings=True)
        how = self.args.include_num_input_tokens_seen
        if how == "non_padding" and inputs.get("attention_mask") is not None:
            tokens = int(to_array(inputs["attention_mask"]).sum())
        if how != "no":
            self.state.num_input_tokens_seen += tokens

    def _log_evaluate_save(
        self, norm: float | None, rate: float | None, ignore_keys: list[str] | None
    ) -> None:
        """Do what callbacks have asked for."""
        steps = self.state.global_step - self._step_logged
        if self.control.should_log and steps > 0:
            logs: dict[str, Any] = {"loss": self._loss_since_log / steps}
            if norm is not None:
                logs["grad_norm"] = norm
            logs["learning_rate"] = self._get_learning_rate() if rate is None else rate
            self._loss_logged += self._loss_since_log
            self._loss_since_log, self._step_logged = 0.0, self.state.global_step
            self.log(logs, self._started)
        if self.control.should_evaluate:
            better = self._determine_best_metric(self._evaluate(ignore_keys))
            if self.args.save_strategy == SaveStrategy.BEST:
                self.control.should_save = better
        if self.control.should_save:
            self.control.should_save = False
            self._save_checkpoint()
            self._event("on_save")

    def _finish(self, plan: _Plan, first: int) -> TrainOutput:
        """Report the whole, and take up the best weights if they were asked for."""
        args, state = self.args, self.state
        steps = state.global_step - first
        loss = (self._loss_logged + self._loss_since_log) / max(steps, 1)
        samples = plan.samples * steps / max(plan.steps, 1)
        metrics: dict[str, Any] = speed_metrics("train", self._started, samples=samples, steps=steps)
        metrics |= {"total_flos": state.total_flos, "train_loss": loss}
        self.log(metrics)
        if args.load_best_model_at_end and state.best_model_checkpoint is not None:
            self._load_best_model()
        if args.save_total_limit == 1 and state.best_model_checkpoint is not None:
            rotate(self._run_folder(), 1, state.best_model_checkpoint)
        self._finish_pushes()
        self._event("on_train_end")
        return TrainOutput(state.global_step, loss, metrics)

    def _say(self, plan: _Plan) -> None:
        """Say how much there is to do."""
        logger.info(
            "***** Running training *****\n  Num Epochs = %s\n  Total optimization steps = %s\n"
            "  Number of trainable parameters = %s",
            plan.epochs,
            plan.steps,
            self.get_num_trainable_parameters(),
        )


def _close(iterator: Iterator[Any]) -> None:
    """End the thread of batches that nobody will take."""
    if hasattr(iterator, "close"):
        iterator.close()
