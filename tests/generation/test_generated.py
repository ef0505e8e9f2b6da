"""What is generated is what transformers generates, token by token; reference/generation.py records it."""

import json
from typing import Any

import numpy as np
import pytest
from settings import DRAWN, GUIDED, NOT_RECORDED, SETTINGS, single

from fixture_cases import FIXTURES, Head, heads

RECORDED = json.loads((FIXTURES / "generation" / "texts.json").read_text())
HEADS = {str(head): head for head in heads(FIXTURES / "architectures")}
MODELS = [pytest.param(HEADS[key], found, id=key) for key, found in RECORDED.items()]


def inputs(found: dict[str, Any], texts: int = 3) -> dict[str, np.ndarray]:
    return {name: np.array(rows[:texts]) for name, rows in found["inputs"].items()}


@pytest.mark.parametrize(("head", "found"), MODELS)
def test_texts(head: Head, found: dict[str, Any]) -> None:
    for name, wanted in found["texts"].items():
        texts = head.model.generate(
            **inputs(found, 1 if single(name) else 3),
            **(SETTINGS | GUIDED)[name],
            **found["always"],
            return_dict_in_generate=True,
            output_scores=True,
        )
        assert texts.sequences.tolist() == wanted["sequences"], f"{head} {name}"
        assert texts.sequences.dtype == np.int64
        if "scores" in wanted:
            np.testing.assert_allclose(texts.sequences_scores, wanted["scores"], rtol=2e-4, err_msg=name)


@pytest.mark.parametrize(("head", "found"), [model for model in MODELS if model.values[1]["drawn"]])
def test_what_is_drawn_from(head: Head, found: dict[str, Any]) -> None:
    for name, rows in found["drawn"].items():
        texts = head.model.generate(
            **inputs(found),
            **DRAWN[name],
            **found["always"],
            max_new_tokens=1,
            do_sample=True,
            return_dict_in_generate=True,
            output_scores=True,
        )
        wanted = np.array(rows, dtype=float)  # null is NaN
        wanted[np.isnan(wanted)] = -np.inf
        np.testing.assert_allclose(texts.scores[0], wanted, rtol=5e-4, atol=5e-4, err_msg=f"{head} {name}")


def test_every_model_that_can_generate_is_recorded() -> None:
    able = {str(head) for head in HEADS.values() if head.auto.endswith(("CausalLM", "Seq2SeqLM"))}
    assert able - NOT_RECORDED == set(RECORDED)
    assert all(len(found["texts"]) >= 7 for found in RECORDED.values()), "too few cases survive rounding"
