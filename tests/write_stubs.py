"""Writes python/trustformers/models/named.pyi: the classes of the engine's registry for type checkers.

make stubs
"""

from pathlib import Path

from trustformers import _engine

STUB = Path(__file__).parent.parent / "python" / "trustformers" / "models" / "named.pyi"
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


def stub() -> str:
    """What the file must say."""
    names = []
    lines = []
    for about in _engine.architectures():
        classes = [name for name, _, _ in about["classes"]]
        names += [about["config_class"], *classes]
        lines += [f"class {about['config_class']}(PreTrainedConfig): ..."]
        lines += [f"class {name}(PreTrainedModel): ..." for name in classes]
    listed = "".join(f'    "{name}",\n' for name in sorted(names))
    return f"{HEAD}\n__all__ = [\n{listed}]\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    STUB.write_text(stub())
