"""Trainer: its events, losses, evaluations and predictions, and what it refuses."""

import json
import math
from pathlib import Path
from typing import Any

import curve_cases
import numpy as np
import pytest
import tasks

import trustformers as tf
from trustformers import training

EVENTS = json.loads((curve_cases.FIXTURES / "events.json").read_text())
TOKENIZER = Path(__file__).parent.parent / "fixtures" / "pipelines" / "wordpiece"


def accuracy(prediction: tf.EvalPrediction) -> dict[str, float]:
    return {"accuracy": np.mean(prediction.predictions.argmax(-1) == prediction.label_ids)}


@pytest.mark.parametrize("case", [curve_cases.EVENTS, curve_cases.EPOCHS], ids=lambda case: case.name)
def test_events_are_transformers(case: curve_cases.Curve, tmp_path: Path) -> None:
    fields = dict(case.config)
    config = tf.AutoConfig.for_model(fields.pop("model_type"), **fields)
    recorder = curve_cases.recorder(tf.TrainerCallback)
    args = tf.TrainingArguments(str(tmp_path), **case.arguments)
    data = {"train_dataset": case.examples(), "eval_dataset": case.examples()[:6]}
    model = tf.BertForSequenceClassification(config)
    tf.Trainer(model, args, callbacks=[recorder], **data).train()
    expected = EVENTS[case.name]
    for ours, theirs in zip(recorder.events, expected, strict=False):
        # How long preparing a model takes is nothing that we have.
        theirs[4] = [name for name in theirs[4] if "model_preparation_time" not in name]
        assert ours == theirs
    assert len(recorder.events) == len(expected)


def test_a_model_learns_and_is_evaluated(tmp_path: Path) -> None:
    parts = {"eval_dataset": tasks.examples(10), "compute_metrics": accuracy}
    trainer = tasks.trainer(tmp_path, parts=parts, num_train_epochs=15)
    before = trainer.evaluate()
    result = trainer.train()
    after = trainer.evaluate()
    assert after["eval_loss"] < 0.8 * before["eval_loss"]
    assert after["eval_accuracy"] >= 0.8
    assert {"eval_runtime", "eval_samples_per_second", "eval_steps_per_second"} <= after.keys()
    assert result.global_step == 90
    assert result.training_loss == pytest.approx(np.mean(tasks.losses(trainer)))
    assert result.metrics["train_loss"] == result.training_loss
    assert result.metrics["total_flos"] > 0


def test_predictions_are_the_models(tmp_path: Path) -> None:
    trainer = tasks.trainer(tmp_path, parts={"compute_metrics": accuracy}, per_device_eval_batch_size=4)
    rows = tasks.examples(10)
    output = trainer.predict(rows)
    ids = np.array([row["input_ids"] for row in rows])
    with tf.no_grad():
        expected = trainer.model(input_ids=ids, labels=np.array([row["labels"] for row in rows]))
    np.testing.assert_allclose(output.predictions, expected.logits, atol=1e-6)
    assert output.label_ids.tolist() == [row["labels"] for row in rows]
    assert output.metrics["test_loss"] == pytest.approx(float(expected.loss), rel=1e-5)
    assert 0 <= output.metrics["test_accuracy"] <= 1
    without = trainer.predict([{"input_ids": row["input_ids"]} for row in rows])
    np.testing.assert_array_equal(without.predictions, output.predictions)
    assert without.label_ids is None
    assert "test_loss" not in without.metrics


def test_lengths_may_differ(tmp_path: Path) -> None:
    tokenizer = tf.AutoTokenizer.from_pretrained(TOKENIZER)
    texts = ["A river.", "The committee met in New York.", "Rain", "Maria and Hans live in Berlin."]
    rows = []
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        rows.append({"input_ids": ids, "labels": [index % 2 for index in range(len(ids))]})
    model = tasks.model(
        0, tf.BertForTokenClassification, vocab_size=len(tokenizer), max_position_embeddings=64
    )
    parts = {
        "train_dataset": rows,
        "processing_class": tokenizer,
        "data_collator": tf.DataCollatorForTokenClassification(tokenizer),
    }
    trainer = tasks.trainer(tmp_path, model, parts=parts, per_device_eval_batch_size=1)
    trainer.train()
    output = trainer.predict(rows)
    longest = max(len(row["input_ids"]) for row in rows)
    assert output.predictions.shape == (4, longest, 2)
    assert output.label_ids.shape == (4, longest)
    assert (output.label_ids != -100).sum(1).tolist() == [len(row["labels"]) for row in rows]


def test_accumulated_batches_are_one_batch(tmp_path: Path) -> None:
    settings = {"train_sampling_strategy": "sequential", "optim": "sgd", "learning_rate": 0.1}
    parts = {"train_dataset": tasks.examples(24)}
    whole = tasks.trainer(tmp_path, parts=parts, per_device_train_batch_size=8, **settings)
    parted = tasks.trainer(
        tmp_path, parts=parts, per_device_train_batch_size=2, gradient_accumulation_steps=4, **settings
    )
    whole.train()
    parted.train()
    np.testing.assert_allclose(tasks.losses(parted), tasks.losses(whole), rtol=1e-4)


def test_the_scale_of_losses_is_taken_out_again(tmp_path: Path) -> None:
    scaled = tasks.trainer(tmp_path, fp16=True)
    scaled.train()
    assert scaled._scaler.state() == (2.0**16, 12)


def test_an_overflow_leaves_a_step_out(tmp_path: Path) -> None:
    class Overflowing(tf.Trainer):
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **keywords: Any) -> Any:
            loss = super().compute_loss(model, inputs, **keywords)
            return loss * 1e34 if self.state.global_step == 1 else loss

    trainer = tasks.trainer(tmp_path, kind=Overflowing, fp16=True, max_steps=2)
    seen = []

    class Watch(tf.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            seen.append(tasks.weights(kwargs["model"]))

    trainer.add_callback(Watch)
    trainer.train()
    assert all(np.array_equal(seen[0][name], seen[1][name]) for name in seen[0])
    assert trainer._scaler.state()[0] == 2.0**15


@pytest.mark.parametrize("said", ["what is trained", "what is frozen"])
def test_parts_of_a_model_are_trained_alone(tmp_path: Path, said: str) -> None:
    model = tasks.model()
    before = tasks.weights(model)
    if said == "what is frozen":
        for parameter in model.base_model.parameters():
            parameter.requires_grad = False
    else:
        model.requires_grad_(False).classifier.requires_grad_()
    trainer = tasks.trainer(tmp_path, model)
    trainer.train()
    assert trainer.get_num_trainable_parameters() == 16 * 2 + 2
    for name, value in tasks.weights(model).items():
        assert np.array_equal(value, before[name]) != name.startswith("classifier")


def test_weight_decay_is_not_for_biases_and_norms(tmp_path: Path) -> None:
    trainer = tasks.trainer(tmp_path, weight_decay=0.1)
    trainer.model.train()
    decayed, others = trainer.create_optimizer().param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    names = trainer.get_decay_parameter_names(trainer.model)
    assert names
    assert not [name for name in names if "bias" in name or "LayerNorm" in name]
    assert len(decayed["params"]) == len(names)
    gpt2 = tf.GPT2LMHeadModel(tf.GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2))
    assert not [name for name in trainer.get_decay_parameter_names(gpt2) if "ln_" in name]


@pytest.mark.parametrize("optim", [one.value for one in training.OptimizerNames])
def test_every_optimizer_trains(tmp_path: Path, optim: str) -> None:
    trainer = tasks.trainer(tmp_path, optim=optim, learning_rate=1e-3, num_train_epochs=6)
    before = tasks.weights(trainer.model)
    trainer.train()
    changed = [
        not np.array_equal(value, before[name]) for name, value in tasks.weights(trainer.model).items()
    ]
    assert any(changed)
    assert np.mean(tasks.losses(trainer)[-6:]) < np.mean(tasks.losses(trainer)[:6])


def test_an_optimizer_that_is_not_here_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="optim='lomo' is not supported: choose one of"):
        tf.TrainingArguments(str(tmp_path), optim="lomo")
    with pytest.raises(ValueError, match="adamv is not a valid OptimizerNames"):
        tf.TrainingArguments(str(tmp_path), optim="adamv")


def test_parts_of_ones_own(tmp_path: Path) -> None:
    model = tasks.model()
    for parameter in model.parameters():
        parameter.requires_grad_()
    optimizer = training.SGD(model.parameters(), lr=0.1)
    schedule = training.get_constant_schedule(optimizer)
    seen: list[Any] = []

    def loss_of(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        seen.append(num_items_in_batch)
        return ((outputs["logits"][:, 0] - labels) ** 2).sum() / num_items_in_batch

    parts = {"optimizers": (optimizer, schedule), "compute_loss_func": loss_of}
    trainer = tasks.trainer(tmp_path, model, parts=parts, gradient_accumulation_steps=2, num_train_epochs=20)
    trainer.train()
    assert trainer.optimizer is optimizer
    assert set(seen) == {8, 6}
    assert np.mean(tasks.losses(trainer)[-3:]) < 0.5 * np.mean(tasks.losses(trainer)[:3])
    made = tasks.trainer(
        tmp_path, parts={"optimizer_cls_and_kwargs": (training.Lion, {"lr": 1e-3})}, max_steps=2
    )
    made.train()
    assert isinstance(made.optimizer, training.Lion)
    nesterov = tasks.trainer(tmp_path, optim="sgd", optim_args="momentum=0.9, nesterov=true")
    with pytest.raises(ValueError, match="optimizer is None"):
        nesterov.get_learning_rates()
    nesterov.model.train()
    assert nesterov.create_optimizer().defaults["nesterov"] is True
    assert nesterov.get_learning_rates() == [5e-3, 5e-3]


def test_a_model_is_made_anew_for_each_training(tmp_path: Path) -> None:
    made: list[Any] = []

    def model_init() -> Any:
        made.append(tasks.model())
        return made[-1]

    trainer = tasks.trainer(tmp_path, parts={"model_init": model_init})
    trainer.train()
    first, model = tasks.losses(trainer), trainer.model
    trainer.train()
    assert tasks.losses(trainer) == first
    assert trainer.model is not model
    assert len(made) == 3


def test_a_stop_when_nothing_gets_better(tmp_path: Path) -> None:
    scores = iter([1.0, 2.0, 1.9, 1.8, 5.0])
    parts = {
        "eval_dataset": tasks.examples(4),
        "compute_metrics": lambda _: {"score": next(scores)},
        "callbacks": [tf.EarlyStoppingCallback(early_stopping_patience=2)],
    }
    settings = {"eval_strategy": "steps", "eval_steps": 2, "metric_for_best_model": "score"}
    trainer = tasks.trainer(tmp_path, parts=parts, **settings)
    assert trainer.train().global_step == 8
    refused = tasks.trainer(tmp_path, parts={"callbacks": [tf.EarlyStoppingCallback]})
    with pytest.raises(AssertionError, match="metric_for_best_model"):
        refused.train()
    missing = tasks.trainer(
        tmp_path, parts={"eval_dataset": tasks.examples(4)}, **{**settings, "metric_for_best_model": "f1"}
    )
    with pytest.raises(KeyError, match=r"eval_f1.*eval_loss"):
        missing.train()


def test_a_rate_that_follows_a_metric(tmp_path: Path) -> None:
    parts = {"eval_dataset": tasks.examples(4), "compute_metrics": lambda _: {"score": 1.0}}
    settings = {"lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": {"patience": 0}}
    settings |= {"eval_strategy": "steps", "eval_steps": 4, "metric_for_best_model": "score"}
    trainer = tasks.trainer(tmp_path, parts=parts, **settings)
    trainer.train()
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "loss" in entry]
    np.testing.assert_allclose(rates, [5e-3] * 8 + [5e-4] * 4)


def test_several_datasets_are_evaluated(tmp_path: Path) -> None:
    parts = {"eval_dataset": {"one": tasks.examples(4), "two": tasks.examples(6)}}
    trainer = tasks.trainer(tmp_path, parts=parts)
    metrics = trainer.evaluate()
    assert {"eval_one_loss", "eval_two_loss"} <= metrics.keys()
    alone = trainer.evaluate(tasks.examples(6))
    assert alone["eval_loss"] == metrics["eval_two_loss"]


def test_metrics_may_be_asked_batch_by_batch(tmp_path: Path) -> None:
    seen: list[Any] = []

    def metrics(prediction: tf.EvalPrediction, compute_result: bool) -> dict[str, Any]:
        seen.append((len(prediction.label_ids), compute_result, prediction.inputs.shape))
        return {"batches": len(seen)} if compute_result else {}

    parts = {"eval_dataset": tasks.examples(10), "compute_metrics": metrics}
    settings = {"batch_eval_metrics": True, "include_for_metrics": ["inputs", "loss"]}
    trainer = tasks.trainer(tmp_path, parts=parts, per_device_eval_batch_size=4, **settings)
    assert trainer.evaluate()["eval_batches"] == 3
    assert seen == [(4, False, (4, 6)), (4, False, (4, 6)), (2, True, (2, 6))]
    shrunk = tasks.trainer(
        tmp_path,
        parts={
            "eval_dataset": tasks.examples(10),
            "preprocess_logits_for_metrics": lambda logits, labels: logits.argmax(-1),
            "compute_metrics": lambda p: {"shape": p.predictions.ndim, "losses": len(p.losses)},
        },
        include_for_metrics=["loss"],
    )
    assert (shrunk.evaluate()["eval_shape"], shrunk.evaluate()["eval_losses"]) == (1, 10)


def test_metrics_are_written_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = tasks.trainer(tmp_path, max_steps=1)
    trainer.log_metrics("train", {"loss": 0.123456, "epoch": 1})
    assert "  loss  = 0.1235\n" in capsys.readouterr().out
    trainer.save_metrics("train", {"loss": 0.5})
    trainer.save_metrics("eval", {"accuracy": 1.0})
    assert json.loads((tmp_path / "train_results.json").read_text()) == {"loss": 0.5}
    assert json.loads((tmp_path / "all_results.json").read_text()) == {"loss": 0.5, "accuracy": 1.0}


def test_callbacks_come_and_go(tmp_path: Path) -> None:
    class Mine(tf.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            assert {"model", "optimizer", "lr_scheduler", "train_dataloader"} <= kwargs.keys()
            control.should_training_stop = state.global_step == 3
            return control

    trainer = tasks.trainer(tmp_path, parts={"callbacks": [Mine]})
    assert trainer.train().global_step == 3
    assert isinstance(trainer.pop_callback(Mine), Mine)
    assert trainer.pop_callback(Mine) is None
    assert trainer.train().global_step == 12
    mine = Mine()
    trainer.add_callback(mine)
    trainer.remove_callback(mine)
    assert trainer.train().global_step == 12


def test_tokens_are_counted(tmp_path: Path) -> None:
    trainer = tasks.trainer(tmp_path, num_train_epochs=1, include_num_input_tokens_seen=True)
    trainer.train()
    assert trainer.state.num_input_tokens_seen == 22 * 6
    assert trainer.state.log_history[-1]["num_input_tokens_seen"] == 22 * 6
    assert trainer.state.log_history[0]["train_tokens_per_second"] > 0
    rows = [{**row, "attention_mask": [1, 1, 1, 1, 0, 0]} for row in tasks.examples()]
    settings = {"num_train_epochs": 1, "include_num_input_tokens_seen": "non_padding"}
    masked = tasks.trainer(tmp_path, parts={"train_dataset": rows}, **settings)
    masked.train()
    assert masked.state.num_input_tokens_seen == 22 * 4


def test_noise_of_embeddings_is_of_training_alone(tmp_path: Path) -> None:
    trained = {}
    for alpha in (None, 0.0, 5.0):
        # Nothing else is left to chance: nothing is dropped.
        model = tasks.model()
        trainer = tasks.trainer(tmp_path, model, neftune_noise_alpha=alpha, max_steps=3)
        trainer.train()
        trained[alpha] = tasks.losses(trainer)
        # It is over with the training.
        rows = trainer.predict(tasks.examples(4)).predictions
        np.testing.assert_array_equal(rows, trainer.predict(tasks.examples(4)).predictions)
        again = {"input_ids": tf.tensor([tasks.examples(1)[0]["input_ids"]])}
        model.train()
        np.testing.assert_array_equal(
            model(**again).logits.detach().numpy(), model(**again).logits.detach().numpy()
        )
    assert trained[None] == trained[0.0]
    assert trained[None] != trained[5.0]
    np.testing.assert_allclose(trained[None], trained[5.0], rtol=0.5)


class Crowded(tf.Trainer):
    """Of more than five examples there is no memory for the fourth step."""

    error: type[Exception] = MemoryError

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        if self.state.global_step == 3 and len(inputs["input_ids"]) > 5:
            raise self.error("CUDA out of memory. Tried to allocate much.")
        return super().training_step(model, inputs, num_items_in_batch)


@pytest.mark.parametrize("error", [MemoryError, tf.cuda.OutOfMemoryError])
def test_batches_become_smaller_until_they_fit(error: type[Exception], tmp_path: Path) -> None:
    asked = {"auto_find_batch_size": True, "per_device_train_batch_size": 8, "max_steps": 6}
    parts = {"train_dataset": tasks.examples(40)}
    trainer = tasks.trainer(tmp_path, kind=Crowded, parts=parts, save_strategy="steps", save_steps=6, **asked)
    trainer.error = error
    result = trainer.train()
    # 8, 7, 6, 5
    assert (result.global_step, trainer.state.train_batch_size) == (6, 5)
    assert trainer.args.per_device_train_batch_size == 8
    assert trainer.get_train_dataloader().batch_size == 5
    assert len(tasks.losses(trainer)) == 6
    again = tasks.trainer(tmp_path, kind=Crowded, parts=parts, **{**asked, "max_steps": 7})
    again.train(resume_from_checkpoint=True)
    assert again.state.train_batch_size == 5
    refusing = tasks.trainer(tmp_path, kind=Crowded, parts=parts, **{**asked, "auto_find_batch_size": False})
    refusing.error = error
    with pytest.raises(error, match="out of memory"):
        refusing.train()


def test_no_batch_may_fit(tmp_path: Path) -> None:
    class Full(tf.Trainer):
        def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
            raise MemoryError

    with pytest.raises(RuntimeError, match="No executable batch size found"):
        tasks.trainer(tmp_path, kind=Full, auto_find_batch_size=True).train()


def test_sequences_are_generated(tmp_path: Path) -> None:
    config = tf.T5Config(**{key: value for key, value in curve_cases.T5.items() if key != "model_type"})
    rows = [{"input_ids": [3, 4, 5, 1], "labels": [7, 8, 1]} for _ in range(6)]
    args = tf.Seq2SeqTrainingArguments(
        str(tmp_path),
        predict_with_generate=True,
        generation_max_length=6,
        num_train_epochs=120,
        learning_rate=1e-2,
        label_smoothing_factor=0.1,
        disable_tqdm=True,
        save_strategy="no",
    )
    seen = []

    def metrics(prediction: tf.EvalPrediction) -> dict[str, float]:
        seen.append(prediction.predictions.shape)
        return {"exact": np.mean((prediction.predictions[:, 1:4] == [7, 8, 1]).all(1))}

    model = tf.T5ForConditionalGeneration(config, seed=0)
    trainer = tf.Seq2SeqTrainer(model, args, train_dataset=rows, eval_dataset=rows, compute_metrics=metrics)
    trainer.train()
    result = trainer.evaluate()
    assert result["eval_exact"] == 1.0
    assert math.isfinite(result["eval_loss"])
    assert trainer.predict(rows, max_new_tokens=8).predictions.shape == (6, 9)
    assert seen == [(6, 6), (6, 9)]
    own = tf.GenerationConfig(max_length=5, pad_token_id=0, decoder_start_token_id=0)
    args.generation_config, args.generation_max_length = own, None
    again = tf.Seq2SeqTrainer(model, args, train_dataset=rows)
    assert again.predict(rows).predictions.shape == (6, 5)
    args.predict_with_generate = False
    assert again.predict(rows).predictions[0].shape == (6, 3, curve_cases.VOCABULARY)


@pytest.mark.parametrize("flag", ["bf16_full_eval", "fp16_full_eval"])
def test_full_evaluations_are_in_16_bits_outside_of_a_training(flag: str, tmp_path: Path) -> None:
    rows = tasks.examples(10)
    parts = {"eval_dataset": rows}
    plain = tasks.trainer(tmp_path, tasks.model(seed=3), parts=parts, eval_strategy="epoch")
    halved = tasks.trainer(tmp_path, tasks.model(seed=3), parts=parts, eval_strategy="epoch", **{flag: True})
    exact, rounded = (trainer.predict(rows) for trainer in (plain, halved))
    off = np.abs(rounded.predictions - exact.predictions).max()
    assert 0 < off < (2e-2 if flag == "bf16_full_eval" else 3e-3)
    assert rounded.predictions.dtype == np.float32
    assert rounded.metrics["test_loss"] != exact.metrics["test_loss"]
    assert tasks.same(halved.model, plain.model)
    for trainer in (plain, halved):
        trainer.train()
    logs = [[entry.get("eval_loss") for entry in t.state.log_history] for t in (plain, halved)]
    assert logs[0] == logs[1]
    assert halved.evaluate()["eval_loss"] != plain.evaluate()["eval_loss"]


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        # Numbers instead of classes, and a model whose labels are held against something else.
        (tf.BertForSequenceClassification, 0.5),
        (tf.BertForPreTraining, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_labels_that_cannot_be_smoothed_are_said(kind: Any, labels: Any, tmp_path: Path) -> None:
    rows = [{**row, "labels": [labels, labels] if labels == 0.5 else labels} for row in tasks.examples()]
    trainer = tasks.trainer(
        tmp_path, tasks.model(kind=kind), label_smoothing_factor=0.1, parts={"train_dataset": rows}
    )
    with pytest.raises(ValueError, match="label_smoothing_factor is for"):
        trainer.train()


def test_the_model_takes_the_special_tokens_of_its_tokenizer(
    tmp_path: Path, minilm_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = tf.AutoTokenizer.from_pretrained(minilm_path)
    tokenizer.add_special_tokens({"eos_token": "[SEP]"})
    config = tf.GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=1)
    model = tf.GPT2LMHeadModel(config, seed=0)
    data = [{"input_ids": row["input_ids"], "labels": row["input_ids"]} for row in tasks.examples()]
    tasks.trainer(
        tmp_path, model, parts={"train_dataset": data, "processing_class": tokenizer}, max_steps=1
    ).train()
    end, padding = tokenizer.eos_token_id, tokenizer.pad_token_id
    assert (model.config.eos_token_id, model.generation_config.eos_token_id) == (end, [end, 1])
    assert model.config.pad_token_id == model.generation_config.pad_token_id == padding
    assert model.config.bos_token_id == 1, "the tokenizer has none"
    assert "Updated tokens" in caplog.text


def test_metrics_by_batch_are_made_of_tensors(tmp_path: Path) -> None:
    seen: list[Any] = []

    def metrics(given: tf.EvalPrediction, compute_result: bool) -> dict[str, float]:
        seen.append((given.predictions, given.label_ids))
        return {"count": float(len(seen)), "eval_own": 1.0} if compute_result else {}

    parts = {"eval_dataset": tasks.examples(6), "compute_metrics": metrics}
    trainer = tasks.trainer(tmp_path, parts=parts, batch_eval_metrics=True, per_device_eval_batch_size=4)
    found = trainer.evaluate()
    assert all(isinstance(one, tf.Tensor) for pair in seen for one in pair)
    assert list(found)[:3] == ["eval_own", "eval_loss", "eval_count"], "transformers' order"


def test_a_second_training_begins_with_the_first_learning_rate(tmp_path: Path) -> None:
    trainer = tasks.trainer(tmp_path, num_train_epochs=1)
    trainer.train()
    assert trainer.get_learning_rates() == [0.0, 0.0]
    before = tasks.weights(trainer.model)
    trainer.train()
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert rates[0] == 5e-3
    assert not np.array_equal(before["classifier.weight"], tasks.weights(trainer.model)["classifier.weight"])
    group = trainer.get_optimizer_group(next(trainer.model.parameters()))
    assert group is trainer.optimizer.param_groups[0]
    assert [len(one) for one in trainer.get_optimizer_group()] == [
        len(one["params"]) for one in trainer.optimizer.param_groups
    ]


def test_a_model_without_a_head_is_trained_by_a_loss_of_ones_own(tmp_path: Path) -> None:
    class Pulled(tf.Trainer):
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            outputs = model(inputs["input_ids"])
            loss = outputs.last_hidden_state.square().mean()
            return (loss, outputs) if return_outputs else loss

    trainer = tasks.trainer(tmp_path, tasks.model(kind=tf.BertModel), kind=Pulled)
    trainer.train()
    assert tasks.losses(trainer)[-1] < tasks.losses(trainer)[0]


def test_metrics_are_printed_as_people_read_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"train_runtime": 61.256, "total_flos": 2.0**31, "train_loss": 0.123456, "epoch": 1.0, "n": 9}
    tasks.trainer(tmp_path).log_metrics("train", metrics)
    assert capsys.readouterr().out.splitlines() == [
        "***** train metrics *****",
        "  epoch         =        1.0",
        "  n             =          9",
        "  total_flos    =        2GF",
        "  train_loss    =     0.1235",
        "  train_runtime = 0:01:01.25",
    ]
