"""BERT gives what transformers gives, however it is called."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gaps
import safetensors_file
from fixture_cases import FIXTURES, Case, cases, heads
from trustformers import AutoConfig, AutoModel

DEFAULT = FIXTURES / "bert" / "default"
ODD = FIXTURES / "bert" / "odd_sizes"
IDS = np.array([[5, 9, 2, 17], [3, 3, 8, 1]])

opened = cache(AutoModel.from_pretrained)


def case_named(folder: Path, name: str) -> Case:
    return next(case for case in cases_of(folder) if case.name == name)


def cases_of(folder: Path) -> list[Case]:
    """All that can be asked today; test_architectures.py compares every one of them with transformers."""
    (head,) = heads(folder)
    return [case for case in cases(head) if (head.class_name, case.name) not in gaps.CALLS]


def assert_close(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


# The answers.


@pytest.mark.parametrize("name", ["no_mask", "right_padded", "left_padded", "holes", "embeddings"])
def test_a_row_alone_gives_what_it_gives_in_a_batch(name: str) -> None:
    (call,) = case_named(ODD, name).calls
    model = opened(ODD)
    together = model(**call.inputs)
    for row in range(len(together.last_hidden_state)):
        alone = model(**{key: value[row : row + 1] for key, value in call.inputs.items()})
        # Sums over fewer rows go in another order: the last digits.
        np.testing.assert_allclose(alone[0][0], together[0][row], rtol=1e-5, atol=5e-6)
        np.testing.assert_allclose(alone[1][0], together[1][row], rtol=1e-6, atol=1e-6)


def test_what_stands_under_the_mask_changes_nothing() -> None:
    (call,) = case_named(ODD, "left_padded").calls
    model = opened(ODD)
    noise = np.where(call.inputs["attention_mask"], call.inputs["input_ids"], 17)
    others = model(**call.inputs | {"input_ids": noise})
    np.testing.assert_array_equal(others[0], model(**call.inputs)[0])


def test_a_row_that_is_hidden_altogether_is_zeros_and_leaves_its_neighbours_alone() -> None:
    model = opened(ODD)
    outputs = model(IDS, attention_mask=np.array([[1, 1, 1, 1], [0, 0, 0, 0]]))
    assert not outputs.last_hidden_state[1].any()
    assert np.isfinite(outputs.pooler_output).all()
    np.testing.assert_allclose(outputs[0][:1], model(IDS[:1])[0], rtol=0, atol=1e-6)


def test_threads_share_a_model_and_each_gets_its_own_answer() -> None:
    calls = [call for case in cases_of(ODD) for call in case.calls] * 20
    model = opened(ODD)
    alone = [model(**call.inputs) for call in calls]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda call: model(**call.inputs), calls))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.last_hidden_state, other.last_hidden_state)
        np.testing.assert_array_equal(one.pooler_output, other.pooler_output)


# The ways to call it.


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64])
def test_any_integer_is_an_id(dtype: type) -> None:
    model = opened(DEFAULT)
    np.testing.assert_array_equal(model(IDS.astype(dtype))[0], model(IDS)[0])


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.float32, np.float64])
def test_a_mask_may_be_of_any_type(dtype: type) -> None:
    (call,) = case_named(DEFAULT, "right_padded").calls
    mask = call.inputs["attention_mask"]
    ours = opened(DEFAULT)(**call.inputs | {"attention_mask": mask.astype(dtype)}).last_hidden_state
    assert_close(ours[mask == 1], call.outputs["last_hidden_state"][mask == 1])


@pytest.mark.parametrize(
    "ids",
    [IDS[:1].tolist(), tuple(map(tuple, IDS[:1].tolist())), IDS[0].tolist(), IDS[:1]],
    ids=["lists", "tuples", "a list of ids is a batch of one", "array"],
)
def test_ids_may_be_lists(ids: Any) -> None:
    outputs = opened(DEFAULT)(ids)
    assert type(outputs.last_hidden_state) is np.ndarray
    np.testing.assert_array_equal(outputs[0], opened(DEFAULT)(input_ids=IDS[:1])[0])


@pytest.mark.parametrize(
    "ids",
    [np.asfortranarray(IDS), np.repeat(IDS, 2, axis=1)[:, ::2], IDS[:, ::-1][:, ::-1], IDS.astype(">i8")],
    ids=["columns first", "every second", "backwards twice", "big-endian"],
)
def test_ids_may_lie_in_memory_as_they_like(ids: np.ndarray) -> None:
    np.testing.assert_array_equal(opened(DEFAULT)(ids)[0], opened(DEFAULT)(IDS)[0])


def test_inputs_are_left_as_they_were() -> None:
    (call,) = case_named(DEFAULT, "holes").calls
    before = {name: value.copy() for name, value in call.inputs.items()}
    opened(DEFAULT)(**call.inputs)
    for name, value in before.items():
        np.testing.assert_array_equal(call.inputs[name], value)


def test_forward_is_call() -> None:
    model = opened(DEFAULT)
    np.testing.assert_array_equal(model.forward(input_ids=IDS)[0], model(IDS)[0])


def test_outputs_outlive_the_model() -> None:
    expected = opened(DEFAULT)(IDS)[0]
    ours = AutoModel.from_pretrained(DEFAULT)(IDS)[0]
    np.testing.assert_array_equal(ours, expected)
    ours[...] = 0  # theirs to write to


def test_return_dict_false_gives_a_tuple() -> None:
    model = opened(ODD)
    outputs = model(IDS, return_dict=False)
    assert type(outputs) is tuple
    last_hidden_state, pooler_output = outputs
    np.testing.assert_array_equal(last_hidden_state, model(IDS).last_hidden_state)
    np.testing.assert_array_equal(pooler_output, model(IDS).pooler_output)


def test_return_dict_false_holds_the_states_in_order_and_skips_what_is_not_there() -> None:
    everything = {"return_dict": False, "output_hidden_states": True, "output_attentions": True}
    _, pooler_output, hidden_states, attentions = opened(ODD)(IDS, **everything)
    assert pooler_output.shape == (2, 24)
    assert len(hidden_states) == 4
    assert len(attentions) == 3
    no_pooler = opened(FIXTURES / "bert" / "no_pooler", add_pooling_layer=False)
    assert [type(field) for field in no_pooler(IDS, **everything)] == [np.ndarray, tuple, tuple]


def test_the_configuration_may_ask_for_states() -> None:
    model = AutoModel.from_pretrained(ODD, output_hidden_states=True)
    assert len(model(IDS).hidden_states) == 4
    assert model(IDS, output_hidden_states=False).hidden_states is None


# The ways to open it.


def test_the_folder_may_be_a_string_or_a_path() -> None:
    np.testing.assert_array_equal(AutoModel.from_pretrained(str(DEFAULT))(IDS)[0], opened(DEFAULT)(IDS)[0])


def test_the_model_knows_its_configuration() -> None:
    config = opened(ODD).config
    written = json.loads((ODD / "config.json").read_text())
    for name in ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
        assert getattr(config, name) == written[name]


def test_from_config_has_the_shapes_of_the_configuration_and_weights_of_its_own() -> None:
    model = AutoModel.from_config(AutoConfig.from_pretrained(ODD))
    outputs = model(IDS)
    assert outputs.last_hidden_state.shape == (2, 4, 24)
    assert outputs.pooler_output.shape == (2, 24)
    assert np.isfinite(outputs.last_hidden_state).all()
    assert not np.allclose(outputs.last_hidden_state, opened(ODD)(IDS).last_hidden_state, atol=0.1)
    # A fresh norm is weight one and bias zero, so every position has mean zero and variance one.
    np.testing.assert_allclose(outputs.last_hidden_state.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(outputs.last_hidden_state.var(-1), 1, rtol=1e-2)


# The real model.


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    arrays, _ = safetensors_file.read(FIXTURES / "minilm" / "expected.safetensors")
    return arrays


@pytest.fixture(scope="module")
def minilm(minilm_path: Path) -> Any:
    return AutoModel.from_pretrained(minilm_path)


def embed(model: Any, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def test_minilm_embeds_as_sentence_transformers_does(minilm: Any, recorded: dict[str, np.ndarray]) -> None:
    ours = embed(minilm, recorded["input_ids"], recorded["attention_mask"])
    theirs = recorded["embeddings"]
    assert (ours * theirs).sum(1).min() > 0.99999
    assert np.abs(ours - theirs).max() < 1e-5


def test_minilm_embeds_a_sentence_alone_as_in_a_batch(minilm: Any, recorded: dict[str, np.ndarray]) -> None:
    ids, mask = recorded["input_ids"], recorded["attention_mask"]
    together = embed(minilm, ids, mask)
    for row, length in enumerate(mask.sum(1)):
        alone = embed(minilm, ids[row : row + 1, :length], mask[row : row + 1, :length])
        np.testing.assert_allclose(alone[0], together[row], rtol=0, atol=1e-6)


@pytest.mark.parametrize("row", range(3))
def test_minilm_has_transformers_hidden_state(minilm: Any, recorded: dict[str, np.ndarray], row: int) -> None:
    length = recorded["attention_mask"][row].sum()
    outputs = minilm(recorded["input_ids"][row : row + 1, :length])
    assert_close(outputs.last_hidden_state, recorded[f"last_hidden_state.{row}"])
    assert_close(outputs.pooler_output, recorded[f"pooler_output.{row}"])
