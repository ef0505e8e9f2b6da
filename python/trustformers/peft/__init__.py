"""Adapters: a model is trained by a few small matrices beside its own. peft's names, and peft's files."""

from .config import LoraConfig, TaskType
from .model import PeftModel, get_peft_model

__all__ = ["LoraConfig", "PeftModel", "TaskType", "get_peft_model"]
