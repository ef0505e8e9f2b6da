from .argument_parser import HfArgumentParser as HfArgumentParser
from .arguments import (
    HubStrategy as HubStrategy,
    IntervalStrategy as IntervalStrategy,
    OptimizerNames as OptimizerNames,
    ParallelMode as ParallelMode,
    SaveStrategy as SaveStrategy,
    Seq2SeqTrainingArguments as Seq2SeqTrainingArguments,
    TrainingArguments as TrainingArguments,
)
from .callbacks import (
    CallbackHandler as CallbackHandler,
    DefaultFlowCallback as DefaultFlowCallback,
    EarlyStoppingCallback as EarlyStoppingCallback,
    TrainerCallback as TrainerCallback,
)
from .collators import (
    DataCollator as DataCollator,
    DataCollatorForMultipleChoice as DataCollatorForMultipleChoice,
    DataCollatorForSeq2Seq as DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification as DataCollatorForTokenClassification,
    DataCollatorWithFlattening as DataCollatorWithFlattening,
    DataCollatorWithPadding as DataCollatorWithPadding,
    DefaultDataCollator as DefaultDataCollator,
    default_data_collator as default_data_collator,
)
from .folders import get_last_checkpoint as get_last_checkpoint
from .gradients import (
    clip_grad_norm_ as clip_grad_norm_,
    clip_grad_value_ as clip_grad_value_,
    get_total_norm as get_total_norm,
)
from .loggers import (
    CSVCallback as CSVCallback,
    JSONLinesCallback as JSONLinesCallback,
    TensorBoardCallback as TensorBoardCallback,
)
from .masking import DataCollatorForLanguageModeling as DataCollatorForLanguageModeling
from .metric_schedules import GreedyLR as GreedyLR, ReduceLROnPlateau as ReduceLROnPlateau
from .optimizers import (
    SGD as SGD,
    Adafactor as Adafactor,
    Adagrad as Adagrad,
    Adam as Adam,
    AdamW as AdamW,
    AdamW8bit as AdamW8bit,
    Lion as Lion,
    Optimizer as Optimizer,
    RMSprop as RMSprop,
)
from .outputs import (
    EvalLoopOutput as EvalLoopOutput,
    EvalPrediction as EvalPrediction,
    PredictionOutput as PredictionOutput,
    TrainOutput as TrainOutput,
)
from .progress import PrinterCallback as PrinterCallback, ProgressCallback as ProgressCallback
from .schedules import (
    LambdaLR as LambdaLR,
    SchedulerType as SchedulerType,
    get_constant_schedule as get_constant_schedule,
    get_constant_schedule_with_warmup as get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup as get_cosine_schedule_with_warmup,
    get_cosine_with_hard_restarts_schedule_with_warmup as get_cosine_with_hard_restarts_schedule_with_warmup,
    get_cosine_with_min_lr_schedule_with_warmup as get_cosine_with_min_lr_schedule_with_warmup,
    get_cosine_with_min_lr_schedule_with_warmup_lr_rate as get_cosine_with_min_lr_schedule_with_warmup_lr_rate,
    get_inverse_sqrt_schedule as get_inverse_sqrt_schedule,
    get_linear_schedule_with_warmup as get_linear_schedule_with_warmup,
    get_polynomial_decay_schedule_with_warmup as get_polynomial_decay_schedule_with_warmup,
    get_scheduler as get_scheduler,
    get_wsd_schedule as get_wsd_schedule,
)
from .search import (
    BestRun as BestRun,
    HPSearchBackend as HPSearchBackend,
    default_compute_objective as default_compute_objective,
    default_hp_space_optuna as default_hp_space_optuna,
)
from .seq2seq import Seq2SeqTrainer as Seq2SeqTrainer
from .state import (
    ExportableState as ExportableState,
    TrainerControl as TrainerControl,
    TrainerState as TrainerState,
)
from .trainer import Trainer as Trainer
