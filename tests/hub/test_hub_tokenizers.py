"""Tokenizers from a repository: one commit, and no question too many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hub_cases import NAME
from hub_server import File, Hub

from trustformers import AutoTokenizer, BertTokenizer

FIXTURE = Path(__file__).parents[1] / "fixtures" / "tokenizers" / "bert"


def files(maximum: int) -> dict[str, File | bytes]:
    """A tokenizer that says how much its model takes."""
    return {
        "config.json": b'{"model_type": "bert"}',
        "tokenizer.json": (FIXTURE / "tokenizer.json").read_bytes(),
        "tokenizer_config.json": b'{"model_max_length": %d}' % maximum,
    }


def test_a_warm_tokenizer_costs_one_question(hub: Hub) -> None:
    hub.add(NAME, files(512))
    for _ in range(2):
        before = len(hub.requests)
        assert type(AutoTokenizer.from_pretrained(NAME)) is BertTokenizer
    assert [(r.method, r.path) for r in hub.requests[before:]] == [
        ("HEAD", f"/{NAME}/resolve/main/tokenizer_config.json")
    ]


def test_a_registered_class_is_made_of_the_files_that_chose_it(hub: Hub) -> None:
    class Own(BertTokenizer):
        pass

    class OwnConfig:
        model_type = "own"

    AutoTokenizer.register(OwnConfig, Own)
    hub.add(NAME, files(512) | {"config.json": b'{"model_type": "own"}'})
    for _ in range(2):
        before = len(hub.requests)
        assert type(AutoTokenizer.from_pretrained(NAME)) is Own
    assert len(hub.requests) == before + 1


def test_a_registered_class_may_load_itself(hub: Hub) -> None:
    class Itself(BertTokenizer):
        @classmethod
        def from_pretrained(cls, *inputs: Any, **options: Any) -> Any:
            return cls(model_max_length=7)

    class ItselfConfig:
        model_type = "itself"

    AutoTokenizer.register(ItselfConfig, Itself)
    hub.add(NAME, files(512) | {"config.json": b'{"model_type": "itself"}'})
    assert AutoTokenizer.from_pretrained(NAME).model_max_length == 7
