"""The keywords of a tokenizer's call, for the signatures that say what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from .strategies import PaddingStrategy, TruncationStrategy


class EncodingOptions(TypedDict, total=False):
    """The keywords of ``PreTrainedTokenizerBase.__call__``, all but texts and ``return_tensors``."""

    add_special_tokens: bool
    padding: bool | str | PaddingStrategy
    truncation: bool | str | TruncationStrategy | None
    max_length: int | None
    stride: int
    is_split_into_words: bool
    pad_to_multiple_of: int | None
    padding_side: str | None
    return_token_type_ids: bool | None
    return_attention_mask: bool | None
    return_overflowing_tokens: bool
    return_special_tokens_mask: bool
    return_offsets_mapping: bool
    return_length: bool
    verbose: bool
    tokenizer_kwargs: Mapping[str, Any] | None
    split_special_tokens: bool | None
    max_target_length: int | None
