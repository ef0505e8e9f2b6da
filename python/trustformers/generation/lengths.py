"""How long a text may and must be, from all that says so."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, Any

from ..models.arrays import to_array

if TYPE_CHECKING:
    from .. import _engine
    from .configuration import GenerationConfig

logger = logging.getLogger(__name__)


def set_lengths(model: Any, config: Any, tensors: Mapping[str, _engine.Tensor], chosen: Set[str]) -> None:
    """Make ``max_length`` and ``min_length`` what they are for these prompts, and say what cannot be.

    ``chosen`` are those of the two that somebody has set.

    :raises ValueError: where the prompt alone is as long as the text may be.
    """
    length, more = _prompt(model, config, tensors)
    if config.max_new_tokens is not None:
        if "max_length" in chosen and config.max_length is not None:
            logger.warning(
                "Both `max_new_tokens` (=%s) and `max_length`(=%s) seem to have been set. `max_new_tokens` "
                "will take precedence.",
                config.max_new_tokens,
                config.max_length,
            )
        config.max_length = config.max_new_tokens + length
    elif "max_length" in chosen and config.max_length is not None:
        config.max_length -= more
    else:
        config.max_length = min(length + 20, _positions(model) or length + 20)
        warnings.warn(
            f"Using the model-agnostic default `max_length` (={config.max_length}) to control the generation "
            "length. We recommend setting `max_new_tokens` to control the maximum length of the generation.",
            UserWarning,
            stacklevel=4,
        )
    if length >= config.max_length:
        name = "decoder_input_ids" if model._engine.family == "encoder-decoder" else "input_ids"
        raise ValueError(
            f"Input length of {name} is {length}, but `max_length` is set to {config.max_length}. This can "
            "lead to unexpected behavior. You should consider increasing `max_length` or, better yet, "
            "setting `max_new_tokens`."
        )
    unfeasible = (
        f"is larger than the maximum possible length ({config.max_length}). Generation will stop at the "
        "defined maximum length. You should decrease the minimum length and/or increase the maximum length."
    )
    if config.min_new_tokens is not None:
        if "min_length" in chosen:
            logger.warning(
                "Both `min_new_tokens` (=%s) and `min_length`(=%s) seem to have been set. `min_new_tokens` "
                "will take precedence.",
                config.min_new_tokens,
                config.min_length,
            )
        config.min_length = config.min_new_tokens + length
    elif config.min_length is not None:
        config.min_length -= more
    if config.min_length is not None and config.min_length > config.max_length:
        warnings.warn(
            f"Unfeasible length constraints: `min_length` ({config.min_length}) {unfeasible}",
            UserWarning,
            stacklevel=4,
        )
        if config.min_new_tokens is not None:
            warnings.warn(
                f"Unfeasible length constraints: `min_new_tokens` ({config.min_new_tokens}), when added to "
                f"the prompt length ({length}), {unfeasible}",
                UserWarning,
                stacklevel=4,
            )


def warn_of_positions(model: Any, length: int) -> None:
    """Say that a text has become longer than those that the model knows."""
    positions = _positions(model)
    if positions is not None and length > positions + 1:
        logger.warning(
            "This is a friendly reminder - the current text generation call has exceeded the model's "
            "predefined maximum length (%s). Depending on the model, you may observe exceptions, performance "
            "degradation, or nothing at all.",
            positions,
        )


def _prompt(model: Any, config: GenerationConfig, tensors: Mapping[str, _engine.Tensor]) -> tuple[int, int]:
    """How many tokens a text begins with, and how many vectors come before them that count too."""
    ids, embeds = tensors.get("input_ids"), tensors.get("inputs_embeds")
    if model._engine.family != "encoder-decoder":
        if embeds is None:
            return (1 if ids is None else ids.shape[1]), 0
        length = 0 if ids is None else ids.shape[1]
        # Vectors that tokens are given for too are those tokens'.
        return length, 0 if length == embeds.shape[1] else embeds.shape[1]
    ids = tensors.get("decoder_input_ids")
    if ids is None:
        return 1, 0
    first = (
        config.decoder_start_token_id if config.decoder_start_token_id is not None else config.bos_token_id
    )
    # The engine puts the first token in front where no text begins with it.
    is_begun = first is None or (to_array(ids)[:, 0] == to_array(first)).any()
    return ids.shape[1] + (not is_begun), 0


def _positions(model: Any) -> int | None:
    return getattr(model.config, "max_position_embeddings", None)
