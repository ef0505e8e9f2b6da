"""The examples do what they say, in a few steps."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "train"


def example(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("more", [[], ["--lora"]])
def test_topics(
    more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    topics = example("topics", monkeypatch)
    train, held_out = topics.texts(0), topics.texts(1)
    assert len(train) > 1000
    assert len(held_out) > 200
    assert not dict(train).keys() & dict(held_out).keys()
    few = {0: train[:48], 1: held_out[:16]}
    monkeypatch.setattr(topics, "texts", few.__getitem__)
    metrics = topics.main(["--max-steps", "4", "--output", str(tmp_path), *more])
    assert 0 <= metrics["eval_accuracy"] <= 1
    printed = capsys.readouterr().out
    assert "48 docstrings to train on, 16 of other modules held out" in printed
    assert f"Accuracy on modules it has not seen: {metrics['eval_accuracy']:.1%}" in printed
    assert printed.count("Copy the directory with all that is in it.") == 1
    saved = "adapter_model.safetensors" if more else "model.safetensors"
    assert (tmp_path / saved).is_file()
    if "matplotlib" in sys.modules:
        assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    characters = example("characters", monkeypatch)
    small = ["--max-steps", "20", "--width", "16", "--layers", "1", "--characters", "20000"]
    metrics = characters.main([*small, "--output", str(tmp_path)])
    assert metrics["eval_loss"] < 4.2, "better than drawing evenly"
    printed = capsys.readouterr().out
    assert "18,000 characters to train on, 2,000 held out" in printed
    for prompt in characters.PROMPTS:
        assert f"\n{prompt}" in printed
    tokenizer = characters.tf.AutoTokenizer.from_pretrained(tmp_path)
    text = "def f(x):\n    return x + 1  # two  spaces"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
