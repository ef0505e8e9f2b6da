"""Weights are mapped: opening reads no tensor, and processes that use the same file have its pages once."""

import json
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from trustformers import LlamaConfig, LlamaForCausalLM, load_file

LARGE = 10**9

READER = """
import sys, numpy as np, trustformers
tensors = trustformers.load_file(sys.argv[1])
print(sum(float(np.asarray(tensor).sum()) for tensor in tensors.values()), flush=True)
sys.stdin.readline()
"""

RUNNER = """
import sys, numpy as np, trustformers

def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name))

load = trustformers.AutoModelForCausalLM.from_pretrained  # what has to be imported is
before = status("VmHWM:")
model = load(sys.argv[1])
model(np.arange(16)[None])
print(status("VmHWM:") - before)
"""


def write(path: Path, size: int, count: int) -> None:
    """A file of so many float32 tensors, all zeros: a hole, which takes no room on the disk."""
    each = size // count // 4
    header = {
        f"layer.{i}.weight": {
            "dtype": "F32",
            "shape": [each],
            "data_offsets": [i * each * 4, (i + 1) * each * 4],
        }
        for i in range(count)
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + each * 4 * count)


@pytest.mark.alone
def test_opening_a_gigabyte_reads_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write(path, LARGE, 400)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        tensors = load_file(path)
        seconds.append(time.perf_counter() - start)
        assert len(tensors) == 400
    assert min(seconds) < 0.05, f"it took {min(seconds) * 1000:.0f} ms"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is shared")
def test_processes_share_the_pages(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write(path, 64 << 20, 4)
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for reader in readers:
        assert reader.stdout is not None
        assert float(reader.stdout.readline()) == 0.0
    resident, proportional = zip(*(mapped(reader.pid, path) for reader in readers), strict=True)
    for reader in readers:
        reader.communicate()
    assert min(resident) > 60_000, "every page was read"
    assert sum(proportional) < 1.1 * max(resident), "and each is there once"


def llama(folder: Path, width: int, layers: int) -> LlamaForCausalLM:
    """A model of which the head has no weights of its own, saved there."""
    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers}
    config = LlamaConfig(vocab_size=8 * width, num_attention_heads=8, tie_word_embeddings=True, **sizes)
    LlamaForCausalLM(config, seed=1).save_pretrained(folder)
    return LlamaForCausalLM.from_pretrained(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux drops pages at once")
def test_a_forward_pass_takes_little_more_memory_than_the_weights(tmp_path: Path) -> None:
    weights = llama(tmp_path, 512, 8).get_memory_footprint()
    run = subprocess.run([sys.executable, "-c", RUNNER, str(tmp_path)], capture_output=True, check=True)
    peak = int(run.stdout) * 1024
    assert peak < 1.15 * weights, f"{peak / weights:.2f} times the weights"


def test_what_was_written_to_pages_of_the_file_stays_written(tmp_path: Path) -> None:
    model = llama(tmp_path, 128, 2)
    untouched, ids = LlamaForCausalLM.from_pretrained(tmp_path), np.arange(12)[None]
    weights = dict(model.named_parameters())
    weights["model.layers.0.mlp.up_proj.weight"].to_numpy()[:] *= 3  # through memory that is lent
    weights["model.layers.1.mlp.down_proj.weight"].mul_(3)
    weights["model.embed_tokens.weight"][5] = 0.25
    before = {name: value.to_numpy().copy() for name, value in weights.items()}
    twin = LlamaForCausalLM.from_pretrained(tmp_path, state_dict=before)
    for _ in range(2):
        np.testing.assert_array_equal(model(ids).logits, twin(ids).logits)
        for name, value in weights.items():
            np.testing.assert_array_equal(value.to_numpy(), before[name])
    assert np.abs(untouched(ids).logits - model(ids).logits).max() > 1e-3


def mapped(process: int, path: Path) -> tuple[int, int]:
    """How much of the file a process has in memory, and its share of that, in kB."""
    resident = proportional = 0
    inside = False
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        if not line.split()[0].endswith(":"):
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            resident += int(line.split()[1])
        elif inside and line.startswith("Pss:"):
            proportional += int(line.split()[1])
    return resident, proportional
