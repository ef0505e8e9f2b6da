"""Several texts in one row: positions that begin anew part them from one another."""

from typing import Any

import numpy as np
import pytest

import trustformers as tf
from trustformers import training

SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.4,
}
#: Rotary embeddings, a window that a text is wider than, a table of positions.
CONFIGS = {
    "llama": SIZES,
    "mistral": {**SIZES, "sliding_window": 3, "num_key_value_heads": 1},
    "gpt2": {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.4},
}
TEXTS = [[5, 6, 7, 8, 9], [3], [9, 8, 7, 6, 5, 4]]


def model_of(model_type: str, **fields: Any) -> Any:
    config = tf.AutoConfig.for_model(model_type, **CONFIGS.get(model_type, SIZES), **fields)
    return tf.AutoModelForCausalLM.from_config(config).eval()


def row() -> dict[str, np.ndarray]:
    collated = training.DataCollatorWithFlattening()([{"input_ids": text} for text in TEXTS])
    return {name: np.asarray(array) for name, array in collated.items()}


@pytest.mark.parametrize("model_type", CONFIGS)
def test_each_text_is_read_by_itself(model_type: str) -> None:
    model = model_of(model_type)
    ids, positions = row()["input_ids"], row()["position_ids"]
    packed = model(ids, position_ids=positions, use_cache=False, output_attentions=True)
    alone = [model([text], use_cache=False, output_attentions=True) for text in TEXTS]
    wanted = np.concatenate([one.logits[0] for one in alone])
    np.testing.assert_allclose(packed.logits[0], wanted, atol=1e-5)
    for layer, probabilities in enumerate(packed.attentions):
        blocks, start = np.zeros_like(probabilities[0]), 0
        for text, one in zip(TEXTS, alone, strict=True):
            inside = slice(start, start + len(text))
            blocks[:, inside, inside] = one.attentions[layer][0]
            start += len(text)
        np.testing.assert_allclose(probabilities[0], blocks, atol=1e-5)


def test_a_mask_or_a_cache_holds_them_together() -> None:
    model = model_of("llama")
    ids, positions = row()["input_ids"], row()["position_ids"]
    together = model(ids, position_ids=positions).logits
    masked = model(ids, position_ids=positions, attention_mask=np.ones_like(ids), use_cache=False).logits
    np.testing.assert_allclose(masked, together, atol=1e-5)
    parted = model(ids, position_ids=positions, use_cache=False).logits
    np.testing.assert_allclose(parted[0, :5], together[0, :5], atol=1e-5)
    assert np.abs(parted - together)[0, 5:].max() > 0.1
    # In training there is no cache, where transformers has one unless it is asked for none.
    model.train()
    given = {"input_ids": tf.tensor(ids), "position_ids": tf.tensor(positions)}
    np.testing.assert_allclose(model(**given).logits.detach().numpy(), together, atol=1e-5)
    asked = model(**given, use_cache=False).logits.detach().numpy()
    np.testing.assert_allclose(asked, parted, atol=1e-5)


def test_gradients_are_those_of_the_texts() -> None:
    model = model_of("llama")
    batch = {name: tf.tensor(array) for name, array in row().items()}
    batch["labels"] = tf.tensor(row()["labels"])
    model(**batch, use_cache=False).loss.backward()
    packed = {name: parameter.grad.numpy().copy() for name, parameter in model.named_parameters()}
    model.zero_grad()
    # Of each text all tokens but the first are predicted.
    count = sum(len(text) - 1 for text in TEXTS)
    for text in TEXTS:
        if len(text) > 1:
            ids = tf.tensor([text])
            model(ids, labels=ids, num_items_in_batch=count, use_cache=False).loss.backward()
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(packed[name], parameter.grad.numpy(), atol=1e-5, err_msg=name)


def test_opt_parts_nothing() -> None:
    config = tf.OPTConfig(
        vocab_size=40, hidden_size=16, ffn_dim=24, num_hidden_layers=1, num_attention_heads=2
    )
    model = tf.OPTForCausalLM(config).eval()
    ids, positions = row()["input_ids"], row()["position_ids"]
    together = model(ids, position_ids=positions, attention_mask=np.ones_like(ids), use_cache=False).logits
    found = model(ids, position_ids=positions, use_cache=False).logits
    np.testing.assert_allclose(found, together, atol=1e-6)


def test_rows_are_put_behind_one_another() -> None:
    collator = training.DataCollatorWithFlattening(separator_id=-1, position_ids_start=2)
    examples = [
        {"input_ids": [5, 6, 7], "labels": [1, 2, 3], "attention_mask": [1, 1, 1]},
        {"input_ids": [], "labels": [], "attention_mask": []},
        {"input_ids": np.array([8, 9]), "labels": np.array([4, 5]), "attention_mask": [1, 1]},
    ]
    batch = collator(examples)
    assert batch.keys() == {"input_ids", "labels", "position_ids"}
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9]]
    assert batch["labels"].tolist() == [[-1, 2, 3, -1, 5]]
    assert batch["position_ids"].tolist() == [[2, 3, 4, 2, 3]]
    assert collator(examples, separator_id=-7)["labels"].tolist() == [[-7, 2, 3, -7, 5]]
    ours = training.DataCollatorWithFlattening("tensor", return_position_ids=False)(examples)
    assert isinstance(ours["input_ids"], tf.Tensor)
    assert "position_ids" not in ours
    with pytest.raises(ValueError, match="every example is empty"):
        collator([{"input_ids": []}])
    for name in ("return_flash_attn_kwargs", "return_seq_idx"):
        with pytest.raises(ValueError, match=name):
            training.DataCollatorWithFlattening(**{name: True})


def test_a_trainer_trains_without_padding(tmp_path: Any) -> None:
    examples = [{"input_ids": [5 + i % 3, 6, 7 + i % 4, 8][: 2 + i % 3]} for i in range(8)]
    losses = []
    for collator in (training.DataCollatorWithFlattening(), _padded):
        model = tf.LlamaForCausalLM(tf.LlamaConfig(**SIZES), seed=3)
        arguments = tf.TrainingArguments(
            tmp_path,
            max_steps=4,
            per_device_train_batch_size=4,
            learning_rate=1e-2,
            logging_steps=1,
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = tf.Trainer(model, arguments, train_dataset=examples, data_collator=collator)
        trainer.train()
        losses.append([log["loss"] for log in trainer.state.log_history if "loss" in log])
    np.testing.assert_allclose(*losses, rtol=1e-4)


def _padded(examples: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    rows = [example["input_ids"] for example in examples]
    longest = max(map(len, rows))
    return {
        "input_ids": training.collators.filled_up(rows, longest, 0, "right"),
        "labels": training.collators.filled_up(rows, longest, -100, "right"),
        "attention_mask": training.collators.filled_up([[1] * len(one) for one in rows], longest, 0, "right"),
    }
