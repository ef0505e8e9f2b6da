"""What the README shows is what happens."""

import re
from pathlib import Path

import pytest


def test_the_example_of_a_training(
    tmp_path: Path, minilm_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "Trainer(" in block]
    assert len(blocks) == 1
    code = blocks[0].replace("sentence-transformers/all-MiniLM-L6-v2", str(minilm_path))
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert capsys.readouterr().out.splitlines()[-1].startswith("[{'label': 'glad', 'score': 0.")
