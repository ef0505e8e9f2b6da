"""Tokenizers: text in, ids out, and back.

The classes of each kind are made when they are first asked for; see ``named``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._engine import AddedToken, Encoding
from . import named
from .auto import AutoTokenizer
from .base import PreTrainedTokenizerBase
from .batch_encoding import BatchEncoding, CharSpan, TokenSpan
from .fast import PreTrainedTokenizerFast, TokenizersBackend
from .strategies import PaddingStrategy, TensorType, TruncationStrategy

if TYPE_CHECKING:
    from .named import *  # noqa: F403

__all__ = [
    "AddedToken",
    "AutoTokenizer",
    "BatchEncoding",
    "CharSpan",
    "Encoding",
    "PaddingStrategy",
    "PreTrainedTokenizerBase",
    "PreTrainedTokenizerFast",
    "TensorType",
    "TokenSpan",
    "TokenizersBackend",
    "TruncationStrategy",
]
__all__ += named.__all__


def __getattr__(name: str) -> Any:
    if name not in named.__all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(named, name)
