"""Models and tokenizers from the hub, through the classes that people use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hub_cases import NAME
from hub_server import Hub, Repository, large

from trustformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

FIXTURES = Path(__file__).parents[1] / "fixtures"
IDS = np.array([[5, 9, 2, 17]])


def files(variant: str, folder: str = "") -> dict[str, object]:
    """A whole model: a tiny BERT of the fixtures with a tokenizer beside it."""
    found: dict[str, object] = {}
    for path in (FIXTURES / "bert" / variant).iterdir():
        if path.name in ("config.json", "model.safetensors"):
            content = path.read_bytes()
            found[folder + path.name] = large(content) if path.suffix == ".safetensors" else content
    for path in (FIXTURES / "tokenizers" / "bert").glob("*.json"):
        if "case" not in path.name:
            found[folder + path.name] = path.read_bytes()
    return found


@pytest.fixture
def bert(hub: Hub) -> Repository:
    return hub.add(NAME, {**files("default"), **files("relu", "act/")})  # type: ignore[arg-type]


def local(variant: str) -> np.ndarray:
    return AutoModel.from_pretrained(FIXTURES / "bert" / variant)(IDS).last_hidden_state


def test_a_model_comes_from_the_hub_once(hub: Hub, bert: Repository) -> None:
    np.testing.assert_array_equal(AutoModel.from_pretrained(NAME)(IDS).last_hidden_state, local("default"))
    hub.requests.clear()
    AutoModel.from_pretrained(NAME)
    assert [request.method for request in hub.requests] == ["HEAD"], "one question: is there something new?"
    hub.requests.clear()
    AutoModel.from_pretrained(NAME, revision=bert.main)
    assert hub.requests == [], "a commit does not change"


def test_a_tokenizer_asks_once(hub: Hub, bert: Repository) -> None:
    first = AutoTokenizer.from_pretrained(NAME)("hello")["input_ids"]
    hub.requests.clear()
    assert AutoTokenizer.from_pretrained(NAME)("hello")["input_ids"] == first
    assert [request.method for request in hub.requests] == ["HEAD"]


def test_subfolder_and_revision(hub: Hub, bert: Repository) -> None:
    relu = AutoModel.from_pretrained(NAME, subfolder="act")(IDS).last_hidden_state
    np.testing.assert_array_equal(relu, local("relu"))
    bert.commit(files("gelu_new"), "new")  # type: ignore[arg-type]
    new = AutoModel.from_pretrained(NAME, revision="new")(IDS).last_hidden_state
    np.testing.assert_array_equal(new, local("gelu_new"))
    assert AutoConfig.from_pretrained(NAME, revision="new").hidden_act == "gelu_new"
    assert AutoConfig.from_pretrained(NAME).hidden_act == "gelu"


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_a_cached_model_opens_and_another_does_not(
    hub: Hub, bert: Repository, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    expected = AutoModel.from_pretrained(NAME)(IDS).last_hidden_state
    AutoTokenizer.from_pretrained(NAME)
    hub.requests.clear()
    monkeypatch.setenv(name, "1")
    np.testing.assert_array_equal(AutoModel.from_pretrained(NAME)(IDS).last_hidden_state, expected)
    AutoTokenizer.from_pretrained(NAME)
    for loader in (AutoConfig, AutoModel, AutoTokenizer):
        with pytest.raises(OSError, match="We couldn't connect to"):
            loader.from_pretrained("other/model")
    assert hub.requests == []


def test_local_files_only(hub: Hub, bert: Repository) -> None:
    with pytest.raises(OSError, match="local_files_only"):
        AutoModel.from_pretrained(NAME, local_files_only=True)
    assert hub.requests == []


def test_force_download_fetches_again(hub: Hub, bert: Repository) -> None:
    AutoModel.from_pretrained(NAME)
    hub.requests.clear()
    AutoModel.from_pretrained(NAME, force_download=True)
    assert len([request for request in hub.asked("GET") if "config.json" in request.path]) == 1


def test_all_parts_of_a_gguf_model_are_fetched(hub: Hub) -> None:
    parts = sorted((FIXTURES / "gguf" / "llama-split").glob("*.gguf"))
    first = parts[0].name
    hub.add(NAME, {part.name: large(part.read_bytes()) for part in parts})
    AutoTokenizer.from_pretrained(NAME, gguf_file=first)
    fetched = {part.name for part in parts if any(part.name in one.path for one in hub.asked("GET"))}
    assert fetched == {first}, "a tokenizer needs the first alone"
    model = AutoModelForCausalLM.from_pretrained(NAME, gguf_file=first)
    here = AutoModelForCausalLM.from_pretrained(parts[0])
    np.testing.assert_array_equal(model(IDS).logits, here(IDS).logits)


def test_a_model_that_is_not_there(hub: Hub) -> None:
    for loader in (AutoConfig, AutoModel, AutoTokenizer):
        with pytest.raises(OSError, match="is not a local folder and is not a valid model identifier"):
            loader.from_pretrained("no/such-model")
