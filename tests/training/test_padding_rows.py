"""The word embedding of padding gets no gradient, as with `padding_idx` of torch's `nn.Embedding`."""

from typing import Any

import pytest

import trustformers as tf
from fixture_cases import FIXTURES, heads

#: Their word embeddings know no padding in transformers.
WITHOUT = {"bloom", "falcon", "gpt2", "gpt_neo", "gpt_neox", "gptj", "mt5", "t5"}

BARE = {head.row.parent.name: head.row for head in heads(FIXTURES / "architectures", FIXTURES / "bert")}


def words_after(model: Any, ids: list[int]) -> Any:
    """The gradient of the word embeddings (tokens, width) where no mask hides anything."""
    for parameter in model.parameters():
        parameter.requires_grad_()
    given = {"input_ids": tf.as_tensor([ids])}
    if model.config.is_encoder_decoder:
        given["decoder_input_ids"] = given["input_ids"]
    output = model(**given, attention_mask=tf.ones(1, len(ids), dtype=tf.int64)).last_hidden_state
    (output * tf.as_tensor(range(output.numel())).float().reshape(output.shape)).sum().backward()
    return model.get_input_embeddings().weight.grad.numpy()


def opened(model_type: str, **changes: Any) -> Any:
    config = tf.AutoConfig.from_pretrained(BARE[model_type], **changes)
    return tf.AutoModel.from_config(config)


@pytest.mark.parametrize("model_type", sorted(BARE))
def test_padding_gets_no_gradient(model_type: str) -> None:
    model = opened(model_type)
    pad = 1 if model_type == "mpnet" else model.config.pad_token_id
    grad = words_after(model, [5, pad or 0, 7, 5])
    assert grad[[5, 7]].any(axis=1).all()
    assert grad[pad or 0].any() == (model_type in WITHOUT or pad is None)


def test_a_tied_head_still_reaches_it() -> None:
    config = tf.BertConfig(vocab_size=11, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    model = tf.BertForMaskedLM(config)
    for parameter in model.parameters():
        parameter.requires_grad_()
    ids = tf.as_tensor([[5, 0, 7]])
    model(input_ids=ids, labels=ids).loss.backward()
    assert model.get_input_embeddings().weight.grad.numpy()[0].any()


def test_it_is_settled_when_a_model_is_loaded() -> None:
    model = opened("llama", pad_token_id=None)
    model.config.pad_token_id = 5
    assert words_after(model, [5, 7])[5].any()
    model = opened("llama", pad_token_id=5)
    model.config.pad_token_id = 7
    grad = words_after(model, [5, 7])
    assert grad[[5, 7]].any(axis=1).tolist() == [False, True]


def test_it_stays_unless_it_is_cut_off() -> None:
    model = opened("llama", vocab_size=11, pad_token_id=5)
    model.resize_token_embeddings(13)
    assert not words_after(model, [5, 7])[5].any()
    model.resize_token_embeddings(4)
    model.resize_token_embeddings(11)
    assert words_after(model, [5, 7])[5].any()


def test_a_negative_one_counts_from_the_end() -> None:
    grad = words_after(opened("llama", vocab_size=11, pad_token_id=-1), [10, 7])
    assert grad[[7, 10]].any(axis=1).tolist() == [True, False]
