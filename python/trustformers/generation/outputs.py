"""What ``generate`` returns with ``return_dict_in_generate=True``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..models.cache import Cache
from ..models.outputs import ModelOutput

#: For every step a tuple with a tensor for each layer.
Steps = tuple[tuple[Any, ...], ...]


@dataclass
class GenerateDecoderOnlyOutput(ModelOutput):
    """What a decoder has written: ``sequences`` is (texts, length), prompts included.

    ``scores`` are the processed scores and ``logits`` the raw ones, (texts, vocabulary) for every step.
    """

    sequences: Any = None
    scores: tuple[Any, ...] | None = None
    logits: tuple[Any, ...] | None = None
    attentions: Steps | None = None
    hidden_states: Steps | None = None
    past_key_values: Cache | None = None


@dataclass
class GenerateEncoderDecoderOutput(ModelOutput):
    """What the decoder of an encoder-decoder has written, and what its encoder gave."""

    sequences: Any = None
    scores: tuple[Any, ...] | None = None
    logits: tuple[Any, ...] | None = None
    encoder_attentions: tuple[Any, ...] | None = None
    encoder_hidden_states: tuple[Any, ...] | None = None
    decoder_attentions: Steps | None = None
    cross_attentions: Steps | None = None
    decoder_hidden_states: Steps | None = None
    past_key_values: Cache | None = None


@dataclass
class GenerateBeamDecoderOnlyOutput(ModelOutput):
    """What beam search has found: also the score of each text, and the beam that each token came from."""

    sequences: Any = None
    sequences_scores: Any = None
    scores: tuple[Any, ...] | None = None
    logits: tuple[Any, ...] | None = None
    beam_indices: Any = None
    attentions: Steps | None = None
    hidden_states: Steps | None = None
    past_key_values: Cache | None = None


@dataclass
class GenerateBeamEncoderDecoderOutput(ModelOutput):
    """The same for an encoder-decoder."""

    sequences: Any = None
    sequences_scores: Any = None
    scores: tuple[Any, ...] | None = None
    logits: tuple[Any, ...] | None = None
    beam_indices: Any = None
    encoder_attentions: tuple[Any, ...] | None = None
    encoder_hidden_states: tuple[Any, ...] | None = None
    decoder_attentions: Steps | None = None
    cross_attentions: Steps | None = None
    decoder_hidden_states: Steps | None = None
    past_key_values: Cache | None = None
