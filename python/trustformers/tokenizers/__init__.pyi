from .._engine import AddedToken as AddedToken, Encoding as Encoding
from .auto import AutoTokenizer as AutoTokenizer
from .base import (
    LARGE_INTEGER as LARGE_INTEGER,
    VERY_LARGE_INTEGER as VERY_LARGE_INTEGER,
    EncodedInput as EncodedInput,
    PreTokenizedInput as PreTokenizedInput,
    PreTrainedTokenizerBase as PreTrainedTokenizerBase,
    TextInput as TextInput,
)
from .batch_encoding import BatchEncoding as BatchEncoding, CharSpan as CharSpan, TokenSpan as TokenSpan
from .fast import PreTrainedTokenizerFast as PreTrainedTokenizerFast, TokenizersBackend as TokenizersBackend
from .named import *
from .strategies import (
    PaddingStrategy as PaddingStrategy,
    TensorType as TensorType,
    TruncationStrategy as TruncationStrategy,
)
