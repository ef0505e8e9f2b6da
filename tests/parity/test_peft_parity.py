"""What peft chooses, ours chooses: the layers of every architecture, by default and "all-linear"."""

import importlib.util
from typing import Any

import pytest

import trustformers as tf
from fixture_cases import FIXTURES, heads
from trustformers.peft import LoraConfig, get_peft_model
from trustformers.peft.targets import _DEFAULTS

if not all(importlib.util.find_spec(name) for name in ("torch", "transformers", "peft")):
    pytest.skip("torch, transformers or peft is not installed", allow_module_level=True)

import peft
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
