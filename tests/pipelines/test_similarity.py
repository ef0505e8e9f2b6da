"""Embeddings and similarity, which transformers does not have: against what they are made of."""

from pathlib import Path

import numpy as np
import pytest
from pipeline_cases import CHECKPOINTS, TEXTS

from trustformers import AutoModel, AutoTokenizer, pipeline

OTHERS = ["The river is long.", "It is raining.", "A king lives in Berlin."]


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_pooling(pooling: str, normalize: bool, batch_size: int) -> None:
    folder = str(CHECKPOINTS["features"].folder)
    pipe = pipeline("feature-extraction", model=folder)
    vectors = pipe(TEXTS, pooling=pooling, normalize=normalize, batch_size=batch_size)
    for text, vector in zip(TEXTS, vectors, strict=True):
        states = np.array(pipe(text)[0])
        expected = {"mean": states.mean(0), "cls": states[0], "last": states[-1]}[pooling]
        if normalize:
            expected = expected / np.linalg.norm(expected)
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_sentence_embeddings_in_one_line(minilm_path: Path) -> None:
    pipe = pipeline("feature-extraction", model=str(minilm_path), pooling="mean", normalize=True)
    bread, eating, girl = np.array(
        pipe(["A man is eating bread.", "Someone is having food.", "The girl carries a baby."])
    )
    assert bread.shape == (384,)
    assert bread @ bread == pytest.approx(1, abs=1e-5)
    assert bread @ eating > 0.4 > bread @ girl


@pytest.mark.parametrize("kind", [True, "tensor", "np"])
def test_kinds_of_tensors(kind: object) -> None:
    pipe = pipeline("feature-extraction", model=str(CHECKPOINTS["features"].folder))
    given = pipe(TEXTS[0], return_tensors=kind)
    assert type(given).__name__ == ("ndarray" if kind == "np" else "Tensor")
    np.testing.assert_allclose(np.asarray(given), pipe(TEXTS[0]), atol=1e-6)


def test_impossible_poolings() -> None:
    with pytest.raises(ValueError, match="pooling='max' is not one of mean, cls, last"):
        pipeline("feature-extraction", model=str(CHECKPOINTS["features"].folder), pooling="max")
    with pytest.raises(ValueError, match="truncation parameter defined twice"):
        pipeline("feature-extraction", model=str(CHECKPOINTS["features"].folder))(
            "a", truncation=True, tokenize_kwargs={"truncation": False}
        )


def test_a_cross_encoder_reads_both_texts() -> None:
    folder = str(CHECKPOINTS["one-label"].folder)
    pipe = pipeline("sentence-similarity", model=folder)
    pairs = pipeline("text-classification", model=folder)
    expected = [pairs({"text": TEXTS[0], "text_pair": other})["score"] for other in OTHERS]
    given = {"source_sentence": TEXTS[0], "sentences": OTHERS}
    np.testing.assert_allclose(pipe(given), expected, rtol=1e-5)
    raw = pipe(given, function_to_apply="none")
    np.testing.assert_allclose(1 / (1 + np.exp(-np.array(raw))), expected, rtol=1e-5)
    pipe.model.config.sentence_transformers = {"activation_fn": "torch.nn.modules.linear.Identity"}
    np.testing.assert_allclose(pipe(given), raw, rtol=1e-5)


@pytest.mark.parametrize("key", ["texts", "documents"])
def test_ranking(key: str) -> None:
    pipe = pipeline("text-ranking", model=str(CHECKPOINTS["one-label"].folder))
    scores = pipe({"source_sentence": TEXTS[0], "sentences": OTHERS})
    ranked = pipe({"query": TEXTS[0], key: OTHERS})
    assert [one["score"] for one in ranked] == sorted(scores, reverse=True)
    assert [OTHERS[one["index"]] for one in ranked] == [one["text"] for one in ranked]
    best = pipe([{"query": TEXTS[0], key: OTHERS}] * 2, top_k=1)
    assert [[one["text"] for one in ranking] for ranking in best] == [[ranked[0]["text"]]] * 2


def test_embeddings_are_compared_by_their_angle(minilm_path: Path) -> None:
    pipe = pipeline("sentence-similarity", model=str(minilm_path))
    assert type(pipe.model).__name__ == "BertModel"
    others = ["Someone is having food.", "The girl carries a baby."]
    scores = pipe({"source_sentence": "A man is eating bread.", "sentences": others})
    tokenizer, model = AutoTokenizer.from_pretrained(minilm_path), AutoModel.from_pretrained(minilm_path)
    vectors = []
    for text in ("A man is eating bread.", *others):
        vector = model(**tokenizer(text, return_tensors="np")).last_hidden_state[0].mean(0)
        vectors.append(vector / np.linalg.norm(vector))
    np.testing.assert_allclose(scores, [vectors[0] @ vector for vector in vectors[1:]], atol=1e-5)


def test_bad_input() -> None:
    pipe = pipeline("sentence-similarity", model=str(CHECKPOINTS["one-label"].folder))
    with pytest.raises(ValueError, match=r"takes .* got a str"):
        pipe("text")
    with pytest.raises(ValueError, match=r"got the keys \['sentences'\]"):
        pipe({"sentences": OTHERS})
    with pytest.raises(ValueError, match="at least one text"):
        pipe({"source_sentence": "a", "sentences": []})
    with pytest.raises(ValueError, match="has 3 labels where a similarity is one number"):
        pipeline("sentence-similarity", model=str(CHECKPOINTS["labels"].folder))
    with pytest.raises(ValueError, match="pooling="):
        pipe({"source_sentence": "a", "sentences": ["b"]}, pooling="sum")
