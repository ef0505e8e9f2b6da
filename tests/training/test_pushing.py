"""Uploads, to a hub that writes down what it is given."""

import concurrent.futures
import json
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import tasks

import trustformers as tf
from trustformers.peft import LoraConfig, get_peft_model


class Hub:
    """Takes folders as a hub does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[tuple[str, Any, Any]] = []
        self.commits: list[dict[str, Any]] = []
        self.fails = False
        self.is_slow = False
        self.futures: list[concurrent.futures.Future[Any]] = []

    def api(self, token: str | None = None) -> Any:
        return types.SimpleNamespace(
            create_repo=lambda name, private, exist_ok: self.create(name, private, token),
            upload_folder=lambda **given: self.upload(token=token, **given),
        )

    def create(self, name: str, private: Any, token: Any) -> Any:
        self.made.append((name, private, token))
        return types.SimpleNamespace(repo_id=name if "/" in name else f"us/{name}")

    def upload(self, folder_path: str, run_as_future: bool = False, **given: Any) -> Any:
        place = self.folder / str(len(self.commits))
        ignored = shutil.ignore_patterns(*given.pop("ignore_patterns", []))
        shutil.copytree(folder_path, place, ignore=ignored)
        self.commits.append({**given, "files": {path.name for path in place.iterdir()}})
        if not run_as_future:
            return "the commit"
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self.futures.append(future)
        if self.fails:
            future.set_exception(OSError("the hub is down"))
        elif not self.is_slow:
            future.set_result("the commit")
        return future


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    one = Hub(tmp_path / "hub")
    module = types.ModuleType("huggingface_hub")
    module.HfApi = one.api  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return one


def pushing(folder: Path, **settings: Any) -> Any:
    settings = {"save_strategy": "steps", "save_steps": 6, "eval_strategy": "epoch", **settings}
    return tasks.trainer(folder / "model", parts={"eval_dataset": tasks.examples(6)}, **settings)


def test_a_model_is_uploaded_when_it_is_asked(tmp_path: Path, hub: Hub) -> None:
    trainer = pushing(tmp_path)
    trainer.train()
    assert not hub.commits
    found = trainer.push_to_hub(
        tags="tiny", license="mit", dataset="drawn words", private=True, token="secret"
    )
    assert (found, hub.made) == ("the commit", [("model", True, "secret")])
    (commit,) = hub.commits
    assert (commit["repo_id"], commit["commit_message"]) == ("us/model", "End of training")
    assert commit["files"] == {"config.json", "model.safetensors", "training_args.json", "README.md"}
    card = (hub.folder / "0" / "README.md").read_text()
    assert 'license: "mit"' in card
    assert 'tags: ["tiny", "generated_from_trainer"]' in card
    assert "a model trained from scratch on drawn words" in card
    assert "- learning_rate: 0.005" in card
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert f"- Loss: {losses[-1]:.4g}" in card
    assert [f"{loss:.4f}" in card for loss in losses] == [True, True]
    assert trainer.push_to_hub(blocking=False).result() == "the commit"


@pytest.mark.parametrize(
    ("strategy", "places"),
    [
        ("end", []),
        ("every_save", [None, None]),
        ("checkpoint", [None, "last-checkpoint"] * 2),
        ("all_checkpoints", [None, "checkpoint-6", None, "checkpoint-12"]),
    ],
)
def test_checkpoints_are_uploaded_while_it_goes_on(
    tmp_path: Path, hub: Hub, strategy: str, places: list[str | None]
) -> None:
    settings = {"hub_model_id": "them/tiny", "hub_token": "secret", "hub_private_repo": True}
    trainer = pushing(tmp_path, push_to_hub=True, hub_strategy=strategy, **settings)
    assert hub.made == [("them/tiny", True, "secret")], "what cannot be uploaded is known at once"
    trainer.train()
    assert [commit.get("path_in_repo") for commit in hub.commits] == places
    for commit in hub.commits:
        assert (commit["repo_id"], commit["token"]) == ("them/tiny", "secret")
        step = 6 if commit in hub.commits[: len(hub.commits) // 2] else 12
        assert commit["commit_message"].startswith(f"Training in progress, step {step}")
        model = {"config.json", "model.safetensors", "training_args.json"}
        whole = {*model, "optimizer.safetensors", "progress.json", "trainer_state.json"}
        assert commit["files"] == (whole if commit.get("path_in_repo") else model)
    before = len(hub.commits)
    trainer.save_model()
    assert [commit["commit_message"] for commit in hub.commits[before:]] == ["Model save"]
    saved = json.loads((hub.folder / str(before) / "training_args.json").read_text())
    assert saved["hub_token"] == "<HUB_TOKEN>", "nobody reads it there"


def test_adapters_are_uploaded_alone(tmp_path: Path, hub: Hub) -> None:
    model = get_peft_model(tasks.model(), LoraConfig(task_type="SEQ_CLS"))
    assert model.push_to_hub("us/adapter", commit_message="Mine") == "the commit"
    trainer = tasks.trainer(tmp_path / "model", model, push_to_hub=True, save_strategy="epoch")
    trainer.train()
    adapter = {"adapter_config.json", "adapter_model.safetensors"}
    assert [commit["files"] - {"training_args.json"} for commit in hub.commits] == [adapter] * 3
    assert [commit["commit_message"] for commit in hub.commits] == [
        "Mine",
        "Training in progress, epoch 1",
        "Training in progress, epoch 2",
    ]


def test_one_upload_at_a_time(tmp_path: Path, hub: Hub) -> None:
    hub.is_slow = True

    class Finish(tf.TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if "train_loss" in kwargs["logs"]:
                for future in hub.futures:
                    if not future.done():
                        future.set_result("the commit")

    for always, count in ((False, 1), (True, 4)):
        hub.commits.clear()
        hub.futures.clear()
        shutil.rmtree(hub.folder, ignore_errors=True)
        trainer = pushing(tmp_path / str(always), push_to_hub=True, hub_always_push=always, save_steps=3)
        trainer.add_callback(Finish)
        trainer.train()
        assert len(hub.commits) == count


def test_a_hub_that_is_down_ends_no_training(
    tmp_path: Path, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    hub.fails = True
    trainer = pushing(tmp_path, push_to_hub=True)
    assert trainer.train().global_step == 12
    assert caplog.text.count("An upload to us/model has failed: the hub is down") == 2


def test_without_the_library_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        pushing(tmp_path).push_to_hub()
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        pushing(tmp_path, push_to_hub=True)
