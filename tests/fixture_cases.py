"""The reference fixtures as tests see them; reference/make.py says how they are written."""

import json
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import safetensors_file
import trustformers
from drawn_weights import draw_all

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass(frozen=True)
class Head:
    """A checkpoint of one architecture, configuration and class."""

    row: Path
    key: str
    """The class in transformers, and the kind of its labels where there are several."""
    auto: str
    load: dict[str, Any]
    mask: str
    """The argument that says which positions of the output count."""
    weights: dict[str, list[int]] | None

    def __str__(self) -> str:
        return f"{self.row.relative_to(FIXTURES)}-{self.key}"

    def __hash__(self) -> int:
        return hash(str(self))

    @property
    def class_name(self) -> str:
        return self.key.split(".")[0]

    @property
    def model(self) -> Any:
        """Our model of it, opened once."""
        return opened(self)

    @property
    def folder(self) -> Path:
        """Where config.json and the weights are: the fixture itself, or a folder in which they are drawn."""
        return self.row if self.weights is None else drawn(self)

    def open(self, **keywords: Any) -> Any:
        """A model of its class, with weights of its own."""
        return getattr(trustformers, self.class_name).from_pretrained(self.folder, **keywords)


@dataclass(frozen=True)
class Call:
    """What goes into a model and what transformers answers."""

    inputs: dict[str, np.ndarray]
    outputs: dict[str, Any]

    @property
    def arguments(self) -> dict[str, Any]:
        """The inputs as they are given: numbers as numbers, and the outputs of an encoder as a tuple."""
        given = {name: value.item() if value.ndim == 0 else value for name, value in self.inputs.items()}
        if "encoder_outputs" in given:
            given["encoder_outputs"] = (given["encoder_outputs"],)
        return given

    @property
    def flags(self) -> dict[str, bool]:
        """The keywords that ask for what was recorded."""
        fields = " ".join(self.outputs)
        return {f"output_{kind}": True for kind in ("hidden_states", "attentions") if kind in fields}


@dataclass(frozen=True)
class Case:
    """Calls of one checkpoint, one after the other, each given the `past_key_values` of the one before."""

    head: Head
    name: str
    calls: list[Call]

    def __str__(self) -> str:
        return f"{self.head}-{self.name}"


def heads(*folders: Path) -> list[Head]:
    """The heads of every row in folders."""
    rows = [path.parent for folder in folders for path in sorted(folder.rglob("heads.json"))]
    return [
        Head(row, key, spec["auto"], spec["load"], spec["mask"], spec.get("weights"))
        for row in rows
        for key, spec in json.loads((row / "heads.json").read_text()).items()
    ]


def language_heads() -> list[Head]:
    """Of every architecture the heads that answer with tokens."""
    language = ("AutoModelForCausalLM", "AutoModelForMaskedLM", "AutoModelForSeq2SeqLM")
    return [
        head
        for row in sorted((FIXTURES / "architectures").glob("*/default"))
        for head in heads(row)
        if head.auto in language and hasattr(trustformers, head.class_name)
    ]


def cases(head: Head) -> list[Case]:
    """Every case of a head."""
    found: dict[str, dict[int, Call]] = {}
    for path, array in arrays(head.row).items():
        key, name, number, side, field, *layer = path.split("/")
        if key != head.key:
            continue
        call = found.setdefault(name, {}).setdefault(int(number), Call({}, {}))
        if side == "in":
            call.inputs[field] = array
        elif layer:
            call.outputs[field] = (*call.outputs.get(field, ()), array)
        else:
            call.outputs[field] = array
    return [Case(head, name, [calls[number] for number in sorted(calls)]) for name, calls in found.items()]


@cache
def arrays(row: Path) -> dict[str, np.ndarray]:
    return safetensors_file.read(row / "cases.safetensors")[0]


@cache
def opened(head: Head) -> Any:
    return getattr(trustformers, head.auto).from_pretrained(head.folder, **head.load)


@cache
def drawn(head: Head) -> Path:
    folder = scratch() / str(head).replace("/", "-")
    folder.mkdir()
    (folder / "config.json").write_bytes((head.row / "config.json").read_bytes())
    seed = head.row.relative_to(FIXTURES).as_posix()
    safetensors_file.write(folder / "model.safetensors", draw_all(seed, head.weights or {}))
    return folder


@cache
def temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="trustformers-")


def scratch() -> Path:
    """A folder that is gone when Python ends."""
    return Path(temporary().name)
