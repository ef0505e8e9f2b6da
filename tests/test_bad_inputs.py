"""Arguments that a model cannot take: each raises what transformers raises, and says what is wrong."""

from typing import Any

import numpy as np
import pytest

from fixture_cases import FIXTURES
from trustformers import AutoModel

VOCABULARY, POSITIONS, SEGMENTS, WIDTH = 31, 16, 2, 12
IDS = np.array([[5, 9, 2, 17], [3, 3, 8, 1]])


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModel.from_pretrained(FIXTURES / "bert" / "default")


def message(
    error: type[BaseException] | tuple[type[BaseException], ...], model: Any, *arguments: Any, **keywords: Any
) -> str:
    with pytest.raises(error) as caught:
        model(*arguments, **keywords)
    # A call that failed leaves the model as it was.
    assert np.isfinite(model(IDS).last_hidden_state).all()
    return str(caught.value)


@pytest.mark.parametrize("bad", [VOCABULARY, VOCABULARY + 10**9, -1, -(2**63), 2**63 - 1])
def test_an_id_out_of_the_vocabulary(model: Any, bad: int) -> None:
    ids = IDS.copy()
    ids[1, 2] = bad
    text = message(IndexError, model, ids)
    assert str(bad) in text
    assert str(VOCABULARY) in text


def test_an_unsigned_id_too_large_to_be_signed(model: Any) -> None:
    assert str(VOCABULARY) in message(IndexError, model, np.array([[2**64 - 1]], np.uint64))


def test_a_segment_out_of_range(model: Any) -> None:
    text = message(IndexError, model, IDS, token_type_ids=np.full_like(IDS, SEGMENTS))
    assert "token_type" in text
    assert str(SEGMENTS) in text


@pytest.mark.parametrize("bad", [POSITIONS, -1])
def test_a_position_out_of_range(model: Any, bad: int) -> None:
    segments = np.zeros_like(IDS)
    text = message(IndexError, model, IDS, token_type_ids=segments, position_ids=np.full_like(IDS, bad))
    assert "position" in text
    assert str(POSITIONS) in text


def test_a_sequence_longer_than_the_positions(model: Any) -> None:
    text = message(RuntimeError, model, np.ones((1, POSITIONS + 1), np.int64))
    assert str(POSITIONS + 1) in text
    assert str(POSITIONS) in text
    assert "truncat" in text, "it says what to do"


@pytest.mark.parametrize("shape", [(0, 4), (2, 0), (0, 0)])
def test_an_empty_batch(model: Any, shape: tuple[int, int]) -> None:
    text = message(RuntimeError, model, np.ones(shape, np.int64))
    assert "empty" in text


def test_no_ids_at_all(model: Any) -> None:
    message(RuntimeError, model, [])
    message(RuntimeError, model, [[]])


def test_rows_of_different_lengths(model: Any) -> None:
    text = message(ValueError, model, [[5, 9, 2], [3]])
    assert "padding" in text, "it says what to do"


def test_an_array_of_lists(model: Any) -> None:
    ragged = np.empty(2, object)
    ragged[:] = [[5, 9, 2], [3]]
    message(ValueError, model, ragged)


@pytest.mark.parametrize("ids", [IDS.astype(np.float32), IDS.astype(np.float64), [[5, 9], [2, 1.5]]])
def test_ids_that_are_not_integers(model: Any, ids: Any) -> None:
    text = message(RuntimeError, model, ids)
    assert "input_ids" in text
    assert "int" in text


@pytest.mark.parametrize("ids", [["some", "words"], "a sentence", [["some", "words"]], [[None, 1]], object()])
def test_ids_that_are_not_numbers(model: Any, ids: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"input_ids|tokenizer"):
        model(ids)


@pytest.mark.parametrize("shape", [(), (1, 4, 2), (1, 1, 4, 2)])
def test_ids_of_the_wrong_rank(model: Any, shape: tuple[int, ...]) -> None:
    text = message(ValueError, model, np.ones(shape, np.int64))
    assert "input_ids" in text
    assert "batch" in text


@pytest.mark.parametrize("shape", [(2, 5), (2, 3), (3, 4), (2, 4, 1), ()])
def test_a_mask_of_another_shape(model: Any, shape: tuple[int, ...]) -> None:
    # transformers cuts or stretches some of these to fit, and answers something.
    text = message((RuntimeError, ValueError), model, IDS, attention_mask=np.ones(shape, np.int64))
    assert "attention_mask" in text


def test_segments_of_another_shape(model: Any) -> None:
    assert "token_type_ids" in message(RuntimeError, model, IDS, token_type_ids=np.zeros((2, 5), np.int64))


def test_positions_of_another_shape(model: Any) -> None:
    assert "position_ids" in message(RuntimeError, model, IDS, position_ids=np.zeros((2, 5), np.int64))


def test_segments_that_are_not_integers(model: Any) -> None:
    assert "token_type_ids" in message(RuntimeError, model, IDS, token_type_ids=np.zeros((2, 4)))


def test_ids_and_embeddings_at_once(model: Any) -> None:
    text = message(ValueError, model, IDS, inputs_embeds=np.zeros((2, 4, WIDTH), np.float32))
    assert "input_ids" in text
    assert "inputs_embeds" in text


def test_neither_ids_nor_embeddings(model: Any) -> None:
    assert "input_ids" in message(ValueError, model)


def test_embeddings_of_another_width(model: Any) -> None:
    text = message(RuntimeError, model, inputs_embeds=np.zeros((2, 4, WIDTH + 1), np.float32))
    assert "inputs_embeds" in text
    assert str(WIDTH) in text


def test_embeddings_of_the_wrong_rank(model: Any) -> None:
    assert "inputs_embeds" in message(ValueError, model, inputs_embeds=np.zeros((4, WIDTH), np.float32))


def test_a_keyword_that_does_not_exist_is_named_with_the_nearest_that_does(model: Any) -> None:
    text = message(TypeError, model, IDS, atention_mask=np.ones_like(IDS))
    assert "atention_mask" in text
    assert "attention_mask" in text.replace("atention_mask", "")


def test_the_class_itself_cannot_be_built() -> None:
    with pytest.raises(OSError, match="from_pretrained"):
        AutoModel()


def test_from_config_wants_a_configuration() -> None:
    with pytest.raises(ValueError, match="config"):
        AutoModel.from_config("bert")
