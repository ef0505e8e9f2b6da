"""Writes named.pyi of models and tokenizers, and auto.pyi: classes of the engine's, for type checkers.

make stubs
"""

import json
from pathlib import Path
from typing import Any

from fixture_cases import FIXTURES
from trustformers import _engine
from trustformers.models import auto
from trustformers.models import named as named_models
from trustformers.models.modeling import PreTrainedModel
from trustformers.models.outputs import ModelOutput
from trustformers.tokenizers import named as named_tokenizers

PACKAGE = Path(__file__).parent.parent / "python" / "trustformers"
MODELS_HEAD = """\
# Written by `make stubs` from the engine's registry, and from what the models give.
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, overload, type_check_only

import numpy as np
import numpy.typing as npt

from .._engine import Tensor
from ..tokenizers.batch_encoding import BatchEncoding
from .configuration import PreTrainedConfig
from .modeling import PreTrainedModel
from .outputs import (
{outputs})

T = TypeVar("T")

class Classes(Mapping[str, type[T]]):
    def __init__(self, names: Mapping[str, str]) -> None: ...
    def __getitem__(self, model_type: str) -> type[T]: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...

CONFIGS: Classes[PreTrainedConfig]

def models_for(task: str) -> Classes[PreTrainedModel]: ...
"""
#: What the outputs of a task have in common, where they are of several classes.
COMMON = """\
@type_check_only
class HiddenStates(ModelOutput[A]):
    last_hidden_state: A
    def __getattr__(self, name: str) -> Any: ...

@type_check_only
class Logits(ModelOutput[A]):
    loss: Any
    logits: A
    def __getattr__(self, name: str) -> Any: ...

@type_check_only
class SpanLogits(ModelOutput[A]):
    loss: Any
    start_logits: A
    end_logits: A
    def __getattr__(self, name: str) -> Any: ...
"""
COMMON_FIELDS = {"HiddenStates": "last_hidden_state", "Logits": "logits", "SpanLogits": "start_logits"}
#: The kind of arrays that goes in is the kind that comes out.
GIVES = """\
@type_check_only
class Gives{output}(PreTrainedModel):
    @overload
    def __call__(
        self, input_ids: Any = None, attention_mask: Any = None, *, return_dict: Literal[False], **kwargs: Any
    ) -> tuple[Any, ...]: ...
    @overload
    def __call__(
        self, input_ids: Tensor | BatchEncoding[Tensor], attention_mask: Any = None, **kwargs: Any
    ) -> {output}[Tensor]: ...
    @overload
    def __call__(
        self,
        input_ids: npt.NDArray[Any] | Sequence[Any] | BatchEncoding[npt.NDArray[np.int64]],
        attention_mask: Any = None,
        **kwargs: Any,
    ) -> {output}[npt.NDArray[Any]]: ...
    @overload
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
"""
AUTO_HEAD = """\
# Written by `make stubs`: for type checkers an auto class is a base of the models that it opens.
from typing import Any

from .configuration import PreTrainedConfig
from .modeling import ModelT, PreTrainedModel
from .named import (
{gives})

class _Virtual(type):
    _task: str
    def __subclasscheck__(cls, subclass: type) -> bool: ...
    def __instancecheck__(cls, instance: object) -> bool: ...

class _AutoModel(PreTrainedModel, metaclass=_Virtual):
    def __init__(self) -> None: ...
    @classmethod
    def from_config(cls: type[ModelT], config: PreTrainedConfig, **kwargs: Any) -> ModelT: ...
"""
TOKENIZERS_HEAD = """\
# Written by `make stubs` from the engine's table.
from .bert import WordPieceTokenizer
from .kinds import NamedTokenizer
from .languages import LanguageTokenizer
from .marian import PairTokenizer

BY_MODEL_TYPE: dict[str, str]
"""


def given(model_class: type[PreTrainedModel]) -> type[ModelOutput[Any]]:
    """The class of what a model of a class gives."""
    file = FIXTURES / "architectures" / model_class.config_class.model_type / "default" / "config.json"
    config = model_class.config_class(**json.loads(file.read_text()))
    model = model_class(config, seed=0)
    ids: Any = [[5, 6, config.eos_token_id or 7]]
    if model._task == "MultipleChoice":
        ids = [ids]
    return type(model(ids, **({"decoder_input_ids": ids} if model.config.is_encoder_decoder else {})))


def common(outputs: set[type[ModelOutput[Any]]]) -> str | None:
    """The class of outputs that has what all of these have."""
    if len(outputs) == 1:
        return next(iter(outputs)).__name__
    fields = set.intersection(*(set(output.__dataclass_fields__) for output in outputs))
    return next((name for name, field in COMMON_FIELDS.items() if field in fields), None)


def models() -> str:
    """What the stub of the models must say."""
    names, lines = [], []
    outputs = set()
    for about in _engine.architectures():
        names.append(about["config_class"])
        lines.append(f"class {about['config_class']}(PreTrainedConfig): ...")
        for name, _, _ in about["classes"]:
            output = given(getattr(named_models, name)).__name__
            names.append(name)
            lines.append(f"class {name}(Gives{output}): ...")
            outputs.add(output)
    gives = [GIVES.format(output=output) for output in (*COMMON_FIELDS, *sorted(outputs))]
    imported = "".join(f"    {name},\n" for name in sorted({"A", "ModelOutput", *outputs}, key=str.lower))
    return written(MODELS_HEAD.format(outputs=imported), names, [COMMON, *gives, *lines])


def autos() -> str:
    """What the stub of the auto classes must say."""
    lines, used = [], set()
    for name, auto_class in vars(auto).items():
        if name.startswith("AutoModel"):
            output = common({given(cls) for cls in named_models.models_for(auto_class._task).values()})
            base = "" if output is None else f", Gives{output}"
            used.add(base.removeprefix(", "))
            lines.append(f"class {name}(_AutoModel{base}): ...")
    imported = "".join(f"    {name},\n" for name in sorted(used - {""}))
    return AUTO_HEAD.format(gives=imported) + "\n" + "\n".join(lines) + "\n"


def tokenizers() -> str:
    """What the stub of the tokenizers must say."""
    names = [name for about in _engine.tokenizer_kinds() for name in about["classes"]]
    lines = [f"class {name}({getattr(named_tokenizers, name).__base__.__name__}): ..." for name in names]
    lines += ["", *(f"{name}Fast = {name}" for name in names)]
    return written(TOKENIZERS_HEAD, [*names, *(f"{name}Fast" for name in names)], lines)


def written(head: str, names: list[str], lines: list[str]) -> str:
    """A stub with the names that it exports."""
    listed = "".join(f'    "{name}",\n' for name in sorted(names))
    return f"{head}\n__all__ = [\n{listed}]\n\n" + "\n".join(lines) + "\n"


STUBS = {
    PACKAGE / "models" / "named.pyi": models,
    PACKAGE / "models" / "auto.pyi": autos,
    PACKAGE / "tokenizers" / "named.pyi": tokenizers,
}

if __name__ == "__main__":
    for path, stub in STUBS.items():
        path.write_text(stub())
