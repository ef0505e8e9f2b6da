"""What a trainer is made of: the model, the data, the arguments and the callbacks."""

from __future__ import annotations

import inspect
import json
import logging
import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from .._seed import set_seed
from ..models import calls
from ..models.arrays import to_tensor
from ..models.modeling import PreTrainedModel
from ..peft.model import PeftModel
from ..tokenizers.base import PreTrainedTokenizerBase
from .arguments import IntervalStrategy, SaveStrategy, TrainingArguments
from .callbacks import CallbackHandler, DefaultFlowCallback, TrainerCallback
from .collators import DataCollator, DataCollatorWithPadding, default_data_collator
from .data import Batches, Columns, Order, by_length, has_length, in_turn, lengths_of, shuffled
from .loggers import LOGGERS
from .outputs import metrics_format, speed_metrics
from .progress import PrinterCallback, ProgressCallback
from .state import ExportableState, TrainerControl, TrainerState

logger = logging.getLogger(__name__)

#: What labels are called where they are not ``labels``.
_LABEL_NAMES = {
    "QuestionAnswering": ["start_positions", "end_positions"],
    "NextSentencePrediction": ["labels"],
    "PreTraining": ["labels", "next_sentence_label"],
}


class Setup:
    """The parts of a trainer, and what is said about them."""

    #: Makes the repository that is uploaded to.
    init_hf_repo: Callable[..., None]

    def __init__(
        self,
        model: Any = None,
        args: TrainingArguments | None = None,
        data_collator: DataCollator | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        model_init: Callable[..., Any] | None = None,
        compute_loss_func: Callable[..., Any] | None = None,
        compute_metrics: Callable[..., dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        optimizer_cls_and_kwargs: tuple[Any, dict[str, Any]] | None = None,
        preprocess_logits_for_metrics: Callable[[Any, Any], Any] | None = None,
        tokenizer: Any = None,
    ) -> None:
        """Take the parts; nothing is computed yet.

        :raises RuntimeError: without a model, and for parts that exclude each other.
        :raises ValueError: for arguments that the parts contradict.
        """
        self.args = args = TrainingArguments("tmp_trainer") if args is None else args
        if args.log_level != "passive":
            logging.getLogger("trustformers").setLevel(args.log_level.upper())
        if tokenizer is not None:
            warnings.warn(
                "`tokenizer` is deprecated: use `processing_class`", DeprecationWarning, stacklevel=2
            )
            processing_class = tokenizer if processing_class is None else processing_class
        set_seed(args.seed)
        self.model_init = model_init
        self.model = self._given_model(model)
        #: A model that a device map has spread stays as it is.
        self.place_model_on_device = args.place_model_on_device and not self.is_model_parallel
        self._place_model()
        task = getattr(self.model, "_task", None)
        #: Whether the model divides its loss by the number of labels that it is told.
        self.model_accepts_loss_kwargs = _takes(self.model, "num_items_in_batch")
        self.label_names = args.label_names or _LABEL_NAMES.get(task or "", ["labels"])
        #: Whether each token predicts the next one, so that nothing predicts the first label of a row.
        self._is_causal = task == "CausalLM"
        #: Whether that label is left out where labels are counted. transformers knows such models by their
        #: names, and so counts one label too many of each row of GPT-2's: its losses are to be equal.
        named = type(without_adapters(self.model)).__name__
        self._loss_shifts_labels = self._is_causal and "ForCausalLM" in named

        pads = isinstance(processing_class, PreTrainedTokenizerBase)
        default = DataCollatorWithPadding(processing_class) if pads else default_data_collator
        self.data_collator: DataCollator = default if data_collator is None else data_collator
        self.train_dataset = train_dataset
        self.eval_dataset = eval_dataset
        self.processing_class = processing_class
        self.compute_loss_func = compute_loss_func
        self.compute_metrics = compute_metrics
        self.preprocess_logits_for_metrics = preprocess_logits_for_metrics
        self.optimizer, self.lr_scheduler = optimizers
        self.optimizer_cls_and_kwargs = optimizer_cls_and_kwargs
        self._check()

        watching = [LOGGERS[name] for name in args.report_to or []]
        shown_by = PrinterCallback if args.disable_tqdm else ProgressCallback
        self.callback_handler = CallbackHandler(
            [DefaultFlowCallback, *watching, *(callbacks or []), shown_by],
            self.model,
            processing_class,
            self.optimizer,
            self.lr_scheduler,
        )
        self.control = TrainerControl()
        self.state = TrainerState()
        self.is_in_train = False
        #: What fits into memory of what the arguments ask for.
        self._train_batch_size = args.train_batch_size
        #: The tokens that were counted before a training went on.
        self._tokens_before = 0
        if hasattr(self.model, "config"):
            self.model.config.use_cache = args.use_cache
        self._event("on_init_end")
        if args.push_to_hub:
            self.init_hf_repo()

    @property
    def tokenizer(self) -> Any:
        """Transformers 4's name of ``processing_class``."""
        return self.processing_class

    #: What code for other machines asks.
    is_deepspeed_enabled = False
    is_fsdp_enabled = False

    @property
    def model_wrapped(self) -> Any:
        """The model: nothing is around it."""
        return self.model

    @property
    def is_model_parallel(self) -> bool:
        """Whether the model is spread over several devices."""
        return len(set((getattr(self.model, "hf_device_map", None) or {}).values())) > 1

    def _place_model(self) -> None:
        """Bring the model to where the training runs."""
        if self.place_model_on_device and hasattr(self.model, "to"):
            self._move_model_to_device(self.model, self.args.device)

    def _move_model_to_device(self, model: Any, device: Any) -> None:
        if getattr(model, "device", None) != device:
            model.to(device)

    def _given_model(self, model: Any, trial: Any = None) -> Any:
        if model is None:
            if self.model_init is None:
                raise RuntimeError("`Trainer` requires either a `model` or `model_init` argument")
            takes_trial = len(inspect.signature(self.model_init).parameters) == 1
            model = self.model_init(trial) if takes_trial else self.model_init()
            if model is None:
                raise RuntimeError("model_init should not return None.")
        elif self.model_init is not None:
            raise ValueError("`Trainer` requires either a `model` or `model_init` argument, but not both.")
        own = without_adapters(model)
        if isinstance(own, PreTrainedModel) and own.is_quantized and own is model:
            raise ValueError(
                "The weights of this model are kept in blocks of few bits, which cannot be trained: open it "
                "with dtype='float32', or train an adapter"
            )
        return model

    def _check(self) -> None:
        """Refuse parts that contradict each other or the arguments."""
        args = self.args
        if self.optimizer_cls_and_kwargs is not None and self.optimizer is not None:
            raise RuntimeError(
                "Passing both `optimizers` and `optimizer_cls_and_kwargs` arguments is incompatible."
            )
        if self.model_init is not None and (self.optimizer is not None or self.lr_scheduler is not None):
            raise RuntimeError(
                "Passing a `model_init` is incompatible with providing the `optimizers` argument."
            )
        if not callable(self.data_collator):
            raise TypeError(
                "The `data_collator` should be a simple callable (function, class with `__call__`)."
            )
        if args.eval_strategy != IntervalStrategy.NO and self.eval_dataset is None:
            raise ValueError(
                f"You have set `args.eval_strategy` to {args.eval_strategy} but you didn't pass an "
                "`eval_dataset` to `Trainer`. Either set `args.eval_strategy` to `no` or pass one."
            )
        if args.save_strategy == SaveStrategy.BEST and args.metric_for_best_model is None:
            raise ValueError("`args.metric_for_best_model` must be provided when using 'best' save_strategy")
        by_batch = self.compute_metrics if args.batch_eval_metrics else None
        if by_batch is not None and "compute_result" not in inspect.signature(by_batch).parameters:
            raise ValueError(
                "When using `batch_eval_metrics`, your `compute_metrics` function must take a "
                "`compute_result` boolean argument which will be triggered after the last batch"
            )
        if self.train_dataset is not None and not has_length(self.train_dataset) and args.max_steps <= 0:
            raise ValueError(
                "The train_dataset does not implement __len__, so the number of training steps cannot be "
                "inferred; max_steps has to be specified."
            )

    # Data.

    def _columns(self, what: str) -> Columns | None:
        """The columns that the model reads, if others shall be left out."""
        if not self.args.remove_unused_columns:
            return None
        labels = ["label", "label_ids", *self.label_names]
        return Columns(_arguments(self.model), labels, type(without_adapters(self.model)).__name__, what)

    def _batches(self, dataset: Any, what: str, batch_size: int, order: Order | None) -> Batches:
        columns = self._columns(what)
        if has_length(dataset) and len(dataset) == 0:
            raise ValueError(f"The {what} dataset is empty")
        if columns is not None:
            dataset = columns.without_others(dataset)
        args = self.args
        return Batches(
            dataset,
            batch_size,
            self.data_collator,
            order=order,
            columns=columns,
            drop_last=args.dataloader_drop_last,
            ahead=(args.dataloader_prefetch_factor or 2) if args.dataloader_num_workers else 0,
            seed=self._data_seed,
        )

    @property
    def _data_seed(self) -> int:
        return self.args.seed if self.args.data_seed is None else self.args.data_seed

    def _order(self, dataset: Any, training: bool) -> Order | None:
        """In what order a dataset is read; ``None`` for a stream."""
        if not has_length(dataset):
            return None
        how = self.args.train_sampling_strategy
        if how == "group_by_length":
            names = getattr(self.processing_class, "model_input_names", None) or ["input_ids"]
            lengths = lengths_of(dataset, self.args.length_column_name, names[0])
            step = self._train_batch_size * self.args.gradient_accumulation_steps
            return by_length(lengths, step if training else self.args.eval_batch_size, self._data_seed)
        if training and how == "random":
            return shuffled(len(dataset), self._data_seed)
        return in_turn(len(dataset))

    def get_train_dataloader(self) -> Batches:
        """The batches that are trained on.

        :raises ValueError: when there is no dataset, or nothing in it.
        """
        if self.train_dataset is None:
            raise ValueError("Trainer: training requires a train_dataset.")
        order = self._order(self.train_dataset, training=True)
        batches = self._batches(self.train_dataset, "training", self._train_batch_size, order)
        if has_length(batches) and len(batches) == 0:
            raise ValueError(
                f"The training dataset has {len(self.train_dataset)} examples, too few for one batch of "
                f"{self._train_batch_size} with dataloader_drop_last"
            )
        return batches

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Batches:
        """The batches of an evaluation dataset, or of one of ``self.eval_dataset`` by its name."""
        if eval_dataset is None and self.eval_dataset is None:
            raise ValueError("Trainer: evaluation requires an eval_dataset.")
        if isinstance(eval_dataset, str):
            eval_dataset = self.eval_dataset[eval_dataset]
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        order = self._order(dataset, training=False)
        return self._batches(dataset, "evaluation", self.args.eval_batch_size, order)

    def get_test_dataloader(self, test_dataset: Any) -> Batches:
        """The batches of a dataset that is predicted."""
        order = self._order(test_dataset, training=False)
        return self._batches(test_dataset, "test", self.args.eval_batch_size, order)

    def num_examples(self, dataloader: Batches) -> int:
        """How many examples there are."""
        return len(dataloader.dataset)

    def _prepare_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Every array of a batch as a tensor of ours on the device of the training.

        So losses remember what they were made of.
        """
        device = self.args.device
        return {name: _tensor(name, value, device) for name, value in inputs.items()}

    # Callbacks.

    def add_callback(self, callback: type[TrainerCallback] | TrainerCallback) -> None:
        """Add a callback, or one of a class."""
        self.callback_handler.add_callback(callback)

    def pop_callback(self, callback: type[TrainerCallback] | TrainerCallback) -> TrainerCallback | None:
        """Take a callback out, or the first of a class, and give it; ``None`` if it is not there."""
        return self.callback_handler.pop_callback(callback)

    def remove_callback(self, callback: type[TrainerCallback] | TrainerCallback) -> None:
        """Take a callback out, or the first of a class."""
        self.callback_handler.remove_callback(callback)

    def _event(self, event: str, **kwargs: Any) -> None:
        self.control = self.callback_handler.call_event(event, self.args, self.state, self.control, **kwargs)

    def _exported(self) -> list[ExportableState]:
        """Everything whose state is saved with a checkpoint."""
        return [
            one
            for one in (*self.callback_handler.callbacks, self.control)
            if isinstance(one, ExportableState)
        ]

    # Reports.

    def is_local_process_zero(self) -> bool:
        """True: there is one process."""
        return True

    def is_world_process_zero(self) -> bool:
        """True: there is one process."""
        return True

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """Report numbers by name: to the history, and to every callback.

        :param start_time: when the training began; tokens that are counted are then reported by the second.
        """
        if self.state.epoch is not None:
            logs["epoch"] = self.state.epoch
        if self.args.include_num_input_tokens_seen != "no":
            logs["num_input_tokens_seen"] = self.state.num_input_tokens_seen
            if start_time is not None:
                tokens = self.state.num_input_tokens_seen - self._tokens_before
                logs.update(speed_metrics("train", start_time, tokens=tokens))
        self.state.log_history.append({**logs, "step": self.state.global_step})
        self.control.should_log = False
        self._event("on_log", logs=logs)

    def log_metrics(self, split: str, metrics: dict[str, Any]) -> None:
        """Print metrics, one on a line."""
        print(f"***** {split} metrics *****")
        formatted = metrics_format(metrics)
        width = max(map(len, formatted), default=0)
        most = max((len(str(value)) for value in formatted.values()), default=0)
        for name, value in sorted(formatted.items()):
            print(f"  {name:<{width}} = {value:>{most}}")

    def save_metrics(self, split: str, metrics: dict[str, Any], combined: bool = True) -> None:
        """Write ``<split>_results.json``, and with ``combined`` add to ``all_results.json``."""
        folder = self.args.output_dir or ""
        os.makedirs(folder, exist_ok=True)
        _write_json(os.path.join(folder, f"{split}_results.json"), metrics)
        path = os.path.join(folder, "all_results.json")
        if combined:
            before = {}
            if os.path.exists(path):
                with open(path, encoding="utf-8") as file:
                    before = json.load(file)
            _write_json(path, {**before, **metrics})


def _write_json(path: str, content: Any) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=4, sort_keys=True)


def _tensor(name: str, value: Any, device: Any) -> Any:
    if hasattr(value, "__array__") or isinstance(value, (list, tuple)):
        return to_tensor(name, value).to(device)
    return value


def _arguments(model: Any) -> list[str]:
    """What the forward pass of a model takes."""
    model = without_adapters(model)
    if isinstance(model, PreTrainedModel):
        return list(calls.accepted(model._engine.family, model._task))
    return list(inspect.signature(getattr(model, "forward", model)).parameters)


def _takes(model: Any, name: str) -> bool:
    given = getattr(model, "accepts_loss_kwargs", None)
    return name in _arguments(model) if given is None else bool(given)


def without_adapters(model: Any) -> Any:
    """The model that adapters are around, or that which is given."""
    return model.get_base_model() if isinstance(model, PeftModel) else model
