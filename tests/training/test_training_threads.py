"""The bits of a training are those of any number of threads."""

import subprocess
import sys
from pathlib import Path

import pytest

STEPS = """
import hashlib
import numpy as np
import trustformers as tf
from trustformers import _engine, training
from trustformers.peft import LoraConfig, get_peft_model

# Large enough that masks, products, sums and steps are shared out.
tf.manual_seed(3)
print(hashlib.sha256(np.asarray(_engine.dropout(tf.ones(300, 1000), 0.3)).tobytes()).hexdigest())
config = tf.BertConfig(vocab_size=500, hidden_size=128, num_hidden_layers=2, num_attention_heads=4,
                       intermediate_size=512, max_position_embeddings=64, hidden_dropout_prob=0.2,
                       attention_probs_dropout_prob=0.1, num_labels=3)
ids = np.random.default_rng(0).integers(1, 500, (16, 64))
given = {"input_ids": tf.as_tensor(ids), "labels": tf.as_tensor(np.arange(16) % 3)}
for kind in ("AdamW", "AdamW8bit", "SGD", "Lion", "Adafactor", "adapter"):
    model = tf.BertForSequenceClassification(config, seed=0)
    if kind == "adapter":
        model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", lora_dropout=0.1))
    else:
        for parameter in model.parameters():
            parameter.requires_grad_()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = getattr(training, kind if kind != "adapter" else "AdamW")(parameters)
    for _ in range(2):
        loss = model(**given).loss
        loss.backward()
        norm = training.clip_grad_norm_(parameters, 0.5)
        optimizer.step()
        optimizer.zero_grad()
    bits = b"".join(p.detach().numpy().tobytes() for p in parameters)
    print(kind, loss.item(), norm, hashlib.sha256(bits).hexdigest())
"""


def trained(threads: int) -> list[str]:
    command = [sys.executable, "-c", f"import trustformers\ntrustformers.set_num_threads({threads})\n{STEPS}"]
    folder = Path(__file__).parent
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=300)
    return result.stdout.splitlines()


@pytest.fixture(scope="module")
def alone() -> list[str]:
    return trained(1)


@pytest.mark.parametrize("threads", [2, 3])
def test_masks_and_steps_are_the_same_bits(alone: list[str], threads: int) -> None:
    assert len(alone) == 7
    assert trained(threads) == alone
