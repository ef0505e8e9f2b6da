"""Adapters in peft's files: folders and hub repositories."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from .. import _engine
from .._engine import Tensor
from .._hub import push_saved, take_source
from ..models.modeling import PreTrainedModel
from .config import LoraConfig
from .lora import Adapter

FilesT = TypeVar("FilesT", bound="AdapterFiles")

WEIGHTS_NAME = "adapter_model.safetensors"


class AdapterFiles:
    """How the adapters of a model are written and read."""

    model: PreTrainedModel
    peft_config: dict[str, LoraConfig]
    _adapters: dict[str, Adapter]
    _active: list[str]

    add_adapter: Callable[[str, LoraConfig], None]
    set_adapter: Callable[[str | Sequence[str]], None]
    _known: Callable[[str], Adapter]

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        safe_serialization: bool = True,
        selected_adapters: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the adapters, as peft does: those but ``"default"`` into folders of their names.

        :raises ValueError: for names that there are not.
        :raises OSError: when a file cannot be written.
        """
        if not safe_serialization:
            raise ValueError("safe_serialization=False is not supported: weights are saved as safetensors")
        if os.path.isfile(save_directory):
            raise ValueError(f"Provided path ({save_directory}) should be a directory, not a file")
        if kwargs:
            raise TypeError(f"save_pretrained() got unexpected keyword arguments: {', '.join(kwargs)}")
        for name in selected_adapters if selected_adapters is not None else self._adapters:
            adapter, folder = self._known(name), _folder(save_directory, name)
            folder.mkdir(parents=True, exist_ok=True)
            tensors: dict[str, Any] = {n: one.detach() for n, one in adapter.named_parameters()}
            _engine.save_file(tensors, folder / WEIGHTS_NAME, {"format": "pt"})
            config = copy.copy(adapter.config)
            config.inference_mode = True
            if config.task_type is None:
                config.auto_mapping = {
                    "base_model_class": type(self.model).__name__,
                    "parent_library": f"transformers.models.{self.model.config.model_type}",
                }
            config.save_pretrained(folder)

    @classmethod
    def from_pretrained(
        cls: type[FilesT],
        model: PreTrainedModel,
        model_id: str | os.PathLike[str],
        adapter_name: str = "default",
        is_trainable: bool = False,
        config: LoraConfig | None = None,
        **kwargs: Any,
    ) -> FilesT:
        """Put an adapter of a folder or a hub repository on a model, as it was saved here or by peft.

        Keywords say where from, as for models.

        :raises OSError: when there is no such adapter.
        :raises ValueError: for an adapter of another kind, and one that does not fit the model.
        :raises RuntimeError: when its parameters do not fit; everything that does not is listed.
        """
        repo = _engine.Repo(model_id, **take_source(kwargs))
        if kwargs:
            raise TypeError(f"from_pretrained() got unexpected keyword arguments: {', '.join(kwargs)}")
        config = LoraConfig._read(repo) if config is None else config
        config.inference_mode = not is_trainable
        made = cls(model, config, adapter_name)  # type: ignore[call-arg]  # PeftModel's
        made._adapters[adapter_name].load_state_dict(model, _read(repo))
        made.set_adapter(adapter_name)
        return made

    def load_adapter(
        self,
        model_id: str | os.PathLike[str],
        adapter_name: str,
        is_trainable: bool = False,
        **kwargs: Any,
    ) -> None:
        """Put another adapter of a folder or a hub repository on the model; see :meth:`from_pretrained`."""
        repo = _engine.Repo(model_id, **take_source(kwargs))
        config = LoraConfig._read(repo, inference_mode=not is_trainable, **kwargs)
        self.add_adapter(adapter_name, config)
        try:
            self._adapters[adapter_name].load_state_dict(self.model, _read(repo))
        except Exception:
            del self._adapters[adapter_name], self.peft_config[adapter_name]
            raise
        self.set_adapter(self._active)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """Upload the adapters to a repository; the keywords are those of a model's ``push_to_hub``.

        :raises ImportError: without ``huggingface_hub``, which does it.
        """
        return push_saved(self.save_pretrained, repo_id, **kwargs)

    def _read_saved(self, folder: str | os.PathLike[str]) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for name, adapter in self._adapters.items():
            found = _read(_engine.Repo(str(_folder(folder, name))))
            pairs = zip(adapter.named_parameters(), adapter.named_parameters(name), strict=True)
            inner = {saved: own for (saved, _), (own, _) in pairs}
            tensors |= {inner.get(saved, saved): tensor for saved, tensor in found.items()}
        return tensors


def _folder(folder: str | os.PathLike[str], adapter_name: str) -> Path:
    return Path(folder) if adapter_name == "default" else Path(folder, adapter_name)


def _read(repo: _engine.Repo) -> dict[str, Tensor]:
    """The parameters of an adapter.

    :raises OSError: when there is no file of safetensors.
    """
    return _engine.load_file(repo.require(WEIGHTS_NAME))
