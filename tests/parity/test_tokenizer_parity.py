"""Drawn texts through tokenizers from older files, ours and transformers'.

Those with a ``tokenizer.json`` are in test_tokenizer_properties.
"""

from functools import cache
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import slow_tokenizers
from trustformers import AutoTokenizer

hf = pytest.importorskip("transformers")

#: Those that transformers 5 makes of older files as 4.57 does, which ours do.
SAME_IN_5 = [
    "distilbert",
    "electra",
    "gpt2",
    "gpt2-space",
    "llama",
    "marian",
    "openai-gpt",
    "qwen2",
    "tiktoken",
]
SLOW = sorted(folder.name for folder in slow_tokenizers.FIXTURES.iterdir())

#: Every plane, both directions, what joins and what controls, and what tokenizers take for special.
TEXTS = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.text(st.characters(categories=["L", "M", "N"]), max_size=8),
        st.sampled_from(
            [
                "the quick",
                " ",
                "  ",
                "\n",
                "\t",
                "▁",
                "Ġ",
                "##a",
                "1,000",
                "don't",
                "naïve",
                "e\u0301",
                "ﬁ",
                "㎏",
            ]
        ),
        st.sampled_from(
            ["👩‍🚀", "👍🏽", "🇩🇪", "\u200d", "\ufe0f", "שלום", "مرحبا", "\u202e", "\x00", "\x1b", "\ufeff"]
        ),
        st.sampled_from(["𠮷", "𝔘", "\U000e0041", "\U0010ffff", ">>fr<<", "<unk>"]),
    ),
    max_size=12,
).map("".join)


@cache
def both(folder: Any) -> tuple[Any, Any]:
    return AutoTokenizer.from_pretrained(folder), hf.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("name", SLOW if hf.__version__.startswith("4.") else SAME_IN_5)
@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
@example(text="a b " * 250_000)
def test_the_same_of_older_files(name: str, text: str) -> None:
    ours, theirs = both(slow_tokenizers.FIXTURES / name)
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]
    assert ours.tokenize(text) == theirs.tokenize(text)
