"""Writes named.pyi of models and tokenizers: the classes that the engine knows, for type checkers.

make stubs
"""

from pathlib import Path

from trustformers import _engine
from trustformers.tokenizers import named

PACKAGE = Path(__file__).parent.parent / "python" / "trustformers"
HEAD = """\
# Written by `make stubs` from the engine's registry.
from collections.abc import Iterator, Mapping
from typing import TypeVar

from .configuration import PreTrainedConfig
from .modeling import PreTrainedModel

T = TypeVar("T")

class Classes(Mapping[str, type[T]]):
    def __init__(self, names: Mapping[str, str]) -> None: ...
    def __getitem__(self, model_type: str) -> type[T]: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...

CONFIGS: Classes[PreTrainedConfig]

def models_for(task: str) -> Classes[PreTrainedModel]: ...
"""


TOKENIZERS_HEAD = """\
# Written by `make stubs` from the engine's table.
from .bert import WordPieceTokenizer
from .kinds import NamedTokenizer
from .languages import LanguageTokenizer
from .marian import PairTokenizer

BY_MODEL_TYPE: dict[str, str]
"""


def models() -> str:
    """What the stub of the models must say."""
    names = []
    lines = []
    for about in _engine.architectures():
        classes = [name for name, _, _ in about["classes"]]
        names += [about["config_class"], *classes]
        lines += [f"class {about['config_class']}(PreTrainedConfig): ..."]
        lines += [f"class {name}(PreTrainedModel): ..." for name in classes]
    return written(HEAD, names, lines)


def tokenizers() -> str:
    """What the stub of the tokenizers must say."""
    names = [name for about in _engine.tokenizer_kinds() for name in about["classes"]]
    lines = [f"class {name}({getattr(named, name).__base__.__name__}): ..." for name in names]
    lines += ["", *(f"{name}Fast = {name}" for name in names)]
    return written(TOKENIZERS_HEAD, [*names, *(f"{name}Fast" for name in names)], lines)


def written(head: str, names: list[str], lines: list[str]) -> str:
    """A stub with the names that it exports."""
    listed = "".join(f'    "{name}",\n' for name in sorted(names))
    return f"{head}\n__all__ = [\n{listed}]\n\n" + "\n".join(lines) + "\n"


STUBS = {
    PACKAGE / "models" / "named.pyi": models,
    PACKAGE / "tokenizers" / "named.pyi": tokenizers,
}

if __name__ == "__main__":
    for path, stub in STUBS.items():
        path.write_text(stub())
