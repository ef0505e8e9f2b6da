"""transformers' modules by their names, as scripts import from them.

``from transformers.trainer_utils import get_last_checkpoint`` needs no more than the other package's name:
every such module has every name of ours, wherever that is defined.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # Importing the package loads next to nothing.
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_PACKAGE = __name__.partition(".")[0]
_NAMES = (
    r"(cache|configuration|modeling|trainer_pt|trainer|tokenization)_utils",
    r"data(\.data_collator)?",
    r"generation\.(configuration_utils|utils)",
    r"hf_argparser|modeling_outputs|optimization",
    r"models\.auto\.(configuration|modeling|tokenization)_auto",
    r"pipelines\.pt_utils",
    r"tokenization_utils_(base|fast)",
    r"trainer(_callback|_seq2seq)?",
    r"training_args(_seq2seq)?",
    r"utils\.(chat_template_utils|generic|hub|import_utils)",
)
#: The modules of a model type, such as ``models.bert.modeling_bert``.
_MODEL = r"models\.(\w+)(\.(configuration|modeling|tokenization)_\1(_fast)?)?"


class Modules:
    """Finds the modules that are transformers' and not ours, for ``sys.meta_path``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A module for a name of transformers'."""
        package, _, name = fullname.partition(".")
        if package != _PACKAGE:
            return None
        import re
        from importlib.machinery import ModuleSpec

        of_model = re.fullmatch(_MODEL, name)
        if re.fullmatch("|".join(_NAMES), name) or (of_model and _is_model(of_model[1])):
            return ModuleSpec(fullname, self, is_package=True)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Give it every name of the package."""
        package = sys.modules[_PACKAGE]
        module.__getattr__ = package.__getattr__  # type: ignore[method-assign]
        module.__dir__ = package.__dir__  # type: ignore[method-assign]


def _is_model(name: str) -> bool:
    from .models.named import CONFIGS
    from .tokenizers.named import BY_MODEL_TYPE

    # Some have a tokenizer of their own and nothing else.
    return name in {model_type.replace("-", "_") for model_type in [*CONFIGS, *BY_MODEL_TYPE]}
