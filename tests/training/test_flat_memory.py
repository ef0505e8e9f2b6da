"""A training takes as much memory at its end as at its beginning."""

import subprocess
import sys
from pathlib import Path

import pytest

STEPS = """
import sys
import numpy as np
import tasks
import trustformers as tf
from trustformers import training
from trustformers.peft import LoraConfig, get_peft_model


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


model = tasks.model()
if sys.argv[1] == "adapter":
    model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS"))
parameters = [p for p in model.parameters() if sys.argv[1] == "model" or p.requires_grad]
optimizer = training.AdamW([p.requires_grad_() for p in parameters], lr=1e-4)
rng = np.random.default_rng(0)


def take(steps):
    for _ in range(steps):
        # Of ever new lengths, as texts are.
        ids = rng.integers(1, 40, (4, int(rng.integers(2, 16))))
        labels = tf.as_tensor(rng.integers(0, 2, 4))
        model(input_ids=tf.as_tensor(ids), labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


take(1000)
before = resident()
take(10_000)
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="there is no /proc")
@pytest.mark.parametrize("trained", ["model", "adapter"])
def test_ten_thousand_steps_add_nothing(trained: str) -> None:
    command = [sys.executable, "-c", STEPS, trained]
    folder = Path(__file__).parent
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=300)
    # A hundred bytes a step that are not given back would be 1 MB.
    assert float(result.stdout) < 1.0
