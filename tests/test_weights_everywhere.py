"""What can be done to the weights of a model can be done in every architecture."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drawn_weights import draw_all
from fixture_cases import Head, language_heads
from trustformers import AutoConfig, Tensor

HEADS = language_heads()
IDS = np.array([[5, 9, 2, 17], [3, 3, 8, 1]])


@pytest.fixture(params=HEADS, ids=[head.class_name for head in HEADS])
def head(request: pytest.FixtureRequest) -> Any:
    return request.param


def logits(model: Any) -> np.ndarray:
    both = {"decoder_input_ids": IDS} if model.config.is_encoder_decoder else {}
    found: np.ndarray = model(IDS, **both).logits
    return found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_loaded_in_place_count_everywhere(head: Head, dtype: str) -> None:
    model = head.open(dtype=dtype)
    before = logits(model)
    drawn = draw_all("other", {name: list(value.shape) for name, value in model.named_parameters()})
    assert model.load_state_dict(drawn, strict=False).unexpected_keys == []
    fresh = type(model).from_pretrained(head.folder, state_dict={**model.state_dict()})
    np.testing.assert_array_equal(logits(model), logits(fresh))
    assert np.abs(logits(model) - before).max() > 1e-3


def test_gradients_reach_every_parameter(head: Head) -> None:
    model = copy.deepcopy(head.open())
    parameters = dict(model.named_parameters())
    for parameter in parameters.values():
        parameter.requires_grad_()
    both = {"decoder_input_ids": IDS} if model.config.is_encoder_decoder else {}
    labels = Tensor.from_numpy(np.array([[1, 2, 3, 4], [4, 3, 2, 1]]))
    model(Tensor.from_numpy(IDS), labels=labels, **both).loss.backward()
    # A decoder that stands alone has nothing for its cross-attention to look at.
    unused = "encoder_attn" if not model.config.is_encoder_decoder else "nothing"
    missing = [name for name, parameter in parameters.items() if parameter.grad is None]
    assert [name for name in missing if unused not in name] == []


def test_the_vocabulary_grows(head: Head) -> None:
    model = head.open()
    before, old = logits(model), model.config.vocab_size
    model.resize_token_embeddings(old + 5)
    assert model.get_input_embeddings().num_embeddings == model.config.vocab_size == old + 5
    np.testing.assert_allclose(logits(model)[..., :old], before, rtol=1e-4, atol=1e-5)
    assert logits(model).shape[-1] == old + 5


def test_what_is_saved_opens_again(head: Head, tmp_path: Path) -> None:
    model = head.open()
    model.save_pretrained(tmp_path, max_shard_size="30KB")
    again, info = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    np.testing.assert_array_equal(logits(again), logits(model))
    if AutoConfig.from_pretrained(head.folder).is_encoder_decoder:
        return  # what is not the model at the root there is a half of it
    base = type(model.base_model).from_pretrained(tmp_path)
    assert set(base.state_dict()) >= set(model.base_model.state_dict())
