"""Collators: what they stack, fill up and mask."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trustformers as tf
from trustformers import training

TOKENIZERS = Path(__file__).parent.parent / "fixtures" / "pipelines"
TEXTS = ["The committee met in New York on Friday.", "A short one.", "Maria and Hans live near the river."]


@pytest.fixture(scope="module")
def tokenizer() -> tf.PreTrainedTokenizerBase:
    return tf.AutoTokenizer.from_pretrained(TOKENIZERS / "wordpiece")


def rows(tokenizer: tf.PreTrainedTokenizerBase, **keywords: Any) -> list[dict[str, Any]]:
    return [dict(tokenizer(text, **keywords)) for text in TEXTS]


def test_examples_are_stacked() -> None:
    class Example:
        def __init__(self, label: int) -> None:
            self.label, self.input_ids, self.text, self.nothing = label, [1, 2, 3], "a text", None

    batch = training.default_data_collator([Example(0), Example(2)])
    assert batch.keys() == {"labels", "input_ids"}
    assert batch["labels"].dtype == batch["input_ids"].dtype == np.int64
    assert batch["labels"].tolist() == [0, 2]
    scores = training.default_data_collator([{"label": 0.5}, {"label": 1.0}])
    assert scores["labels"].dtype == np.float32
    several = training.DefaultDataCollator()([{"label_ids": [1, 0]}, {"label_ids": np.array([0, 1])}])
    assert several["labels"].tolist() == [[1, 0], [0, 1]]
    ours = training.DefaultDataCollator(return_tensors="tensor")([{"x": 0.5}, {"x": 1.5}])
    assert isinstance(ours["x"], tf.Tensor)
    assert ours["x"].dtype == tf.float32


def test_examples_that_cannot_be_stacked() -> None:
    with pytest.raises(ValueError, match=r"input_ids.*different lengths.*DataCollatorWithPadding"):
        training.default_data_collator([{"input_ids": [1]}, {"input_ids": [1, 2]}])
    with pytest.raises(ValueError, match=r"different columns.*label"):
        training.default_data_collator([{"a": 1, "label": 1}, {"a": 1}])
    with pytest.raises(ValueError, match="no examples"):
        training.default_data_collator([])
    with pytest.raises(ValueError, match="Framework 'tf'"):
        training.default_data_collator([{"a": 1}], return_tensors="tf")


@pytest.mark.parametrize("kind", ["np", "tensor"])
def test_rows_that_are_filled_up_are_an_encoding(tokenizer: tf.PreTrainedTokenizerBase, kind: str) -> None:
    examples = [{**row, "labels": row["input_ids"]} for row in rows(tokenizer)]
    kinds = (
        *(training.DataCollatorForTokenClassification, training.DataCollatorForSeq2Seq),
        training.DataCollatorForLanguageModeling,
    )
    for collator in kinds:
        batch = collator(tokenizer, return_tensors=kind)(examples)
        assert isinstance(batch, tf.BatchEncoding)
        assert batch.to("cpu").labels.shape == batch.input_ids.shape
        assert batch["input_ids"] is batch.input_ids
    padded = training.DataCollatorWithPadding(tokenizer, return_tensors=kind)(rows(tokenizer))
    assert isinstance(padded, tf.BatchEncoding)


def test_rows_are_filled_up(tokenizer: tf.PreTrainedTokenizerBase) -> None:
    examples = [{**row, "label": index} for index, row in enumerate(rows(tokenizer))]
    batch = training.DataCollatorWithPadding(tokenizer)(examples)
    lengths = [len(row["input_ids"]) for row in examples]
    assert batch["input_ids"].shape == (3, max(lengths))
    assert batch["attention_mask"].sum(1).tolist() == lengths
    assert batch["labels"].tolist() == [0, 1, 2]
    assert "label" not in batch
    wide = training.DataCollatorWithPadding(tokenizer, pad_to_multiple_of=32)(examples)
    assert wide["input_ids"].shape == (3, 32)
    fixed = training.DataCollatorWithPadding(tokenizer, padding="max_length", max_length=40)(examples)
    assert fixed["input_ids"].shape == (3, 40)


@pytest.mark.parametrize("side", ["right", "left"])
def test_labels_of_tokens_are_filled_up(tokenizer: tf.PreTrainedTokenizerBase, side: str) -> None:
    tokenizer.padding_side = side
    try:
        examples = [{**row, "labels": row["input_ids"]} for row in rows(tokenizer)]
        batch = training.DataCollatorForTokenClassification(tokenizer)(examples)
    finally:
        tokenizer.padding_side = "right"
    expected = np.where(batch["attention_mask"] == 1, batch["input_ids"], -100)
    np.testing.assert_array_equal(batch["labels"], expected)
    with pytest.raises(ValueError, match="labels"):
        training.DataCollatorForTokenClassification(tokenizer)([{"input_ids": [1, 2], "labels": [0, 0, 0]}])


def test_scores_are_float32_in_tensors(tokenizer: tf.PreTrainedTokenizerBase) -> None:
    examples = [{"input_ids": [1, 2], "label": 0.5}, {"input_ids": [3], "label": 2.0}]
    batch = training.DataCollatorWithPadding(tokenizer, return_tensors="tensor")(examples)
    assert (batch["labels"].dtype, batch["labels"].tolist()) == (tf.float32, [0.5, 2.0])


def test_targets_have_lengths_of_their_own(tokenizer: tf.PreTrainedTokenizerBase) -> None:
    examples = [{**row, "labels": list(range(n))} for row, n in zip(rows(tokenizer), (3, 50, 1), strict=True)]
    collator = training.DataCollatorForSeq2Seq(tokenizer)
    batch = collator(examples)
    assert batch["labels"].shape == (3, 50)
    assert (batch["labels"] != -100).sum(1).tolist() == [3, 50, 1]
    wide = training.DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=16)(examples)
    assert wide["labels"].shape == (3, 64)
    assert isinstance(collator(examples, return_tensors="tensor")["labels"], tf.Tensor)
    assert "labels" not in collator(rows(tokenizer))
    with pytest.raises(ValueError, match="different lengths"):
        training.DataCollatorForSeq2Seq(tokenizer, padding=False)(
            [{"input_ids": [1], "labels": [1]}, {"input_ids": [1], "labels": [1, 2]}]
        )


def test_the_decoders_input_is_made_of_labels(tokenizer: tf.PreTrainedTokenizerBase) -> None:
    sizes: dict[str, Any] = {"vocab_size": 600, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1}
    model = tf.T5ForConditionalGeneration(tf.T5Config(**sizes, num_heads=2, decoder_start_token_id=4)).eval()
    examples = [
        {**row, "labels": list(range(7, 7 + n))} for row, n in zip(rows(tokenizer), (3, 5, 1), strict=True)
    ]
    batch = training.DataCollatorForSeq2Seq(tokenizer, model=model)(examples)
    made = batch["decoder_input_ids"]
    assert made.tolist() == [[4, 7, 8, 9, 0], [4, 7, 8, 9, 10], [4, 7, 0, 0, 0]]
    without = {name: array for name, array in batch.items() if name != "decoder_input_ids"}
    assert model(**batch).loss == model(**without).loss
    ours = model.prepare_decoder_input_ids_from_labels(labels=tf.tensor(batch["labels"]))
    assert isinstance(ours, tf.Tensor)
    # A model that makes no text behind an encoder has no such thing.
    bert = tf.BertModel(
        tf.BertConfig(vocab_size=600, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    )
    assert not hasattr(bert, "prepare_decoder_input_ids_from_labels")
    assert "decoder_input_ids" not in training.DataCollatorForSeq2Seq(tokenizer, model=bert)(examples)
    with pytest.raises(ValueError, match="batch, length"):
        model.prepare_decoder_input_ids_from_labels(np.array([1, 2]))


def test_choices_get_an_axis_of_their_own(tokenizer: tf.PreTrainedTokenizerBase) -> None:
    examples = [{**dict(tokenizer([text, "Yes.", "No, it is not."])), "label": 1} for text in TEXTS]
    batch = training.DataCollatorForMultipleChoice(tokenizer)(examples)
    assert batch["input_ids"].shape[:2] == batch["attention_mask"].shape[:2] == (3, 3)
    assert batch["labels"].tolist() == [1, 1, 1]
    first = batch["attention_mask"][1, 0].sum()
    assert batch["input_ids"][1, 0, :first].tolist() == examples[1]["input_ids"][0]


def test_causal_labels_are_the_tokens(tokenizer: tf.PreTrainedTokenizerBase) -> None:
    collator = training.DataCollatorForLanguageModeling(tokenizer, mlm=False)
    batch = collator(rows(tokenizer))
    filled = batch["attention_mask"] == 0
    assert filled.any()
    assert (batch["labels"][filled] == -100).all()
    np.testing.assert_array_equal(batch["labels"][~filled], batch["input_ids"][~filled])
    alone = collator([row["input_ids"] for row in rows(tokenizer)])
    assert alone.keys() == {"input_ids", "labels"}
    np.testing.assert_array_equal(alone["labels"], batch["labels"])


def test_tokens_are_masked_as_often_as_asked(tokenizer: tf.PreTrainedTokenizerBase) -> None:
    examples = rows(tokenizer) * 200
    plain = training.DataCollatorWithPadding(tokenizer)(examples)["input_ids"]
    collator = training.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.2, seed=0)
    batch = collator(examples)
    special = np.array([tokenizer.get_special_tokens_mask(r, already_has_special_tokens=True) for r in plain])
    chosen = batch["labels"] != -100
    assert not (chosen & (special == 1)).any()
    np.testing.assert_array_equal(batch["labels"][chosen], plain[chosen])
    np.testing.assert_array_equal(batch["input_ids"][~chosen], plain[~chosen])
    assert chosen[special == 0].mean() == pytest.approx(0.2, abs=0.02)
    masked = batch["input_ids"][chosen] == tokenizer.mask_token_id
    assert masked.mean() == pytest.approx(0.8, abs=0.04)
    same = batch["input_ids"][chosen] == plain[chosen]
    assert same.mean() == pytest.approx(0.1, abs=0.03)
    assert len(np.unique(batch["input_ids"][chosen][~masked & ~same])) > 20


def test_a_seed_repeats_the_masks(tokenizer: tf.PreTrainedTokenizerBase) -> None:
    def masks(seed: int | None) -> np.ndarray:
        collator = training.DataCollatorForLanguageModeling(tokenizer, seed=seed)
        return np.asarray(collator(rows(tokenizer) * 10)["labels"])

    np.testing.assert_array_equal(masks(1), masks(1))
    assert (masks(1) != masks(2)).any()
    np.random.seed(3)
    first = masks(None)
    np.random.seed(3)
    np.testing.assert_array_equal(masks(None), first)


@pytest.mark.parametrize("side", ["right", "left"])
def test_words_are_masked_whole(tokenizer: tf.PreTrainedTokenizerBase, side: str) -> None:
    with pytest.warns(UserWarning, match="whole word"):
        collator = training.DataCollatorForLanguageModeling(
            tokenizer, whole_word_mask=True, mlm_probability=0.4, seed=0
        )
    text = "The umbrella of Maximilian lies unnoticed near riverbanks"
    encoding = tokenizer(text, return_offsets_mapping=True)
    words = encoding.word_ids()
    assert len(set(words)) < len(words) - 5
    tokenizer.padding_side = side
    try:
        batch = collator([dict(encoding), *rows(tokenizer, return_offsets_mapping=True)] * 100)
    finally:
        tokenizer.padding_side = "right"
    seen = set()
    for labels in batch["labels"][::4]:
        labels = labels[: len(words)] if side == "right" else labels[-len(words) :]
        fates = {word: set() for word in words}
        for word, label in zip(words, labels, strict=True):
            fates[word].add(label != -100)
        assert all(len(fate) == 1 for fate in fates.values())
        assert fates[None] == {False}
        seen |= {word for word, fate in fates.items() if fate == {True}}
    assert seen == set(words) - {None}
    assert (batch["input_ids"][batch["labels"] != -100] == tokenizer.mask_token_id).all()
    with pytest.raises(ValueError, match="return_offsets_mapping"):
        collator(rows(tokenizer))


def test_shares_that_cannot_be(tokenizer: tf.PreTrainedTokenizerBase) -> None:
    make = training.DataCollatorForLanguageModeling
    for keywords in ({"mlm_probability": 1.5}, {"mask_replace_prob": -1.0}, {"random_replace_prob": 0.5}):
        with pytest.raises(ValueError, match=r"prob"):
            make(tokenizer, **keywords)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mlm=True"):
        make(tokenizer, mlm=False, whole_word_mask=True)
    with pytest.raises(ValueError, match="mask token"):
        make(tf.AutoTokenizer.from_pretrained(TOKENIZERS / "gpt2"))
