"""The keywords of from_pretrained, and what a model says of itself."""

import copy
import json
import logging
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixture_cases import FIXTURES
from trustformers import AutoConfig, AutoModel, BertConfig, BertModel, PreTrainedModel, Tensor

IDS = np.array([[5, 9, 2, 17]])


def test_named_and_auto_classes_open_the_same(checkpoint: Path) -> None:
    named, auto = BertModel.from_pretrained(checkpoint), AutoModel.from_pretrained(checkpoint)
    assert type(named) is type(auto) is BertModel
    np.testing.assert_array_equal(named(IDS).last_hidden_state, auto(IDS).last_hidden_state)
    assert auto.name_or_path == str(checkpoint)
    assert str(checkpoint) in repr(auto)


def test_a_configuration_may_be_given(checkpoint: Path) -> None:
    config = AutoConfig.from_pretrained(checkpoint, hidden_act="relu")
    by_object = AutoModel.from_pretrained(checkpoint, config=config)(IDS).last_hidden_state
    by_keyword = AutoModel.from_pretrained(checkpoint, hidden_act="relu")(IDS).last_hidden_state
    np.testing.assert_array_equal(by_object, by_keyword)
    assert np.abs(by_object - AutoModel.from_pretrained(checkpoint)(IDS).last_hidden_state).max() > 1e-3
    by_folder = AutoModel.from_pretrained(checkpoint, config=str(checkpoint), output_attentions=True)
    assert by_folder(IDS).attentions is not None
    with_override = AutoModel.from_pretrained(checkpoint, config=config, output_attentions=True)
    assert with_override.config.output_attentions


def test_hints_that_change_nothing_are_taken(checkpoint: Path) -> None:
    AutoModel.from_pretrained(
        checkpoint, low_cpu_mem_usage=True, trust_remote_code=False, device_map="cpu", offload_folder="none",
        dtype="auto", attn_implementation="sdpa", use_safetensors=True, weights_only=True,
        quantization_config=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    "keywords",
    [
        {"device_map": {"embeddings": "cpu"}},
        {"max_memory": {"cpu": "10GB"}},
        {"dtype": "float64"},
        {"dtype": "torch.int8"},
        {"attn_implementation": "flash_attention_2"},
        {"quantization_config": {"bits": 4}},
        {"quantization": "int3"},
    ],
)
def test_what_cannot_be_done_is_refused_and_named(checkpoint: Path, keywords: dict[str, Any]) -> None:
    (name,) = keywords
    with pytest.raises(ValueError, match=name):
        AutoModel.from_pretrained(checkpoint, **keywords)


def test_an_unknown_keyword_is_named_with_the_nearest(checkpoint: Path) -> None:
    with pytest.raises(TypeError, match=r"hiden_act.*Did you mean 'hidden_act'"):
        AutoModel.from_pretrained(checkpoint, hiden_act="relu")
    with pytest.raises(TypeError, match="positional"):
        AutoModel.from_pretrained(checkpoint, "extra")


@pytest.mark.parametrize("field", ["dtype", "torch_dtype"])
def test_the_configuration_says_the_dtype(checkpoint: Path, field: str) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config.pop("dtype", None)

    def opened(said: object, **keywords: Any) -> Any:
        (checkpoint / "config.json").write_text(json.dumps(config | {field: said}))
        return AutoModel.from_pretrained(checkpoint, **keywords)

    assert opened(None).dtype == "float32"
    half = opened("float16")
    assert half.dtype == half.config.dtype == "float16"
    assert opened("float16", dtype="float32").dtype == "float32"
    assert opened("float16", state_dict=opened(None).state_dict()).dtype == "float16"
    assert AutoModel.from_config(half.config).dtype == "float16"
    with pytest.raises(ValueError, match=r"dtype` must be float32, float16 or bfloat16, got \"int8\""):
        opened("int8")


def test_float32_holds_whatever_dtypes_are_stored_beside_one_another(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"dtype": None}))
    model = AutoModel.from_pretrained(checkpoint)
    state = {k: v.half() if "embeddings" in k else v for k, v in model.state_dict().items()}
    model.save_pretrained(checkpoint, state_dict=state)
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"dtype": None}))
    mixed = AutoModel.from_pretrained(checkpoint)
    assert {str(parameter.dtype) for parameter in mixed.parameters()} == {"trustformers.float32"}
    assert mixed.dtype == mixed.config.dtype == "float32"
    np.testing.assert_allclose(mixed(IDS)[0], model(IDS)[0], atol=1e-2)


def test_the_dtype_may_be_asked_for_whatever_is_stored() -> None:
    folder = FIXTURES / "bert" / "float16"
    stored = AutoModel.from_pretrained(folder)
    assert stored.dtype == stored.config.dtype == "float16"
    wide = AutoModel.from_pretrained(folder, dtype="float32")
    assert wide.dtype == wide.config.dtype == "float32"
    assert {parameter.to_numpy().dtype for parameter in wide.parameters()} == {np.dtype(np.float32)}
    np.testing.assert_allclose(wide(IDS).last_hidden_state, stored(IDS).last_hidden_state, atol=1e-5)
    with pytest.warns(DeprecationWarning, match="Use `dtype` instead"):
        rounded = AutoModel.from_pretrained(folder, torch_dtype="torch.bfloat16")
    assert rounded.dtype == "bfloat16"
    difference = np.abs(rounded(IDS).last_hidden_state - stored(IDS).last_hidden_state).max()
    assert 1e-4 < difference < 0.5


@pytest.mark.parametrize(
    "field",
    [
        {"add_cross_attention": True},
        {"position_embedding_type": "relative_key"},
        {"quantization_config": {"bits": 4}},
    ],
)
def test_a_configuration_that_would_change_the_computation_is_refused(
    checkpoint: Path, field: dict[str, Any]
) -> None:
    path = checkpoint / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **field}))
    with pytest.raises(ValueError, match=next(iter(field))):
        AutoModel.from_pretrained(checkpoint)


def test_the_configuration_given_stays_as_it_was(checkpoint: Path) -> None:
    config = AutoConfig.from_pretrained(checkpoint)
    before = config.to_dict()
    model = AutoModel.from_pretrained(checkpoint, config=config, output_attentions=True)
    assert config.to_dict() == before
    assert model.config.output_attentions
    assert AutoModel.from_config(config, attn_implementation="sdpa").config is not config


def test_a_pickle_and_a_copy_give_the_same(checkpoint: Path) -> None:
    model = AutoModel.from_pretrained(checkpoint, hidden_act="relu", add_pooling_layer=False)
    assert len(pickle.dumps(model)) < 10_000, "the weights are not repeated"
    changed = copy.deepcopy(model)
    changed.load_state_dict({name: 2 * value for name, value in changed.state_dict().items()})
    changed.load_state_dict(model.state_dict())
    for twin in (
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(changed)),
    ):
        np.testing.assert_array_equal(twin(IDS).last_hidden_state, model(IDS).last_hidden_state)
        assert twin(IDS).pooler_output is None
        assert twin.config == model.config
        assert twin.config is not model.config
    fresh = AutoModel.from_config(model.config)
    assert pickle.loads(pickle.dumps(fresh)).training
    fresh.eval()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fresh))(IDS)[0], fresh(IDS)[0])


def test_one_mask_serves_every_sequence(checkpoint: Path) -> None:
    model, ids = AutoModel.from_pretrained(checkpoint), np.repeat(IDS, 3, axis=0)
    one = model(ids, np.array([[1, 1, 0, 1]])).last_hidden_state
    np.testing.assert_array_equal(one, model(ids, np.array([[1, 1, 0, 1]] * 3)).last_hidden_state)


def test_a_mask_may_be_a_matrix_for_each_sequence(checkpoint: Path) -> None:
    model, ids = AutoModel.from_pretrained(checkpoint), np.repeat(IDS, 3, axis=0)
    flags = np.array([[1, 1, 0, 1]] * 3)
    matrix = np.broadcast_to(flags[:, None, None, :], (3, 1, 4, 4))
    expected = model(ids, flags).last_hidden_state
    for mask in (matrix == 1, matrix[:, 0] == 1, np.where(matrix == 1, 0.0, np.finfo(np.float32).min)):
        found = model(ids, mask).last_hidden_state
        np.testing.assert_allclose(found[flags == 1], expected[flags == 1], atol=1e-6)
    with pytest.raises(ValueError, match="attention_mask"):
        model(ids, np.ones((3, 1, 4, 5)))


def test_a_batch_that_memory_cannot_hold_is_an_error(checkpoint: Path) -> None:
    model = AutoModel.from_pretrained(checkpoint)
    with pytest.raises(MemoryError):
        model(np.broadcast_to(np.array([[1]]), (1 << 45, 1)))


def test_ctrl_c_stops_a_forward_pass(checkpoint: Path) -> None:
    code = """
import signal, time, threading, os
from trustformers import BertConfig, BertModel
sizes = dict(num_hidden_layers=2000, hidden_size=32, num_attention_heads=2, intermediate_size=32)
model = BertModel(BertConfig(**sizes))
ids = [[1] * 64] * 8
model([[1]])
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
start = time.perf_counter()
try:
    while True:
        model(ids)
except KeyboardInterrupt:
    print(time.perf_counter() - start)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert float(done.stdout) < 3


def test_what_did_not_fit_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "trustformers"):
        _, info = AutoModel.from_pretrained(FIXTURES / "bert" / "from_masked_lm", output_loading_info=True)
    assert set(info) == {"missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"}
    assert info["missing_keys"] == {"pooler.dense.weight", "pooler.dense.bias"}
    assert info["mismatched_keys"] == set()
    assert info["error_msgs"] == []
    assert any(key.startswith("cls.") for key in info["unexpected_keys"])
    assert "pooler.dense.weight" in caplog.text
    assert "BertModel LOAD REPORT from: " in caplog.text
    assert "newly initialized because missing from the checkpoint" in caplog.text


def test_a_good_checkpoint_opens_in_silence(checkpoint: Path, caplog: pytest.LogCaptureFixture) -> None:
    AutoModel.from_pretrained(checkpoint)
    assert caplog.text == ""


def test_mismatched_sizes_may_be_ignored(checkpoint: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = AutoConfig.from_pretrained(checkpoint)
    grown = {"vocab_size": config.vocab_size + 5}
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        AutoModel.from_pretrained(checkpoint, **grown)
    model, info = AutoModel.from_pretrained(
        checkpoint, ignore_mismatched_sizes=True, output_loading_info=True, **grown
    )
    ((name, stored, wanted),) = info["mismatched_keys"]
    assert name == "embeddings.word_embeddings.weight"
    assert wanted[0] == stored[0] + 5
    assert name in caplog.text
    assert np.isfinite(model([[config.vocab_size + 4]]).last_hidden_state).all()


def test_without_the_pooler(checkpoint: Path) -> None:
    model = AutoModel.from_pretrained(checkpoint, add_pooling_layer=False)
    assert model(IDS).pooler_output is None
    assert list(model(IDS)) == ["last_hidden_state"]


def test_parameters_have_transformers_names(checkpoint: Path) -> None:
    model = AutoModel.from_pretrained(checkpoint)
    state = model.state_dict()
    assert "encoder.layer.0.attention.self.query.weight" in state
    assert list(state) == [name for name, _ in model.named_parameters()]
    assert all(isinstance(parameter, Tensor) for parameter in model.parameters())
    assert model.num_parameters() == sum(array.to_numpy().size for array in state.values())
    assert model.num_parameters(exclude_embeddings=True) < model.num_parameters()
    assert model.dtype == "float32"
    assert model.device == "cpu"


def test_weights_are_the_files_own_memory(checkpoint: Path) -> None:
    array = AutoModel.from_pretrained(checkpoint).state_dict()["embeddings.word_embeddings.weight"].to_numpy()
    maps = Path("/proc/self/maps")
    if maps.exists():
        address = array.__array_interface__["data"][0]
        (line,) = (
            line for line in maps.read_text().splitlines()
            if int(line.split("-")[0], 16) <= address < int(line.split("-")[1].split()[0], 16)
        )  # fmt: skip
        assert "model.safetensors" in line


def test_modes_are_kept(checkpoint: Path) -> None:
    model = AutoModel.from_pretrained(checkpoint)
    assert not model.training
    assert model.train() is model
    assert model.training
    assert copy.deepcopy(model).training
    assert model.eval() is model
    assert not model.training
    assert model.train(True).train(False) is model
    assert not model.training
    with pytest.raises(ValueError, match="boolean"):
        model.train("yes")


def test_devices_that_are_not_there(checkpoint: Path) -> None:
    model = AutoModel.from_pretrained(checkpoint)
    assert model.to("cpu") is model
    for use in (lambda: model.to("cuda:99"), lambda: model.cuda(99)):
        with pytest.raises(RuntimeError, match="CUDA"):
            use()
    for keywords in ({"device": "cuda:99"}, {"device_map": 99}, {"device_map": {"": "cuda:99"}}):
        with pytest.raises(RuntimeError, match="CUDA"):
            AutoModel.from_pretrained(checkpoint, **keywords)
    with pytest.raises(RuntimeError, match="'gpu' is not a device"):
        AutoModel.from_pretrained(checkpoint, device_map="gpu")
    with pytest.raises(ValueError, match="device= and device_map="):
        AutoModel.from_pretrained(checkpoint, device_map="cpu", device="cpu")


def test_a_device_map_without_a_gpu(checkpoint: Path) -> None:
    for device_map in (
        "cpu",
        {"": "cpu"},
        {"": "disk"},
        {"embeddings": "cpu", "encoder": "cpu", "pooler": "cpu"},
    ):
        model = AutoModel.from_pretrained(checkpoint, device_map=device_map)
        assert model.device == "cpu"
        assert set(model.hf_device_map.values()) == {"cpu"}
    sizes = {"cpu": "1.5 MiB"}
    assert AutoModel.from_pretrained(checkpoint, device_map="auto", max_memory=sizes).is_quantized is False
    with pytest.raises(ValueError, match="'much'"):
        AutoModel.from_pretrained(checkpoint, device_map="auto", max_memory={"cpu": "much"})


def test_fresh_weights_follow_their_seed() -> None:
    config = BertConfig(
        vocab_size=30, hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=20
    )
    one, same, other = (BertModel(config, seed=seed).eval()(IDS).last_hidden_state for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3
    with pytest.raises(ValueError, match="PreTrainedConfig"):
        BertModel("bert")  # type: ignore[arg-type]


def test_a_model_class_opens_only_its_own_type(checkpoint: Path) -> None:
    class OtherConfig(BertConfig):
        model_type = "other"

    class OtherModel(PreTrainedModel):
        config_class = OtherConfig

    with pytest.raises(ValueError, match="other"):
        OtherModel.from_pretrained(checkpoint)
    with pytest.raises(ValueError, match="other"):
        OtherModel.from_pretrained(checkpoint, config=BertConfig())


def test_outputs_are_of_the_kind_that_went_in(checkpoint: Path) -> None:
    model = AutoModel.from_pretrained(checkpoint, output_hidden_states=True)
    expected = model(IDS).last_hidden_state
    assert type(expected) is np.ndarray
    outputs = model(Tensor.from_numpy(IDS))
    assert type(outputs.last_hidden_state) is Tensor
    assert type(outputs.hidden_states) is tuple
    assert type(outputs.hidden_states[0]) is Tensor
    np.testing.assert_array_equal(outputs.last_hidden_state.to_numpy(), expected)
    assert type(model(IDS.tolist()).last_hidden_state) is np.ndarray


def test_torch_in_torch_out(checkpoint: Path) -> None:
    torch = pytest.importorskip("torch")
    model = AutoModel.from_pretrained(checkpoint)
    state = model(torch.tensor(IDS)).last_hidden_state
    assert isinstance(state, torch.Tensor)
    np.testing.assert_array_equal(state.numpy(), model(IDS).last_hidden_state)


def test_max_length_cuts_the_inputs(checkpoint: Path) -> None:
    model = AutoModel.from_pretrained(checkpoint)
    mask = np.array([[1, 1, 0, 1]])
    cut = model(IDS, mask, max_length=2).last_hidden_state
    np.testing.assert_array_equal(cut, model(IDS[:, :2], mask[:, :2]).last_hidden_state)
    embeds = np.zeros((1, 4, model.config.hidden_size), np.float32)
    assert model(inputs_embeds=embeds, max_length=3).last_hidden_state.shape[1] == 3


def test_arguments_of_decoders_are_refused(checkpoint: Path) -> None:
    model = AutoModel.from_pretrained(checkpoint)
    model(IDS, use_cache=False, past_key_values=None)
    with pytest.raises(ValueError, match="max_length"):
        model(IDS, max_length=-1)
    with pytest.raises(ValueError, match="encoder_hidden_states"):
        model(IDS, encoder_hidden_states=np.zeros((1, 4, 24)))
    with pytest.raises(TypeError, match="labels"):
        model({"input_ids": IDS, "labels": IDS})
