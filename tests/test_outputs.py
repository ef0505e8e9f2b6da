"""A model's output is transformers' ModelOutput: an ordered dict, a tuple and a bag of attributes at once."""

import copy
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

from fixture_cases import FIXTURES
from trustformers import AutoModel

IDS = np.array([[5, 9, 2, 17], [3, 3, 8, 1]])


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModel.from_pretrained(FIXTURES / "bert" / "default")


@pytest.fixture
def outputs(model: Any) -> Any:
    return model(IDS)


def test_attribute_key_and_index_are_one_object(outputs: Any) -> None:
    assert outputs.last_hidden_state is outputs["last_hidden_state"] is outputs[0] is outputs[-2]
    assert outputs.pooler_output is outputs["pooler_output"] is outputs[1] is outputs[-1]


def test_slices_and_to_tuple(outputs: Any) -> None:
    assert outputs[:1] == (outputs.last_hidden_state,)
    both = outputs.to_tuple()
    assert type(both) is tuple
    assert len(both) == 2
    assert both[0] is outputs[:2][0] is outputs[::-1][1] is outputs.last_hidden_state


def test_it_iterates_and_unpacks_to_its_keys(outputs: Any) -> None:
    assert list(outputs) == list(outputs.keys()) == ["last_hidden_state", "pooler_output"]
    first, second = outputs
    assert (first, second) == ("last_hidden_state", "pooler_output")
    hidden, pooled = outputs.to_tuple()
    assert hidden is outputs[0]
    assert pooled is outputs[1]


def test_it_is_an_ordered_dict(outputs: Any) -> None:
    assert isinstance(outputs, OrderedDict)
    assert len(outputs) == 2
    assert [key for key, _ in outputs.items()] == list(outputs)
    assert all(a is b for a, b in zip(outputs.values(), outputs.to_tuple(), strict=True))
    assert {**outputs}.keys() == dict(outputs).keys() == outputs.keys()
    assert outputs.get("hidden_states", "absent") == "absent"


def test_a_field_that_is_none_is_an_attribute_and_nothing_else(model: Any, outputs: Any) -> None:
    for name in ("hidden_states", "past_key_values", "attentions", "cross_attentions"):
        assert getattr(outputs, name) is None
        assert name not in outputs
        with pytest.raises(KeyError, match=name):
            outputs[name]
    with_attentions = model(IDS, output_attentions=True)
    assert with_attentions[2] is with_attentions.attentions
    assert list(with_attentions) == ["last_hidden_state", "pooler_output", "attentions"]


def test_the_fields_stand_in_transformers_order(model: Any) -> None:
    everything = model(IDS, output_attentions=True, output_hidden_states=True)
    assert list(everything) == ["last_hidden_state", "pooler_output", "hidden_states", "attentions"]


def test_what_is_not_there_raises(outputs: Any) -> None:
    with pytest.raises(IndexError):
        outputs[2]
    with pytest.raises(KeyError, match="logits"):
        outputs["logits"]
    with pytest.raises(AttributeError, match="logits"):
        outputs.logits  # noqa: B018


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("__delitem__", ("pooler_output",)),
        ("pop", ("pooler_output",)),
        ("update", ({"pooler_output": None},)),
        ("setdefault", ("pooler_output", None)),
    ],
)
def test_fields_cannot_be_taken_away(outputs: Any, method: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(Exception, match=f"You cannot use ``{method}`` on a BaseModelOutputWith"):
        getattr(outputs, method)(*arguments)
    assert list(outputs) == ["last_hidden_state", "pooler_output"]


def test_del_raises(outputs: Any) -> None:
    with pytest.raises(Exception, match="You cannot use ``__delitem__``"):
        del outputs["pooler_output"]


def test_attribute_and_key_are_set_together(outputs: Any) -> None:
    outputs.pooler_output = "by attribute"
    assert outputs["pooler_output"] == outputs[1] == "by attribute"
    outputs["pooler_output"] = "by key"
    assert outputs.pooler_output == outputs[1] == "by key"
    outputs.attentions = ("now there",)
    assert outputs["attentions"] == outputs[2] == ("now there",)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_it_pickles(model: Any, protocol: int) -> None:
    outputs = model(IDS, output_hidden_states=True)
    restored = pickle.loads(pickle.dumps(outputs, protocol))
    assert type(restored) is type(outputs)
    assert list(restored) == list(outputs)
    assert restored.attentions is None
    np.testing.assert_array_equal(restored.last_hidden_state, outputs.last_hidden_state)
    for ours, theirs in zip(restored.hidden_states, outputs.hidden_states, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_it_copies(outputs: Any) -> None:
    shallow, deep = copy.copy(outputs), copy.deepcopy(outputs)
    assert shallow.last_hidden_state is outputs.last_hidden_state
    assert deep.last_hidden_state is not outputs.last_hidden_state
    np.testing.assert_array_equal(deep["last_hidden_state"], outputs["last_hidden_state"])


def test_its_repr_names_the_class_and_the_fields(outputs: Any) -> None:
    assert repr(outputs).startswith("BaseModelOutputWithPoolingAndCrossAttentions(")
    assert "last_hidden_state=" in repr(outputs)
