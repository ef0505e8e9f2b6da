"""Training: optimizers, schedules, and what is done to gradients."""

from .arguments import (
    HubStrategy,
    IntervalStrategy,
    OptimizerNames,
    SaveStrategy,
    Seq2SeqTrainingArguments,
    TrainingArguments,
)
from .callbacks import CallbackHandler, DefaultFlowCallback, EarlyStoppingCallback, TrainerCallback
from .collators import (
    DataCollator,
    DataCollatorForMultipleChoice,
    DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    DefaultDataCollator,
    default_data_collator,
)
from .folders import get_last_checkpoint
from .gradients import clip_grad_norm_, clip_grad_value_, get_total_norm
from .loggers import CSVCallback, JSONLinesCallback, TensorBoardCallback
from .masking import DataCollatorForLanguageModeling
from .metric_schedules import GreedyLR, ReduceLROnPlateau
from .optimizers import SGD, Adafactor, Adagrad, Adam, AdamW, AdamW8bit, Lion, Optimizer, RMSprop
from .outputs import EvalLoopOutput, EvalPrediction, PredictionOutput, TrainOutput
from .progress import PrinterCallback, ProgressCallback
from .schedules import (
    LambdaLR,
    SchedulerType,
    get_constant_schedule,
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_cosine_with_hard_restarts_schedule_with_warmup,
    get_cosine_with_min_lr_schedule_with_warmup,
    get_cosine_with_min_lr_schedule_with_warmup_lr_rate,
    get_inverse_sqrt_schedule,
    get_linear_schedule_with_warmup,
    get_polynomial_decay_schedule_with_warmup,
    get_scheduler,
    get_wsd_schedule,
)
from .search import BestRun, HPSearchBackend, default_compute_objective, default_hp_space_optuna
from .seq2seq import Seq2SeqTrainer
from .state import ExportableState, TrainerControl, TrainerState
from .trainer import Trainer

__all__ = [
    "SGD",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "AdamW8bit",
    "BestRun",
    "CSVCallback",
    "CallbackHandler",
    "DataCollator",
    "DataCollatorForLanguageModeling",
    "DataCollatorForMultipleChoice",
    "DataCollatorForSeq2Seq",
    "DataCollatorForTokenClassification",
    "DataCollatorWithPadding",
    "DefaultDataCollator",
    "DefaultFlowCallback",
    "EarlyStoppingCallback",
    "EvalLoopOutput",
    "EvalPrediction",
    "ExportableState",
    "GreedyLR",
    "HPSearchBackend",
    "HubStrategy",
    "IntervalStrategy",
    "JSONLinesCallback",
    "LambdaLR",
    "Lion",
    "Optimizer",
    "OptimizerNames",
    "PredictionOutput",
    "PrinterCallback",
    "ProgressCallback",
    "RMSprop",
    "ReduceLROnPlateau",
    "SaveStrategy",
    "SchedulerType",
    "Seq2SeqTrainer",
    "Seq2SeqTrainingArguments",
    "TensorBoardCallback",
    "TrainOutput",
    "Trainer",
    "TrainerCallback",
    "TrainerControl",
    "TrainerState",
    "TrainingArguments",
    "clip_grad_norm_",
    "clip_grad_value_",
    "default_compute_objective",
    "default_data_collator",
    "default_hp_space_optuna",
    "get_constant_schedule",
    "get_constant_schedule_with_warmup",
    "get_cosine_schedule_with_warmup",
    "get_cosine_with_hard_restarts_schedule_with_warmup",
    "get_cosine_with_min_lr_schedule_with_warmup",
    "get_cosine_with_min_lr_schedule_with_warmup_lr_rate",
    "get_inverse_sqrt_schedule",
    "get_last_checkpoint",
    "get_linear_schedule_with_warmup",
    "get_polynomial_decay_schedule_with_warmup",
    "get_scheduler",
    "get_total_norm",
    "get_wsd_schedule",
]
