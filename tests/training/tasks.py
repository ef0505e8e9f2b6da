"""A task that a tiny model learns in some steps, and what the tests make of it."""

from pathlib import Path
from typing import Any

import numpy as np

import trustformers as tf

CONFIG = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "num_labels": 2,
}


def examples(count: int = 22, length: int = 6) -> list[dict[str, Any]]:
    """Whether the first token is in the upper half of the vocabulary."""
    rng = np.random.default_rng(count)
    rows = rng.integers(1, 40, (count, length))
    return [{"input_ids": row.tolist(), "labels": int(row[0] >= 20)} for row in rows]


def model(seed: int = 0, kind: Any = tf.BertForSequenceClassification, **fields: Any) -> Any:
    return kind(tf.BertConfig(**{**CONFIG, **fields}), seed=seed)


def trainer(
    folder: Path, made: Any = None, kind: Any = tf.Trainer, parts: Any = None, **settings: Any
) -> Any:
    """A trainer of six steps an epoch, two epochs."""
    common = {
        "per_device_train_batch_size": 4,
        "num_train_epochs": 2,
        "learning_rate": 5e-3,
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    args = tf.TrainingArguments(str(folder), **{**common, **settings})
    given = {"train_dataset": examples(), **(parts or {})}
    if "model_init" not in given:
        given["model"] = model() if made is None else made
    return kind(args=args, **given)


def losses(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def weights(made: Any) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().copy() for name, value in made.named_parameters()}


def same(ours: Any, theirs: Any) -> bool:
    """Whether two models have the same bits."""
    pairs = zip(weights(ours).values(), weights(theirs).values(), strict=True)
    return all(np.array_equal(one, other) for one, other in pairs)
