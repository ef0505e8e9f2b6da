"""From text to an answer in one line: ``pipeline("text-classification", model=...)("...")``."""

from .._lazy import attach

__getattr__, __dir__ = attach(__name__)
