"""Training on a GPU: the same steps as on the processor, and checkpoints that go on where they are read."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counting import counted, counts

import trustformers
from trustformers import (
    AsyncEngine,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainingArguments,
)
from trustformers.training import SGD, AdamW, AdamW8bit, Optimizer

ROWS = np.random.default_rng(1).integers(5, 50, (24, 6))
DATA = [{"input_ids": row, "labels": int(row[0] > 25)} for row in ROWS]


def classifier() -> BertForSequenceClassification:
    config = BertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        vocab_size=60,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return BertForSequenceClassification(config, seed=3)


def llama() -> LlamaForCausalLM:
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "vocab_size": 60}
    return LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2), seed=3)


def t5() -> T5ForConditionalGeneration:
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2, "vocab_size": 60}
    config = T5Config(**sizes, dropout_rate=0.0, feed_forward_proj="gated-gelu", decoder_start_token_id=0)
    return T5ForConditionalGeneration(config, seed=3)


def trained(
    folder: Path, resume: str | None = None, model: Any = classifier, data: Any = DATA, **settings: Any
) -> Trainer:
    given: dict[str, Any] = {"max_steps": 6, "learning_rate": 1e-3, "report_to": [], **settings}
    args = TrainingArguments(
        str(folder), per_device_train_batch_size=4, logging_steps=1, disable_tqdm=True, **given
    )
    trainer = Trainer(model(), args, train_dataset=data, eval_dataset=data)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def losses(trainer: Trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_a_trainer_takes_the_gpu_that_is_there(tmp_path: Path) -> None:
    there, here = trained(tmp_path / "there"), trained(tmp_path / "here", use_cpu=True)
    assert (there.args.device, there.args.n_gpu) == ("cuda:0", 1)
    assert (here.args.device, here.args.n_gpu) == ("cpu", 0)
    assert (there.model.device, here.model.device) == ("cuda:0", "cpu")
    np.testing.assert_allclose(losses(there), losses(here), rtol=1e-4)
    for name, parameter in there.model.state_dict().items():
        other = here.model.state_dict()[name].numpy()
        np.testing.assert_allclose(parameter.cpu().numpy(), other, atol=2e-4, err_msg=name)
    assert all(
        tensor.is_cuda
        for state in there.optimizer.state.values()
        for name, tensor in state.items()
        if name != "step"
    )
    assert there.evaluate()["eval_loss"] == pytest.approx(here.evaluate()["eval_loss"], rel=1e-3)
    predicted = there.predict(DATA)
    assert predicted.predictions.shape == (24, 2)
    with pytest.warns(DeprecationWarning, match="no_cuda"):
        assert TrainingArguments(str(tmp_path), no_cuda=True).device == "cpu"


def test_a_checkpoint_goes_on_where_it_is_read(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", save_steps=3)
    checkpoint = str(tmp_path / "whole" / "checkpoint-3")
    again = trained(tmp_path / "again", checkpoint)
    assert again.model.device == "cuda:0"
    for name, parameter in again.model.state_dict().items():
        np.testing.assert_array_equal(
            parameter.cpu().numpy(), whole.model.state_dict()[name].cpu().numpy(), err_msg=name
        )
    here = trained(tmp_path / "other", checkpoint, use_cpu=True)
    assert here.model.device == "cpu"
    np.testing.assert_allclose(losses(here)[-3:], losses(whole)[-3:], rtol=1e-3)


@pytest.mark.parametrize("settings", [{"bf16": True}, {"fp16": True}, {"gradient_checkpointing": True}])
def test_other_ways_of_training(settings: dict[str, Any], tmp_path: Path) -> None:
    there = trained(tmp_path / "there", max_steps=3, **settings)
    here = trained(tmp_path / "here", max_steps=3, use_cpu=True, **settings)
    np.testing.assert_allclose(losses(there), losses(here), rtol=3e-2)


@pytest.mark.parametrize("settings", [{}, {"bf16": True, "gradient_checkpointing": True}])
@pytest.mark.parametrize(("model", "labels"), [(llama, 6), (t5, 4)])
def test_models_that_write_are_trained(
    model: Any, labels: int, settings: dict[str, Any], tmp_path: Path
) -> None:
    data = [{"input_ids": row, "labels": row[:labels]} for row in ROWS]
    given = {"model": model, "data": data, **settings}
    there = trained(tmp_path / "there", **given)
    here = trained(tmp_path / "here", use_cpu=True, **given)
    assert (there.model.device, here.model.device) == ("cuda:0", "cpu")
    np.testing.assert_allclose(losses(there), losses(here), rtol=3e-2 if settings else 1e-4)
    if not settings:
        for name, parameter in there.model.state_dict().items():
            other = here.model.state_dict()[name].numpy()
            np.testing.assert_allclose(parameter.cpu().numpy(), other, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("kind", [AdamW, SGD, AdamW8bit])
def test_optimizers_step_where_the_parameters_are(kind: Any) -> None:
    def steps(device: str) -> np.ndarray:
        parameter = trustformers.tensor(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), device=device)
        parameter.requires_grad_()
        optimizer: Optimizer = kind([parameter], lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            (parameter * parameter).sum().backward()
            optimizer.step()
        saved = optimizer.state_dict()
        fresh: Optimizer = kind([parameter], lr=0.1)
        saved["state"] = {
            index: {key: value if key == "step" else value.cpu() for key, value in entries.items()}
            for index, entries in saved["state"].items()
        }
        fresh.load_state_dict(saved)
        (parameter * parameter).sum().backward()
        fresh.step()
        found: np.ndarray = parameter.detach().cpu().numpy()
        return found

    np.testing.assert_allclose(steps("cuda"), steps("cpu"), rtol=1e-4, atol=1e-5)


def test_an_async_engine_runs_a_model_there() -> None:
    config = GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=60, n_positions=32)
    model = GPT2LMHeadModel(config, seed=4).eval()
    ids = [np.array([[5, 9, 2]]), np.array([[7, 7, 1, 4]]), np.array([[3]])]
    asked: dict[str, Any] = {"max_new_tokens": 4, "eos_token_id": None, "pad_token_id": 0}
    expected = [model.generate(one, **asked) for one in ids]

    async def together() -> list[np.ndarray]:
        engine = AsyncEngine(model.cuda())
        return list(await asyncio.gather(*(engine.generate(one, **asked) for one in ids)))

    for found, wanted in zip(asyncio.run(together()), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@counts
def test_more_texts_take_no_more_launches() -> None:
    """Each would cost some microseconds, for every layer that is learnt through."""
    config = BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=60
    )
    model = BertForSequenceClassification(config, seed=3).to("cuda").train()
    optimizer = AdamW(model.parameters(), lr=1e-4)

    def step(texts: int) -> int:
        before = counted("launches", "products")
        ids = trustformers.tensor(np.full((texts, 6), 7))
        model(input_ids=ids, labels=trustformers.tensor(np.zeros(texts, np.int64))).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return counted("launches", "products") - before

    # The first step also makes what is kept.
    step(3)
    assert step(3) == step(9)
