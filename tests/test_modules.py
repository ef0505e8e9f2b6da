"""Parts of models are asked for by name, as torch's modules; transformers' modules are found by theirs."""

import copy
import importlib
import pickle
from typing import Any

import numpy as np
import pytest

import trustformers as tf

SMALL = {"vocab_size": 40, "num_labels": 2}
BERT = {**SMALL, "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 12}
T5 = {**SMALL, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 2, "num_heads": 2}


@pytest.fixture
def bert() -> Any:
    return tf.BertForSequenceClassification(tf.BertConfig(**BERT), seed=0).eval()


@pytest.fixture
def t5() -> Any:
    return tf.T5ForConditionalGeneration(tf.T5Config(**T5, decoder_start_token_id=0), seed=0).eval()


def test_parts_are_attributes_and_share_their_parameters(bert: Any) -> None:
    assert tuple(bert.classifier.weight.shape) == (2, 8)
    assert len(bert.bert.encoder.layer) == 3
    last = bert.bert.encoder.layer[-1]
    assert [name for name, _ in last.output.dense.named_parameters()] == ["weight", "bias"]
    assert [name for name, _ in last.output.named_children()] == ["dense", "LayerNorm"]
    assert isinstance(bert.bert.embeddings.word_embeddings([1, 2]), np.ndarray)
    before = bert([[1, 2]]).logits
    with tf.no_grad():
        bert.classifier.bias.copy_(bert.classifier.bias + 1)
    np.testing.assert_allclose(bert([[1, 2]]).logits, before + 1, atol=1e-6)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        last.nothing  # noqa: B018
    with pytest.raises(TypeError, match="no list"):
        len(last)
    for twin in (copy.deepcopy(last), pickle.loads(pickle.dumps(last))):
        assert twin.state_dict().keys() == last.state_dict().keys()


def test_modules_have_names(bert: Any, t5: Any) -> None:
    names = [name for name, _ in bert.named_modules()]
    assert names[0] == ""
    assert {"bert", "bert.encoder.layer.2.attention.self.query", "classifier"} <= set(names)
    assert len(list(bert.modules())) == len(names)
    assert [name for name, _ in bert.named_children()] == ["bert", "classifier"]
    assert bert.get_parameter("classifier.bias").shape == (2,)
    assert bert.get_submodule("bert.encoder.layer.0").attention.self.key.weight.shape == (8, 8)
    for missing in (bert.get_submodule, bert.get_parameter):
        with pytest.raises(AttributeError, match="nowhere"):
            missing("bert.nowhere")
    # Of an encoder-decoder both halves can be called, and hold the table that they share.
    encoder = t5.encoder
    assert encoder([[1, 2]]).last_hidden_state.shape == (1, 2, 8)
    assert "embed_tokens.weight" in dict(encoder.named_parameters())
    assert dict(t5.get_decoder().named_children()).keys() >= {"block", "final_layer_norm"}
    assert tuple(t5.shared.weight.shape) == (40, 8)


def test_parameters_are_to_be_trained_unless_they_are_frozen(bert: Any) -> None:
    assert all(parameter.requires_grad for parameter in bert.parameters())
    assert bert.num_parameters(only_trainable=True) == bert.num_parameters()
    for layer in bert.bert.encoder.layer[:2]:
        layer.requires_grad_(False)
    bert.bert.embeddings.requires_grad_(False)
    left = {name for name, parameter in bert.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[1] for name in left} == {"encoder", "pooler", "weight", "bias"}
    assert not [name for name in left if "layer.0" in name or "layer.1" in name]
    trained = filter(lambda parameter: parameter.requires_grad, bert.parameters())
    optimizer = tf.AdamW(trained, lr=1e-2)
    assert len(optimizer.param_groups[0]["params"]) == len(left)
    assert bert.num_parameters(only_trainable=True) == sum(
        parameter.numel() for name, parameter in bert.named_parameters() if name in left
    )


def test_a_loop_of_ones_own_needs_no_training_mode(bert: Any) -> None:
    """The first training of transformers' course."""
    batch = {"input_ids": tf.tensor([[1, 2, 3], [4, 5, 6]]), "labels": tf.tensor([1, 1])}
    optimizer = tf.AdamW(bert.parameters(), lr=1e-2)
    first = bert(**batch).loss
    first.backward()
    optimizer.step()
    bert.zero_grad()
    assert all(parameter.grad is None for parameter in bert.parameters())
    assert bert(**batch).loss.item() < first.item()
    # Without an optimizer, too; nothing is recorded for NumPy, and within no_grad().
    other = tf.BertForSequenceClassification(tf.BertConfig(**BERT), seed=0).eval()
    assert isinstance(other(**{name: value.numpy() for name, value in batch.items()}).loss, np.ndarray)
    with tf.no_grad():
        assert not other(**batch).loss.requires_grad
    assert not other(batch["input_ids"]).logits.requires_grad, "it was only opened"
    other(**batch).loss.backward()
    assert other.classifier.weight.grad is not None
    other.classifier.zero_grad(set_to_none=False)
    assert not other.classifier.weight.grad.numpy().any()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("trainer_utils", "get_last_checkpoint"),
        ("models.nllb.tokenization_nllb", "NllbTokenizer"),
        ("utils.chat_template_utils", "get_json_schema"),
        ("training_args", "TrainingArguments"),
        ("data.data_collator", "DataCollatorWithPadding"),
        ("modeling_outputs", "SequenceClassifierOutput"),
        ("tokenization_utils_base", "BatchEncoding"),
        ("pipelines.pt_utils", "KeyDataset"),
        ("models.auto.modeling_auto", "MODEL_FOR_CAUSAL_LM_MAPPING"),
        ("models.xlm_roberta.modeling_xlm_roberta", "XLMRobertaModel"),
        ("models.t5", "T5Config"),
    ],
)
def test_modules_of_transformers_are_found(module: str, name: str) -> None:
    found = importlib.import_module(f"trustformers.{module}")
    assert getattr(found, name) is getattr(tf, name)


@pytest.mark.parametrize("module", ["models.nothing", "models.bert.modeling_gpt2", "trainers", "vision"])
def test_other_modules_are_not(module: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"trustformers.{module}")


def test_mappings_name_the_classes_of_a_task() -> None:
    assert tf.MODEL_FOR_CAUSAL_LM_MAPPING[tf.LlamaConfig] is tf.LlamaForCausalLM
    assert {config.model_type for config in tf.MODEL_FOR_MASKED_LM_MAPPING} >= {"bert", "roberta"}
    assert tf.LlamaConfig not in tf.MODEL_FOR_MASKED_LM_MAPPING
    assert tf.CONFIG_MAPPING["gpt2"]() == tf.GPT2Config()
