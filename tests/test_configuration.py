"""Configurations behave as transformers' do."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

import trustformers
from trustformers import (
    AutoConfig,
    BartConfig,
    BertConfig,
    BertModel,
    PreTrainedConfig,
    PretrainedConfig,
    RobertaConfig,
)


def test_the_defaults_are_berts() -> None:
    config = BertConfig()
    assert (config.hidden_size, config.num_hidden_layers, config.vocab_size) == (768, 12, 30522)
    assert config.layer_norm_eps == 1e-12
    assert config.model_type == "bert"
    assert config.classifier_dropout is None


def test_values_given_replace_defaults_and_unknown_ones_are_kept() -> None:
    config = BertConfig(hidden_size=24, my_own=[1, 2])
    assert config.hidden_size == 24
    assert config.my_own == [1, 2]
    with pytest.raises(AttributeError, match="hiden_size"):
        _ = config.hiden_size


def test_labels_follow_their_number() -> None:
    # BART has three labels of its own accord.
    assert (BartConfig().num_labels, BartConfig(num_labels=5).num_labels) == (3, 5)
    config = BertConfig(num_labels=3)
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert config.label2id["LABEL_2"] == 2
    named = BertConfig(id2label={"0": "no", "1": "yes", "2": "maybe"})
    assert named.num_labels == 3
    assert named.id2label[2] == "maybe"
    assert named.label2id == {"no": 0, "yes": 1, "maybe": 2}
    named.num_labels = 2
    assert named.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert BertConfig(label2id={"a": 0, "b": 1}).label2id == {"a": 0, "b": 1}


@pytest.mark.parametrize(
    ("given", "read"), [("float16", "float16"), ("torch.bfloat16", "bfloat16"), (None, None)]
)
def test_the_dtype_has_two_names(given: Any, read: Any) -> None:
    assert BertConfig(dtype=given).torch_dtype == read
    assert BertConfig(torch_dtype=given).dtype == read


def test_saving_and_reading_back(tmp_path: Path) -> None:
    config = BertConfig(hidden_size=24, num_labels=3, my_own="x", output_attentions=True)
    config.save_pretrained(tmp_path / "new" / "folder")
    written = json.loads((tmp_path / "new" / "folder" / "config.json").read_text())
    assert written["model_type"] == "bert"
    assert written["hidden_size"] == 24
    assert "_name_or_path" not in written
    assert "output_hidden_states" not in written, "what every model has by default is not written"
    back = AutoConfig.from_pretrained(tmp_path / "new" / "folder")
    assert type(back) is BertConfig
    assert back.name_or_path == str(tmp_path / "new" / "folder")
    back.name_or_path = ""
    assert back == config
    assert BertConfig.from_json_file(tmp_path / "new" / "folder" / "config.json") == config
    with pytest.raises(AssertionError, match="should be a directory"):
        config.save_pretrained(tmp_path / "new" / "folder" / "config.json")


def test_keywords_replace_what_the_file_says(checkpoint: Path) -> None:
    config, unused = AutoConfig.from_pretrained(
        checkpoint, hidden_dropout_prob=0.5, foo=1, return_unused_kwargs=True, trust_remote_code=True
    )
    assert config.hidden_dropout_prob == 0.5
    assert unused == {"foo": 1}
    assert BertConfig.from_pretrained(str(checkpoint)).hidden_dropout_prob == 0.1


def test_a_class_reads_another_type_with_a_warning(
    checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = RobertaConfig.from_pretrained(checkpoint)
    assert (config.model_type, config.to_dict()["model_type"]) == ("roberta", "roberta")
    assert config.hidden_size == BertConfig.from_pretrained(checkpoint).hidden_size
    assert "model of type `bert` to instantiate a model of type `roberta`" in caplog.text
    assert caplog.text.count("instantiate") == 1


def test_a_class_needs_no_type_in_the_file(checkpoint: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = json.loads((checkpoint / "config.json").read_text())
    del values["model_type"]
    (checkpoint / "config.json").write_text(json.dumps(values))
    assert BertModel.from_pretrained(checkpoint).config.model_type == "bert"
    assert not caplog.text
    with pytest.raises(ValueError, match="model_type"):
        AutoConfig.from_pretrained(checkpoint)


def test_a_type_that_the_engine_does_not_know(checkpoint: Path) -> None:
    class OtherConfig(PreTrainedConfig):
        model_type = "bert-of-another-kind"

    with pytest.raises(ValueError, match="bert-of-another-kind"):
        OtherConfig.from_pretrained(checkpoint)


def test_dictionaries(checkpoint: Path) -> None:
    config = BertConfig.from_dict({"hidden_size": 12}, num_labels=5)
    assert config.to_dict()["hidden_size"] == 12
    assert config.to_dict()["model_type"] == "bert"
    assert config.num_labels == 5
    assert json.loads(config.to_json_string(use_diff=False)) == json.loads(json.dumps(config.to_dict()))
    config.update({"hidden_size": 36})
    assert config.hidden_size == 36
    assert config != BertConfig()
    assert config != "config"
    assert repr(config).startswith("BertConfig {")


def test_pickling() -> None:
    config = BertConfig(num_labels=4, my_own=1)
    assert pickle.loads(pickle.dumps(config)) == config


def test_auto_config_makes_types_by_name() -> None:
    assert AutoConfig.for_model("bert", hidden_size=12).hidden_size == 12
    with pytest.raises(ValueError, match="bort"):
        AutoConfig.for_model("bort")
    with pytest.raises(OSError, match="from_pretrained"):
        AutoConfig()


def test_a_file_may_be_named_itself(checkpoint: Path) -> None:
    assert (
        AutoConfig.from_pretrained(checkpoint / "config.json").hidden_size
        == BertConfig.from_pretrained(checkpoint).hidden_size
    )


def test_pythons_numbers_and_retired_fields_in_a_file(checkpoint: Path) -> None:
    path = checkpoint / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "odd": float("nan"), "use_return_dict": False, "to_dict": 1}))
    config = AutoConfig.from_pretrained(checkpoint, torch_dtype="torch.float16")
    assert config.hidden_size == values["hidden_size"]
    assert config.dtype == "float16"
    assert config.to_dict()["model_type"] == "bert"
    for labels in ([], "x", 3):
        path.write_text(json.dumps({**values, "id2label": labels}))
        with pytest.raises(ValueError, match="id2label"):
            AutoConfig.from_pretrained(checkpoint)


def test_what_is_not_there_yet() -> None:
    with pytest.raises(ValueError, match="push_to_hub"):
        BertConfig().save_pretrained("nowhere", push_to_hub=True)


def test_old_spellings() -> None:
    assert PretrainedConfig is PreTrainedConfig
    assert PreTrainedConfig().use_return_dict
    assert PreTrainedConfig().model_type == ""


def test_names_of_labels_belong_together(caplog: pytest.LogCaptureFixture) -> None:
    names = {0: "x", 1: "y", 2: "z"}
    for kind in (BertConfig, trustformers.BartConfig):
        assert kind(id2label=names).label2id == {"x": 0, "y": 1, "z": 2}
    config = BertConfig(id2label=names, num_labels=2)
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert "`num_labels=2` which is incompatible to the `id2label` map of length `3`" in caplog.text


def test_texts_and_files_change_values(tmp_path: Path) -> None:
    config = trustformers.GPT2Config()
    config.update_from_string("n_embd=10,resid_pdrop=0.2,scale_attn_weights=false,summary_type=mean")
    assert (config.hidden_size, config.resid_pdrop) == (10, 0.2)
    assert (config.scale_attn_weights, config.summary_type) == (False, "mean")
    with pytest.raises(ValueError, match="key nothing isn't in the original config dict"):
        config.update_from_string("nothing=1")
    with pytest.raises(ValueError, match="can't derive true or false from 2"):
        config.update_from_string("scale_attn_weights=2")
    assert "n_embd" in config
    assert "nothing" not in list(config)
    config.to_json_file(tmp_path / "config.json", use_diff=False)
    assert trustformers.GPT2Config.from_json_file(tmp_path / "config.json") == config
    values, rest = trustformers.GPT2Config.get_config_dict(tmp_path, own=1)
    assert (values["n_embd"], rest) == (10, {"own": 1})
    made, rest = trustformers.GPT2Config.from_dict(values, n_layer=3, own=1, return_unused_kwargs=True)
    assert (made.n_layer, made.n_embd, rest) == (3, 10, {"own": 1})
