"""Weights of 16 bits on a GPU: hidden states have 16 bits, results are float32 and near those of float32."""

from typing import Any

import numpy as np
import pytest

import trustformers
from fixture_cases import Head, language_heads
from trustformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Tensor,
)
from trustformers.training import SGD

HEADS = language_heads()
IDS = np.array([[5, 9, 2, 17], [3, 3, 8, 1]])
MASK = np.array([[1, 1, 1, 1], [0, 1, 1, 1]])
# Of some roundings on the way to a logit, relative to the largest.
NEAR = {"bfloat16": 6e-2, "float16": 1e-2}


def off(found: Any, wanted: Any) -> float:
    """The largest difference, relative to the largest number."""
    found, wanted = (np.asarray(x.cpu().numpy() if isinstance(x, Tensor) else x) for x in (found, wanted))
    assert np.isfinite(found).all()
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def gpt2(**settings: Any) -> GPT2LMHeadModel:
    config = GPT2Config(n_embd=32, n_layer=3, n_head=2, vocab_size=60, n_positions=64, **settings)
    return GPT2LMHeadModel(config, seed=4).eval()


def llama() -> LlamaForCausalLM:
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=60,
    )
    return LlamaForCausalLM(config, seed=4).eval()


@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("head", HEADS, ids=[head.class_name for head in HEADS])
def test_every_architecture_is_near_float32(head: Head, dtype: str) -> None:
    here, there = head.open(), head.open(device_map="cuda").to(dtype=dtype)
    both = {"decoder_input_ids": IDS} if here.config.is_encoder_decoder else {}
    # What rounding the weights alone does is no matter of the device.
    rounded = head.open().to(dtype=dtype).to(dtype="float32")
    asked: dict[str, Any] = {"attention_mask": MASK, "output_hidden_states": True, **both}
    exact, wanted, found = (model(IDS, **asked) for model in (here, rounded, there))
    shown = np.ones_like(MASK) if both else MASK
    assert found.logits.dtype == exact.logits.dtype == np.float32
    assert off(found.logits[shown != 0], wanted.logits[shown != 0]) < NEAR[dtype]
    name = "decoder_hidden_states" if both else "hidden_states"
    for one, other in zip(getattr(found, name), getattr(wanted, name), strict=True):
        assert one.dtype == np.float32
        assert off(one[shown != 0], other[shown != 0]) < NEAR[dtype]


@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("make", [gpt2, llama])
def test_steps_give_what_the_whole_text_gives(make: Any, dtype: str) -> None:
    model = make().to(dtype=dtype).cuda()
    # Long enough for steps to be recorded, and to be recorded anew.
    written = model.generate(
        IDS,
        max_new_tokens=24,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        output_scores=True,
        return_dict_in_generate=True,
    )
    logits = model(np.asarray(written.sequences)).logits
    for step, scores in enumerate(written.scores):
        assert scores.dtype == np.float32
        assert off(scores, logits[:, IDS.shape[1] - 1 + step]) < NEAR[dtype]
    cached = model(IDS, use_cache=True, output_attentions=True)
    assert all(np.asarray(probabilities).dtype == np.float32 for probabilities in cached.attentions)


@pytest.mark.parametrize("dtype", NEAR)
def test_what_comes_out_is_float32(dtype: str) -> None:
    config = BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, vocab_size=60
    )
    here = BertModel(config, seed=3).eval()
    there = BertModel(config, seed=3).eval().to(dtype=dtype).cuda()
    # The second is recorded, the third launched.
    for _ in range(3):
        wanted = here(IDS, attention_mask=MASK, output_attentions=True)
        found = there(IDS, attention_mask=MASK)
        for name in ("last_hidden_state", "pooler_output"):
            assert getattr(found, name).dtype == np.float32
            assert off(getattr(found, name), getattr(wanted, name)) < NEAR[dtype]
    seen = there(IDS, attention_mask=MASK, output_attentions=True).attentions
    for one, other in zip(seen, wanted.attentions, strict=True):
        assert off(one, other) < NEAR[dtype]
    given = there.get_input_embeddings()(IDS)
    again = there(inputs_embeds=given, attention_mask=MASK).last_hidden_state
    # Words are rounded before places are added.
    assert off(again, found.last_hidden_state) < NEAR[dtype]


@pytest.mark.parametrize("make", [gpt2, llama])
def test_gradients_of_weights_of_16_bits(make: Any) -> None:
    labels = Tensor.from_numpy(IDS)

    def step(model: Any) -> tuple[float, dict[str, np.ndarray]]:
        model.train()
        loss = model(labels, labels=labels).loss
        loss.backward()
        grads = {name: parameter.grad for name, parameter in model.named_parameters()}
        SGD(model.parameters(), lr=1e-2).step()
        return float(loss), {name: grad.cpu().to("float32").numpy() for name, grad in grads.items()}

    quiet = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0} if make is gpt2 else {}
    wanted, exact = step(make(**quiet))
    there = make(**quiet).to(dtype="bfloat16").cuda()
    found, grads = step(there)
    assert found == pytest.approx(wanted, rel=2e-2)
    for name, grad in grads.items():
        one, other = grad.ravel(), exact[name].ravel()
        assert np.isfinite(one).all(), name
        alike = one @ other / (np.linalg.norm(one) * np.linalg.norm(other) + 1e-20)
        assert alike > 0.99 or np.abs(other).max() < 1e-5, (name, alike)
    assert all(parameter.dtype == "bfloat16" for parameter in there.parameters())


def test_parameters_that_lie_side_by_side_are_their_own() -> None:
    model = llama().to(dtype="bfloat16")
    before = {name: tensor.to("float32").numpy() for name, tensor in model.state_dict().items()}
    model.cuda()
    parameters = dict(model.named_parameters())
    queries, keys = (parameters[f"model.layers.0.self_attn.{one}_proj.weight"] for one in "qk")
    assert keys.data_ptr() == queries.data_ptr() + queries.nbytes
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.cpu().to("float32").numpy(), before[name], err_msg=name)
    logits = model(IDS).logits
    with trustformers.no_grad():
        keys.mul_(2.0)
    name = "model.layers.0.self_attn.k_proj.weight"
    after = {name: tensor.cpu().to("float32").numpy() for name, tensor in model.state_dict().items()}
    np.testing.assert_array_equal(after.pop(name), 2 * before.pop(name))
    for other, tensor in after.items():
        np.testing.assert_array_equal(tensor, before[other], err_msg=other)
    assert off(model(IDS).logits, logits) > 1e-4
