"""What holds for every text: invariants, and equality with transformers where it is installed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tokenizer_outcomes import FIXTURES, plain, with_rows
from trustformers import AutoTokenizer
from trustformers import PreTrainedTokenizerFast as Fast

#: Text of all planes, and much of what tokenizers take for special.
texts = st.lists(
    st.one_of(
        st.sampled_from(
            ["the", "quick", "fox", " ", "  ", "[MASK]", "<s>", "</s>", "<mask>", "'s", "1,234", "\n"]
        ),
        st.sampled_from(
            ["é", "e\u0301", "東京", "👩‍🚀", "🇩🇪", "שלום", "مرحبا", "\x00", "\u200d", "\ufeff", "ﬁ", "İ"]
        ),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    ),
    max_size=12,
).map("".join)
words = st.lists(texts, max_size=5)
sides = st.sampled_from(["left", "right"])


@st.composite
def keywords(draw: st.DrawFn, pairs: bool) -> dict[str, Any]:
    """Keywords of a call that have an answer."""
    chosen: dict[str, Any] = {"padding": draw(st.sampled_from([False, True, "longest", "max_length"]))}
    chosen["padding_side"] = draw(sides)
    strategies = ["only_first", "only_second"] if pairs else ["only_first"]
    chosen["truncation"] = draw(st.sampled_from([False, True, "longest_first", *strategies]))
    chosen["max_length"] = draw(st.integers(3, 20))
    if chosen["truncation"] and draw(st.booleans()):
        chosen["return_overflowing_tokens"] = True
    if draw(st.booleans()):
        chosen["pad_to_multiple_of"] = draw(st.sampled_from([1, chosen["max_length"]]))
    for flag in ("add_special_tokens", "split_special_tokens", "return_length", "return_token_type_ids"):
        if draw(st.booleans()):
            chosen[flag] = draw(st.booleans())
    return chosen


@pytest.fixture(scope="module")
def tokenizers(minilm_path: Path) -> dict[str, Fast]:
    made = {
        folder.name: AutoTokenizer.from_pretrained(folder)
        for folder in FIXTURES.iterdir()
        if folder.name != "minilm"
    }
    made["words"].pad_token = "<unk>"
    return {**made, "minilm": AutoTokenizer.from_pretrained(minilm_path)}


@settings(deadline=None)
@given(name=st.sampled_from(["minilm", "bert", "bert_vocab", "byte_level", "unigram", "words"]), text=texts)
def test_offsets_point_into_the_text(tokenizers: dict[str, Fast], name: str, text: str) -> None:
    encoded = tokenizers[name](text, return_offsets_mapping=True)
    previous = 0
    for (start, end), sequence in zip(encoded["offset_mapping"], encoded.sequence_ids(), strict=True):
        assert 0 <= start <= end <= len(text)
        if sequence is not None:
            assert start >= previous or name in ("unigram", "byte_level", "words")
            previous = start


@settings(deadline=None)
@given(text=texts)
def test_bytes_come_back(tokenizers: dict[str, Fast], text: str) -> None:
    tokenizer = tokenizers["byte_level"]
    assume("<mask>" not in text)  # takes the spaces to its left
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert tokenizer.convert_tokens_to_ids(tokenizer.convert_ids_to_tokens(ids)) == ids


@settings(deadline=None)
@given(batch=st.lists(texts, min_size=1, max_size=5), side=sides, multiple=st.integers(1, 9), data=st.data())
def test_padding_adds_nothing_but_padding(
    tokenizers: dict[str, Fast], batch: list[str], side: str, multiple: int, data: st.DataObject
) -> None:
    tokenizer = tokenizers[data.draw(st.sampled_from(sorted(tokenizers)))]
    alone = tokenizer(batch)["input_ids"]
    padded = tokenizer(
        batch, padding=True, padding_side=side, pad_to_multiple_of=multiple, return_tensors="np"
    )
    ids, mask = padded["input_ids"], padded["attention_mask"]
    assert ids.shape == mask.shape
    assert ids.shape[1] % multiple == 0
    assert ids.shape[1] < max(map(len, alone)) + multiple
    for row, shown, expected in zip(ids, mask.astype(bool), alone, strict=True):
        assert row[shown].tolist() == expected
        assert (row[~shown] == tokenizer.pad_token_id).all()
        assert (np.diff(shown.astype(int)) * (1 if side == "left" else -1) >= 0).all()


@settings(deadline=None)
@given(
    batch=st.lists(st.tuples(texts, texts), min_size=1, max_size=4),
    options=keywords(pairs=True),
    data=st.data(),
)
def test_lists_and_arrays_agree(
    tokenizers: dict[str, Fast], batch: list[tuple[str, str]], options: dict[str, Any], data: st.DataObject
) -> None:
    tokenizer = tokenizers[data.draw(st.sampled_from(sorted(tokenizers)))]
    options["padding"] = "max_length"
    try:
        lists = tokenizer(batch, return_offsets_mapping=True, **options)
        arrays = tokenizer(batch, return_offsets_mapping=True, return_tensors="np", **options)
    except ValueError:  # a pair that cannot be truncated so
        assume(False)
    # A pair that is longer than the padding makes rows of different lengths, each an array of its own.
    found = {key: [row.tolist() for row in value] for key, value in arrays.items()}
    assert found == plain(dict(lists))
    assert [row.ids for row in arrays.encodings] == lists["input_ids"]


@settings(deadline=None)
@given(text=texts, max_length=st.integers(4, 12), stride=st.integers(0, 1), data=st.data())
def test_overlapping_parts_cover_the_text(
    tokenizers: dict[str, Fast], text: str, max_length: int, stride: int, data: st.DataObject
) -> None:
    tokenizer = tokenizers[data.draw(st.sampled_from(sorted(tokenizers)))]
    whole = tokenizer(text, add_special_tokens=False)["input_ids"]
    parts = tokenizer(
        text,
        add_special_tokens=False,
        truncation=True,
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
    )["input_ids"]
    if tokenizer.truncation_side == "left":
        whole, parts = whole[::-1], [part[::-1] for part in parts]
    joined = parts[0] + [index for part in parts[1:] for index in part[stride:]]
    assert joined == whole
    assert all(len(part) <= max_length for part in parts)


@settings(deadline=None)
@given(name=st.sampled_from(["minilm", "words"]), text=texts)
def test_words_are_tokenized_by_themselves(tokenizers: dict[str, Fast], name: str, text: str) -> None:
    tokenizer = tokenizers[name]
    split = text.split()
    together = tokenizer(split, is_split_into_words=True, add_special_tokens=False)
    assert together["input_ids"] == [
        index for word in split for index in tokenizer(word, add_special_tokens=False)["input_ids"]
    ]
    assert set(together.word_ids()) <= set(range(len(split)))


@pytest.fixture(scope="module")
def theirs(minilm_path: Path) -> dict[str, Any]:
    transformers = pytest.importorskip("transformers")
    load = transformers.AutoTokenizer.from_pretrained
    made = {folder.name: load(folder) for folder in FIXTURES.iterdir() if folder.name != "minilm"}
    made["words"].pad_token = "<unk>"
    return {**made, "minilm": load(minilm_path)}


class TestAgainstTransformers:
    """The same calls in both, on texts that nobody has thought of."""

    @settings(max_examples=500, deadline=None)
    @given(data=st.data())
    def test_batches(self, tokenizers: dict[str, Fast], theirs: dict[str, Any], data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(tokenizers)))
        split, pairs = data.draw(st.booleans()), data.draw(st.booleans())
        item = words if split else texts
        batch = data.draw(st.lists(st.tuples(item, item) if pairs else item, min_size=1, max_size=4))
        options = {
            **data.draw(keywords(pairs)),
            "is_split_into_words": split,
            "return_special_tokens_mask": True,
        }
        self.compare(tokenizers[name], theirs[name], batch, options)

    @settings(max_examples=300, deadline=None)
    @given(data=st.data())
    def test_single_texts_and_back(
        self, tokenizers: dict[str, Fast], theirs: dict[str, Any], data: st.DataObject
    ) -> None:
        name = data.draw(st.sampled_from(sorted(tokenizers)))
        text = data.draw(texts)
        ours, other = tokenizers[name], theirs[name]
        self.compare(ours, other, text, {"return_offsets_mapping": True})
        assert ours.tokenize(text) == other.tokenize(text)
        ids = ours(text)["input_ids"]
        for skip in (False, True):
            assert ours.decode(ids, skip_special_tokens=skip) == other.decode(ids, skip_special_tokens=skip)

    def compare(self, ours: Any, theirs: Any, text: Any, options: dict[str, Any]) -> None:
        got, refusal = None, ""
        try:
            got = plain(with_rows(ours(text, **options)))
        except ValueError as error:
            refusal = str(error)
        if got is None:  # transformers has no answer either, or cuts nothing where nothing would be left
            assert "Truncation error" in refusal or "leaves no room" in refusal
        else:
            assert got == plain(with_rows(theirs(text, **options)))
