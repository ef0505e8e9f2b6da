"""Training mode: dropout, layers that are computed again, products in 16 bits."""

from pathlib import Path
from typing import Any

import curve_cases
import numpy as np
import pytest
import tasks

import trustformers as tf
from trustformers import _engine
from trustformers._autocast import autocast

IDS = np.random.default_rng(0).integers(2, 40, (3, 7))
COMMON = {"vocab_size": 60, "pad_token_id": 0}
#: A model of every family, and of every way to add something to scores.
MODELS: dict[str, Any] = {
    "bert": lambda: tasks.model(
        hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3, num_hidden_layers=3
    ),
    "deberta": lambda: tf.DebertaV2ForTokenClassification(
        tf.DebertaV2Config(
            **COMMON,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            max_position_embeddings=16,
            relative_attention=True,
            pos_att_type="p2c|c2p",
            hidden_dropout_prob=0.2,
            attention_probs_dropout_prob=0.2,
        ),
        seed=0,
    ),
    "mixtral": lambda: tf.MixtralForCausalLM(
        tf.MixtralConfig(
            **COMMON,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=24,
            num_local_experts=3,
            output_router_logits=True,
            attention_dropout=0.3,
        ),
        seed=0,
    ),
    "t5": lambda: tf.T5ForConditionalGeneration(
        tf.T5Config(
            **COMMON,
            d_model=16,
            d_kv=8,
            d_ff=24,
            num_layers=2,
            num_heads=2,
            dropout_rate=0.2,
            decoder_start_token_id=0,
        ),
        seed=0,
    ),
    "bart": lambda: tf.BartForConditionalGeneration(
        tf.BartConfig(
            **COMMON,
            d_model=16,
            encoder_layers=3,
            decoder_layers=3,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=24,
            decoder_ffn_dim=24,
            max_position_embeddings=32,
            dropout=0.2,
            attention_dropout=0.2,
            activation_dropout=0.2,
            encoder_layerdrop=0.4,
            decoder_layerdrop=0.4,
        ),
        seed=0,
    ),
}


def inputs(name: str) -> dict[str, Any]:
    labels = np.array([0, 1, 1]) if name == "bert" else IDS % 2 if name == "deberta" else IDS
    mask = np.ones_like(IDS)
    mask[1, 5:] = 0
    given = {"input_ids": IDS, "attention_mask": mask, "labels": labels}
    return {name: tf.as_tensor(value) for name, value in given.items()}


def logits(model: Any, given: dict[str, Any]) -> np.ndarray:
    found: np.ndarray = model(**given).logits.detach().numpy()
    return found


def gradients(model: Any, given: dict[str, Any]) -> tuple[float, dict[str, np.ndarray]]:
    tf.manual_seed(1)
    for parameter in model.parameters():
        parameter.grad = None
        parameter.requires_grad_()
    loss = model(**given).loss
    loss.backward()
    named = {key: value.grad for key, value in model.named_parameters()}
    return loss.item(), {key: value.numpy().copy() for key, value in named.items() if value is not None}


def test_models_are_opened_to_answer_and_made_to_be_trained(checkpoint: Path) -> None:
    assert not tf.AutoModel.from_pretrained(checkpoint).training
    made = tasks.model(hidden_dropout_prob=0.5)
    assert made.training
    assert made.base_model.training
    assert not made.eval().base_model.training


@pytest.mark.parametrize("name", MODELS)
def test_dropout_is_drawn_anew_and_follows_from_the_seed(name: str) -> None:
    model, given = MODELS[name](), inputs(name)
    tf.manual_seed(3)
    first, second = (logits(model, given) for _ in range(2))
    tf.manual_seed(3)
    np.testing.assert_array_equal(logits(model, given), first)
    assert not np.array_equal(first, second)
    model.eval()
    np.testing.assert_array_equal(logits(model, given), logits(model, given))


def test_without_probabilities_both_modes_are_the_same_bits() -> None:
    model = tasks.model(num_hidden_layers=2)
    in_training = model(IDS).logits
    np.testing.assert_array_equal(in_training, model.eval()(IDS).logits)


@pytest.mark.parametrize("case", curve_cases.DROPPED, ids=lambda case: case.name)
def test_what_is_dropped_is_what_transformers_drops(case: curve_cases.Curve) -> None:
    fields = dict(case.config)
    config = tf.AutoConfig.for_model(fields.pop("model_type"), **fields)
    model = getattr(tf, case.model)(config)
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    model.load_state_dict(case.weights(shapes), strict=False)
    example = {name: np.array([value]) for name, value in case.examples()[0].items()}
    logits = model(**example).logits.ravel()[: curve_cases.SHOWN]
    np.testing.assert_allclose(logits, curve_cases.recorded("dropped.json")[case.name], rtol=1e-4, atol=1e-5)


def test_generation_drops_nothing() -> None:
    config = tf.GPT2Config(vocab_size=60, n_embd=16, n_layer=2, n_head=2, n_positions=32, resid_pdrop=0.9)
    model = tf.GPT2LMHeadModel(config, seed=0)
    texts = [model.generate(IDS, max_new_tokens=8, do_sample=False) for _ in range(2)]
    np.testing.assert_array_equal(*texts)


@pytest.mark.parametrize("name", MODELS)
def test_layers_that_are_computed_again_have_the_same_gradients(name: str) -> None:
    model, given = MODELS[name](), inputs(name)
    assert not model.is_activation_checkpointing
    loss, kept = gradients(model, given)
    model.activation_checkpointing_enable({"use_reentrant": False})
    assert model.is_activation_checkpointing
    again_loss, again = gradients(model, given)
    assert (again_loss, again.keys()) == (loss, kept.keys())
    for key, value in kept.items():
        np.testing.assert_array_equal(again[key], value, err_msg=key)
    with pytest.raises(ValueError, match="use_reentrant"):
        model.activation_checkpointing_enable({"determinism_check": "none"})
    with pytest.raises(ValueError, match="every_n_layers"):
        model.activation_checkpointing_enable(every_n_layers=2)
    model.gradient_checkpointing_disable()
    assert not model.is_activation_checkpointing
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing


def test_what_layers_show_is_shown_also_if_they_are_computed_again() -> None:
    model, given = MODELS["t5"](), inputs("t5")
    asked = {"output_attentions": True, "output_hidden_states": True}
    gradients(model, given)
    answers = []
    for enable in (model.activation_checkpointing_disable, model.activation_checkpointing_enable):
        enable()
        tf.manual_seed(1)
        answers.append(model(**given, **asked))
    fields = ("encoder_attentions", "decoder_attentions", "cross_attentions", "decoder_hidden_states")
    for field in fields:
        for one, other in zip(answers[0][field], answers[1][field], strict=True):
            np.testing.assert_array_equal(one.detach(), other.detach(), err_msg=field)


def peak(model: Any, given: dict[str, Any]) -> int:
    for parameter in model.parameters():
        parameter.grad = None
    _engine.reset_peak_memory_stats()
    before: int = _engine.memory_allocated()
    model(**given).loss.backward()
    return _engine.max_memory_allocated() - before


def test_layers_that_are_computed_again_take_the_memory_of_one() -> None:
    model = tasks.model(
        num_hidden_layers=12, hidden_size=32, intermediate_size=128, max_position_embeddings=64
    )
    ids = np.random.default_rng(0).integers(1, 40, (8, 64))
    given = {"input_ids": tf.as_tensor(ids), "labels": tf.as_tensor(np.zeros(8, np.int64))}
    for parameter in model.parameters():
        parameter.requires_grad_()
    kept = peak(model, given)
    model.activation_checkpointing_enable()
    again = peak(model, given)
    assert again < 0.4 * kept, f"{again} of {kept}"


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_the_trainer_has_layers_computed_again(tmp_path: Path, dropout: float) -> None:
    fields = {"hidden_dropout_prob": dropout, "num_hidden_layers": 2}
    plain = tasks.trainer(tmp_path, tasks.model(**fields))
    plain.train()
    again = tasks.trainer(tmp_path, tasks.model(**fields), activation_checkpointing=True)
    again.train()
    assert again.model.is_activation_checkpointing
    assert tasks.losses(again) == tasks.losses(plain)
    assert tasks.same(again.model, plain.model)


def test_the_trainer_drops_in_training_alone(tmp_path: Path) -> None:
    plain = tasks.trainer(
        tmp_path, tasks.model(), eval_strategy="epoch", parts={"eval_dataset": tasks.examples(5)}
    )
    plain.train()
    dropping = tasks.trainer(
        tmp_path,
        tasks.model(hidden_dropout_prob=0.5),
        eval_strategy="epoch",
        parts={"eval_dataset": tasks.examples(5)},
    )
    dropping.train()
    # Its last evaluation leaves it so, as transformers' does.
    assert not dropping.model.training
    assert tasks.losses(dropping) != tasks.losses(plain)
    assert dropping.evaluate()["eval_loss"] == dropping.evaluate()["eval_loss"]


RECORDED = curve_cases.recorded("mixed.json")


@pytest.mark.parametrize("case", curve_cases.MIXED, ids=lambda case: case.name)
def test_products_in_16_bits_train_as_those_of_torch(case: curve_cases.Curve, tmp_path: Path) -> None:
    fields = dict(case.config)
    config = tf.AutoConfig.for_model(fields.pop("model_type"), **fields)
    model = getattr(tf, case.model)(config)
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    model.load_state_dict(case.weights(shapes), strict=False)
    scales: list[float] = []

    class Watch(tf.TrainerCallback):
        def on_train_begin(self, *arguments: Any, **kwargs: Any) -> None:
            if case.name in curve_cases.FIRST_SCALE:
                first = 2.0 ** curve_cases.FIRST_SCALE[case.name]
                trainer._scaler = _engine.GradScaler(first, 2.0, 0.5, 2000, 0)

        def on_step_end(self, *arguments: Any, **kwargs: Any) -> None:
            scales.extend([] if trainer._scaler is None else [trainer._scaler.state()[0]])

    args = tf.TrainingArguments(str(tmp_path), **case.arguments)
    trainer = tf.Trainer(model, args, train_dataset=case.examples(), callbacks=[Watch])
    trainer.train()
    expected = RECORDED[case.name]
    # bfloat16 holds 8 bits, float16 11: what is rounded in each product adds up over layers and steps.
    tolerance = 2e-2 if "bf16" in case.args else 4e-3
    np.testing.assert_allclose(tasks.losses(trainer), expected["loss"], rtol=tolerance)
    # Steps that overflow are left out, and they are the same ones.
    assert scales == expected.get("scale", [])
    assert {value.dtype for value in model.parameters()} == {tf.float32}


def test_products_in_16_bits_take_less_memory_and_are_not_those_in_32() -> None:
    model = tasks.model(
        num_hidden_layers=4, hidden_size=32, intermediate_size=128, max_position_embeddings=64
    )
    ids = np.random.default_rng(0).integers(1, 40, (8, 64))
    given = {"input_ids": tf.as_tensor(ids), "labels": tf.as_tensor(np.zeros(8, np.int64))}
    for parameter in model.parameters():
        parameter.requires_grad_()
    exact, whole = model(**given).loss.item(), peak(model, given)
    for dtype in ("bfloat16", "float16"):
        with autocast(dtype):
            outputs = model(**given)
            assert outputs.logits.dtype == outputs.loss.dtype == tf.float32
            assert 0 < abs(outputs.loss.item() - exact) < 2e-2
            assert peak(model, given) < 0.9 * whole
    assert model(**given).loss.item() == exact
    with pytest.raises(TypeError, match="float16"), autocast("float32"):
        pass
