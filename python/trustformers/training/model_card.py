"""The page about a model that was trained: what was trained, how, and what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .arguments import TrainingArguments
from .state import TrainerState

#: The settings that say how it was trained.
_SETTINGS = (
    *("learning_rate", "per_device_train_batch_size", "per_device_eval_batch_size", "seed"),
    *("gradient_accumulation_steps", "optim", "lr_scheduler_type", "warmup_steps", "num_train_epochs"),
    *("max_steps", "label_smoothing_factor", "weight_decay"),
)
_NOT_METRICS = ("_runtime", "_per_second", "epoch", "step", "num_input_tokens_seen")


def model_card(
    described: Mapping[str, Any],
    name: str,
    datasets: list[str],
    args: TrainingArguments,
    state: TrainerState,
) -> str:
    """A page in Markdown, with what hubs read at its head."""
    # JSON is YAML, and needs nobody to write it.
    head = [f"{key}: {json.dumps(value)}" for key, value in described.items() if value]
    base = described.get("base_model")
    began = f"a fine-tuned version of {base}" if base else "a model trained from scratch"
    data = f" on {', '.join(datasets)}" if datasets else ""
    settings = args.to_dict()
    evaluations = [entry for entry in state.log_history if any(key.startswith("eval_") for key in entry)]
    lines = ["---", *head, "---", "", f"# {name}", "", f"This model is {began}{data}."]
    if evaluations:
        lines += ["At the end of its training it had on the evaluation set:", ""]
        lines += [f"- {_title(key)}: {value:.4g}" for key, value in _metrics(evaluations[-1]).items()]
    lines += ["", "## How it was trained", ""]
    lines += [f"- {setting}: {settings[setting]}" for setting in _SETTINGS]
    if evaluations:
        lines += ["", "## What came out", "", *_table(state, evaluations)]
    return "\n".join(lines) + "\n"


def _metrics(entry: Mapping[str, Any]) -> dict[str, float]:
    return {
        key: value
        for key, value in entry.items()
        if isinstance(value, (int, float)) and not key.endswith(_NOT_METRICS)
    }


def _table(state: TrainerState, evaluations: list[dict[str, Any]]) -> list[str]:
    """A row for every evaluation, with the training loss that was logged last before it."""
    names = list(dict.fromkeys(key for entry in evaluations for key in _metrics(entry)))
    columns = ["Training loss", "Epoch", "Step", *map(_title, names)]
    rows = [f"| {' | '.join(columns)} |", f"|{' ---: |' * len(columns)}"]
    for entry in evaluations:
        losses = [one["loss"] for one in state.log_history if "loss" in one and one["step"] <= entry["step"]]
        cells = [f"{losses[-1]:.4f}" if losses else "", f"{entry.get('epoch', 0):.4g}", str(entry["step"])]
        cells += [f"{entry[name]:.4f}" if name in entry else "" for name in names]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _title(name: str) -> str:
    return name.removeprefix("eval_").replace("_", " ").capitalize()
