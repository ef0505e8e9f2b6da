"""Adapters that peft trained and saved: the trainings of `curve_cases`, with LoRA."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from curve_cases import CURVES, GPT2, LLAMA, Curve

from drawn_weights import draw

_BERT = CURVES[0].config
FIXTURES = Path(__file__).parent.parent / "fixtures" / "training" / "adapters"


@dataclass(frozen=True)
class Adapted(Curve):
    """A training of an adapter."""

    lora: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def arguments(self) -> dict[str, Any]:
        return {**super().arguments, "max_steps": 20, "learning_rate": 1e-2, **self.args}

    @property
    def folder(self) -> Path:
        """Where peft saved the adapter when it was trained."""
        return FIXTURES / self.name

    @property
    def ids(self) -> np.ndarray:
        return np.array([row["input_ids"] for row in self.examples()[:4]])

    def drawn(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        """What the matrices of the adapter begin with: B is not zero, so that A has a gradient at once."""
        return {name: draw(self.name, name, shape) for name, shape in shapes.items() if "lora_" in name}


CASES = [
    Adapted("bert", "BertForSequenceClassification", _BERT, lora={"task_type": "SEQ_CLS", "lora_alpha": 16}),
    Adapted(
        "bert-biases",
        "BertForSequenceClassification",
        _BERT,
        lora={"task_type": "SEQ_CLS", "r": 4, "bias": "all", "target_modules": "all-linear"},
    ),
    Adapted(
        "gpt2",
        "GPT2LMHeadModel",
        GPT2,
        # The drawn attention is sharp, so that larger steps would make a lot of every rounding.
        {"learning_rate": 2e-3},
        lora={
            "task_type": "CAUSAL_LM",
            "lora_alpha": 2,
            "target_modules": ["c_attn", "c_proj", "c_fc"],
            "use_rslora": True,
            "rank_pattern": {"c_attn": 3},
            "alpha_pattern": {"mlp.c_proj": 4},
            "fan_in_fan_out": True,
        },
    ),
    Adapted(
        "llama",
        "LlamaForCausalLM",
        LLAMA,
        lora={
            "task_type": "CAUSAL_LM",
            "target_modules": r".*\.(q_proj|v_proj|down_proj)",
            "bias": "lora_only",
            "modules_to_save": ["norm"],
        },
    ),
]


def recorded() -> dict[str, Any]:
    """What `reference/adapters.py` recorded."""
    record: dict[str, Any] = json.loads((FIXTURES / "adapters.json").read_text())
    return record
