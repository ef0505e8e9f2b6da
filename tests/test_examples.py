"""What README, documentation and examples show, run as it stands there, offline, from a hub's cache.

The cache holds small models of random weights under the names that the snippets use.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import trustformers as tf
from trustformers.pipelines.registry import SUPPORTED_TASKS

ROOT = Path(__file__).parent.parent
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
DISTIL = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
ASYNC = """
import asyncio

from trustformers import AutoModel, AutoTokenizer


async def main():
    tokenizer = await AutoTokenizer.from_pretrained_async("gpt2")
    model = await AutoModel.from_pretrained_async("gpt2")
    inputs = await tokenizer.encode_async("Hello, world!")
    outputs = await model.forward_async(inputs)
    print(outputs.last_hidden_state.shape)


asyncio.run(main())
"""


def snippets(page: Path) -> list[str]:
    """The programs in a page: its fenced blocks of Python."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.M | re.S)


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = {
    **{f"{page.relative_to(ROOT)}-{n}": text for page in PAGES for n, text in enumerate(snippets(page), 1)},
    **{f"examples/{file.name}": file.read_text() for file in sorted((ROOT / "examples").glob("*.py"))},
}


class Hub:
    """A cache as huggingface_hub lays it out."""

    def __init__(self, home: Path, tokenizer: Path) -> None:
        self.home = home
        self.tokenizer = tf.AutoTokenizer.from_pretrained(tokenizer)

    def folder(self, name: str, revision: str = "main") -> Path:
        """The snapshot of a repository, found under a revision."""
        repo = self.home / "hub" / f"models--{name.replace('/', '--')}"
        commit = f"{abs(hash(name)):040x}"[:40]
        (repo / "refs").mkdir(parents=True, exist_ok=True)
        (repo / "refs" / revision).write_text(commit)
        snapshot = repo / "snapshots" / commit
        snapshot.mkdir(parents=True, exist_ok=True)
        return snapshot

    def add(self, name: str, model: tf.PreTrainedModel, revision: str = "main") -> None:
        """Put a model with a tokenizer there."""
        folder = self.folder(name, revision)
        model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, minilm_path: Path) -> Path:
    hub = Hub(tmp_path_factory.mktemp("hub"), minilm_path)
    hub.add("bert-base-uncased", tf.BertModel(tf.BertConfig(**SMALL), seed=1))
    gpt2 = tf.GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=30522)
    hub.add("gpt2", tf.GPT2LMHeadModel(gpt2, seed=2))
    config = tf.DistilBertConfig(**DISTIL, id2label={0: "NEGATIVE", 1: "POSITIVE"})
    classifier = tf.DistilBertForSequenceClassification(config, seed=3)
    hub.add(*placed("text-classification", classifier))
    answerer = tf.DistilBertForQuestionAnswering(tf.DistilBertConfig(**DISTIL), seed=4)
    hub.add(*placed("question-answering", answerer))
    minilm = hub.folder("sentence-transformers/all-MiniLM-L6-v2")
    for file in minilm_path.iterdir():
        if file.is_file():
            (minilm / file.name).symlink_to(file)
    return hub.home


def placed(task: str, model: tf.PreTrainedModel) -> tuple[str, tf.PreTrainedModel, str]:
    """A model in the place of a task's default one."""
    name, revision = SUPPORTED_TASKS[task]["default"]["model"]
    return name, model, revision


@pytest.fixture
def folder(tmp_path: Path, smollm2_path: Path) -> Path:
    """A working folder that has a model's file in it."""
    (tmp_path / smollm2_path.name).symlink_to(smollm2_path)
    return tmp_path


def run(program: str, home: Path, folder: Path) -> str:
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_there_are_programs() -> None:
    assert sum(name.startswith("README") for name in PROGRAMS) >= 3
    assert sum(name.startswith("examples") for name in PROGRAMS) >= 5


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_runs_as_it_is_shown(name: str, home: Path, folder: Path) -> None:
    assert run(PROGRAMS[name], home, folder)


def test_the_async_program_runs(home: Path, folder: Path) -> None:
    assert run(ASYNC, home, folder) == "(1, 6, 32)\n"


def test_answers_are_what_the_models_say(home: Path, folder: Path) -> None:
    program = """
import json
from trustformers import AutoModel, AutoTokenizer, pipeline
tokenizer, model = (auto.from_pretrained("bert-base-uncased") for auto in (AutoTokenizer, AutoModel))
outputs = model(**tokenizer("Hello, world!", return_tensors="np"))
classify = pipeline("sentiment-analysis")
batch = classify(["I love this!", "So do I."] * 20, batch_size=32)
kind = type(outputs.last_hidden_state)
print(json.dumps([f"{kind.__module__}.{kind.__name__}", len(batch), classify("I love this!") == [batch[0]],
    sorted(batch[0])]))
"""
    shown = json.loads(run(program, home, folder))
    assert shown == ["numpy.ndarray", 40, True, ["label", "score"]]
