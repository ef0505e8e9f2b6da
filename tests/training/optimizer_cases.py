"""Optimizers and schedules, by the keywords that torch's and transformers' classes take as well as ours.

The task is a small one whose gradients are in every direction: `tanh(x W + b)` shall be 0. What `x`, `W` and
`b` begin with is drawn from their names, so that torch and we begin with the same bits.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from drawn_weights import draw

FIXTURES = Path(__file__).parent.parent / "fixtures" / "training"
STEPS = 100

#: The class, and its keywords.
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "AdamW": ("AdamW", {"lr": 1e-2}),
    "AdamW, other settings": (
        "AdamW",
        {"lr": 3e-3, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1},
    ),
    "Adam": ("Adam", {"lr": 1e-2}),
    "Adam, decay in the gradient": ("Adam", {"lr": 1e-2, "weight_decay": 0.1}),
    "SGD": ("SGD", {"lr": 1e-2}),
    "SGD, momentum": ("SGD", {"lr": 1e-2, "momentum": 0.9, "dampening": 0.3}),
    "SGD, Nesterov": ("SGD", {"lr": 1e-2, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "Adagrad": ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.01}),
    "Adagrad, a start": ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.5}),
    "RMSprop": ("RMSprop", {"lr": 1e-2}),
    "RMSprop, decay": ("RMSprop", {"lr": 1e-2, "alpha": 0.9, "weight_decay": 0.1}),
    "Adafactor": ("Adafactor", {}),
    "Adafactor, a learning rate": (
        "Adafactor",
        {"lr": 1e-3, "relative_step": False, "scale_parameter": False, "beta1": 0.9, "weight_decay": 0.01},
    ),
}

#: `get_scheduler` with 10 steps up of 100; its further settings.
SCHEDULES: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": ("linear", {}),
    "cosine": ("cosine", {}),
    "cosine, a whole wave": ("cosine", {"num_cycles": 1.0}),
    "cosine_with_restarts": ("cosine_with_restarts", {"num_cycles": 3}),
    "polynomial": ("polynomial", {"power": 2.0, "lr_end": 1e-5}),
    "constant": ("constant", {}),
    "constant_with_warmup": ("constant_with_warmup", {}),
    "inverse_sqrt": ("inverse_sqrt", {"timescale": 20}),
    "cosine_with_min_lr": ("cosine_with_min_lr", {"min_lr": 1e-4}),
    "cosine_warmup_with_min_lr": (
        "cosine_warmup_with_min_lr",
        {"min_lr_rate": 0.1, "warmup_lr_rate": 0.2},
    ),
    "warmup_stable_decay": ("warmup_stable_decay", {"num_decay_steps": 20}),
    "warmup_stable_decay, straight": (
        "warmup_stable_decay",
        {"num_decay_steps": 30, "num_stable_steps": 50, "decay_type": "linear", "min_lr_ratio": 0.1},
    ),
}

#: What `ReduceLROnPlateau` is made with, and the metrics that it sees.
PLATEAUS: dict[str, dict[str, Any]] = {
    "down": {"patience": 2, "factor": 0.5},
    "up": {"mode": "max", "patience": 1, "threshold": 0.1, "threshold_mode": "abs", "cooldown": 1},
    "least": {"patience": 0, "factor": 0.1, "min_lr": 1e-3},
}
#: What `GreedyLR` is made with; it sees the same metrics twice over.
GREEDY: dict[str, dict[str, Any]] = {
    "as it is": {"patience": 1},
    "up": {
        "mode": "max",
        "patience": 0,
        "factor": 0.5,
        "min_lr": 1e-4,
        "max_lr": 0.05,
        "threshold_mode": "rel",
    },
    "waiting": {"patience": 0, "factor": 0.8, "cooldown": 2, "warmup": 1, "min_lr": 1e-3},
    "smoothed": {"patience": 1, "smooth": True, "window_size": 3, "min_lr": 1e-3},
    "begun anew": {"patience": 0, "factor": 0.1, "min_lr": 1e-3, "reset_start": 2},
}
METRICS = [3.0, 2.0, 2.5, 2.4, 2.3, 2.2, 2.1, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.45, 0.44, 0.43, 0.42]


def start() -> list[np.ndarray]:
    """W and b before the first step."""
    return [draw("optimizers", "weight", (5, 7)), draw("optimizers", "bias", (7,))]


def inputs(step: int) -> np.ndarray:
    """The x of a step."""
    return draw("optimizers", f"inputs {step}", (4, 5))


def expected() -> dict[str, Any]:
    """What `reference/training.py` recorded."""
    record: dict[str, Any] = json.loads((FIXTURES / "optimizers.json").read_text())
    return record
