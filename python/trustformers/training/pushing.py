"""Uploads: a model that is trained, and its checkpoints, to a hub repository."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .arguments import HubStrategy, SaveStrategy
from .checkpoints import Checkpoints
from .model_card import model_card

logger = logging.getLogger(__name__)

#: What of an output folder is no part of the model: checkpoints, and what is being written.
_IGNORED = ["_*", "checkpoint-*"]


class Pushing(Checkpoints):
    """How a trainer uploads."""

    #: The repository, once it is known to be there.
    hub_model_id: str | None = None
    #: Uploads that go on while the training does.
    _pushes: tuple[Any, ...] = ()

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Make the repository that ``hub_model_id`` names, or the output folder, if it is not there.

        :raises ImportError: without ``huggingface_hub``.
        """
        args = self.args
        name = args.hub_model_id or Path(str(args.output_dir)).absolute().name
        private = args.hub_private_repo if private is None else private
        made = _api(token or args.hub_token).create_repo(name, private=private, exist_ok=True)
        self.hub_model_id = made.repo_id

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Upload the model, the tokenizer and a model card, and say where they are.

        :param blocking: False gives a future at once.
        :param kwargs: those of :meth:`create_model_card`.
        :raises ImportError: without ``huggingface_hub``.
        """
        if self.hub_model_id is None:
            self.init_hf_repo(token, private)
        self._event("on_push_begin")
        self.save_model(_internal_call=True)
        self.create_model_card(**{"model_name": str(self.hub_model_id).split("/")[-1], **kwargs})
        self._finish_pushes()
        return self._upload(
            self.args.output_dir,
            commit_message,
            token,
            revision,
            run_as_future=not blocking,
            ignore_patterns=_IGNORED,
        )

    def create_model_card(
        self,
        language: str | list[str] | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
    ) -> None:
        """Write ``README.md`` into the output folder: what was trained, how, and what came out."""
        described = {
            "library_name": "transformers",
            "language": language,
            "license": license,
            "base_model": finetuned_from or getattr(self.model, "name_or_path", "") or None,
            "tags": [*_listed(tags), "generated_from_trainer"],
            "pipeline_tag": tasks,
            "datasets": dataset_tags,
        }
        folder = Path(str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        text = model_card(described, model_name or folder.name, _listed(dataset), self.args, self.state)
        (folder / "README.md").write_text(text, encoding="utf-8")

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the model, the tokenizer and the arguments to a folder, which ``from_pretrained`` opens.

        With ``push_to_hub`` they are uploaded too.
        """
        super().save_model(output_dir, _internal_call)
        if self.args.push_to_hub and not _internal_call:
            self.push_to_hub(commit_message="Model save")

    def _save_checkpoint(self) -> Path:
        folder = super()._save_checkpoint()
        if self.args.push_to_hub and HubStrategy(self.args.hub_strategy) != HubStrategy.END:
            self._push_checkpoint(folder)
        return folder

    def _push_checkpoint(self, folder: Path) -> None:
        """Upload the model of a checkpoint, and with some strategies all of it, while training goes on."""
        if not self.args.hub_always_push and not all(push.done() for push in self._pushes):
            return  # One is still under way, and the next one will have all that this would.
        self._event("on_push_begin")
        for path in _model_files(folder):
            shutil.copy(path, str(self.args.output_dir))
        by_steps = self.args.save_strategy == SaveStrategy.STEPS
        when = f"step {self.state.global_step}" if by_steps else f"epoch {int(self.state.epoch or 0)}"
        message = f"Training in progress, {when}"
        later: dict[str, Any] = {"run_as_future": True}
        pushes = [self._upload(self.args.output_dir, message, ignore_patterns=_IGNORED, **later)]
        places = {HubStrategy.CHECKPOINT: "last-checkpoint", HubStrategy.ALL_CHECKPOINTS: folder.name}
        if (place := places.get(HubStrategy(self.args.hub_strategy))) is not None:
            pushes.append(self._upload(folder, f"{message}, checkpoint", path_in_repo=place, **later))
        self._pushes = (*self._pushes, *pushes)

    def _finish_pushes(self) -> None:
        """Wait for what is under way. Whatever has failed is said, and is no reason to lose a training."""
        pushes, self._pushes = self._pushes, ()
        for push in pushes:
            if (error := push.exception()) is not None:
                logger.warning("An upload to %s has failed: %s", self.hub_model_id, error)

    def _upload(
        self,
        folder: Any,
        message: str | None,
        token: str | None = None,
        revision: str | None = None,
        **kwargs: Any,
    ) -> Any:
        return _api(token or self.args.hub_token).upload_folder(
            repo_id=self.hub_model_id,
            folder_path=str(folder),
            commit_message=message,
            revision=revision or self.args.hub_revision,
            **kwargs,
        )


def _api(token: str | None) -> Any:
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ImportError("push_to_hub needs huggingface_hub: pip install huggingface_hub") from error
    return HfApi(token=token)


def _model_files(folder: Path) -> Iterator[Path]:
    """The files of a checkpoint that are the model, the tokenizer or the arguments."""
    own = ("optimizer.safetensors", "progress.json", "trainer_state.json")
    return (path for path in folder.iterdir() if path.is_file() and path.name not in own)


def _listed(given: str | list[str] | None) -> list[str]:
    return [given] if isinstance(given, str) else list(given or [])
