"""What is asked of a model's weights and done to them, and the files that they are saved to."""

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trustformers
from fixture_cases import FIXTURES, heads
from trustformers import AutoModel, Tensor

ROWS = FIXTURES / "architectures"
IDS = np.array([[5, 9, 2, 17], [3, 3, 8, 1]])


@cache
def folder(row: str, class_name: str) -> Path:
    return next(head for head in heads(ROWS / row) if head.key == class_name).folder


def opened(row: str, class_name: str, **keywords: Any) -> Any:
    return getattr(trustformers, class_name).from_pretrained(folder(row, class_name), **keywords)


@pytest.fixture
def bert() -> Any:
    return opened("bert/default", "BertForMaskedLM")


@pytest.fixture
def llama() -> Any:
    return opened("llama/default", "LlamaForCausalLM")


def logits(model: Any) -> np.ndarray:
    found: np.ndarray = model(IDS).logits
    return found


# Names and numbers.


def test_tied_parameters_have_all_their_names_in_the_state_dict(bert: Any) -> None:
    state = bert.state_dict()
    words = "bert.embeddings.word_embeddings.weight"
    assert state["cls.predictions.decoder.weight"] is not None
    assert state["cls.predictions.decoder.weight"].data_ptr() == state[words].data_ptr()
    names = [name for name, _ in bert.named_parameters()]
    assert words in names
    assert "cls.predictions.decoder.weight" not in names
    assert "cls.predictions.decoder.weight" in dict(bert.named_parameters(remove_duplicate=False))


def test_embeddings_may_be_left_out_of_the_number_of_parameters(bert: Any, llama: Any) -> None:
    for model in (bert, llama):
        tables = [v.numel() for n, v in model.named_parameters() if "embed" in n and v.ndim == 2]
        assert model.num_parameters() - model.num_parameters(exclude_embeddings=True) == sum(tables)
        assert model.get_memory_footprint() == 4 * model.num_parameters()


def test_dtypes_change_in_place(llama: Any) -> None:
    before = logits(llama)
    assert llama.half() is llama
    assert llama.dtype == llama.config.dtype == "float16"
    assert {parameter.to_numpy().dtype for parameter in llama.parameters()} == {np.dtype(np.float16)}
    assert 0 < np.abs(logits(llama) - before).max() < 0.1
    assert llama.to("bfloat16").dtype == llama.to(trustformers.bfloat16).dtype == "bfloat16"
    assert llama.float().cpu().dtype == "float32"
    with pytest.raises(RuntimeError, match=r"cuda:99|CUDA"):
        llama.cuda(99)


# In place.


def test_a_state_dict_is_loaded_into_every_place_where_a_weight_is_used(bert: Any, llama: Any) -> None:
    rng = np.random.default_rng(0)
    for model in (bert, llama, opened("llama/default", "LlamaForCausalLM", dtype="bfloat16")):
        before = logits(model)
        drawn = {k: rng.normal(size=v.shape).astype(np.float32) for k, v in model.named_parameters()}
        assert model.load_state_dict(drawn) == ([], [])
        fresh = type(model)(model.config).eval()
        fresh.to(model.dtype).load_state_dict(drawn)
        np.testing.assert_array_equal(logits(model), logits(fresh))
        assert np.abs(logits(model) - before).max() > 1e-3


def test_every_parameter_that_changes_in_place_changes_the_answer() -> None:
    for row, class_name in (
        ("bert/default", "BertForSequenceClassification"),
        ("llama/default", "LlamaForCausalLM"),
    ):
        for dtype in ("float32", "float16"):
            model = opened(row, class_name, dtype=dtype)
            before = logits(model)
            for name, parameter in model.named_parameters():
                old = parameter.clone()
                parameter.copy_(Tensor.from_numpy(np.random.default_rng(1).normal(size=parameter.shape)))
                # A key's bias shifts all scores of a query alike: softmax does not see it.
                if not name.endswith("key.bias"):
                    assert np.abs(logits(model) - before).max() > 0, name
                parameter.copy_(old)
            np.testing.assert_array_equal(logits(model), before)


def test_the_file_and_other_models_do_not_see_a_change(llama: Any) -> None:
    other, path = opened("llama/default", "LlamaForCausalLM"), folder("llama/default", "LlamaForCausalLM")
    before, bytes_before = logits(other), (path / "model.safetensors").read_bytes()
    twin = copy.deepcopy(llama)
    for parameter in llama.parameters():
        parameter.mul_(0.5)
    assert np.abs(logits(llama) - before).max() > 1e-3
    np.testing.assert_array_equal(logits(other), before)
    np.testing.assert_array_equal(logits(twin), before)
    assert (path / "model.safetensors").read_bytes() == bytes_before


def test_what_does_not_fit_is_said_as_torch_says_it(bert: Any) -> None:
    before, state = logits(bert), bert.state_dict()
    with pytest.raises(RuntimeError, match=r"loading state_dict for BertForMaskedLM:\n\tUnexpected.*extra"):
        bert.load_state_dict({**state, "extra": np.ones(3)})
    with pytest.raises(RuntimeError, match=r"Missing key\(s\) in state_dict: bert.embeddings.LayerNorm.bias"):
        bert.load_state_dict({k: v for k, v in state.items() if k != "bert.embeddings.LayerNorm.bias"})
    with pytest.raises(RuntimeError, match=r"size mismatch for cls.predictions.bias.*\[3\]"):
        bert.load_state_dict({"cls.predictions.bias": np.ones(3, np.float32)}, strict=False)
    result = bert.load_state_dict({"extra": np.ones(3)}, strict=False)
    assert result.unexpected_keys == ["extra"]
    assert len(result.missing_keys) == len(state)
    np.testing.assert_array_equal(logits(bert), before)


def test_gradients_reach_every_parameter(llama: Any) -> None:
    model = copy.deepcopy(llama)
    for parameter in model.parameters():
        parameter.requires_grad_()
    model(Tensor.from_numpy(IDS), labels=IDS).loss.backward()
    assert all(np.abs(parameter.grad.to_numpy()).max() > 0 for parameter in model.parameters())


# Embeddings and vocabularies.


def test_input_and_output_embeddings(bert: Any, llama: Any) -> None:
    table = llama.get_input_embeddings()
    assert (table.num_embeddings, table.embedding_dim) == (llama.config.vocab_size, llama.config.hidden_size)
    np.testing.assert_array_equal(table(IDS), llama(IDS, output_hidden_states=True).hidden_states[0])
    head = llama.get_output_embeddings()
    states = llama.model(IDS).last_hidden_state
    np.testing.assert_allclose(head(states), logits(llama), rtol=1e-4, atol=1e-5)
    assert bert.get_output_embeddings().bias is not None
    assert opened("bert/default", "BertForSequenceClassification").get_output_embeddings() is None


def test_other_embeddings_may_be_set(bert: Any) -> None:
    before = logits(bert)
    half = bert.get_input_embeddings().weight * 0.5
    bert.set_input_embeddings(half)
    np.testing.assert_array_equal(bert.get_output_embeddings().weight.to_numpy(), half.to_numpy())
    assert np.abs(logits(bert) - before).max() > 1e-4
    bert.set_output_embeddings(np.zeros_like(half.to_numpy()))
    np.testing.assert_array_equal(bert.get_input_embeddings().weight.to_numpy(), half.to_numpy())
    assert np.ptp(logits(bert), axis=(0, 1)).max() < 1e-6, "only the bias is left"


@pytest.mark.parametrize(
    ("row", "class_name"), [("bert/default", "BertForMaskedLM"), ("llama/default", "LlamaForCausalLM")]
)
def test_a_vocabulary_grows_and_shrinks(row: str, class_name: str) -> None:
    model = opened(row, class_name)
    before, old = logits(model), model.config.vocab_size
    embeddings = model.resize_token_embeddings(old + 3, pad_to_multiple_of=8)
    new = -(-(old + 3) // 8) * 8
    assert embeddings.num_embeddings == model.config.vocab_size == new
    grown = logits(model)
    np.testing.assert_allclose(grown[..., :old], before, rtol=1e-5, atol=1e-6)
    mean = embeddings.weight.to_numpy()[:old].mean(0)
    np.testing.assert_allclose(embeddings.weight.to_numpy()[old:], np.tile(mean, (new - old, 1)), atol=1e-3)
    assert np.isfinite(model([[new - 1]]).logits).all()
    model.resize_token_embeddings(old)
    np.testing.assert_allclose(logits(model), before, rtol=1e-5, atol=1e-6)
    drawn = model.resize_token_embeddings(old + 50, mean_resizing=False).weight.to_numpy()[old:]
    assert drawn.std() == pytest.approx(model.config.initializer_range, rel=0.3)
    with pytest.raises(ValueError, match="multiple"):
        model.resize_token_embeddings(pad_to_multiple_of=0)


# Parts.


def test_the_base_model_shares_the_weights(bert: Any, llama: Any) -> None:
    base = bert.bert
    assert type(base) is trustformers.BertModel
    assert base.base_model is base
    hidden = bert(IDS, output_hidden_states=True).hidden_states[-1]
    np.testing.assert_array_equal(base(IDS).last_hidden_state, hidden)
    assert (
        base.state_dict()["embeddings.LayerNorm.bias"].data_ptr()
        == bert.state_dict()["bert.embeddings.LayerNorm.bias"].data_ptr()
    )
    assert type(llama.get_decoder()) is type(llama.model) is trustformers.LlamaModel
    with pytest.raises(AttributeError, match="transformer"):
        _ = llama.transformer


# Files.


@pytest.mark.parametrize("size", ["50GB", "20KB"])
def test_what_is_saved_opens_again(tmp_path: Path, bert: Any, size: str) -> None:
    bert.half().save_pretrained(tmp_path, max_shard_size=size)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert ("model.safetensors" in files) == (size == "50GB")
    assert ("model.safetensors.index.json" in files) == (size == "20KB")
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["architectures"], config["dtype"]) == (["BertForMaskedLM"], "float16")
    again, info = trustformers.AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert again.dtype == "float16"
    np.testing.assert_array_equal(logits(again), logits(bert))


def test_another_state_dict_may_be_saved_and_opened(tmp_path: Path, bert: Any) -> None:
    halves = {name: 0.5 * value for name, value in bert.state_dict().items()}
    bert.save_pretrained(tmp_path, state_dict=halves, variant="half")
    saved = type(bert).from_pretrained(tmp_path, variant="half")
    given = type(bert).from_pretrained(folder("bert/default", "BertForMaskedLM"), state_dict=halves)
    np.testing.assert_array_equal(logits(saved), logits(given))
    assert np.abs(logits(saved) - logits(bert)).max() > 1e-4


def test_names_may_be_mapped(tmp_path: Path, bert: Any) -> None:
    renamed = {name.replace("bert.", "backbone."): value for name, value in bert.state_dict().items()}
    bert.save_pretrained(tmp_path, state_dict=renamed)
    opened_again = type(bert).from_pretrained(tmp_path, key_mapping={"^backbone": "bert"})
    np.testing.assert_array_equal(logits(opened_again), logits(bert))


def test_what_cannot_be_saved(tmp_path: Path, bert: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AssertionError, match="should be a directory"):
        bert.save_pretrained(tmp_path / "file")
    with pytest.raises(ValueError, match="5XB"):
        bert.save_pretrained(tmp_path, max_shard_size="5XB")
    with pytest.raises(ValueError, match="safe_serialization"):
        bert.save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(TypeError, match="max_shards"):
        bert.save_pretrained(tmp_path, max_shards=3)


def test_uploading_goes_through_huggingface_hub(monkeypatch: pytest.MonkeyPatch, bert: Any) -> None:
    hub = pytest.importorskip("huggingface_hub")
    seen: dict[str, Any] = {}

    class Api:
        def __init__(self, token: Any = None) -> None:
            seen["token"] = token

        def create_repo(self, repo_id: str, **keywords: Any) -> Any:
            return type("Url", (), {"repo_id": f"me/{repo_id}"})

        def upload_folder(self, **keywords: Any) -> str:
            seen.update(keywords, files=sorted(path.name for path in Path(keywords["folder_path"]).iterdir()))
            return "done"

    monkeypatch.setattr(hub, "HfApi", Api)
    assert bert.push_to_hub("mine", token="secret", commit_message="First") == "done"
    assert seen["repo_id"] == "me/mine"
    assert seen["token"] == "secret"
    assert seen["files"] == ["config.json", "model.safetensors"]
    assert not Path(seen["folder_path"]).exists()


def test_a_model_without_a_head_saves_what_a_model_with_one_opens(tmp_path: Path, bert: Any) -> None:
    bert.bert.save_pretrained(tmp_path)
    assert type(AutoModel.from_pretrained(tmp_path)) is trustformers.BertModel
    _, info = type(bert).from_pretrained(tmp_path, output_loading_info=True)
    assert {name.split(".")[0] for name in info["missing_keys"]} == {"cls"}
