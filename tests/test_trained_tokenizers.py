"""Vocabularies that are learned anew, compared with what transformers learns."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fixture_cases import FIXTURES
from trustformers import AutoTokenizer
from trustformers.tokenizers import AddedToken

RECORDED = json.loads((FIXTURES / "trained_tokenizers.json").read_text(encoding="utf-8"))
TEXTS: list[str] = RECORDED["texts"]


def load(name: str) -> Any:
    return AutoTokenizer.from_pretrained(FIXTURES / name)


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: case["fixture"])
def test_learns_what_transformers_learns(case: dict[str, Any]) -> None:
    trained = load(case["fixture"]).train_new_from_iterator(iter([TEXTS[:2], TEXTS[2:]]), **case["settings"])
    if "vocab" in case:
        assert trained.get_vocab() == case["vocab"]
        assert trained(TEXTS[0], TEXTS[1])["input_ids"] == case["ids"]
    assert len(trained) == case["length"]
    assert trained.special_tokens_map == case["special_tokens_map"]
    if "specials" in case:
        assert trained.extra_special_tokens == case["extra_special_tokens"]
        assert trained.all_special_ids == case["specials"]
    assert trained.model_max_length == case["model_max_length"]


def test_texts_may_come_one_by_one() -> None:
    bert = load("tokenizers/bert_vocab")
    one_by_one = bert.train_new_from_iterator(iter(TEXTS), 80, length=3)
    assert len(one_by_one) == len(bert.train_new_from_iterator([TEXTS], 80)) == 80
    assert one_by_one.decode(one_by_one.encode("fox"), skip_special_tokens=True) == "fox"
    assert type(one_by_one) is type(bert)
    token = AddedToken("<x>", lstrip=True)
    assert "<x>" in bert.train_new_from_iterator(TEXTS, 80, new_special_tokens=[token]).all_special_tokens


def test_what_cannot_be_learned_from() -> None:
    bert = load("tokenizers/bert_vocab")

    def failing() -> Iterator[str]:
        yield "the first text"
        raise RuntimeError("no more texts")

    with pytest.raises(RuntimeError, match="no more texts"):
        bert.train_new_from_iterator(failing(), 80)
    with pytest.raises(TypeError, match="lists of texts"):
        bert.train_new_from_iterator([3], 80)
    with pytest.raises(TypeError, match="lists of texts"):
        bert.train_new_from_iterator([["a", None]], 80)
    with pytest.raises(ValueError, match="minimal"):
        bert.train_new_from_iterator(TEXTS, 80, minimal=3)
