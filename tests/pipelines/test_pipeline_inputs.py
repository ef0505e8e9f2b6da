"""What is no input: the exceptions of transformers' pipelines."""

from typing import Any

import pytest
from pipeline_cases import CHECKPOINTS

from trustformers import PipelineException, pipeline

LABELS = {"candidate_labels": ["a", "b"]}


@pytest.mark.parametrize("given", [None, b"bytes", 3, "\ud800", ["a", None], ["a", ["b", 3]]])
@pytest.mark.parametrize(
    ("task", "checkpoint", "keywords"),
    [
        ("text-classification", "labels", {}),
        ("feature-extraction", "features", {}),
        ("fill-mask", "masks", {}),
        ("zero-shot-classification", "entailment", LABELS),
    ],
)
def test_what_is_no_text(task: str, checkpoint: str, keywords: dict[str, Any], given: Any) -> None:
    pipe = pipeline(task, model=str(CHECKPOINTS[checkpoint].folder))
    with pytest.raises((ValueError, TypeError, PipelineException)):
        pipe(given, **keywords)


def test_fill_mask() -> None:
    pipe = pipeline("fill-mask", model=str(CHECKPOINTS["masks"].folder))
    with pytest.raises(PipelineException, match=r"No mask_token \(\[MASK\]\) found on the input") as caught:
        pipe("no mask")
    assert caught.value.task == "fill-mask"
    with pytest.raises(PipelineException, match="input 1: No mask_token"):
        pipe(["a [MASK]", "no mask"])
    with pytest.raises(ValueError, match="At least one target"):
        pipe("a [MASK]", targets=[])
    with pytest.raises(ValueError, match="At least one target"):
        pipe("a [MASK]", targets=[""])
    with pytest.raises(RuntimeError, match="top_k=99999"):
        pipe("a [MASK]", top_k=99999)
    with pytest.raises(ValueError, match="top_k must be"):
        pipe("a [MASK]", top_k=-1)
    assert pipe("a [MASK]", top_k=0) == []
    with pytest.raises(PipelineException, match="does not define a `mask_token`"):
        pipeline("fill-mask", model=pipe.model, tokenizer=str(CHECKPOINTS["decoder-features"].folder))


def test_zero_shot() -> None:
    pipe = pipeline("zero-shot-classification", model=str(CHECKPOINTS["entailment"].folder))
    with pytest.raises(TypeError, match="candidate_labels"):
        pipe("a text")
    with pytest.raises(ValueError, match="at least one label"):
        pipe("a text", candidate_labels=[])
    with pytest.raises(ValueError, match="at least one sequence"):
        pipe("", candidate_labels=["a"])
    with pytest.raises(ValueError, match="not able to be formatted"):
        pipe("a text", candidate_labels=["a"], hypothesis_template="It is so.")
    with pytest.raises(ValueError, match="Unable to understand extra arguments"):
        pipe("a text", ["a"], ["b"])
    with pytest.warns(DeprecationWarning, match="multi_label"):
        old = pipe("a text", candidate_labels=["a", "b"], multi_class=True)
    assert old == pipe("a text", candidate_labels=["a", "b"], multi_label=True)
    assert pipe("a text", ["a", "b"]) == pipe("a text", candidate_labels="a, b")


def test_all_scores_as_in_transformers_4() -> None:
    folder = str(CHECKPOINTS["labels"].folder)
    pipe = pipeline("text-classification", model=folder)
    ranked, best = pipe("a text", top_k=None), pipe("a text")
    with pytest.warns(DeprecationWarning, match="use `top_k=None`"):
        old = pipeline("text-classification", model=folder, return_all_scores=True)
    by_label = sorted(ranked, key=lambda one: pipe.model.config.label2id[one["label"]])
    assert old("a text") == [by_label]
    assert old(["a text", "a text"]) == [by_label, by_label]
    assert old("a text", top_k=1) == best
    with pytest.warns(DeprecationWarning, match="top_k=1"):
        assert pipe("a text", return_all_scores=False) == best


def test_text_classification() -> None:
    pipe = pipeline("text-classification", model=str(CHECKPOINTS["labels"].folder))
    with pytest.raises(ValueError, match="text pairs"):
        pipe([["a", "b"]])
    with pytest.raises(ValueError, match="not a valid ClassificationFunction"):
        pipe("a", function_to_apply="tanh")
