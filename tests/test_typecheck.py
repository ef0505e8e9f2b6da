"""Arguments are checked while a program runs, where ``TRUSTFORMERS_TYPECHECK`` asks for it."""

import json
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


MANY = """
import json
import typeguard
from trustformers import *
from trustformers import logging
from trustformers.peft import LoraConfig

small = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, vocab_size=100)
model = BertModel(BertConfig(**small), seed=1)
said = {}
for code in json.loads(input()):
    try:
        eval(code)
        said[code] = None
    except typeguard.TypeCheckError as error:
        said[code] = str(error)
print(json.dumps(said))
"""
#: Calls that are wrong in one argument, with its name, a type that it may have, and the one that it has.
MISTAKEN = {
    "AsyncEngine(model, max_batch_tokens='a')": ("max_batch_tokens", "int", "str"),
    "AutoConfig.from_pretrained(7)": ("pretrained_model_name_or_path", "str", "int"),
    "AutoTokenizer.from_pretrained(7)": ("pretrained_model_name_or_path", "str", "int"),
    "AutoModelForCausalLM.from_pretrained(7)": ("pretrained_model_name_or_path", "str", "int"),
    "GenerationConfig.from_pretrained(7)": ("pretrained_model_name", "str", "int"),
    "pipeline(7)": ("task", "str", "int"),
    "model.save_pretrained(7)": ("save_directory", "str", "int"),
    "model.num_parameters(only_trainable='a')": ("only_trainable", "bool", "str"),
    "model.load_state_dict(7)": ("state_dict", "mapping", "int"),
    "model.config.save_pretrained(7)": ("save_directory", "str", "int"),
    "model.resize_token_embeddings('a')": ("new_num_tokens", "int", "str"),
    "BatchEncoding(7)": ("data", "Mapping", "int"),
    "TopKLogitsWarper('a')": ("top_k", "int", "str"),
    "MaxLengthCriteria('a')": ("max_length", "int", "str"),
    "AdamW([tensor([1.0], requires_grad=True)], lr='a')": ("lr", "float", "str"),
    "get_scheduler(7, None)": ("name", "str", "int"),
    "get_linear_schedule_with_warmup(None, 1, 2)": ("optimizer", "Optimizer", "None"),
    "EarlyStoppingCallback('a')": ("early_stopping_patience", "int", "str"),
    "KeyDataset([{}], 7)": ("key", "str", "int"),
    "logging.set_verbosity('a')": ("verbosity", "int", "str"),
    "TrainingArguments(output_dir=7)": ("output_dir", "str", "int"),
    "TrainingArguments(output_dir='out', num_train_epochs='many')": ("num_train_epochs", "float", "str"),
    "TrainingArguments('out', fp16='yes')": ("fp16", "bool", "str"),
    "Seq2SeqTrainingArguments('out', generation_num_beams='a')": ("generation_num_beams", "int", "str"),
    "LoraConfig(r='a')": ("r", "int", "str"),
}


def test_every_mistake_is_named() -> None:
    result = subprocess.run(
        [sys.executable, "-c", MANY],
        env={**os.environ, "TRUSTFORMERS_TYPECHECK": "1"},
        input=json.dumps(list(MISTAKEN)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout)
    for code, (argument, expected, given) in MISTAKEN.items():
        error = said[code] or "nothing"
        assert f'"{argument}"' in error, f"{code}: {error}"
        assert expected in error, f"{code}: {error}"
        assert given in error, f"{code}: {error}"


def test_what_is_right_passes() -> None:
    code = """
config = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
model = BertModel(config, seed=1)
print(model([[1, 2, 3]]).to_list().keys())
args = TrainingArguments("out", num_train_epochs=3, fp16=True, logging_steps=100, save_strategy="no")
print(args.num_train_epochs, args.save_strategy)
"""
    checked, plain = (run(code, TRUSTFORMERS_TYPECHECK=value) for value in ("1", "0"))
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout == plain.stdout


def test_nothing_is_loaded_unless_it_is_asked_for() -> None:
    code = "import sys; print('typeguard' in sys.modules)"
    assert run(code, TRUSTFORMERS_TYPECHECK="").stdout == "False\n"
    assert run(code, TRUSTFORMERS_TYPECHECK="1").stdout == "True\n"
