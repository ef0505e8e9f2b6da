"""What scripts take from ``transformers.utils``: how much is said, and on what it runs."""

from .._lazy import attach

__getattr__, __dir__ = attach(__name__)
