"""The table of fixtures: one row is one configuration, with its heads and how much is asked of it.

A configuration is written as checkpoints have it: a new field in the way of today, an old one as the files on
the hub spell it, and what is not there is the architecture's default. Numbers are such that a mistake shows:
three heads, every epsilon large, every size different, windows and original lengths shorter than the texts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

Config = dict[str, Any]
ALL: tuple[str, ...] = ()
BASE = ("AutoModel",)
MASKED = ("AutoModel", "AutoModelForMaskedLM")
CAUSAL = ("AutoModel", "AutoModelForCausalLM")
SEQ2SEQ = ("AutoModel", "AutoModelForSeq2SeqLM")


@dataclass(frozen=True)
class Row:
    folder: str
    """Under tests/fixtures; also the seed of the weights."""
    config: Config
    heads: tuple[str, ...] = ALL
    """The auto classes, or all that the architecture has."""
    short: bool = True
    """Whether a call or two are enough, because another row makes all of them."""
    length: int = 6
    """Of the longest text."""
    as_written: bool = False
    """Whether config.json holds every field, as transformers writes it, and not only those of `config`."""
    save: Callable[[PreTrainedModel, Path], None] | None = None
    """Writes weights to be committed, where the file is the point; others are drawn when they are needed."""
    saved_from: str = ""
    """The class whose weights `save` writes, if it is not the head's."""
    load: Config = field(default_factory=dict)
    """Keywords of `from_pretrained`, in transformers and in ours."""
