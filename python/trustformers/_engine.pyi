"""The native half of the package. What users touch of it is named in `trustformers` itself."""

from os import PathLike
from typing import Any, final

class SafetensorError(OSError): ...

# Where models come from.

@final
class Repo:
    def __new__(
        cls,
        name_or_path: str | PathLike[str],
        *,
        revision: str | None = None,
        subfolder: str | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        token: str | bool | None = None,
    ) -> Repo: ...
    def file(self, name: str) -> str | None: ...
    def require(self, name: str) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def commit(self) -> str | None: ...

# Configurations and models.

def read_config(repo: Repo) -> str: ...
def default_config(model_type: str) -> str: ...
def model_types() -> list[str]: ...
@final
class Model:
    @staticmethod
    def from_repo(
        repo: Repo,
        config: str,
        *,
        add_pooling_layer: bool = True,
        variant: str | None = None,
        ignore_mismatched_sizes: bool = False,
    ) -> Model: ...
    @staticmethod
    def from_config(config: str, *, add_pooling_layer: bool = True, seed: int = 0) -> Model: ...
    def forward(
        self,
        *,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        max_length: int | None = None,
    ) -> dict[str, Any]: ...
    def named_parameters(self) -> list[tuple[str, Tensor]]: ...
    def loading_info(self) -> dict[str, list[Any]]: ...
    @property
    def dtype(self) -> str: ...
