"""Models that are not there, or whose configuration no model can have.

Each raises what transformers raises and says what to do. Where transformers raises an error of a library
that we do not have (StrictDataclassError) or one by accident (ZeroDivisionError for no heads), ours is
ValueError.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bad_models import IDS, message
from trustformers import AutoConfig, AutoModel

# Folders.


def test_the_good_copy_opens(checkpoint: Path) -> None:
    assert AutoModel.from_pretrained(checkpoint)(IDS).last_hidden_state.shape == (1, 4, 12)


@pytest.mark.parametrize("open_it", [AutoModel.from_pretrained, AutoConfig.from_pretrained])
def test_no_such_folder(tmp_path: Path, open_it: Callable[[Path], Any]) -> None:
    with pytest.raises(OSError, match="not-here"):
        open_it(tmp_path / "not-here")


@pytest.mark.parametrize("open_it", [AutoModel.from_pretrained, AutoConfig.from_pretrained])
def test_no_config(checkpoint: Path, open_it: Callable[[Path], Any]) -> None:
    (checkpoint / "config.json").unlink()
    with pytest.raises(ValueError, match=r"config\.json") as caught:
        open_it(checkpoint)
    assert str(checkpoint) in str(caught.value)


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "config.json" in message(ValueError, tmp_path)


def test_no_weights(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    text = message(OSError, checkpoint)
    assert "model.safetensors" in text
    assert str(checkpoint) in text


def test_weights_that_are_a_folder(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "model.safetensors").mkdir()
    assert "model.safetensors" in message(OSError, checkpoint)


# Configurations.


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{not json",
        b'{"model_type": "bert"',
        b'\xff\xfe{"model_type": "bert"}',
        b"\0" * 100,
        b"[" * 100_000,
    ],
    ids=["empty", "not json", "cut", "not utf-8", "zeros", "deep"],
)
def test_a_config_that_is_not_json(checkpoint: Path, data: bytes) -> None:
    (checkpoint / "config.json").write_bytes(data)
    assert str(checkpoint / "config.json") in message(OSError, checkpoint)


@pytest.mark.parametrize("data", [b"{}", b"[]", b"3", b"null", b'{"architectures": ["BertModel"]}'])
def test_a_config_without_model_type(checkpoint: Path, data: bytes) -> None:
    (checkpoint / "config.json").write_bytes(data)
    assert "model_type" in message(ValueError, checkpoint)


@pytest.mark.parametrize("model_type", ["frobnicator", "BERT", ""])
def test_a_model_type_that_is_not_supported_is_named_and_what_is_supported_is_listed(
    checkpoint: Path, model_type: str
) -> None:
    change_config(checkpoint, model_type=model_type)
    text = message(ValueError, checkpoint)
    assert f"`{model_type}`" in text
    assert "bert" in text.replace(f"`{model_type}`", "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_size", 0),
        ("hidden_size", -12),
        ("hidden_size", "12"),
        ("hidden_size", 12.5),
        ("hidden_size", None),
        ("hidden_size", [12]),
        ("num_attention_heads", 0),
        ("num_attention_heads", 5),
        ("num_attention_heads", -2),
        ("num_attention_heads", None),
        ("num_hidden_layers", -1),
        ("num_hidden_layers", "2"),
        ("intermediate_size", 0),
        ("vocab_size", 0),
        ("vocab_size", -4),
        ("max_position_embeddings", 0),
        ("type_vocab_size", 0),
        ("layer_norm_eps", "small"),
        ("layer_norm_eps", -1.0),
        ("hidden_act", None),
        ("hidden_act", 7),
        ("hidden_size", 10**30),
    ],
)
def test_a_value_that_no_model_can_have(checkpoint: Path, name: str, value: Any) -> None:
    change_config(checkpoint, **{name: value})
    assert name in message(ValueError, checkpoint)


def test_an_activation_that_does_not_exist(checkpoint: Path) -> None:
    change_config(checkpoint, hidden_act="frobnicate")
    text = message((KeyError, ValueError), checkpoint)
    assert "frobnicate" in text
    assert "gelu_new" in text, "those that do exist are listed"


@pytest.mark.parametrize(
    "name", ["hidden_size", "vocab_size", "intermediate_size", "max_position_embeddings"]
)
@pytest.mark.parametrize("value", [10**9 - 10**9 % 12, 2**62])
def test_a_config_larger_than_its_weights_costs_no_memory(checkpoint: Path, name: str, value: int) -> None:
    change_config(checkpoint, **{name: value, "num_attention_heads": 2})
    message((RuntimeError, ValueError), checkpoint)


def test_more_layers_than_weights(checkpoint: Path) -> None:
    change_config(checkpoint, num_hidden_layers=10_000)
    assert "encoder.layer.2." in message(RuntimeError, checkpoint)
    change_config(checkpoint, num_hidden_layers=1_000_000)
    assert "num_hidden_layers" in message(ValueError, checkpoint)


def test_a_config_too_large_for_this_machine_is_an_error() -> None:
    config = AutoConfig.for_model("bert", vocab_size=2**50)
    with pytest.raises((MemoryError, RuntimeError, ValueError)):
        AutoModel.from_config(config)
