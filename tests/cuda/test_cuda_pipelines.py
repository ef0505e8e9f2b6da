"""Pipelines on a GPU answer what they answer on the processor."""

from typing import Any

import numpy as np
import pytest
from pipeline_cases import CASES, CHECKPOINTS, TEXTS, Case

from trustformers import AutoModelForSequenceClassification, Tensor, pipeline

#: The first case of each task and checkpoint, and one whose inputs run together.
FIRST = {(case.task, case.checkpoint): case for cases in CASES.values() for case in reversed(cases)}


def assert_alike(found: Any, expected: Any) -> None:
    """Numbers within 1e-4, all else exactly."""
    if isinstance(expected, (float, np.floating)):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_alike(found[key], value)
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    elif isinstance(expected, Tensor):
        assert_alike(found.tolist(), expected.tolist())
    else:
        assert found == expected


@pytest.mark.parametrize("case", FIRST.values(), ids=[case.name for case in FIRST.values()])
def test_a_pipeline_answers_alike(case: Case) -> None:
    folder = str(CHECKPOINTS[case.checkpoint].folder)
    here = pipeline(case.task, model=folder, device=-1, **case.made)
    there = pipeline(case.task, model=folder, device=0, **case.made)
    assert (here.device, there.device, there.model.device) == ("cpu", "cuda:0", "cuda:0")
    assert_alike(there(case.inputs, **case.call), here(case.inputs, **case.call))


def test_where_a_pipeline_runs() -> None:
    folder = str(CHECKPOINTS["labels"].folder)
    expected = pipeline("text-classification", model=folder, device="cpu")(TEXTS)
    places: list[dict[str, Any]] = [{"device": "cuda"}, {"device": "cuda:0"}, {"device_map": "cuda"}]
    for place in [{}, *places, {"device_map": "auto"}]:
        pipe = pipeline("text-classification", model=folder, **place)
        assert pipe.device == "cuda:0"
        assert_alike(pipe(TEXTS, batch_size=3), expected)
    spread = {"": 0, "bert.encoder.layer.1": "cpu"}
    pipe = pipeline("text-classification", model=folder, device_map=spread)
    assert_alike(pipe(TEXTS), expected)
    with pytest.raises(ValueError, match="leave out device="):
        pipeline("text-classification", model=pipe.model, tokenizer=pipe.tokenizer, device="cuda")
    model = AutoModelForSequenceClassification.from_pretrained(folder).cuda()
    for device in (None, -1, 0):
        pipe = pipeline("text-classification", model=model, tokenizer=pipe.tokenizer, device=device)
        assert pipe.device == "cuda:0"
    with pytest.raises(RuntimeError, match="there is no cuda:9"):
        pipeline("text-classification", model=folder, device=9)
