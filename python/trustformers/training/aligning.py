"""A model's configuration beside its tokenizer's special tokens."""

from __future__ import annotations

import logging
from typing import Any

from ..tokenizers.base import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


def align_special_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Have a model pad, begin and end texts with the tokens of its tokenizer, as far as that has them.

    Tokens that end a text are added to those that its generation knows; all others are replaced.
    """
    config, generation = model.config, getattr(model, "generation_config", None)
    updated: dict[str, int] = {}
    for name in ("eos_token_id", "bos_token_id", "pad_token_id"):
        token = getattr(tokenizer, name)
        known = [_several(getattr(one, name, None)) for one in (config, generation) if one is not None]
        if token is None or all(token in one for one in known):
            continue
        updated[name] = token
        listed = name == "eos_token_id" and isinstance(getattr(config, name, None), list)
        setattr(config, name, _first(token, known[0]) if listed else token)
        if generation is not None:
            setattr(generation, name, _first(token, known[1]) if name == "eos_token_id" else token)
    if updated:
        logger.warning(
            "The tokenizer has new PAD/BOS/EOS tokens that differ from the model config and generation "
            "config. The model config and generation config were aligned accordingly, being updated with the "
            "tokenizer's values. Updated tokens: %s.",
            updated,
        )


def _several(given: int | list[int] | None) -> list[int]:
    return given if isinstance(given, list) else [] if given is None else [given]


def _first(token: int, others: list[int]) -> list[int]:
    return [token, *(one for one in others if one != token)]
