"""Every architecture and head answers what transformers answers, in every way of calling it.

    pytest tests/test_architectures.py -k llama                            # one architecture
    pytest tests/test_architectures.py -k "llama/rope and ForCausalLM"     # one head of some of its rows

A row (tests/fixtures/architectures/llama/default) is one configuration; reference/make.py says what is in it.
What we do not have yet is in gaps.py.
"""

import json
from typing import Any

import numpy as np
import pytest

import gaps
import trustformers
from agreement import TOLERANCE, TOLERANCE_OF_BFLOAT16, errors, visible
from drawn_weights import draw
from fixture_cases import FIXTURES, Case, Head, cases, heads

HEADS = heads(FIXTURES / "architectures", FIXTURES / "bert")
NOT_YET = "not there yet: gaps.py has the list"
DEFAULTS = json.loads((FIXTURES / "architectures" / "defaults.json").read_text())


def parameter(case: Case) -> Any:
    """A case, marked if it cannot pass yet."""
    name = case.head.class_name
    if name in gaps.CLASSES:
        marks: Any = pytest.mark.skip(reason=NOT_YET)
    elif (name, case.name) in gaps.CALLS:
        marks = pytest.mark.xfail(strict=True, reason=NOT_YET)
    else:
        marks = ()
    return pytest.param(case, id=str(case), marks=marks)


@pytest.mark.parametrize("case", [parameter(case) for head in HEADS for case in cases(head)])
def test_it_answers_what_transformers_answers(case: Case) -> None:
    past: dict[str, Any] = {"use_cache": True} if len(case.calls) > 1 else {}
    tolerance = TOLERANCE_OF_BFLOAT16 if case.head.model.dtype == "bfloat16" else TOLERANCE
    for number, call in enumerate(case.calls):
        ours = case.head.model(**call.arguments, **call.flags, **past)
        where = f"{case}, call {number}"
        wrong = [
            f"{field} is off by {error:.1e}"
            for error, field in errors(call.inputs, ours, call.outputs, case.head.mask)
            if error > tolerance
        ]
        assert not wrong, f"{where}: {', '.join(wrong)}"
        for field, expected in call.outputs.items():
            assert type(ours[field]) is type(expected), f"{where}: {field} is a {type(ours[field])}"
            for layer, array in enumerate(ours[field] if isinstance(expected, tuple) else [ours[field]]):
                assert array.dtype == np.float32, f"{where}: {field} is {array.dtype}"
                hidden = ~visible(call.inputs, field, array, case.head.mask)
                if case.head.auto == "AutoModel":
                    zeros = not array[hidden].any()
                    assert zeros, f"{where}: {field} {layer} is not zero where the mask hides it"
        if len(case.calls) > 1:
            past["past_key_values"] = ours.past_key_values


@pytest.mark.parametrize("head", [head for head in HEADS if head.class_name not in gaps.CLASSES], ids=str)
def test_every_tensor_of_the_checkpoint_is_used_and_none_is_missing(head: Head) -> None:
    _, info = getattr(trustformers, head.auto).from_pretrained(
        head.folder, output_loading_info=True, **head.load
    )
    assert not info["missing_keys"]
    assert not info["mismatched_keys"]
    if head.weights is not None:
        assert not info["unexpected_keys"]


@pytest.mark.parametrize("model_type", DEFAULTS)
def test_the_defaults_of_the_configuration_are_transformers(model_type: str) -> None:
    wanted = DEFAULTS[model_type]
    if wanted["class"] in gaps.CLASSES:
        pytest.skip(NOT_YET)
    config = trustformers.AutoConfig.for_model(model_type)
    assert type(config) is getattr(trustformers, wanted["class"])
    found = {name: getattr(config, name, "missing") for name in wanted["fields"]}
    assert found == wanted["fields"]


def test_the_list_of_what_is_not_there_is_true() -> None:
    classes = {head.class_name for head in HEADS} | {wanted["class"] for wanted in DEFAULTS.values()}
    missing = {name for name in classes if not hasattr(trustformers, name)}
    assert missing - gaps.CLASSES == set(), "these are missing: write them into CLASSES in gaps.py"
    assert gaps.CLASSES - missing == set(), "these are there now: take them out of CLASSES in gaps.py"


def test_the_weights_are_those_of_which_transformers_was_asked() -> None:
    """The function that draws them must never change, on no machine."""
    assert draw("seed", "norm.weight", [3]).tobytes().hex() == "007e833f007b593f00cc453f"
    assert draw("seed", "layer.bias", [3]).tobytes().hex() == "ec88d13c103775bd97c3263e"
    assert draw("seed", "layer.weight", [2, 2]).tobytes().hex() == "7f8d163f589d83bf562598bf52ea1fbf"
