"""Adapters are peft's: the same steps, the same names, the same files."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import adapter_cases
import numpy as np
import pytest
import tasks

import trustformers as tf
from fixture_cases import FIXTURES, Head, cases, heads
from trustformers.peft import (
    AutoPeftModelForSequenceClassification,
    LoraConfig,
    PeftConfig,
    PeftModel,
    TaskType,
    get_peft_model,
    get_peft_model_state_dict,
    prepare_model_for_kbit_training,
    set_peft_model_state_dict,
)

RECORDED = adapter_cases.recorded()
CASES = pytest.mark.parametrize("case", adapter_cases.CASES, ids=lambda case: case.name)


def base(case: adapter_cases.Adapted) -> Any:
    fields = dict(case.config)
    model = getattr(tf, case.model)(tf.AutoConfig.for_model(fields.pop("model_type"), **fields))
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    model.load_state_dict(case.weights(shapes), strict=False)
    return model


def drawn(case: adapter_cases.Adapted) -> PeftModel:
    """The model with an adapter as the recorded training began with it."""
    model = get_peft_model(base(case), LoraConfig(**case.lora))
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    model.load_state_dict(case.drawn(shapes), strict=False)
    return model


def small(**lora: Any) -> PeftModel:
    return get_peft_model(tasks.model(), LoraConfig(**{"task_type": "SEQ_CLS", "r": 4, **lora}))


def changed(model: PeftModel, size: float = 1.0) -> PeftModel:
    """The same model with an adapter that does something."""
    rng = np.random.default_rng(0)
    state = {name: size * rng.normal(size=p.shape) for name, p in model.named_parameters() if "lora_" in name}
    model.load_state_dict(state, strict=False)
    return model


def logits(model: Any) -> np.ndarray:
    with tf.no_grad():
        return np.asarray(model(np.array([row["input_ids"] for row in tasks.examples()])).logits)


@CASES
def test_a_training_is_pefts(case: adapter_cases.Adapted, tmp_path: Path) -> None:
    model, expected = drawn(case), RECORDED[case.name]
    assert sorted(name for name, _ in model.named_parameters()) == sorted(expected["names"])
    assert list(model.get_nb_trainable_parameters()) == expected["count"]
    before = tasks.weights(model.get_base_model())
    args = tf.TrainingArguments(str(tmp_path), **case.arguments)
    trainer = tf.Trainer(model, args, train_dataset=case.examples())
    trainer.train()
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    for name, tolerance in (("loss", 2e-4), ("grad_norm", 5e-3)):
        np.testing.assert_allclose([entry[name] for entry in steps], expected[name], rtol=tolerance)
    assert np.mean(expected["loss"][-5:]) < 0.95 * np.mean(expected["loss"][:5]), "something is learned"
    after = tasks.weights(model.get_base_model())
    assert all(np.array_equal(before[name], after[name]) for name in before), "the model's own stay"
    with tf.no_grad():
        np.testing.assert_allclose(model(case.ids).logits, expected["logits"], atol=2e-3)


@CASES
def test_pefts_files_are_opened(case: adapter_cases.Adapted) -> None:
    model = PeftModel.from_pretrained(base(case), case.folder)
    assert model.get_nb_trainable_parameters()[0] == 0
    np.testing.assert_allclose(model(case.ids).logits, RECORDED[case.name]["logits"], atol=1e-5)
    merged = model.merge_and_unload()
    assert type(merged).__name__ == case.model
    np.testing.assert_allclose(merged(case.ids).logits, RECORDED[case.name]["logits"], atol=1e-5)


@CASES
def test_files_are_pefts(case: adapter_cases.Adapted, tmp_path: Path) -> None:
    PeftModel.from_pretrained(base(case), case.folder).save_pretrained(tmp_path)
    theirs = tf.load_file(case.folder / "adapter_model.safetensors")
    ours = tf.load_file(tmp_path / "adapter_model.safetensors")
    twice = {name for name in theirs if ".modules_to_save." in name or ".original_module." in name}
    assert ours.keys() == theirs.keys() - twice
    for name, tensor in ours.items():
        assert np.array_equal(tensor.numpy(), theirs[name].numpy())
    saved = json.loads((tmp_path / "adapter_config.json").read_text())
    expected = json.loads((case.folder / "adapter_config.json").read_text())
    for name in saved.keys() - {"target_modules", "modules_to_save"}:
        assert saved[name] == expected[name], name
    assert set(saved["target_modules"]) == set(expected["target_modules"])


def test_new_adapters_change_nothing_and_trained_ones_what_they_are_for(tmp_path: Path) -> None:
    model = small(target_modules=["query", "intermediate.dense"])
    before = logits(model.get_base_model())
    assert np.array_equal(logits(model), before)
    trainer = tasks.trainer(tmp_path, model, num_train_epochs=12, learning_rate=5e-2)
    trainer.train()
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all("lora_" in name or "classifier.modules_to_save" in name for name in names)
    assert len(names) == 2 * 2 + 2
    trained = sum(len(group["params"]) for group in trainer.optimizer.param_groups)
    assert trained == len(names), "the optimizer has nothing else"
    assert np.mean(tasks.losses(trainer)[-6:]) < 0.7 * tasks.losses(trainer)[0], "something is learned"
    after = logits(model)
    with model.disable_adapter():
        assert np.array_equal(logits(model), before)
    assert np.array_equal(logits(model), after)
    merged = model.merge_and_unload(safe_merge=True)
    np.testing.assert_allclose(logits(merged), after, atol=1e-6)
    merged.save_pretrained(tmp_path / "merged")
    again = tf.BertForSequenceClassification.from_pretrained(tmp_path / "merged")
    np.testing.assert_allclose(logits(again), after, atol=1e-6)


def test_every_change_of_an_adapter_is_seen() -> None:
    model = changed(small())
    before, parameters = logits(model), dict(model.named_parameters())
    with tf.no_grad():
        assert model._adapted() is model._adapted(), "what has not changed is not computed again"
    for name in parameters:
        if "lora_B" in name:
            parameters[name].detach().mul_(2.0)
    twice = logits(model)
    assert not np.allclose(before, twice)
    model.get_base_model().load_state_dict(tasks.weights(tasks.model(seed=1)))
    assert not np.allclose(logits(model), twice), "and every change of the model"


def test_checkpoints_hold_adapters_and_go_on_with_the_same_bits(tmp_path: Path) -> None:
    settings = {"save_strategy": "steps", "save_steps": 4}
    whole = tasks.trainer(tmp_path / "whole", small(bias="lora_only"), **settings)
    whole.train()
    again = tasks.trainer(tmp_path / "whole", small(bias="lora_only"), **settings)
    folder = tmp_path / "whole" / "checkpoint-4"
    assert {path.name for path in folder.iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    assert not (folder / "model.safetensors").exists()
    again.train(resume_from_checkpoint=str(folder))
    assert tasks.same(whole.model, again.model)


def test_the_best_adapter_is_taken_up(tmp_path: Path) -> None:
    settings = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
    parts = {"eval_dataset": tasks.examples(6)}
    trainer = tasks.trainer(tmp_path, small(), parts=parts, learning_rate=0.5, **settings)
    trainer.train()
    best = PeftModel.from_pretrained(tasks.model(), trainer.state.best_model_checkpoint)
    np.testing.assert_allclose(logits(best), logits(trainer.model), atol=1e-6)


def test_checkpoints_of_other_adapters_are_refused(tmp_path: Path) -> None:
    tasks.trainer(tmp_path, small(), save_strategy="steps", save_steps=6, max_steps=6).train()
    for other, message in (
        (small(r=2), "is of another model: .*lora_A.*has shape"),
        (small(target_modules=["key"]), "is of another model: it has no .*key.lora_A"),
        (tasks.model(), "is damaged"),
    ):
        trainer = tasks.trainer(tmp_path, other)
        before = tasks.weights(other)
        with pytest.raises(ValueError, match=message):
            trainer.train(resume_from_checkpoint=True)
        assert all(np.array_equal(value, before[name]) for name, value in tasks.weights(other).items())


def test_damaged_adapters_of_checkpoints_are_refused(tmp_path: Path) -> None:
    tasks.trainer(tmp_path, small(), save_strategy="steps", save_steps=6, max_steps=6).train()
    file = tmp_path / "checkpoint-6" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"checkpoint-6 is damaged"):
        tasks.trainer(tmp_path, small()).train(resume_from_checkpoint=True)


def test_several_adapters_stand_on_one_model(tmp_path: Path) -> None:
    model = changed(small())
    one = logits(model)
    model.add_adapter("other", LoraConfig(task_type=TaskType.SEQ_CLS, r=2, init_lora_weights=False))
    assert np.array_equal(logits(model), one), "it is not active yet"
    model.set_adapter("other")
    assert model.active_adapter == "other"
    other = logits(model)
    assert not np.allclose(one, other)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    assert all(".other." in name for name in names)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "other" / "adapter_model.safetensors").is_file()
    again = PeftModel.from_pretrained(tasks.model(), tmp_path)
    again.load_adapter(tmp_path / "other", "other")
    np.testing.assert_allclose(logits(again), one, atol=1e-6)
    again.set_adapter("other")
    np.testing.assert_allclose(logits(again), other, atol=1e-6)
    again.set_adapter(["default", "other"])
    both = logits(again)
    assert not np.allclose(both, one)
    assert not np.allclose(both, other)
    again.delete_adapter("default")
    np.testing.assert_allclose(logits(again), other, atol=1e-6)
    with pytest.raises(ValueError, match="only adapter"):
        again.delete_adapter("other")


def test_generations_run_with_the_adapter() -> None:
    case = adapter_cases.CASES[2]
    model = PeftModel.from_pretrained(base(case), case.folder)
    merged = PeftModel.from_pretrained(base(case), case.folder).merge_and_unload()
    asked = {"max_new_tokens": 6, "do_sample": False}
    ours = model.generate(case.ids, **asked)
    assert np.array_equal(ours, merged.generate(case.ids, **asked))
    assert not np.array_equal(ours, base(case).generate(case.ids, **asked))
    with model.disable_adapter():
        assert np.array_equal(model.generate(case.ids, **asked), base(case).generate(case.ids, **asked))


def test_a_head_that_was_shared_is_trained_alone() -> None:
    model = get_peft_model(
        tf.GPT2LMHeadModel(tf.GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2), seed=0).eval(),
        LoraConfig(modules_to_save=["lm_head"]),
    )
    ids = np.array([[1, 2, 3]])
    before = np.asarray(model.get_base_model()(ids).logits)
    head = dict(model.named_parameters())["base_model.model.lm_head.modules_to_save.default.weight"]
    head.detach().mul_(2.0)
    with tf.no_grad():
        np.testing.assert_allclose(model(ids).logits, 2 * before, rtol=1e-5)
    merged = model.merge_and_unload()
    assert merged.config.tie_word_embeddings is False
    np.testing.assert_allclose(merged(ids).logits, 2 * before, rtol=1e-5)


def test_a_head_that_peft_saved_with_its_adapter_is_adapted_still(tmp_path: Path) -> None:
    config = tf.GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2, tie_word_embeddings=False)
    base = tf.GPT2LMHeadModel(config).eval()
    model = changed(get_peft_model(base, LoraConfig(target_modules=["lm_head"], r=2)))
    model.save_pretrained(tmp_path)
    tensors = tf.load_file(tmp_path / "adapter_model.safetensors")
    head = base.get_output_embeddings().weight.detach()
    tensors["base_model.model.lm_head.base_layer.weight"] = 3 * head
    tf.save_file(tensors, tmp_path / "adapter_model.safetensors")
    opened = PeftModel.from_pretrained(copy.deepcopy(base), tmp_path)
    ids = np.array([[1, 2, 3]])
    with tf.no_grad():
        added = np.asarray(model(ids).logits) - np.asarray(base(ids).logits)
        expected = 3 * np.asarray(base(ids).logits) + added
        np.testing.assert_allclose(opened(ids).logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_adapters_of_16_bit_models_are_trained_in_32(tmp_path: Path, dtype: str) -> None:
    tf.set_seed(0)
    model = get_peft_model(tasks.model().to(dtype), LoraConfig(task_type="SEQ_CLS"))
    assert {str(p.dtype) for _, p in model.named_parameters() if p.requires_grad} == {"trustformers.float32"}
    trainer = tasks.trainer(tmp_path, model, num_train_epochs=10, learning_rate=5e-2)
    trainer.train()
    assert np.mean(tasks.losses(trainer)[-6:]) < 0.7 * tasks.losses(trainer)[0], "something is learned"
    after = logits(model)
    merged = model.merge_and_unload()
    assert merged.dtype == dtype
    np.testing.assert_allclose(logits(merged), after, atol=0.05)


def test_adapters_of_models_in_blocks_are_trained(tmp_path: Path) -> None:
    tf.set_seed(0)
    tasks.model(hidden_size=32, intermediate_size=64).save_pretrained(tmp_path)
    blocks = tf.BertForSequenceClassification.from_pretrained(tmp_path, quantization="q4")
    model = get_peft_model(blocks, LoraConfig(task_type="SEQ_CLS", target_modules="all-linear"))
    trainer = tasks.trainer(tmp_path, model, num_train_epochs=10, learning_rate=2e-2)
    trainer.train()
    assert np.mean(tasks.losses(trainer)[-6:]) < 0.7 * tasks.losses(trainer)[0], "something is learned"
    assert blocks.is_quantized


def test_models_with_adapters_are_copied_and_pickled() -> None:
    model = changed(small())
    expected = logits(model)  # which is kept, and not copied
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(logits(twin), expected)
        assert twin.get_nb_trainable_parameters() == model.get_nb_trainable_parameters()


def test_what_a_model_is_asked_counts_its_adapters() -> None:
    model = small(modules_to_save=["classifier", "score"])  # of which it has one
    trained, total = model.get_nb_trainable_parameters()
    assert (model.num_parameters(only_trainable=True), model.num_parameters()) == (trained, total)
    assert small(bias="all").num_parameters() == small(bias="all").get_nb_trainable_parameters()[1]
    assert (model.peft_type, model.active_peft_config.r) == ("LORA", 4)
    batch = {"input_ids": tf.tensor([[1, 2, 3]]), "labels": tf.tensor([1])}
    model.eval()(**batch).loss.backward()
    assert any(parameter.grad is not None for parameter in model.parameters())
    model.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.requires_grad_(False).num_parameters(only_trainable=True) == 0
    with tf.no_grad():
        model(**batch)
    assert not model(**batch).loss.requires_grad, "what was merged is nobody's to train"
    assert "bert.encoder.layer.0.attention.self.query" in dict(model.named_modules())


def test_what_was_trained_as_a_whole_stays_without_the_adapter() -> None:
    model = changed(small())
    with tf.no_grad():
        head = dict(model.named_parameters())["base_model.model.classifier.modules_to_save.default.weight"]
        head.mul_(2.0)
    expected = head.detach().numpy().copy()
    query = model.model.bert.encoder.layer[0].attention.self.query.weight.numpy().copy()
    plain = model.unload()
    np.testing.assert_array_equal(plain.classifier.weight.numpy(), expected)
    np.testing.assert_array_equal(plain.bert.encoder.layer[0].attention.self.query.weight.numpy(), query)


def test_an_adapter_says_of_which_model_it_is(tmp_path: Path) -> None:
    folder, adapter = tmp_path / "base", tmp_path / "adapter"
    tasks.model().save_pretrained(folder)
    config = LoraConfig(task_type="SEQ_CLS", r=4)
    model = changed(get_peft_model(tf.BertForSequenceClassification.from_pretrained(folder), config))
    model.save_pretrained(adapter)
    assert PeftConfig.from_pretrained(adapter).base_model_name_or_path == str(folder)
    opened = AutoPeftModelForSequenceClassification.from_pretrained(adapter)
    np.testing.assert_array_equal(logits(opened), logits(model))
    assert opened.get_nb_trainable_parameters()[0] == 0
    state = get_peft_model_state_dict(model)
    assert state.keys() == tf.load_file(adapter / "adapter_model.safetensors").keys()
    other = get_peft_model(prepare_model_for_kbit_training(tasks.model()), LoraConfig("SEQ_CLS", r=4))
    set_peft_model_state_dict(other, state)
    np.testing.assert_array_equal(logits(other), logits(model))
    changed(small()).save_pretrained(adapter)
    with pytest.raises(ValueError, match="of which model"):
        AutoPeftModelForSequenceClassification.from_pretrained(adapter)


def test_what_is_trained_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    model = small()
    model.print_trainable_parameters()
    trained, total = model.get_nb_trainable_parameters()
    printed = capsys.readouterr().out.strip()
    share = 100 * trained / total
    assert printed == f"trainable params: {trained:,d} || all params: {total:,d} || trainable%: {share:.4f}"
    assert repr(model).startswith("PeftModel(BertForSequenceClassification(  # bert")


def test_pipelines_run_models_with_adapters(minilm_path: Path) -> None:
    tokenizer = tf.AutoTokenizer.from_pretrained(minilm_path)
    plain = tf.BertForSequenceClassification.from_pretrained(minilm_path)
    model = get_peft_model(plain, LoraConfig(task_type="SEQ_CLS", init_lora_weights=False))
    found = tf.pipeline("text-classification", model=model, tokenizer=tokenizer)("Rain again.")
    merged = tf.pipeline("text-classification", model=model.merge_and_unload(), tokenizer=tokenizer)
    assert found[0]["score"] == pytest.approx(merged("Rain again.")[0]["score"], abs=1e-5)


@pytest.mark.parametrize(
    ("lora", "error", "message"),
    [
        ({"r": 0}, ValueError, "positive integer"),
        ({"rank_pattern": {"query": 0}}, ValueError, "positive integer"),
        ({"bias": "some"}, ValueError, "bias must be"),
        ({"lora_dropout": 1.0}, ValueError, "lora_dropout must be in"),
        ({"use_dora": True}, ValueError, "use_dora=True is not supported"),
        ({"init_lora_weights": "pissa"}, ValueError, "'pissa' is not supported"),
        ({"lora_alhpa": 3}, TypeError, "Did you mean 'lora_alpha'"),
        ({"task_type": "CAUSAL"}, ValueError, "CAUSAL"),
        ({"target_modules": ["quer"]}, ValueError, "not found in the base model.*'query'"),
        ({"target_modules": ["word_embeddings"]}, ValueError, "is no linear layer"),
        ({"target_modules": ["LayerNorm"]}, ValueError, "is no linear layer"),
        ({"target_modules": "que.*", "layers_to_transform": 0}, ValueError, "cannot be used"),
        ({"layers_pattern": "layer"}, ValueError, "must also be specified"),
    ],
)
def test_what_cannot_be(lora: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        get_peft_model(tasks.model(), LoraConfig(**{"task_type": "SEQ_CLS", **lora}))


def test_layers_are_chosen_by_number() -> None:
    def adapted(**lora: Any) -> list[str]:
        model = get_peft_model(tasks.model(num_hidden_layers=3), LoraConfig(task_type="SEQ_CLS", **lora))
        return [name.split("layer.")[1][:6] for name, _ in model.named_parameters() if "query.lora_A" in name]

    assert adapted(layers_to_transform=1) == ["1.atte"]
    assert adapted(layers_to_transform=[0, 2], layers_pattern="layer") == ["0.atte", "2.atte"]
    assert adapted(exclude_modules=r".*\.1\..*") == ["0.atte", "2.atte"]
    with pytest.raises(ValueError, match="not found"):
        adapted(layers_to_transform=[7])


def test_names_of_adapters() -> None:
    model = small()
    for name, message in (("default", "already exists"), ("a.b", "cannot be the name")):
        with pytest.raises(ValueError, match=message):
            model.add_adapter(name, LoraConfig(task_type="SEQ_CLS"))
    with pytest.raises(ValueError, match="Only a single adapter"):
        model.add_adapter("other", LoraConfig(task_type="SEQ_CLS", bias="all"))
    for call in (model.set_adapter, model.delete_adapter):
        with pytest.raises(ValueError, match="Available adapters"):
            call("gone")


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"adapter_config\.json"):
        PeftModel.from_pretrained(tasks.model(), tmp_path)
    config = tmp_path / "adapter_config.json"
    for text, message in (("{", "is damaged"), ("[]", "None"), ('{"peft_type": "IA3"}', "'IA3'")):
        config.write_text(text)
        with pytest.raises(ValueError, match=message):
            PeftModel.from_pretrained(tasks.model(), tmp_path)
    small().save_pretrained(tmp_path)
    saved = json.loads(config.read_text())
    config.write_text(json.dumps({**saved, "of_the_future": None}))
    assert LoraConfig.from_pretrained(tmp_path).r == 4
    for field, message in (({"of_the_future": 1}, "of_the_future"), ({"use_dora": True}, "use_dora")):
        config.write_text(json.dumps({**saved, **field}))
        with pytest.raises((TypeError, ValueError), match=message):
            PeftModel.from_pretrained(tasks.model(), tmp_path)
    for changed_fields, message in (
        ({"r": 2}, "has shape"),
        ({"target_modules": ["key"]}, "missing: .*key.lora_A"),
        ({"target_modules": ["query"]}, "unexpected: .*value.lora_A"),
    ):
        config.write_text(json.dumps({**saved, **changed_fields}))
        with pytest.raises(RuntimeError, match=message):
            PeftModel.from_pretrained(tasks.model(), tmp_path)
    config.write_text(json.dumps(saved))
    model = small()
    (tmp_path / "adapter_model.safetensors").write_bytes(b"broken")
    with pytest.raises(OSError, match="adapter_model"):
        model.load_adapter(tmp_path, "other")
    assert list(model.peft_config) == ["default"], "nothing is left of it"
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(OSError, match=r"adapter_model\.safetensors"):
        PeftModel.from_pretrained(tasks.model(), tmp_path)


def test_an_adapter_that_is_frozen_cannot_be_trained(tmp_path: Path) -> None:
    small().save_pretrained(tmp_path / "adapter")
    model = PeftModel.from_pretrained(tasks.model(), tmp_path / "adapter")
    with pytest.raises(ValueError, match="nothing to train"):
        tasks.trainer(tmp_path, model).train()
    trainable = PeftModel.from_pretrained(tasks.model(), tmp_path / "adapter", is_trainable=True)
    assert tasks.trainer(tmp_path, trainable).train().global_step == 12


def test_an_adapter_drops_in_training_alone(tmp_path: Path) -> None:
    model = changed(small(lora_dropout=0.5))
    model.save_pretrained(tmp_path)
    assert LoraConfig.from_pretrained(tmp_path).lora_dropout == 0.5
    still = changed(small()).eval()
    assert np.array_equal(logits(PeftModel.from_pretrained(tasks.model(), tmp_path).eval()), logits(still))
    tf.manual_seed(3)
    first, second = logits(model), logits(model)
    tf.manual_seed(3)
    assert np.array_equal(logits(model), first)
    assert not np.array_equal(first, second)
    with model.disable_adapter():
        assert np.array_equal(logits(model), logits(model.get_base_model()))
    assert np.array_equal(logits(model.eval()), logits(still))
    assert np.array_equal(logits(model.merge_and_unload().eval()), logits(still))


def gradients(model: PeftModel) -> dict[str, np.ndarray]:
    rows = tasks.examples()
    for parameter in model.parameters():
        parameter.grad = None
    tf.manual_seed(1)
    ids = tf.as_tensor(np.array([row["input_ids"] for row in rows]))
    model(input_ids=ids, labels=tf.as_tensor(np.array([row["labels"] for row in rows]))).loss.backward()
    return {name: p.grad.numpy().copy() for name, p in model.named_parameters() if p.grad is not None}


def test_what_is_dropped_has_its_gradients() -> None:
    folded = gradients(changed(small(target_modules="all-linear")))
    model = changed(small(target_modules="all-linear", lora_dropout=1e-9))
    beside = gradients(model)
    assert beside.keys() == folded.keys()
    for name, expected in folded.items():
        np.testing.assert_allclose(beside[name], expected, rtol=1e-3, atol=2e-5, err_msg=name)
    # Layers that are computed again drop what they dropped.
    model = changed(small(target_modules="all-linear", lora_dropout=0.3))
    kept = gradients(model)
    model.activation_checkpointing_enable()
    again = gradients(model)
    for name, expected in kept.items():
        np.testing.assert_array_equal(again[name], expected, err_msg=name)
        assert not np.allclose(expected, folded[name], rtol=1e-2), name


def test_adapters_of_which_one_drops_are_both_added() -> None:
    def two(dropout: float) -> PeftModel:
        model = small(lora_dropout=dropout)
        model.add_adapter("other", LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["key", "query"]))
        model.set_adapter(["default", "other"])
        return changed(model)

    np.testing.assert_allclose(logits(two(1e-9)), logits(two(0.0)), rtol=1e-4, atol=1e-5)


ALL_HEADS = [
    head
    for head in heads(FIXTURES / "architectures", FIXTURES / "bert")
    if head.row.name == "default" and head.auto != "AutoModel"
]


@pytest.mark.parametrize("head", ALL_HEADS, ids=str)
def test_beside_a_layer_is_within_it_in_every_architecture(head: Head) -> None:
    call = cases(head)[0].calls[0]
    answers = []
    for dropout in (0.0, 1e-9):
        base = getattr(tf, head.auto).from_pretrained(head.folder, **head.load)
        lora = LoraConfig(r=3, target_modules="all-linear", lora_dropout=dropout)
        model = changed(get_peft_model(base, lora), 0.2).train()
        # Decoders drop a tenth before their classifier also without a field that says so.
        fields = [field for field in model.config.to_dict() if "drop" in field]
        for field in {*fields, "classifier_dropout"}:
            setattr(model.config, field, 0.0)
        with tf.no_grad():
            outputs = model(**call.arguments)
        answers.append(outputs["logits"] if "logits" in outputs else outputs[0])
    spread = np.abs(answers[0]).max()
    np.testing.assert_allclose(answers[1], answers[0], atol=2e-4 * spread, rtol=1e-3)


def test_numbers_that_are_broken_are_not_merged() -> None:
    model = changed(small())
    next(p for name, p in model.named_parameters() if "lora_B" in name).detach().fill_(float("nan"))
    with pytest.raises(ValueError, match="NaNs detected in the merged weights"):
        model.merge_and_unload(safe_merge=True)
