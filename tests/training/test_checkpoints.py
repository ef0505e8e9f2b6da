"""Checkpoints: a resumed training is the one that was never stopped, and nothing half-written is read."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import curve_cases
import numpy as np
import pytest
import tasks

import trustformers as tf
from trustformers import training

TOKENIZER = Path(__file__).parent.parent / "fixtures" / "pipelines" / "wordpiece"


class RandomCollator:
    """Draws from everything that is random: a token of every row changes."""

    def __call__(self, rows: list[Any]) -> dict[str, Any]:
        batch = training.default_data_collator(rows)
        batch["input_ids"][:, 1] = np.random.randint(1, 40, len(rows))
        batch["input_ids"][:, 2] = random.randrange(1, 40)
        return batch


class NoisyTrainer(tf.Trainer):
    """Its losses hang on the engine's random numbers."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **keywords: Any) -> Any:
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **keywords)
        loss = loss + 0.1 * tf.rand(1).item() * outputs["logits"].sum()
        return (loss, outputs) if return_outputs else loss


@pytest.mark.parametrize("stopped", [3, 6, 9])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gradient_accumulation_steps": 2, "lr_scheduler_type": "cosine", "num_train_epochs": 4},
        {"fp16": True, "optim": "lion_32bit"},
        {"optim": "adafactor", "bf16": True, "activation_checkpointing": True},
        {"train_sampling_strategy": "group_by_length", "max_steps": 14},
    ],
    ids=str,
)
def test_a_resumed_training_has_the_same_bits(tmp_path: Path, settings: Any, stopped: int) -> None:
    parts = {"data_collator": RandomCollator()}
    settings = {**settings, "save_strategy": "steps", "save_steps": 3}
    # Dropout follows from the number of the step too.
    fields = {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.1}
    through = tasks.trainer(tmp_path, tasks.model(**fields), kind=NoisyTrainer, parts=parts, **settings)
    through.train()
    resumed = tasks.trainer(
        tmp_path, tasks.model(seed=5, **fields), kind=NoisyTrainer, parts=parts, **settings
    )
    random.seed(99)
    np.random.seed(99)
    tf.manual_seed(99)
    result = resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{stopped}"))
    assert tasks.losses(resumed) == tasks.losses(through)
    assert tasks.same(resumed.model, through.model)
    assert result.global_step == through.state.global_step
    assert resumed.state.epoch == through.state.epoch


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_tied_weights_go_on(tmp_path: Path, name: str) -> None:
    case = next(one for one in curve_cases.CURVES if one.name == name)
    fields = {key: value for key, value in case.config.items() if key != "model_type"}
    config = tf.AutoConfig.for_model(case.config["model_type"], **fields)
    settings = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3}
    parts = {"train_dataset": case.examples()}
    through = tasks.trainer(tmp_path, getattr(tf, case.model)(config, seed=0), parts=parts, **settings)
    through.train()
    resumed = tasks.trainer(tmp_path, getattr(tf, case.model)(config, seed=1), parts=parts, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert tasks.losses(resumed) == tasks.losses(through)
    assert tasks.same(resumed.model, through.model)


def test_callbacks_get_their_states_back(tmp_path: Path) -> None:
    scores = iter([1.0, 0.9, 0.8, 0.7, 0.6, 0.5])
    settings = {"eval_strategy": "steps", "eval_steps": 2, "metric_for_best_model": "score"}
    settings |= {"save_strategy": "steps", "save_steps": 2}

    def trainer(**more: Any) -> Any:
        parts = {"eval_dataset": tasks.examples(4), "compute_metrics": lambda _: {"score": next(scores)}}
        parts["callbacks"] = [tf.EarlyStoppingCallback(early_stopping_patience=3)]
        return tasks.trainer(tmp_path, parts=parts, **settings, **more)

    assert trainer().train().global_step == 8
    resumed = trainer(restore_callback_states_from_checkpoint=True)
    # Two evaluations were counted by then, and one is left; a count from zero would need three.
    assert resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6")).global_step == 8


def test_masks_are_drawn_again_when_a_thread_makes_batches(tmp_path: Path) -> None:
    tokenizer = tf.AutoTokenizer.from_pretrained(TOKENIZER)
    rows = [dict(tokenizer(f"The river near Berlin is long, {n} miles.")) for n in range(20)]

    def trained(folder: Path, seed: int, workers: int) -> Any:
        model = tasks.model(seed, tf.BertForMaskedLM, vocab_size=len(tokenizer), max_position_embeddings=32)
        collator = tf.DataCollatorForLanguageModeling(tokenizer)
        parts = {"train_dataset": rows, "data_collator": collator}
        return tasks.trainer(
            folder, model, parts=parts, save_strategy="steps", save_steps=4, dataloader_num_workers=workers
        )

    through = trained(tmp_path, 0, workers=1)
    through.train()
    alone = trained(tmp_path / "alone", 0, workers=0)
    alone.train()
    assert tasks.losses(alone) == tasks.losses(through)
    resumed = trained(tmp_path, 1, workers=1)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert tasks.losses(resumed) == tasks.losses(through)


def test_the_last_checkpoint_is_found(tmp_path: Path) -> None:
    first = tasks.trainer(tmp_path, max_steps=4, save_strategy="steps", save_steps=2)
    first.train()
    (tmp_path / "checkpoint-99.unfinished").mkdir()
    (tmp_path / "checkpoint-100").write_text("a file")
    assert training.get_last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    assert training.get_last_checkpoint(tmp_path / "nowhere") is None
    second = tasks.trainer(tmp_path, max_steps=4, save_strategy="steps", save_steps=2)
    before = tasks.weights(first.model)
    assert second.train(resume_from_checkpoint=True).global_step == 4
    for name, value in tasks.weights(second.model).items():
        np.testing.assert_array_equal(value, before[name])


def test_a_checkpoint_is_a_model(tmp_path: Path) -> None:
    tokenizer = tf.AutoTokenizer.from_pretrained(TOKENIZER)
    parts = {"processing_class": tokenizer}
    trainer = tasks.trainer(tmp_path, parts=parts, max_steps=2, save_strategy="steps", save_steps=2)
    trainer.train()
    folder = tmp_path / "checkpoint-2"
    opened = tf.AutoModelForSequenceClassification.from_pretrained(folder)
    assert tasks.same(opened, trainer.model)
    assert tf.AutoTokenizer.from_pretrained(folder).get_vocab() == tokenizer.get_vocab()
    args = json.loads((folder / "training_args.json").read_text())
    assert tf.TrainingArguments(**args) == trainer.args
    state = training.TrainerState.load_from_json(folder / "trainer_state.json")
    assert (state.global_step, len(state.log_history)) == (2, 2)
    trainer.save_model(str(tmp_path / "saved"))
    trainer.save_state()
    assert tasks.same(tf.BertForSequenceClassification.from_pretrained(tmp_path / "saved"), trainer.model)
    assert (tmp_path / "trainer_state.json").exists()


def test_old_checkpoints_go_but_never_the_best(tmp_path: Path) -> None:
    def folders() -> list[str]:
        return sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("checkpoint"))

    tasks.trainer(tmp_path, save_strategy="steps", save_steps=2, save_total_limit=2).train()
    assert folders() == ["checkpoint-10", "checkpoint-12"]
    shutil.rmtree(tmp_path)

    # The first evaluation is the best.
    scores = iter([3.0, 2.0, 1.0, 0.5, 0.2, 0.1])
    settings = {"eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": True}
    settings |= {"metric_for_best_model": "score", "save_total_limit": 2}
    parts = {"eval_dataset": tasks.examples(6), "compute_metrics": lambda _: {"score": next(scores)}}
    trainer = tasks.trainer(tmp_path, parts=parts, save_strategy="steps", save_steps=2, **settings)
    trainer.train()
    assert folders() == ["checkpoint-12", "checkpoint-2"]
    assert trainer.state.best_model_checkpoint == str(tmp_path / "checkpoint-2")
    assert (trainer.state.best_metric, trainer.state.best_global_step) == (3.0, 2)
    best = tf.BertForSequenceClassification.from_pretrained(tmp_path / "checkpoint-2")
    assert tasks.same(trainer.model, best)


def test_the_best_alone_is_saved(tmp_path: Path) -> None:
    scores = iter([1.0, 3.0, 2.0, 0.5])
    settings = {"eval_strategy": "steps", "eval_steps": 3, "metric_for_best_model": "score"}
    parts = {"eval_dataset": tasks.examples(6), "compute_metrics": lambda _: {"score": next(scores)}}
    tasks.trainer(tmp_path, parts=parts, save_strategy="best", **settings).train()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-3", "checkpoint-6"]


@pytest.mark.parametrize(
    "name", ["optimizer.safetensors", "progress.json", "trainer_state.json", "model.safetensors"]
)
def test_damaged_checkpoints_change_nothing(tmp_path: Path, name: str) -> None:
    settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    tasks.trainer(tmp_path, **settings).train()
    file = tmp_path / "checkpoint-2" / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    trainer = tasks.trainer(tmp_path, tasks.model(seed=3), **settings)
    before = tasks.weights(trainer.model)
    with pytest.raises(ValueError, match="checkpoint-2"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    for key, value in tasks.weights(trainer.model).items():
        np.testing.assert_array_equal(value, before[key])
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))


def test_checkpoints_of_others_are_refused(tmp_path: Path) -> None:
    settings = {"max_steps": 2, "save_strategy": "steps", "save_steps": 2}
    tasks.trainer(tmp_path, **settings).train()
    last = str(tmp_path / "checkpoint-2")
    wide = tasks.trainer(tmp_path, tasks.model(hidden_size=32), **settings)
    with pytest.raises(ValueError, match=r"another model.*shape"):
        wide.train(resume_from_checkpoint=last)
    deep = tasks.trainer(tmp_path, tasks.model(num_hidden_layers=2), **settings)
    with pytest.raises(ValueError, match=r"checkpoint-2"):
        deep.train(resume_from_checkpoint=last)
    other = tasks.trainer(tmp_path, tasks.model(seed=3), optim="sgd", **settings)
    with pytest.raises(ValueError, match=r"AdamW.*SGD"):
        other.train(resume_from_checkpoint=last)
    assert tasks.same(other.model, tasks.model(seed=3))
    with pytest.raises(ValueError, match="no such folder"):
        tasks.trainer(tmp_path, **settings).train(resume_from_checkpoint=str(tmp_path / "checkpoint-7"))
    with pytest.raises(ValueError, match="No valid checkpoint"):
        tasks.trainer(tmp_path / "empty", **settings).train(resume_from_checkpoint=True)
    weights_alone = tasks.trainer(tmp_path / "weights", save_only_model=True, **settings)
    weights_alone.train()
    with pytest.raises(ValueError, match=r"progress\.json.*from_pretrained"):
        weights_alone.train(resume_from_checkpoint=True)


KILLED = """
import sys, tasks
from pathlib import Path
folder = Path(sys.argv[1])
trainer = tasks.trainer(folder, num_train_epochs=500, save_strategy="steps", save_steps=1, save_total_limit=3)
print("begins", flush=True)
trainer.train()
"""


def test_whoever_is_killed_goes_on(tmp_path: Path) -> None:
    settings = {"num_train_epochs": 500, "save_strategy": "steps", "save_steps": 1, "save_total_limit": 3}
    for attempt in range(4):
        folder = tmp_path / str(attempt)
        command = [sys.executable, "-c", KILLED, str(folder)]
        process = subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        while "loss" not in process.stdout.readline():
            assert process.poll() is None
        deadline = time.monotonic() + 60
        while training.get_last_checkpoint(folder) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05 + attempt * 0.0137)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        trainer = tasks.trainer(folder, **settings)
        saved = trainer._read_checkpoint(training.get_last_checkpoint(folder))
        trainer.args.max_steps = saved.state.global_step + 2
        assert trainer.train(resume_from_checkpoint=True).global_step == saved.state.global_step + 2


def test_a_checkpoint_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"max_steps": 3, "save_strategy": "steps", "save_steps": 1}
    trainer = tasks.trainer(tmp_path, **settings)
    save, calls = trainer.save_model, []

    def failing(*args: Any, **kwargs: Any) -> None:
        save(*args, **kwargs)
        calls.append(args)
        if len(calls) == 2:
            raise OSError("No space left on device")

    monkeypatch.setattr(trainer, "save_model", failing)
    with pytest.raises(OSError, match="No space"):
        trainer.train()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1"]
    assert tasks.trainer(tmp_path, **settings).train(resume_from_checkpoint=True).global_step == 3


FULL = """
import resource, signal, sys, tasks
from pathlib import Path

import trustformers as tf

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


class Fill(tf.TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 2:
            # From here on a file has room for less than the weights.
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


parts = {"callbacks": [Fill]}
trainer = tasks.trainer(Path(sys.argv[1]), parts=parts, max_steps=3, save_strategy="steps", save_steps=1)
try:
    trainer.train()
except OSError as error:
    print("refused:", error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limits there")
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=120)
    assert "refused: " in done.stdout, done.stderr
    assert "checkpoint-2.unfinished" in done.stdout, "it says which file"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1"]
    settings = {"max_steps": 3, "save_strategy": "steps", "save_steps": 1}
    assert tasks.trainer(tmp_path, **settings).train(resume_from_checkpoint=True).global_step == 3


def test_checkpoints_of_transformers_are_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-2"
    tasks.model().save_pretrained(folder)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        (folder / name).write_bytes(b"PK")
    (folder / "trainer_state.json").write_text('{"global_step": 2}')
    trainer = tasks.trainer(tmp_path, tasks.model(seed=3))
    with pytest.raises(ValueError, match=r"no optimizer\.safetensors, progress\.json.*Another library"):
        trainer.train(resume_from_checkpoint=True)
    assert tasks.same(trainer.model, tasks.model(seed=3))


def test_a_replaced_checkpoint_that_was_left_comes_back(tmp_path: Path) -> None:
    tasks.trainer(tmp_path, max_steps=2, save_strategy="steps", save_steps=2).train()
    (tmp_path / "checkpoint-2").rename(tmp_path / "checkpoint-2.replaced")
    assert training.get_last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    # Written again, it replaces the one that is there.
    tasks.trainer(tmp_path, max_steps=2, save_strategy="steps", save_steps=2).train()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-2"]
