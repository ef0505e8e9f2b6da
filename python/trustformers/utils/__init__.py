"""What scripts take from ``transformers.utils``: how much is said, what is installed, names of files."""

from .._lazy import attach

__getattr__, __dir__ = attach(__name__)
