"""Training: optimizers, schedules, and what is done to gradients."""

from .._lazy import attach

__getattr__, __dir__ = attach(__name__)
