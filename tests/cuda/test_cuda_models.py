"""Models on a GPU: every architecture answers there what it answers on the processor."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counting import counted, counts

import trustformers
from agreement import TOLERANCE, TOLERANCE_OF_BFLOAT16, worst
from fixture_cases import FIXTURES, Head, cases, heads, language_heads
from trustformers import GPT2Config, GPT2LMHeadModel, Tensor, cuda
from trustformers.peft import LoraConfig, PeftModel, get_peft_model

HEADS = language_heads()
# A GPU computes in the 16 bits that weights have.
TOLERANCES = {"float32": TOLERANCE, "float16": 1e-2, "bfloat16": TOLERANCE_OF_BFLOAT16}
IDS = np.array([[5, 9, 2, 17], [3, 3, 8, 1]])
MASK = np.array([[1, 1, 1, 1], [0, 1, 1, 1]])


@pytest.mark.parametrize("head", HEADS, ids=[head.class_name for head in HEADS])
def test_it_answers_as_on_the_processor(head: Head) -> None:
    here, there = head.open(), head.open(device_map="cuda")
    assert (here.device, there.device, there.hf_device_map) == ("cpu", "cuda:0", {"": 0})
    assert all(parameter.is_cuda for parameter in there.parameters())
    both = {"decoder_input_ids": IDS} if here.config.is_encoder_decoder else {}
    answers = [model(IDS, attention_mask=MASK, **both).logits for model in (here, there)]
    shown = np.ones_like(MASK) if both else MASK
    np.testing.assert_allclose(answers[1][shown != 0], answers[0][shown != 0], rtol=1e-4, atol=1e-4)
    # What is given as a tensor, wherever it lies, stays on the model's device.
    tensor = there(Tensor.from_numpy(IDS), **both).logits
    assert tensor.device == "cuda:0"
    if here.can_generate():
        asked = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
        written = [model.generate(IDS, attention_mask=MASK, **asked) for model in (here, there)]
        np.testing.assert_array_equal(*written)


@pytest.mark.parametrize("head", heads(FIXTURES / "architectures", FIXTURES / "bert"), ids=str)
def test_it_answers_what_transformers_answers(head: Head) -> None:
    model = head.open(device_map="cuda", **head.load)
    for case in cases(head):
        past: dict[str, Any] = {"use_cache": True} if len(case.calls) > 1 else {}
        for call in case.calls:
            ours = model(**call.arguments, **call.flags, **past)
            error, field = worst(call.inputs, ours, call.outputs, head.mask)
            assert error < TOLERANCES[model.dtype], f"{case}: {field} is off by {error:.1e}"
            if past:
                past["past_key_values"] = ours.past_key_values


def test_norms_without_parameters_are_written_with() -> None:
    (head,) = (head for head in heads(FIXTURES / "architectures/opt/no_biases") if head.auto != "AutoModel")
    asked: dict[str, Any] = {"max_new_tokens": 8, "eos_token_id": None, "do_sample": False}
    here, there = (head.open(**place).generate(IDS, **asked) for place in ({}, {"device_map": "cuda"}))
    np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize("head", HEADS, ids=[head.class_name for head in HEADS])
def test_its_gradients_are_those_of_the_processor(head: Head) -> None:
    def learned(**keywords: Any) -> tuple[float, dict[str, np.ndarray]]:
        model = head.open(**keywords)  # not in training: it drops nothing
        for parameter in model.parameters():
            parameter.requires_grad_()
        ids = Tensor.from_numpy(IDS)
        loss = model(ids, attention_mask=MASK, labels=ids).loss
        loss.backward()
        grads = {name: parameter.grad for name, parameter in model.named_parameters()}
        return float(loss), {name: grad.cpu().numpy() for name, grad in grads.items() if grad is not None}

    (here, expected), (there, found) = learned(), learned(device_map="cuda")
    assert there == pytest.approx(here, rel=1e-4)
    assert list(found) == list(expected)
    most = max(np.abs(grad).max() for grad in expected.values())
    for name, grad in expected.items():
        np.testing.assert_allclose(found[name], grad, rtol=1e-3, atol=1e-4 * most, err_msg=name)


def tiny(**settings: Any) -> GPT2LMHeadModel:
    config = GPT2Config(n_embd=32, n_layer=4, n_head=2, vocab_size=60, n_positions=32, **settings)
    return GPT2LMHeadModel(config, seed=4).eval()


def test_a_model_goes_there_and_back() -> None:
    model = tiny()
    before = model(IDS).logits
    assert model.to("cuda") is model
    assert model.device == "cuda:0"
    np.testing.assert_allclose(model(IDS).logits, before, atol=1e-5)
    assert model.cpu().device == "cpu"
    np.testing.assert_array_equal(model(IDS).logits, before)
    assert model.cuda().to(dtype="bfloat16").dtype == "bfloat16"
    assert next(model.parameters()).is_cuda


@counts
@pytest.mark.parametrize(
    ("asked", "is_lean"),
    [
        ({}, True),
        ({"do_sample": True, "top_k": 0}, True),
        ({"do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.9, "min_p": 0.01}, True),
        ({"repetition_penalty": 1.3}, True),
        ({"do_sample": True, "typical_p": 0.9}, False),
        ({"suppress_tokens": [3]}, False),
    ],
)
def test_tokens_alone_come_from_a_gpu(asked: dict[str, Any], is_lean: bool) -> None:
    model = tiny()
    asked = {"max_new_tokens": 6, "eos_token_id": None, "pad_token_id": 0, **asked}
    trustformers.manual_seed(3)
    expected = model.generate(IDS, **asked)
    model.cuda()
    before = counted("bytes_to_host")
    trustformers.manual_seed(3)
    np.testing.assert_array_equal(model.generate(IDS, **asked), expected)
    tokens, rows = 6 * len(IDS) * 8, 6 * len(IDS) * 60 * 4
    brought = counted("bytes_to_host") - before
    assert tokens <= brought < rows if is_lean else brought >= rows, brought


def test_generated_tokens_lie_where_the_model_is() -> None:
    model = tiny().cuda()
    asked: dict[str, Any] = {"max_new_tokens": 4, "eos_token_id": None, "pad_token_id": 0}
    ids = Tensor.from_numpy(IDS)
    for given in (ids, ids.cuda()):
        written = model.generate(given, **asked)
        assert written.device == "cuda:0"
        np.testing.assert_array_equal(written.cpu().numpy(), model.generate(IDS, **asked))
    scored = model.generate(ids, return_dict_in_generate=True, output_scores=True, **asked)
    assert all(score.is_cuda for score in scored.scores)
    beams = model.generate(ids, num_beams=3, **asked)
    np.testing.assert_array_equal(beams.cpu().numpy(), tiny().generate(IDS, num_beams=3, **asked))
    trustformers.set_seed(1)
    drawn = model.generate(ids, do_sample=True, top_k=5, **asked)
    trustformers.set_seed(1)
    np.testing.assert_array_equal(drawn.cpu().numpy(), tiny().generate(IDS, do_sample=True, top_k=5, **asked))
    outputs = model(ids, use_cache=True)
    more = model(ids[:, :1], past_key_values=outputs.past_key_values).logits
    assert more.is_cuda
    assert outputs.past_key_values.layers[0].keys.is_cuda


def test_copies_and_pickles_stay_there(tmp_path: Path) -> None:
    model = tiny().cuda()
    expected = model(IDS).logits
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.device == "cuda:0"
        np.testing.assert_array_equal(twin(IDS).logits, expected)
    model.save_pretrained(tmp_path)
    for device_map in (None, "cuda", 0, {"": "cuda:0"}, "auto", "sequential"):
        again = GPT2LMHeadModel.from_pretrained(tmp_path, device_map=device_map)
        assert again.device == ("cpu" if device_map is None else "cuda:0")
        np.testing.assert_allclose(again(IDS).logits, expected, atol=1e-5)
        twin = pickle.loads(pickle.dumps(again))
        assert twin.device == again.device
    assert not hasattr(tiny(), "hf_device_map")


def test_layers_on_several_devices(tmp_path: Path) -> None:
    model = tiny()
    model.save_pretrained(tmp_path)
    expected = model(IDS, output_hidden_states=True)
    asked: dict[str, Any] = {"max_new_tokens": 4, "eos_token_id": None, "pad_token_id": 0}
    spread = {"transformer": "cuda", "transformer.h.1": "cpu", "transformer.h.3": "cpu", "lm_head": "cuda"}
    split = GPT2LMHeadModel.from_pretrained(tmp_path, device_map=spread)
    places = {name: "cpu" if place == "cpu" else 0 for name, place in spread.items()}
    assert split.hf_device_map == places
    devices = {name: str(parameter.device) for name, parameter in split.named_parameters()}
    assert devices["transformer.h.1.attn.c_attn.weight"] == "cpu"
    assert devices["transformer.h.2.attn.c_attn.weight"] == "cuda:0"
    found = split(IDS, output_hidden_states=True, attention_mask=MASK)
    alone = model(IDS, output_hidden_states=True, attention_mask=MASK)
    np.testing.assert_allclose(split(IDS).logits, expected.logits, atol=1e-5)
    np.testing.assert_allclose(found.logits[MASK != 0], alone.logits[MASK != 0], atol=1e-5)
    for one, other in zip(found.hidden_states, alone.hidden_states, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_array_equal(split.generate(IDS, **asked), model.generate(IDS, **asked))
    sizes = sum(size for _, _, size in model._engine.parameter_sizes())
    limited = GPT2LMHeadModel.from_pretrained(
        tmp_path, device_map="auto", max_memory={0: sizes // 2, "cpu": "1GB"}
    )
    assert set(limited.hf_device_map.values()) == {0, "cpu"}
    assert limited.hf_device_map["transformer.h.3"] == "cpu"
    np.testing.assert_allclose(limited(IDS).logits, expected.logits, atol=1e-5)
    assert limited.to("cpu").device == "cpu"
    assert {str(parameter.device) for parameter in limited.parameters()} == {"cpu"}
    with pytest.raises(ValueError, match=r"says nothing of transformer\.wpe"):
        GPT2LMHeadModel.from_pretrained(tmp_path, device_map={"transformer.wte": 0})
    with pytest.raises(ValueError, match="too small"):
        GPT2LMHeadModel.from_pretrained(tmp_path, device_map="auto", max_memory={0: 10, "cpu": 10})


@pytest.mark.skipif(cuda.device_count() < 2, reason="there is one device")
def test_layers_are_shared_among_gpus(tmp_path: Path) -> None:
    model = tiny()
    model.save_pretrained(tmp_path)
    split = GPT2LMHeadModel.from_pretrained(tmp_path, device_map="auto")
    assert {0, 1} <= set(split.hf_device_map.values())
    np.testing.assert_allclose(split(IDS).logits, model(IDS).logits, atol=1e-5)
    with cuda.device(1):
        assert trustformers.zeros(1, device="cuda").device == "cuda:1"
    assert trustformers.zeros(1, device="cuda").to("cuda:1").cpu().tolist() == [0.0]


@pytest.mark.parametrize("quantization", ["int8", "q4"])
def test_blocks_stay_blocks(quantization: str, tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    model = GPT2LMHeadModel.from_pretrained(tmp_path, quantization=quantization)
    expected = model(IDS).logits
    model.to("cuda")
    assert model.is_quantized
    np.testing.assert_allclose(model(IDS).logits, expected, atol=2e-2)


def test_adapters_follow_their_model() -> None:
    config = LoraConfig(r=4, init_lora_weights=False, target_modules=["c_attn"])
    trustformers.set_seed(5)
    model = get_peft_model(tiny(), config)
    with trustformers.no_grad():
        expected = model(IDS).logits
    assert isinstance(model.to("cuda"), PeftModel)
    assert all(parameter.is_cuda for parameter in model.parameters())
    with trustformers.no_grad():
        np.testing.assert_allclose(model(IDS).logits, expected, atol=1e-5)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model(Tensor.from_numpy(IDS), labels=Tensor.from_numpy(IDS)).loss.backward()
    assert len(trained) == 8
    assert all(parameter.grad is not None and parameter.grad.is_cuda for parameter in trained)
    np.testing.assert_allclose(model.merge_and_unload()(IDS).logits, expected, atol=1e-5)
    assert all(p.is_cuda for p in get_peft_model(tiny().cuda(), LoraConfig(r=2)).parameters())


def test_embeddings_are_changed_there() -> None:
    model = tiny().cuda()
    model.resize_token_embeddings(70)
    assert model.get_input_embeddings().weight.is_cuda
    assert model.get_input_embeddings()(IDS).shape == (2, 4, 32)
    model.set_input_embeddings(np.linspace(-1, 1, 70 * 32, dtype=np.float32).reshape(70, 32) ** 3)
    assert model.get_input_embeddings().weight.is_cuda
    state = model.state_dict()
    assert all(tensor.is_cuda for tensor in state.values())
    twin = tiny()
    twin.resize_token_embeddings(70)
    twin.load_state_dict(state)
    np.testing.assert_allclose(twin(IDS).logits, model(IDS).logits, atol=1e-3)
