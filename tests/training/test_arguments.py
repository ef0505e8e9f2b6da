"""TrainingArguments: transformers' names and defaults, older spellings, and what contradicts itself."""

import dataclasses
import json
import pickle
import warnings
from typing import Any

import pytest

import trustformers
from trustformers import training
from trustformers.training import Seq2SeqTrainingArguments, TrainingArguments


def test_defaults_are_transformers() -> None:
    args = TrainingArguments("out")
    assert (args.output_dir, args.per_device_train_batch_size, args.num_train_epochs) == ("out", 8, 3.0)
    assert (args.learning_rate, args.max_grad_norm, args.seed, args.max_steps) == (5e-5, 1.0, 42, -1)
    assert args.report_to == []
    assert args.save_strategy == "steps"
    assert args.eval_strategy == training.IntervalStrategy.NO
    assert not args.do_eval
    assert TrainingArguments().output_dir == "trainer_output"


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({"evaluation_strategy": "epoch"}, {"eval_strategy": "epoch"}),
        ({"warmup_ratio": 0.1}, {"warmup_steps": 0.1}),
        ({"warmup_ratio": 0.1, "warmup_steps": 20}, {"warmup_steps": 20}),
        ({"no_cuda": True}, {"use_cpu": True}),
        ({"gradient_checkpointing": True}, {"activation_checkpointing": True}),
        ({"gradient_checkpointing_kwargs": "{}"}, {"activation_checkpointing_kwargs": {}}),
        ({"group_by_length": True}, {"train_sampling_strategy": "group_by_length"}),
        ({"group_by_length": False}, {"train_sampling_strategy": "random"}),
        ({"per_gpu_train_batch_size": 3}, {"per_device_train_batch_size": 3}),
        ({"adafactor": True}, {"optim": "adafactor"}),
        ({"include_inputs_for_metrics": True}, {"include_for_metrics": ["inputs"]}),
        ({"logging_dir": "logs"}, {"logging_dir": "logs"}),
        ({"overwrite_output_dir": True}, {}),
        ({"save_safetensors": True}, {}),
    ],
)
def test_older_spellings(older: dict[str, Any], newer: dict[str, Any]) -> None:
    with pytest.warns(DeprecationWarning, match=next(iter(older))):
        args = TrainingArguments("out", **older)
    for name, value in newer.items():
        assert getattr(args, name) == value


def test_the_warning_points_at_the_caller() -> None:
    with pytest.warns(DeprecationWarning, match="no_cuda") as seen:
        TrainingArguments("out", no_cuda=True)  # type: ignore[call-arg]
    assert seen[0].filename == __file__


def test_what_says_nothing_on_one_cpu_is_taken() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TrainingArguments(
            "out", ddp_backend="gloo", dataloader_pin_memory=False, fsdp="", deepspeed=None, local_rank=-1
        )


def test_unknown_ones_name_the_nearest() -> None:
    with pytest.raises(TypeError, match=r"TrainingArguments\(\).*'learning_rat'.*'learning_rate'"):
        TrainingArguments("out", learning_rat=1.0)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no_such"):
        TrainingArguments("out", no_such=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "keywords",
    [
        {"deepspeed": "config.json"},
        {"fsdp": "full_shard"},
        {"torch_compile": True},
        {"tpu_num_cores": 8},
        {"push_to_hub_organization": "us"},
        {"save_safetensors": False},
        {"report_to": "wandb"},
        {"optim": "galore_adamw"},
    ],
)
def test_what_there_is_not_says_so(keywords: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(keywords)) if "optim" not in keywords else "galore_adamw"):
        TrainingArguments("out", **keywords)


@pytest.mark.parametrize(
    "keywords",
    [
        {"fp16": True, "bf16": True},
        {"lr_scheduler_type": "reduce_lr_on_plateau"},
        {"load_best_model_at_end": True},
        {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 3, "save_steps": 10},
        {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 3, "save_steps": 0.5},
        {"logging_steps": 0},
        {"logging_steps": 2.5},
        {"save_steps": -1},
        {"per_device_train_batch_size": 0},
        {"gradient_accumulation_steps": 0},
        {"learning_rate": -1.0},
        {"learning_rate": float("nan")},
        {"warmup_steps": -1},
        {"label_smoothing_factor": 1.5},
        {"neftune_noise_alpha": -1.0},
        {"neftune_noise_alpha": float("inf")},
        {"train_sampling_strategy": "best"},
        {"dataloader_prefetch_factor": 2},
        {"eval_strategy": "never"},
        {"log_level": "loud"},
    ],
)
def test_values_that_cannot_be(keywords: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        TrainingArguments("out", **keywords)


def test_what_follows_from_other_settings() -> None:
    args = TrainingArguments("out", eval_strategy="steps", logging_steps=7)
    assert (args.eval_steps, args.do_eval) == (7, True)
    best = TrainingArguments("out", eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True)
    assert (best.metric_for_best_model, best.greater_is_better) == ("loss", False)
    assert TrainingArguments("out", metric_for_best_model="accuracy").greater_is_better
    assert TrainingArguments("out", warmup_steps=0.1).get_warmup_steps(95) == 10
    assert TrainingArguments("out", warmup_steps=7).get_warmup_steps(95) == 7
    shares = {"eval_strategy": "steps", "eval_steps": 0.1, "save_steps": 0.3, "load_best_model_at_end": True}
    assert TrainingArguments("out", **shares).save_steps == 0.3  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [TrainingArguments, Seq2SeqTrainingArguments])
def test_there_and_back(kind: type[TrainingArguments]) -> None:
    args = kind(
        "out", eval_strategy="epoch", lr_scheduler_kwargs='{"num_cycles": 2}', report_to="csv", fp16=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kind(**json.loads(args.to_json_string())) == args
        assert dataclasses.replace(args) == args
    assert pickle.loads(pickle.dumps(args)) == args
    assert {type(value) for value in args.to_sanitized_dict().values()} <= {bool, int, float, str}


def test_subclasses_understand_the_same() -> None:
    @dataclasses.dataclass
    class Mine(TrainingArguments):
        colour: str = "red"

    with pytest.warns(DeprecationWarning, match="no_cuda"):
        mine = Mine("out", colour="blue", no_cuda=True)  # type: ignore[call-arg]
    assert (mine.colour, mine.use_cpu) == ("blue", True)
    with pytest.raises(TypeError, match="colour"):
        Mine("out", color="blue")  # type: ignore[call-arg]


def test_settings_are_set_together() -> None:
    args = (
        TrainingArguments("out")
        .set_training(learning_rate=1e-4, batch_size=32, max_steps=7, seed=3)
        .set_evaluate("steps", steps=100, batch_size=4, delay=2)
        .set_testing(batch_size=64, loss_only=True)
        .set_save("epoch", total_limit=2)
        .set_logging("steps", steps=5, report_to="csv", level="info", first_step=True)
        .set_push_to_hub("us/tiny", strategy="end", token="secret")
        .set_optimizer("adafactor", learning_rate=2e-4, beta1=0.8)
        .set_lr_scheduler("cosine", num_epochs=4, warmup_steps=0.05)
        .set_dataloader(
            train_batch_size=16, eval_batch_size=8, num_workers=2, pin_memory=False, sampler_seed=5
        )
    )
    expected = {
        "do_train": True,
        "seed": 3,
        "eval_strategy": "steps",
        "eval_steps": 100,
        "eval_delay": 2,
        "do_eval": True,
        "do_predict": True,
        "prediction_loss_only": True,
        "save_strategy": "epoch",
        "save_total_limit": 2,
        "logging_steps": 5,
        "report_to": ["csv"],
        "log_level": "info",
        "logging_first_step": True,
        "push_to_hub": True,
        "hub_model_id": "us/tiny",
        "hub_strategy": "end",
        "hub_token": "secret",
        "optim": "adafactor",
        "learning_rate": 2e-4,
        "adam_beta1": 0.8,
        "lr_scheduler_type": "cosine",
        "num_train_epochs": 4,
        "max_steps": -1,
        "warmup_steps": 0.05,
        "per_device_train_batch_size": 16,
        "per_device_eval_batch_size": 8,
        "dataloader_num_workers": 2,
        "data_seed": 5,
    }
    assert {name: getattr(args, name) for name in expected} == expected
    with pytest.warns(DeprecationWarning, match="warmup_ratio"):
        assert args.set_lr_scheduler(warmup_ratio=0.1).warmup_steps == 0.1


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("set_training", {"learning_rate": -1}),
        ("set_evaluate", {"strategy": "steps", "steps": 0}),
        ("set_save", {"strategy": "steps", "steps": 0}),
        ("set_save", {"strategy": "sometimes"}),
        ("set_logging", {"steps": 0}),
        ("set_logging", {"report_to": "wandb"}),
        ("set_logging", {"level": "loud"}),
        ("set_push_to_hub", {"model_id": "us/tiny", "strategy": "never"}),
        ("set_optimizer", {"name": "galore_adamw"}),
        ("set_lr_scheduler", {"name": "lineer"}),
        ("set_dataloader", {"train_batch_size": 0}),
    ],
)
def test_settings_that_cannot_be_are_not_set(name: str, keywords: dict[str, Any]) -> None:
    args = TrainingArguments("out")
    with pytest.raises(ValueError, match=r".+"):
        getattr(args, name)(**keywords)
    assert args == TrainingArguments("out")


def test_what_scripts_ask_of_one_process() -> None:
    args = trustformers.TrainingArguments("out", log_level="info", dataloader_pin_memory=False)
    assert args.parallel_mode == trustformers.ParallelMode.NOT_PARALLEL
    assert (args.local_rank, args.deepspeed, args.fsdp, args.full_determinism) == (-1, None, None, False)
    assert (args.dataloader_pin_memory, trustformers.TrainingArguments("out").dataloader_pin_memory) == (
        False,
        True,
    )
    assert args.get_process_log_level() == 20
    assert (
        trustformers.TrainingArguments("out").get_process_log_level() == trustformers.logging.get_verbosity()
    )
    with args.main_process_first(desc="map"):
        pass
    with pytest.raises(AttributeError, match="no attribute 'no_such'"):
        args.no_such  # noqa: B018


def test_limits_that_limit_nothing() -> None:
    args = trustformers.TrainingArguments("out", save_total_limit=0, max_grad_norm=None)
    assert (args.save_total_limit, args.max_grad_norm) == (0, None)
    assert trustformers.TrainingArguments("out", max_grad_norm=-1).max_grad_norm == -1
