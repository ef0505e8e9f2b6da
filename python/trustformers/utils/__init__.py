"""What scripts take from ``transformers.utils``: how much is said, and on what it runs."""

from . import logging
from .versions import show_versions

__all__ = ["logging", "show_versions"]
