"""The ways to call a model: keywords, kinds of arrays, caches, and what is refused."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trustformers
from fixture_cases import FIXTURES, heads
from trustformers import AutoModelForCausalLM, BatchEncoding, DynamicCache, Tensor

ROWS = FIXTURES / "architectures"
IDS = np.array([[5, 9, 2, 17], [3, 3, 8, 1]])
MASK = np.array([[1, 1, 1, 1], [0, 1, 1, 1]])


@cache
def opened(row: str, class_name: str) -> Any:
    head = next(head for head in heads(ROWS / row) if head.key == class_name)
    return getattr(trustformers, class_name).from_pretrained(head.folder)


@pytest.fixture
def llama() -> Any:
    return opened("llama/default", "LlamaForCausalLM")


@pytest.fixture
def bert() -> Any:
    return opened("bert/default", "BertForSequenceClassification")


@pytest.mark.parametrize(
    ("row", "class_name"),
    [
        ("bert/default", "BertForSequenceClassification"),
        ("bert/default", "BertForNextSentencePrediction"),
        ("albert/default", "AlbertForSequenceClassification"),
        ("distilbert/default", "DistilBertForSequenceClassification"),
        ("roberta/default", "RobertaForSequenceClassification"),
        ("modernbert/default", "ModernBertForSequenceClassification"),
    ],
)
def test_a_head_that_reads_one_row_is_given_what_all_rows_would_give_it(row: str, class_name: str) -> None:
    model = opened(row, class_name)
    mask = np.array([[1, 1, 1, 1], [0, 1, 1, 1], [1, 1, 0, 0]])
    ids = np.concatenate([IDS, IDS[:1]])
    alone = model(ids, mask)
    # With all hidden states asked for, the last layer works for every row.
    whole = model(ids, mask, output_hidden_states=True, output_attentions=True)
    np.testing.assert_allclose(alone.logits, whole.logits, atol=2e-6)


# Keywords.


def test_an_unknown_keyword_is_named_with_the_nearest(llama: Any, bert: Any) -> None:
    with pytest.raises(
        TypeError, match=r"LlamaForCausalLM.forward.*'atention_mask'. Did you mean 'attention_mask'"
    ):
        llama(IDS, atention_mask=MASK)
    with pytest.raises(TypeError, match="logits_to_keep"):
        bert(IDS, logits_to_keep=1)
    with pytest.raises(TypeError, match="start_positions"):
        llama(IDS, start_positions=[1, 2])


def test_what_is_none_counts_as_absent(llama: Any, bert: Any) -> None:
    llama(IDS, labels=None, past_key_values=None, head_mask=None, token_type_ids=None)
    bert(IDS, past_key_values=None, encoder_hidden_states=None, cache_position=None)
    with pytest.raises(ValueError, match="past_key_values"):
        bert(IDS, past_key_values=DynamicCache())
    with pytest.raises(ValueError, match="DynamicCache"):
        llama(IDS, past_key_values=((IDS, IDS),))


def test_segments_are_taken_by_models_that_have_none(llama: Any) -> None:
    with_segments = llama(IDS, token_type_ids=np.ones_like(IDS)).logits
    np.testing.assert_array_equal(with_segments, llama(IDS).logits)


def test_a_batch_encoding_may_hold_every_argument(bert: Any) -> None:
    together = bert(BatchEncoding({"input_ids": IDS, "attention_mask": MASK, "labels": [1, 0]}))
    apart = bert(input_ids=IDS, attention_mask=MASK, labels=np.array([1, 0]))
    np.testing.assert_array_equal(together.logits, apart.logits)
    assert together.loss == apart.loss


def test_logits_to_keep_gives_the_last_or_some(llama: Any) -> None:
    logits = llama(IDS).logits
    np.testing.assert_allclose(llama(IDS, logits_to_keep=2).logits, logits[:, -2:], rtol=1e-5, atol=1e-6)
    assert llama(IDS, logits_to_keep=99).logits.shape == logits.shape
    np.testing.assert_allclose(
        llama(IDS, logits_to_keep=np.array([2, 0, -1])).logits, logits[:, [2, 0, -1]], rtol=1e-5, atol=1e-6
    )
    for wrong in (-1, 1.5, [[1]], "all"):
        with pytest.raises(ValueError, match="logits_to_keep"):
            llama(IDS, logits_to_keep=wrong)
    with pytest.raises(IndexError, match=r"logits_to_keep 4 .* must be between 0 and 3"):
        llama(IDS, logits_to_keep=[4])
    with pytest.raises(ValueError, match="labels need the logits of all positions"):
        llama(IDS, labels=IDS, logits_to_keep=2)


def test_losses_may_be_divided_by_the_items_of_several_batches(llama: Any, bert: Any) -> None:
    labels = np.where(MASK == 0, -100, IDS)
    mean, count = llama(IDS, labels=labels).loss, (labels[:, 1:] != -100).sum()
    for items in (20, np.array(20), trustformers.tensor(20)):
        divided = llama(IDS, labels=labels, num_items_in_batch=items).loss
        np.testing.assert_allclose(divided, mean * count / 20, rtol=1e-5)
    assert llama(IDS, num_items_in_batch=20).get("loss") is None
    with pytest.raises(TypeError, match="num_items_in_batch"):
        bert(IDS, labels=[0, 1], num_items_in_batch=2)


def test_the_cache_has_two_names(llama: Any) -> None:
    first = llama(IDS[:, :2])
    assert first.cache is first["cache"] is first.get("cache") is first.past_key_values
    assert "cache" in first
    assert "cache" not in llama(IDS, use_cache=False)
    with pytest.raises(ValueError, match="both `cache` and `past_key_values`"):
        llama(IDS[:, 2:], cache=first.cache, past_key_values=first.cache)
    second = llama(IDS[:, 2:], cache=first.cache, past_key_values=None)
    np.testing.assert_allclose(second.logits, llama(IDS).logits[:, 2:], rtol=1e-4, atol=1e-5)


def test_the_scores_of_experts_may_be_asked_for(llama: Any) -> None:
    mixtral = opened("mixtral/default", "MixtralForCausalLM")
    assert mixtral(IDS).get("router_logits") is None
    asked = mixtral(IDS, labels=IDS, output_router_logits=True)
    assert [scores.shape for scores in asked.router_logits] == [
        (IDS.size, mixtral.config.num_local_experts)
    ] * mixtral.config.num_hidden_layers
    plain = mixtral(IDS, labels=IDS)
    weight = mixtral.config.router_aux_loss_coef
    assert asked.loss == pytest.approx(plain.loss + weight * asked.aux_loss, rel=1e-5)
    with pytest.raises(TypeError, match="output_router_logits"):
        llama(IDS, output_router_logits=True)


def test_return_dict_false_gives_the_fields_in_order(llama: Any) -> None:
    loss, logits, past, hidden = llama(IDS, labels=IDS, return_dict=False, output_hidden_states=True)
    assert loss.shape == ()
    assert logits.shape[:2] == IDS.shape
    assert isinstance(past, DynamicCache)
    assert isinstance(hidden, tuple)


def test_outputs_become_lists(llama: Any) -> None:
    lists = llama(IDS, output_hidden_states=True).to_list()
    assert list(lists) == ["logits", "hidden_states"]
    assert isinstance(lists["logits"][0][0][0], float)
    assert len(lists["hidden_states"]) == llama.config.num_hidden_layers + 1


def test_changing_the_configuration_changes_the_model(bert: Any) -> None:
    row = next(head for head in heads(ROWS / "llama/default") if head.key == "LlamaForSequenceClassification")
    model = trustformers.LlamaForSequenceClassification.from_pretrained(row.folder)
    model.config.pad_token_id = None
    with pytest.raises(ValueError, match="no padding token"):
        model(IDS)
    model.config.pad_token_id = 17
    padded = model(IDS).logits
    np.testing.assert_allclose(padded[0], model(IDS[:1, :3]).logits[0], rtol=1e-5)
    model.config.problem_type = "regression"
    assert model(IDS, labels=np.zeros(padded.shape, np.float32)).loss == pytest.approx(
        (padded**2).mean(), rel=1e-5
    )


# Kinds of arrays.


def test_labels_and_caches_are_of_the_kind_of_the_inputs(llama: Any) -> None:
    assert isinstance(llama(Tensor.from_numpy(IDS), labels=IDS).loss, Tensor)
    with trustformers.no_grad():
        assert isinstance(llama(Tensor.from_numpy(IDS)).past_key_values[0][0], Tensor)
    assert type(llama(IDS.tolist(), labels=IDS.tolist()).loss) is np.ndarray


def test_torch_in_torch_out(llama: Any) -> None:
    torch = pytest.importorskip("torch")
    outputs = llama(torch.tensor(IDS), labels=torch.tensor(IDS))
    assert isinstance(outputs.loss, torch.Tensor)
    np.testing.assert_array_equal(outputs.logits.detach().numpy(), llama(IDS).logits)


def test_numpy_is_not_given_what_gradients_are_recorded_for() -> None:
    config = trustformers.BertConfig(hidden_size=8, num_attention_heads=2, vocab_size=30)
    model = trustformers.BertModel(config).train()
    with pytest.raises(RuntimeError, match=r'return_tensors="tensor".*no_grad\(\)'):
        model(IDS)
    assert model(Tensor.from_numpy(IDS)).last_hidden_state.requires_grad
    with trustformers.no_grad():
        assert type(model(IDS).last_hidden_state) is np.ndarray


def test_a_model_that_was_trained_answers_numpy() -> None:
    config = trustformers.T5Config(d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, vocab_size=30)
    model = trustformers.T5ForConditionalGeneration(config).train().eval()
    outputs = model(IDS, decoder_input_ids=IDS)
    assert type(outputs.logits) is np.ndarray
    assert outputs.past_key_values is not None
    assert type(model.get_encoder()(IDS).last_hidden_state) is np.ndarray
    assert model(Tensor.from_numpy(IDS), decoder_input_ids=IDS).logits.requires_grad


# Caches.


def test_steps_with_a_cache_give_what_one_pass_gives(llama: Any) -> None:
    whole = llama(IDS, attention_mask=MASK).logits
    first = llama(IDS[:, :2], attention_mask=MASK[:, :2])
    assert first.past_key_values.get_seq_length() == 2
    second = llama(
        IDS[:, 2:], attention_mask=MASK, past_key_values=first.past_key_values, cache_position=[2, 3]
    )
    assert second.past_key_values is first.past_key_values
    np.testing.assert_allclose(second.logits, whole[:, 2:], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="cache_position"):
        llama(IDS, past_key_values=first.past_key_values, cache_position=[0, 1, 2, 3])


def test_a_cache_shows_its_layers(llama: Any) -> None:
    past = llama(IDS).past_key_values
    shape = (2, llama.config.num_key_value_heads, 4, llama.config.head_dim)
    assert len(past) == len(past.layers) == llama.config.num_hidden_layers
    keys, values = past[0]
    assert keys.shape == values.shape == past.layers[-1].keys.shape == shape
    assert [layer[0].shape for layer in past] == [shape] * len(past)
    assert past.layers[0].get_seq_length() == 4
    assert past.batch_size == 2
    with pytest.raises(IndexError):
        past[len(past)]


def test_a_cache_is_copied_cropped_selected_and_repeated(llama: Any) -> None:
    import copy

    past = llama(IDS).past_key_values
    twin = copy.deepcopy(past)
    past.crop(-1)
    assert (past.get_seq_length(), twin.get_seq_length()) == (3, 4)
    np.testing.assert_array_equal(past[0][0], twin[0][0][:, :, :3])
    past.crop(0)
    assert past.get_seq_length() == 3
    with pytest.warns(DeprecationWarning, match="negative"):
        past.crop(2)
    assert past.get_seq_length() == 2
    twin.reorder_cache(np.array([1, 0]))
    twin.batch_repeat_interleave(2)
    assert twin.batch_size == 4
    direct = llama(IDS[[1, 1, 0, 0]]).past_key_values
    np.testing.assert_allclose(twin[1][1], direct[1][1], rtol=1e-5, atol=1e-6)
    twin.reset()
    assert not twin.is_initialized


def test_no_cache_unless_asked_where_gradients_are_recorded(llama: Any) -> None:
    embeds = Tensor.from_numpy(np.zeros((1, 3, llama.config.hidden_size), np.float32)).requires_grad_()
    assert llama(inputs_embeds=embeds).past_key_values is None
    with trustformers.no_grad():
        assert llama(inputs_embeds=embeds).past_key_values is not None
    assert llama(IDS, use_cache=False).past_key_values is None
    with pytest.raises(RuntimeError, match="use_cache=False"):
        llama(inputs_embeds=embeds, use_cache=True)


# The auto classes.


def test_every_auto_class_makes_its_class() -> None:
    folder = next(head for head in heads(ROWS / "bert/default") if head.key == "BertForMaskedLM").folder
    assert type(trustformers.AutoModelForMaskedLM.from_pretrained(folder)) is trustformers.BertForMaskedLM
    assert (
        type(trustformers.AutoModelForPreTraining.from_pretrained(folder)) is trustformers.BertForPreTraining
    )


def test_an_architecture_without_the_head_is_named(tmp_path: Path) -> None:
    config = trustformers.LlamaConfig(
        hidden_size=16, num_attention_heads=2, num_hidden_layers=1, intermediate_size=16, vocab_size=9
    )
    with pytest.raises(ValueError, match=r"AutoModelForMaskedLM.*\n.*bert"):
        trustformers.AutoModelForMaskedLM.from_config(config)
    with pytest.raises(ValueError, match="Unrecognized configuration class"):
        AutoModelForCausalLM.from_config("llama")  # type: ignore[arg-type]
    model = trustformers.AutoModelForPreTraining.from_config(
        config, dtype="bfloat16", trust_remote_code=False
    )
    assert type(model) is trustformers.LlamaForCausalLM
    assert model.dtype == "bfloat16"


def test_fields_that_follow_from_others_are_filled_in() -> None:
    config = trustformers.LlamaConfig(hidden_size=64, num_attention_heads=8)
    assert (config.num_key_value_heads, config.head_dim) == (8, 8)
    assert config.rope_parameters == {"rope_theta": 10000.0, "rope_type": "default"}
    with pytest.raises(ValueError, match="num_attention_heads"):
        trustformers.LlamaConfig(num_attention_heads=0)


def test_common_names_reach_the_fields_of_an_architecture() -> None:
    config = trustformers.DistilBertConfig(hidden_size=24)
    assert (config.dim, config.hidden_size, config.num_hidden_layers) == (24, 24, config.n_layers)
    config.num_hidden_layers = 2
    assert config.n_layers == 2
    assert "hidden_size" not in config.to_dict()


@pytest.mark.parametrize(
    "name", ["BertForQuestionAnswering", "GPT2ForQuestionAnswering", "LlamaForQuestionAnswering"]
)
def test_the_span_of_an_answer_is_learnt_among_all_positions(name: str) -> None:
    """Also among those of padding, as in transformers; a mask for each row hides no row itself."""
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50}
    model = getattr(trustformers, name)(
        getattr(trustformers, name.replace("ForQuestionAnswering", "Config"))(**shape), seed=3
    ).eval()
    ids, mask = np.arange(12).reshape(2, 6) + 5, np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    seen = np.broadcast_to(mask[:, None, None] == 1, (2, 1, 6, 6))
    if "Bert" not in name:
        seen = seen & np.tril(np.ones((6, 6), bool))
    asked: dict[str, Any] = {"input_ids": ids, "start_positions": [1, 2], "end_positions": [2, 5]}
    loss, want = (float(model(attention_mask=each, **asked).loss) for each in (mask, seen))
    assert loss == pytest.approx(want, rel=1e-5)
    hidden = model(attention_mask=mask, **asked).start_logits[0, 4:]
    assert not np.asarray(hidden).any(), "nobody is told what is there"


SMALL: dict[str, Any] = {"vocab_size": 40, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.mark.parametrize(
    ("labels", "count", "problem"),
    [
        ([0, 1], 2, "single_label_classification"),
        ([[0.0, 1.0], [1.0, 1.0]], 2, "multi_label_classification"),
        ([0.5, 2.0], 1, "regression"),
        ([1, 2], 1, "regression"),
    ],
)
def test_the_first_loss_says_what_labels_are(
    labels: list[Any], count: int, problem: str, tmp_path: Path
) -> None:
    config = trustformers.BertConfig(**SMALL, num_labels=count)
    model = trustformers.BertForSequenceClassification(config).eval()
    given = trustformers.tensor(labels)
    ids = trustformers.tensor(IDS)
    model(ids)
    assert model.config.problem_type is None
    engine = model._engine
    loss = model(ids, labels=given).loss
    assert model.config.problem_type == problem
    # Nothing was made anew for it, and the same comes of it when it is read.
    assert model._current_engine() is engine
    model.save_pretrained(tmp_path)
    opened = trustformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert opened.config.problem_type == problem
    assert opened(ids, labels=given).loss.item() == loss.item()


def test_some_say_nothing_of_their_labels() -> None:
    deberta = trustformers.DebertaV2ForSequenceClassification(trustformers.DebertaV2Config(**SMALL))
    tokens = trustformers.BertForTokenClassification(trustformers.BertConfig(**SMALL))
    choice = trustformers.BertForMultipleChoice(trustformers.BertConfig(**SMALL))
    for model, ids, labels in ((deberta, IDS, [0, 1]), (tokens, IDS, MASK), (choice, IDS[None], [0])):
        assert model.eval()(trustformers.tensor(ids), labels=trustformers.tensor(labels)).loss is not None
        assert model.config.problem_type is None
