from .._engine import AddedToken as AddedToken, Encoding as Encoding
from .auto import AutoTokenizer as AutoTokenizer
from .base import PreTrainedTokenizerBase as PreTrainedTokenizerBase
from .batch_encoding import BatchEncoding as BatchEncoding, CharSpan as CharSpan, TokenSpan as TokenSpan
from .fast import PreTrainedTokenizerFast as PreTrainedTokenizerFast, TokenizersBackend as TokenizersBackend
from .named import *
from .strategies import (
    PaddingStrategy as PaddingStrategy,
    TensorType as TensorType,
    TruncationStrategy as TruncationStrategy,
)
