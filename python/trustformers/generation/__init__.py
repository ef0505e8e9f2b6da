"""Generation: settings, what shapes scores, what ends a text, and where tokens go as they are chosen."""

from .._lazy import attach

__getattr__, __dir__ = attach(__name__)
