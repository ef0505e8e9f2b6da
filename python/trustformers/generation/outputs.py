"""What ``generate`` returns with ``return_dict_in_generate=True``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..models.cache import Cache
from ..models.outputs import ABSENT, A, ModelOutput

#: For every step a tuple with a tensor for each layer.
Steps = tuple[tuple[Any, ...], ...]


@dataclass
class GenerateDecoderOnlyOutput(ModelOutput[A]):
    """What a decoder has written: ``sequences`` is (texts, length), prompts included.

    ``scores`` are the processed scores and ``logits`` the raw ones, (texts, vocabulary) for every step.
    """

    sequences: A = ABSENT
    scores: tuple[A, ...] | None = None
    logits: tuple[A, ...] | None = None
    attentions: Steps | None = None
    hidden_states: Steps | None = None
    past_key_values: Cache | None = None


@dataclass
class GenerateEncoderDecoderOutput(ModelOutput[A]):
    """What the decoder of an encoder-decoder has written, and what its encoder gave."""

    sequences: A = ABSENT
    scores: tuple[A, ...] | None = None
    logits: tuple[A, ...] | None = None
    encoder_attentions: tuple[A, ...] | None = None
    encoder_hidden_states: tuple[A, ...] | None = None
    decoder_attentions: Steps | None = None
    cross_attentions: Steps | None = None
    decoder_hidden_states: Steps | None = None
    past_key_values: Cache | None = None


@dataclass
class GenerateBeamDecoderOnlyOutput(ModelOutput[A]):
    """What beam search has found: also the score of each text, and the beam that each token came from."""

    sequences: A = ABSENT
    sequences_scores: Any = None
    scores: tuple[A, ...] | None = None
    logits: tuple[A, ...] | None = None
    beam_indices: Any = None
    attentions: Steps | None = None
    hidden_states: Steps | None = None
    past_key_values: Cache | None = None


@dataclass
class GenerateBeamEncoderDecoderOutput(ModelOutput[A]):
    """The same for an encoder-decoder."""

    sequences: A = ABSENT
    sequences_scores: Any = None
    scores: tuple[A, ...] | None = None
    logits: tuple[A, ...] | None = None
    beam_indices: Any = None
    encoder_attentions: tuple[A, ...] | None = None
    encoder_hidden_states: tuple[A, ...] | None = None
    decoder_attentions: Steps | None = None
    cross_attentions: Steps | None = None
    decoder_hidden_states: Steps | None = None
    past_key_values: Cache | None = None
