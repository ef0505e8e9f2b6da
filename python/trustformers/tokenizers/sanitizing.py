"""Control tokens in what users write, read as ordinary text.

They are put between two marks before the template sees them, and found again by these in what it has made: so
they can be told from those that the template writes itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import _engine
from .strategies import TruncationStrategy

if TYPE_CHECKING:
    from .base import PreTrainedTokenizerBase
    from .batch_encoding import BatchEncoding

#: Two characters that stand for nothing.
_BEGIN, _END = "\U000f0000", "\U000f0001"


def control_tokens(tokenizer: PreTrainedTokenizerBase, template: str) -> list[str]:
    """The tokens that mean something to a model: special ones, and those that the template writes."""
    added = tokenizer.added_tokens_decoder.values()
    if tokenizer.chat_control_tokens is not None:
        return [str(t) for t in added if t.special or str(t) in tokenizer.chat_control_tokens]
    written = "\0".join(_engine.chat_template_texts(template))
    return [str(t) for t in added if t.special or (str(t) in written and not str(t).isspace())]


def marked(value: Any, tokens: Iterable[str]) -> Any:
    """Put the tokens in all texts of a value between marks. Marks that are there already are taken out."""
    found = _any_of(tokens)

    def mark(value: Any) -> Any:
        if isinstance(value, str):
            plain = value.replace(_BEGIN, "").replace(_END, "")
            return found.sub(rf"{_BEGIN}\g<0>{_END}", plain)
        if isinstance(value, Mapping):
            return {key: mark(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [mark(item) for item in value]
        return value

    return mark(value)


def encode(
    tokenizer: PreTrainedTokenizerBase,
    texts: str | Sequence[str],
    return_tensors: Any,
    options: Mapping[str, Any],
) -> BatchEncoding[Any]:
    """Encode texts with marks, the tokens between them as ordinary text.

    :raises ValueError: for a token that the model makes of ordinary text too.
    """
    rows = [_encode_one(tokenizer, text) for text in ([texts] if isinstance(texts, str) else texts)]
    padding = options.get("padding", False)
    multiple = options.get("pad_to_multiple_of")
    _, truncation, max_length = tokenizer._strategies(
        padding, options.get("truncation"), options.get("max_length"), multiple
    )
    if truncation is not TruncationStrategy.DO_NOT_TRUNCATE and max_length is not None:
        from_left = tokenizer.truncation_side == "left"
        rows = [row[max(0, len(row) - max_length) :] if from_left else row[:max_length] for row in rows]
    return tokenizer.pad(
        {"input_ids": rows[0] if isinstance(texts, str) and not return_tensors else rows},
        padding=padding,
        max_length=max_length,
        pad_to_multiple_of=multiple,
        padding_side=options.get("padding_side"),
        return_attention_mask=options.get("return_attention_mask"),
        return_tensors=return_tensors,
    )


def _encode_one(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Encode piece by piece. Templates may part two marks; a lone one parts the text, and that is all."""
    tokens = (str(token) for token in tokenizer.added_tokens_decoder.values())
    marks = re.compile(f"{_BEGIN}({_any_of(tokens).pattern}){_END}|[{_BEGIN}{_END}]")
    first, *pieces = marks.split(text)
    ids: list[int] = tokenizer.encode(first, add_special_tokens=False)
    for place, piece in enumerate(pieces):
        if not piece:
            continue
        as_text = place % 2 == 0
        own = _encode_within(tokenizer, piece, as_text)
        if as_text and tokenizer.convert_tokens_to_ids(piece) in own:
            raise ValueError(f"Can't sanitize {piece!r}: the tokenizer produces it from plain text")
        ids += own
    return ids


def _encode_within(tokenizer: PreTrainedTokenizerBase, piece: str, as_text: bool) -> list[int]:
    """Encode a piece from the middle of a text: behind a line feed, so that it gets no space in front."""
    options: dict[str, Any] = {"add_special_tokens": False}
    if as_text:
        options["split_special_tokens"] = True
    line_feed: list[int] = tokenizer.encode("\n", add_special_tokens=False)
    ids: list[int] = tokenizer.encode("\n" + piece, **options)
    if ids[: len(line_feed)] == line_feed:
        return ids[len(line_feed) :]
    alone: list[int] = tokenizer.encode(piece, **options)
    return alone


def _any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """Match any of some tokens, longer ones before those that they contain; nothing if there are none."""
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or "(?!)")
