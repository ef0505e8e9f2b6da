"""A tokenizer with a vocabulary learned from other texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .._engine import AddedToken

if TYPE_CHECKING:
    from .fast import PreTrainedTokenizerFast

    T = TypeVar("T", bound=PreTrainedTokenizerFast)


def train_new(
    tokenizer: T,
    text_iterator: Iterable[str | Sequence[str]],
    vocab_size: int,
    new_special_tokens: Sequence[str | AddedToken] | None,
    special_tokens_map: Mapping[str, str] | None,
    settings: Mapping[str, Any],
) -> T:
    """Do what ``train_new_from_iterator`` says."""
    renamed, new = dict(special_tokens_map or {}), list(new_special_tokens or [])
    plain = {name: value for name, value in settings.items() if name != "show_progress"}
    plain = {
        name: sorted(value) if isinstance(value, (set, frozenset)) else value for name, value in plain.items()
    }
    engine = tokenizer.backend_tokenizer.train_new(
        iter(text_iterator), vocab_size, new, renamed, json.dumps(plain)
    )
    kwargs = dict(tokenizer.init_kwargs)
    for name in ("extra_special_tokens", "additional_special_tokens", *tokenizer.vocab_files_names):
        kwargs.pop(name, None)
    for name, token in tokenizer.special_tokens_map_extended.items():
        content = renamed.get(str(token), str(token))
        kwargs[name] = content if isinstance(token, str) else _called(content, token)
    extra = [renamed.get(token, token) for token in tokenizer.extra_special_tokens]
    if extra or new:
        kwargs["extra_special_tokens"] = [*extra, *new]
    return type(tokenizer)(tokenizer_object=engine, **kwargs)


def _called(content: str, token: AddedToken) -> AddedToken:
    """Give a token another name."""
    return AddedToken(**{**token.__getstate__(), "content": content, "special": True})
