"""The inputs of the fixtures, one function per family of architectures."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Case:
    name: str
    inputs: dict[str, torch.Tensor]
    states: bool = False
    """Whether hidden states and attentions are recorded as well."""


def encoder(config: PreTrainedConfig) -> list[Case]:
    """Every way to call an encoder."""
    draw = torch.Generator().manual_seed(0)

    def ids(*shape: int) -> torch.Tensor:
        return torch.randint(1, config.vocab_size, shape, generator=draw)

    def segments(*shape: int) -> torch.Tensor:
        return torch.randint(0, config.type_vocab_size, shape, generator=draw)

    right = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0]])
    left = right.flip(1)
    holes = torch.tensor([[1, 0, 1, 1, 0, 0, 1], [0, 1, 1, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0, 0]])
    first_and_last = torch.tensor([[0, config.vocab_size - 1, 0]])
    shuffled = torch.randperm(config.max_position_embeddings, generator=draw)[:12].reshape(2, 6)

    return [
        Case("single", {"input_ids": ids(1, 5)}),
        Case("batch", {"input_ids": ids(3, 6)}),
        Case("first_and_last_id", {"input_ids": first_and_last}),
        Case("right_padded", padded(ids(3, 7), right) | {"token_type_ids": segments(3, 7)}, states=True),
        Case("left_padded", padded(ids(3, 7), left) | {"token_type_ids": segments(3, 7)}),
        Case("holes", padded(ids(3, 7), holes)),
        Case("segments", {"input_ids": ids(2, 6), "token_type_ids": segments(2, 6)}),
        Case("positions", {"input_ids": ids(2, 6), "position_ids": shuffled}),
        Case("one_row_of_positions", {"input_ids": ids(2, 6), "position_ids": shuffled[:1]}),
        Case(
            "embeddings",
            {
                "inputs_embeds": torch.normal(0, 0.05, (3, 7, config.hidden_size), generator=draw),
                "attention_mask": right,
            },
        ),
        Case("length_one", {"input_ids": ids(1, 1)}, states=True),
        Case("length_max", {"input_ids": ids(1, config.max_position_embeddings)}),
    ]


def encoder_short(config: PreTrainedConfig) -> list[Case]:
    """Enough where only the weights differ."""
    return [case for case in encoder(config) if case.name == "right_padded"]


def padded(ids: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"input_ids": ids * mask, "attention_mask": mask}
