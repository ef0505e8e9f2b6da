"""Arguments are checked while a program runs, where ``TRUSTFORMERS_TYPECHECK`` asks for it."""

import os
import subprocess
import sys

import pytest

WRONG = {
    "BertModel(BertConfig(num_hidden_layers=1), seed=1).train('yes')": (
        'argument "mode" (str) is not an instance of bool'
    ),
    "AutoModel.from_pretrained(7)": 'argument "pretrained_model_name_or_path" (int) did not match',
    "set_seed('a')": 'argument "seed" (str) is not an instance of int',
}


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"from trustformers import *\n{code}"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("code", WRONG)
def test_an_error_names_argument_expected_and_given(code: str) -> None:
    result = run(code, TRUSTFORMERS_TYPECHECK="1")
    assert result.returncode == 1
    assert f"TypeCheckError: {WRONG[code]}" in result.stderr


def test_what_is_right_passes() -> None:
    code = """
config = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
model = BertModel(config, seed=1)
print(model([[1, 2, 3]]).to_list().keys())
"""
    checked, plain = (run(code, TRUSTFORMERS_TYPECHECK=value) for value in ("1", "0"))
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout == plain.stdout


def test_nothing_is_loaded_unless_it_is_asked_for() -> None:
    code = "import sys; print('typeguard' in sys.modules)"
    assert run(code, TRUSTFORMERS_TYPECHECK="").stdout == "False\n"
    assert run(code, TRUSTFORMERS_TYPECHECK="1").stdout == "True\n"
