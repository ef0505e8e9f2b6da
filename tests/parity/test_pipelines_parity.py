"""The live suite: pipelines answer drawn texts with drawn keywords as transformers does, at this moment."""

import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trustformers

hf = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

sys.path.append(str(Path(__file__).parent.parent / "pipelines"))

from pipeline_cases import CHECKPOINTS, STRATEGIES, TEXTS, UNUSUAL  # noqa: E402

hf.logging.set_verbosity_error()
hf.logging.disable_progress_bar()
torch.set_num_threads(1)  # the models are tiny

WORDS = sorted({word for text in (*TEXTS, *UNUSUAL) for word in text.split(" ")})
DRAWN = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
WORD = st.sampled_from(WORDS) | DRAWN
#: Of any length up to some chunks, and never without a token.
TEXT = st.lists(WORD, max_size=60).map(lambda words: " ".join(["The", *words]))
KEYWORDS = st.fixed_dictionaries(
    {},
    optional={
        "aggregation_strategy": st.sampled_from(STRATEGIES),
        "ignore_labels": st.sampled_from([[], ["O"], ["O", "PER", "I-LOC"]]),
        "stride": st.integers(0, 12),
        "is_split_into_words": st.just(True),
        "delimiter": st.sampled_from([" ", "", "__"]),
        "batch_size": st.integers(1, 3),
    },
)


@cache
def pipes(checkpoint: str) -> tuple[Any, Any]:
    folder = str(CHECKPOINTS[checkpoint].folder)
    return trustformers.pipeline("ner", model=folder), hf.pipeline("ner", model=folder, device="cpu")


@pytest.mark.parametrize("checkpoint", ["entities", "byte-entities", "unigram-entities", "decoder-entities"])
@settings(max_examples=15, deadline=None)
@given(
    texts=st.lists(TEXT, min_size=1, max_size=3),
    keywords=KEYWORDS,
    length=st.sampled_from([16, 40, 128]),
)
def test_token_classification(
    checkpoint: str, texts: list[str], keywords: dict[str, Any], length: int
) -> None:
    if keywords.get("aggregation_strategy") == "none":
        keywords.pop("stride", None)
    asked: list[Any] = list(texts)
    if keywords.get("is_split_into_words"):
        asked = [text.split(" ") for text in texts]
    answers = []
    for pipe in pipes(checkpoint):
        pipe.tokenizer.model_max_length = length
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answers.append(pipe(asked, **keywords))
    for ours, theirs in zip(*answers, strict=True):
        assert [without_score(entity) for entity in ours] == [without_score(entity) for entity in theirs]
        scores = [[entity["score"] for entity in entities] for entities in (ours, theirs)]
        np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-5)


def without_score(entity: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entity.items() if name != "score"}
