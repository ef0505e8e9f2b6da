"""How keys and values are kept: as they are, in 16 bits, or in 8."""

import copy
import pickle
from functools import cache
from typing import Any

import numpy as np
import pytest

import trustformers
from fixture_cases import FIXTURES, heads
from trustformers import Cache, DynamicCache, EncoderDecoderCache, QuantizedCache, StaticCache

IDS = np.array([[5, 9, 2, 17, 4, 6], [3, 3, 8, 1, 12, 7]])
MASK = np.array([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]])
#: How far rounding to float16 and to 8 bits may take logits, relative to the greatest.
HALVES, BYTES = 2e-3, 5e-2


@cache
def llama() -> Any:
    head = next(head for head in heads(FIXTURES / "architectures/llama/default") if "Causal" in head.key)
    return trustformers.LlamaForCausalLM.from_pretrained(head.folder)


def by_steps(model: Any, held: Cache) -> np.ndarray:
    """The logits of the last four tokens, each read by itself behind the first two."""
    model(IDS[:, :2], attention_mask=MASK[:, :2], past_key_values=held)
    steps = [
        model(IDS[:, at : at + 1], attention_mask=MASK[:, : at + 1], past_key_values=held).logits
        for at in range(2, 6)
    ]
    return np.concatenate(steps, axis=1)


def off(got: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


def test_steps_equal_the_whole() -> None:
    whole = llama()(IDS, attention_mask=MASK).logits[:, 2:]
    assert off(by_steps(llama(), DynamicCache()), whole) < 1e-5
    assert 1e-5 < off(by_steps(llama(), QuantizedCache(nbits=8)), whole) < BYTES
    halves = copy.deepcopy(llama()).half()
    whole = halves(IDS, attention_mask=MASK).logits[:, 2:]
    assert 1e-6 < off(by_steps(halves, DynamicCache()), whole) < HALVES
    assert off(by_steps(halves, QuantizedCache()), whole) < BYTES


@pytest.mark.parametrize("kind", [DynamicCache, QuantizedCache])
@pytest.mark.parametrize("is_half", [False, True])
def test_every_form_is_cropped_selected_repeated_and_copied(kind: type[Cache], is_half: bool) -> None:
    model = copy.deepcopy(llama()).half() if is_half else llama()
    held = kind()
    by_steps(model, held)
    keys = held.layers[0].keys
    assert keys.dtype == np.float32
    assert keys.shape[:1] + keys.shape[2:3] == (2, 6)
    assert (keys[1, :, :2] == 0).all()
    twin = copy.copy(held)
    held.crop(-2)
    np.testing.assert_array_equal(held.layers[0].keys, keys[:, :, :4])
    held.batch_repeat_interleave(2)
    held.batch_select_indices([3, 0])
    np.testing.assert_array_equal(held.layers[0].keys, keys[::-1, :, :4])
    np.testing.assert_array_equal(twin.layers[0].keys, keys)
    turned = model(IDS[::-1, 4:], attention_mask=MASK[::-1], past_key_values=held).logits
    again = by_steps(model, kind())[::-1, 2:]
    assert off(turned, again) < 1e-4


def test_rounding_is_that_of_eight_bits() -> None:
    exact, rounded = DynamicCache(), QuantizedCache()
    for held in (exact, rounded):
        llama()(IDS, past_key_values=held)
    for one, other in zip(exact.layers[0], rounded.layers[0], strict=True):
        steps = np.abs(one).max(axis=-1, keepdims=True) / 127
        assert (np.abs(one - other) <= 0.51 * steps).all()
        assert (one != other).any()


def test_generate_makes_one() -> None:
    arguments: dict[str, Any] = {"max_new_tokens": 5, "return_dict_in_generate": True}
    plain = llama().generate(IDS, **arguments)
    assert type(plain.past_key_values) is DynamicCache
    config = {"backend": "quanto", "nbits": 8}
    small = llama().generate(IDS, cache_implementation="quantized", cache_config=config, **arguments)
    assert type(small.past_key_values) is QuantizedCache
    keys = [result.past_key_values.layers[0].keys[:, :, :6] for result in (plain, small)]
    assert 0 < off(keys[1], keys[0]) < 1 / 127
    beams = llama().generate(IDS, cache_implementation="quantized", num_beams=3, **arguments)
    assert beams.sequences.shape == (2, 11)


def test_one_for_a_number_of_positions_holds_what_any_holds() -> None:
    model = llama()
    held = StaticCache(config=model.config, max_cache_len=9)
    texts = model.generate(IDS, past_key_values=held, max_new_tokens=3)
    np.testing.assert_array_equal(texts, model.generate(IDS, max_new_tokens=3))
    for twin in (held, copy.copy(held), pickle.loads(pickle.dumps(held))):
        assert (twin.get_seq_length(), twin.get_max_length(), twin.max_cache_len) == (8, 9, 9)
    assert DynamicCache().get_max_length() == -1


def test_more_bits_are_another_cache() -> None:
    with pytest.raises(ValueError, match="nbits=16"):
        QuantizedCache(nbits=16)
    assert EncoderDecoderCache().self_attention_cache.get_seq_length() == 0
