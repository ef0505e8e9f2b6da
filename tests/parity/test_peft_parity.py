"""What peft chooses, ours chooses: the layers of every architecture, by default and "all-linear".

And what it computes and saves.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trustformers as tf
from fixture_cases import FIXTURES, heads
from trustformers.peft import LoraConfig, PeftModel, get_peft_model
from trustformers.peft.targets import _DEFAULTS

if not all(importlib.util.find_spec(name) for name in ("torch", "transformers", "peft")):
    pytest.skip("torch, transformers or peft is not installed", allow_module_level=True)

import peft
import torch
import transformers as hf

HEADS = {
    head.class_name: head
    for head in heads(FIXTURES / "architectures", FIXTURES / "bert")
    # transformers 5 has the experts of Mixtral as one parameter, and peft no layers to adapt in it.
    if not head.class_name.startswith("Mixtral")
    and head.class_name.endswith(("ForSequenceClassification", "LMHeadModel", "ForCausalLM", "ForMaskedLM"))
}


def adapted(model: Any, make: Any, config: Any) -> set[str] | str:
    try:
        names = [name for name, p in make(model, config).named_parameters() if p.requires_grad]
    except (TypeError, ValueError) as error:
        return "no default" if "Please specify `target_modules`" in str(error) else str(error)
    return set(names)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("targets", [None, "all-linear"])
@pytest.mark.parametrize("name", sorted(HEADS))
def test_the_same_layers_are_adapted(name: str, targets: str | None) -> None:
    folder, load = HEADS[name].folder, HEADS[name].load
    task = "SEQ_CLS" if "Sequence" in name else "CAUSAL_LM" if "CausalLM" in name else None
    asked = {"task_type": task, "target_modules": targets}
    theirs = adapted(
        getattr(hf, name).from_pretrained(folder, **load), peft.get_peft_model, peft.LoraConfig(**asked)
    )
    model = getattr(tf, name).from_pretrained(folder, **load)
    ours = adapted(model, get_peft_model, LoraConfig(**asked))
    if name == "DistilBertForSequenceClassification" and targets is not None:
        assert "cannot be applied" in theirs, "peft adapts its pre_classifier, which is trained as a whole"
        assert not any("classifier" in one and "lora_" in one for one in ours)
        return
    assert ours == theirs


def test_the_defaults_are_pefts() -> None:
    theirs = peft.utils.constants.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
    assert {name: theirs.get(name) for name in _DEFAULTS} == _DEFAULTS


def both(name: str, folder: Path, **lora: Any) -> tuple[Any, Any]:
    """Their model with an adapter that does something, in a folder too, and ours with that adapter."""
    head = HEADS[name]
    theirs = peft.get_peft_model(
        getattr(hf, name).from_pretrained(head.folder, **head.load).float(), peft.LoraConfig(**lora)
    )
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for key, parameter in theirs.named_parameters():
            if "lora_" in key:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=draw))
    theirs.save_pretrained(folder)
    model = getattr(tf, name).from_pretrained(head.folder, **head.load).float()
    return theirs, PeftModel.from_pretrained(model, folder, is_trainable=True)


def inputs(name: str) -> dict[str, np.ndarray]:
    ids = np.array([[5, 6, 7, 8, 9], [9, 5, 8, 6, 4]])
    return {"input_ids": ids, "labels": np.array([0, 1]) if "Sequence" in name else ids}


ADAPTED = pytest.mark.parametrize(
    ("name", "lora"),
    [
        ("BertForSequenceClassification", {"task_type": "SEQ_CLS"}),
        ("GPT2LMHeadModel", {"task_type": "CAUSAL_LM", "fan_in_fan_out": True}),
        ("LlamaForCausalLM", {"task_type": "CAUSAL_LM", "target_modules": "all-linear", "use_rslora": True}),
    ],
)


@pytest.mark.filterwarnings("ignore")
@ADAPTED
def test_losses_gradients_and_files_are_pefts(name: str, lora: dict[str, Any], tmp_path: Path) -> None:
    theirs, ours = both(name, tmp_path / "theirs", r=4, lora_alpha=8, lora_dropout=0.0, **lora)
    given = inputs(name)
    expected = theirs.train(False)(**{key: torch.tensor(value) for key, value in given.items()})
    found = ours(**{key: tf.as_tensor(value) for key, value in given.items()})
    assert found.loss.item() == pytest.approx(expected.loss.item(), rel=1e-5)
    expected.loss.backward()
    found.loss.backward()
    wanted = {key: p.grad.numpy() for key, p in theirs.named_parameters() if p.grad is not None}
    grads = {key: p.grad.numpy() for key, p in ours.named_parameters() if p.grad is not None}
    assert grads.keys() == wanted.keys()
    largest = max(np.abs(grad).max() for grad in wanted.values())
    for key, grad in wanted.items():
        np.testing.assert_allclose(grads[key], grad, rtol=1e-3, atol=1e-4 * largest, err_msg=key)

    ours.save_pretrained(tmp_path / "ours")
    head = HEADS[name]
    again = getattr(hf, name).from_pretrained(head.folder, **head.load).float()
    again = peft.PeftModel.from_pretrained(again, tmp_path / "ours").eval()
    with torch.no_grad():
        logits = again(input_ids=torch.tensor(given["input_ids"])).logits.numpy()
    np.testing.assert_allclose(logits, expected.logits.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_dropout_is_as_wide_as_pefts(tmp_path: Path) -> None:
    """Behind the one matrix all is linear: the mean is what is without dropout, and the spread theirs."""
    name = "LlamaForCausalLM"
    lora = {"task_type": "CAUSAL_LM", "target_modules": ["lm_head"], "lora_dropout": 0.4, "r": 4}
    theirs, ours = both(name, tmp_path, **lora)
    ids = inputs(name)["input_ids"]
    assert ours.peft_config["default"].lora_dropout == 0.4
    with tf.no_grad(), torch.no_grad():
        still = np.asarray(ours.eval()(input_ids=ids).logits)
        np.testing.assert_allclose(
            still, theirs.eval()(torch.tensor(ids)).logits.numpy(), rtol=1e-5, atol=1e-5
        )
        ours.train()
        theirs.train()
        drawn = np.stack([np.asarray(ours(input_ids=ids).logits) for _ in range(600)])
        wanted = np.stack([theirs(torch.tensor(ids)).logits.numpy() for _ in range(600)])
    spread = wanted.std(0)
    assert spread.mean() > 1e-3
    assert np.abs(drawn.mean(0) - still).max() < 6 * spread.max() / np.sqrt(600)
    np.testing.assert_allclose(drawn.std(0), spread, rtol=0.25)
    with tf.no_grad():
        np.testing.assert_array_equal(np.asarray(ours.eval()(input_ids=ids).logits), still)
