"""Training: optimizers, schedules, and what is done to gradients."""

from .gradients import clip_grad_norm_, clip_grad_value_, get_total_norm
from .optimizers import SGD, Adafactor, Adagrad, Adam, AdamW, AdamW8bit, Lion, Optimizer, RMSprop
from .schedules import (
    LambdaLR,
    ReduceLROnPlateau,
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

__all__ = [
    "SGD",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "AdamW8bit",
    "LambdaLR",
    "Lion",
    "Optimizer",
    "RMSprop",
    "ReduceLROnPlateau",
    "SchedulerType",
    "clip_grad_norm_",
    "clip_grad_value_",
    "get_constant_schedule",
    "get_constant_schedule_with_warmup",
    "get_cosine_schedule_with_warmup",
    "get_cosine_with_hard_restarts_schedule_with_warmup",
    "get_cosine_with_min_lr_schedule_with_warmup",
    "get_cosine_with_min_lr_schedule_with_warmup_lr_rate",
    "get_inverse_sqrt_schedule",
    "get_linear_schedule_with_warmup",
    "get_polynomial_decay_schedule_with_warmup",
    "get_scheduler",
    "get_total_norm",
    "get_wsd_schedule",
]
