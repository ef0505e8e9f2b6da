"""The answers of every pipeline are transformers'."""

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from pipeline_cases import CASES, CHECKPOINTS, FIXTURES, Case

from trustformers import Tensor, pipeline
from trustformers.pipelines import Text2TextGenerationPipeline


@cache
def answers(release: str) -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads((FIXTURES / f"answers-{release}.json").read_text())
    return recorded


def assert_alike(ours: Any, theirs: Any, place: str = "answer") -> None:
    """Scores within 1e-5, all else exactly."""
    if isinstance(theirs, float):
        assert isinstance(ours, (float, np.floating)), place
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5), place
    elif isinstance(theirs, dict):
        assert isinstance(ours, dict), place
        assert list(ours) == list(theirs), place
        for key, value in theirs.items():
            assert_alike(ours[key], value, f"{place}[{key!r}]")
    elif isinstance(theirs, list):
        ours = ours.tolist() if isinstance(ours, Tensor) else ours
        assert isinstance(ours, list), place
        assert len(ours) == len(theirs), place
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_alike(one, other, f"{place}[{index}]")
    else:
        assert ours == theirs, place


ALL = [(release, case) for release, cases in CASES.items() for case in cases]


@pytest.mark.parametrize(("release", "case"), ALL, ids=[case.name for _, case in ALL])
def test_answers(release: str, case: Case) -> None:
    pipe = pipeline(case.task, model=str(CHECKPOINTS[case.checkpoint].folder), **case.made)
    assert_alike(pipe(case.inputs, **case.call), answers(release)[case.name])


#: Those with several inputs, which may run together.
SEVERAL = [
    (release, case)
    for release, case in ALL
    if isinstance(case.inputs, list) and len(case.inputs) > 1 and "batch_size" not in case.call
]


@pytest.mark.parametrize(("release", "case"), SEVERAL, ids=[case.name for _, case in SEVERAL])
def test_batches_answer_alike(release: str, case: Case) -> None:
    pipe = pipeline(case.task, model=str(CHECKPOINTS[case.checkpoint].folder), **case.made)
    theirs = answers(release)[case.name]
    assert_alike(pipe(case.inputs, **case.call, batch_size=2), theirs)
    streamed = list(pipe(iter(case.inputs), **case.call, batch_size=3))
    if isinstance(pipe, Text2TextGenerationPipeline) and isinstance(theirs[0], dict):
        # Only of a list does transformers make a flat one.
        streamed = [one for (one,) in streamed]
    assert_alike(streamed, theirs)
