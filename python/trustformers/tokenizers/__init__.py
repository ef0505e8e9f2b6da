"""Tokenizers: text in, ids out, and back."""

from .._engine import AddedToken, Encoding
from .auto import AutoTokenizer
from .base import PreTrainedTokenizerBase
from .batch_encoding import BatchEncoding, CharSpan, TokenSpan
from .bert import BertTokenizer, BertTokenizerFast
from .fast import PreTrainedTokenizerFast, TokenizersBackend
from .strategies import PaddingStrategy, TensorType, TruncationStrategy

__all__ = [
    "AddedToken",
    "AutoTokenizer",
    "BatchEncoding",
    "BertTokenizer",
    "BertTokenizerFast",
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
