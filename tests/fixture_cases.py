"""The reference fixtures as tests see them; reference/make.py says how they are written."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import safetensors_file

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass(frozen=True)
class Case:
    """One call of one checkpoint and what transformers answered."""

    folder: Path
    load: dict[str, Any]
    name: str
    inputs: dict[str, np.ndarray]
    outputs: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.folder.name}-{self.name}"

    @property
    def visible(self) -> np.ndarray:
        """Which positions (batch, length) the mask shows."""
        batch, length = self.outputs["last_hidden_state"].shape[:2]
        return self.inputs.get("attention_mask", np.ones((batch, length))).astype(bool)

    @property
    def has_states(self) -> bool:
        """Whether hidden states and attentions were recorded."""
        return "hidden_states" in self.outputs


def load_keywords(folder: Path) -> dict[str, Any]:
    """What `from_pretrained` needs for this checkpoint."""
    _, metadata = safetensors_file.read(folder / "cases.safetensors")
    return json.loads(metadata["about"])["load"]


def cases(architecture: str) -> list[Case]:
    """Every case of every checkpoint of an architecture."""
    return [case for folder in sorted((FIXTURES / architecture).iterdir()) for case in cases_of(folder)]


def cases_of(folder: Path) -> list[Case]:
    arrays, _ = safetensors_file.read(folder / "cases.safetensors")
    load = load_keywords(folder)
    found: dict[str, tuple[dict, dict]] = {}
    for key, array in sorted(arrays.items(), key=lambda item: natural(item[0])):
        case, side, field, *layer = key.split(".")
        inputs, outputs = found.setdefault(case, ({}, {}))
        if side == "in":
            inputs[field] = array
        elif layer:
            outputs[field] = (*outputs.get(field, ()), array)
        else:
            outputs[field] = array
    return [Case(folder, load, name, *sides) for name, sides in found.items()]


def natural(key: str) -> list[Any]:
    """Sorts layer 10 after layer 9."""
    return [part.zfill(4) if part.isdigit() else part for part in key.split(".")]
