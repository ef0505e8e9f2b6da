"""Trainings whose losses transformers' Trainer has recorded: tiny models, drawn weights, drawn examples.

Without dropout, and with the examples in order, nothing is left to chance.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from drawn_weights import draw_all, evenly

FIXTURES = Path(__file__).parent.parent / "fixtures" / "training"
STEPS = 50
EXAMPLES = 26
LENGTH = 12
VOCABULARY = 80
LABELS = 3

BERT = {
    "model_type": "bert",
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
GPT2 = {
    "model_type": "gpt2",
    "vocab_size": VOCABULARY,
    "n_positions": 32,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
LLAMA = {
    "model_type": "llama",
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 32,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
T5 = {
    "model_type": "t5",
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 4,
    "dropout_rate": 0.0,
    "decoder_start_token_id": 0,
    "pad_token_id": 0,
    "eos_token_id": 1,
}


@dataclass(frozen=True)
class Curve:
    """A class of model, its configuration, and the arguments of the training beside those of all."""

    name: str
    model: str
    config: dict[str, Any] = field(hash=False)
    args: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def arguments(self) -> dict[str, Any]:
        common = {
            "max_steps": STEPS,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-3,
            "logging_steps": 1,
            "save_strategy": "no",
            "train_sampling_strategy": "sequential",
            "use_cpu": True,
            "disable_tqdm": True,
        }
        return {**common, **self.args}

    def weights(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        return draw_all(self.name, shapes)

    def examples(self) -> list[dict[str, Any]]:
        """Rows of one length, some of them partly padding; labels of texts or of tokens."""
        rows = []
        for index in range(EXAMPLES):
            luck = evenly("examples", f"{self.name} {index}", 2 * LENGTH + 2, parts=1)
            ids = (2 + luck[:LENGTH] * (VOCABULARY - 2)).astype(int)
            length = 5 + int(luck[-1] * (LENGTH - 4))
            mask = (np.arange(LENGTH) < length).astype(int)
            if "Classification" in self.model:
                labels: Any = int(luck[-2] * LABELS)
            elif "ConditionalGeneration" in self.model:
                targets = (2 + luck[LENGTH : 2 * LENGTH] * (VOCABULARY - 2)).astype(int)
                labels = np.where(mask == 1, targets, -100).tolist()
            else:
                labels = np.where(mask == 1, ids, -100).tolist()
            rows.append({"input_ids": ids.tolist(), "attention_mask": mask.tolist(), "labels": labels})
        return rows


_BERT = {**BERT, "id2label": {str(i): f"LABEL_{i}" for i in range(LABELS)}}
#: Everything that changes how losses are divided and parameters move.
_OTHER = {
    "gradient_accumulation_steps": 3,
    "weight_decay": 0.1,
    "warmup_steps": 10,
    "lr_scheduler_type": "cosine",
    "max_grad_norm": 0.5,
    "adam_beta2": 0.95,
}
_OTHER_DROPS = {
    "bert": {"classifier_dropout": 0.0},
    "llama": {"attention_dropout": 0.0},
    "t5": {"classifier_dropout": 0.0},
}
CURVES = [
    Curve("bert", "BertForSequenceClassification", _BERT),
    Curve("gpt2", "GPT2LMHeadModel", GPT2),
    Curve("llama", "LlamaForCausalLM", LLAMA),
    Curve("t5", "T5ForConditionalGeneration", T5),
    Curve("llama, other arguments", "LlamaForCausalLM", LLAMA, _OTHER),
    Curve("gpt2, smoothed labels", "GPT2LMHeadModel", GPT2, {**_OTHER, "label_smoothing_factor": 0.1}),
    Curve("bert, Adafactor", "BertForSequenceClassification", _BERT, {"optim": "adafactor"}),
    Curve(
        "bert, SGD",
        "BertForSequenceClassification",
        _BERT,
        {"optim": "sgd", "learning_rate": 0.1},
    ),
]


def _dropped(case: Curve) -> list[Curve]:
    """Every kind of dropout alone, with a probability of 1: what is left is no matter of luck."""
    fields = [name for name in case.config if "drop" in name]
    return [
        Curve(f"{case.name}, {name}", case.model, {**case.config, **dict.fromkeys(fields, 0.0), name: 1.0})
        for name in fields
    ]


#: Forward passes in training, and how many of their logits are compared.
DROPPED = [
    one
    for case in CURVES[:4]
    for one in _dropped(replace(case, config={**case.config, **_OTHER_DROPS.get(case.name, {})}))
]
SHOWN = 20

#: Trainings whose products are of 16 bits.
MIXED_STEPS = 20
#: The power of two that losses in float16 are first multiplied with: for one model so much that gradients
#: overflow. Which step is the first that does not may hang on the rounding, and all that follows on that.
FIRST_SCALE = {"bert, fp16": 20, "gpt2, fp16": 16, "llama, fp16": 16, "t5, fp16": 16}
MIXED = [
    Curve(f"{case.name}, {dtype}", case.model, case.config, {dtype: True, "max_steps": MIXED_STEPS})
    for case in CURVES[:4]
    for dtype in ("bf16", "fp16")
]

#: A training with some of everything, whose events are recorded.
EVENTS = Curve(
    "events",
    "BertForSequenceClassification",
    _BERT,
    {
        "max_steps": -1,
        "num_train_epochs": 2,
        "gradient_accumulation_steps": 3,
        "logging_steps": 2,
        "logging_first_step": True,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "eval_on_start": True,
        "eval_delay": 2,
        "save_strategy": "steps",
        "save_steps": 3,
    },
)
EPOCHS = Curve(
    "events by epoch",
    "BertForSequenceClassification",
    _BERT,
    {
        "max_steps": 10,
        "logging_strategy": "epoch",
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "load_best_model_at_end": True,
    },
)
HOOKS = [
    *("on_init_end", "on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end", "on_step_begin"),
    *("on_pre_optimizer_step", "on_optimizer_step", "on_substep_end", "on_step_end", "on_evaluate"),
    *("on_predict", "on_save", "on_log", "on_prediction_step"),
]


def recorder(base: Any) -> Any:
    """A callback that writes down its events: the step, the epoch, what is asked for, what is logged."""

    def hook(name: str) -> Any:
        def called(self: Any, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            asked = [key.removeprefix("should_") for key, value in vars(control).items() if value is True]
            logs = sorted(keywords.get("logs", ()))
            epoch = None if state.epoch is None else round(state.epoch, 6)
            self.events.append([name, state.global_step, epoch, asked, logs])

        return called

    return type("Recorder", (base,), {"events": [], **{name: hook(name) for name in HOOKS}})()


def recorded(name: str = "curves.json") -> dict[str, Any]:
    """What `reference/training.py` recorded."""
    record: dict[str, Any] = json.loads((FIXTURES / name).read_text())
    return record
