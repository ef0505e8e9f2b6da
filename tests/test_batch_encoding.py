"""BatchEncoding: a dictionary, its attributes, its rows, and the way back to the text."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustformers import AutoTokenizer, BatchEncoding
from trustformers import PreTrainedTokenizerFast as Fast
from trustformers.tokenizers import CharSpan, Encoding, TokenSpan


@pytest.fixture(scope="module")
def tokenizer(minilm_path: Path) -> Fast:
    return AutoTokenizer.from_pretrained(minilm_path)


@pytest.fixture
def encoded(tokenizer: Fast) -> BatchEncoding:
    return tokenizer(["Hello, world!", "The hippopotamus"], ["second", "one two"], padding=True)


class TestDictionary:
    def test_values_by_key_attribute_and_unpacking(self, encoded: BatchEncoding) -> None:
        assert list(encoded) == list(encoded.keys()) == ["input_ids", "token_type_ids", "attention_mask"]
        assert encoded.input_ids is encoded["input_ids"] is dict(**encoded)["input_ids"]
        assert "input_ids" in encoded
        assert len(encoded) == 3
        assert encoded.get("labels") is None
        assert repr(encoded) == repr(dict(encoded))

    def test_values_can_be_added_and_taken(self, encoded: BatchEncoding) -> None:
        encoded["labels"] = [1, 2]
        assert encoded.labels == encoded.pop("labels") == [1, 2]
        encoded.update({"more": 3})
        del encoded["more"]
        with pytest.raises(KeyError, match="labels"):
            encoded["labels"]
        with pytest.raises(AttributeError, match="labels"):
            encoded.labels  # noqa: B018

    def test_rows_by_index(self, encoded: BatchEncoding) -> None:
        assert isinstance(encoded[0], Encoding)
        assert encoded[1].tokens == encoded[-1].tokens == encoded.tokens(1)
        for index in (2, -3):
            with pytest.raises(IndexError):
                encoded[index]
        with pytest.raises(TypeError):
            encoded[1.5]  # type: ignore[call-overload]

    def test_slices_are_dictionaries(self, encoded: BatchEncoding) -> None:
        assert encoded[0:1] == {key: value[:1] for key, value in encoded.items()}

    def test_without_rows(self) -> None:
        encoding = BatchEncoding({"input_ids": [[1, 2], [3, 4]]})
        assert (encoding.is_fast, encoding.encodings, encoding.n_sequences) == (False, None, None)
        assert encoding[1:] == {"input_ids": [[3, 4]]}
        with pytest.raises(KeyError, match="Only three types of key"):
            encoding[0]
        for method in ("tokens", "word_ids", "sequence_ids"):
            with pytest.raises(ValueError, match=rf"{method}\(\) is not available"):
                getattr(encoding, method)()
        with pytest.raises(ValueError, match=r"token_to_word\(\) is not available"):
            encoding.token_to_word(0)
        assert BatchEncoding() == {}

    def test_pickled_and_copied(self, encoded: BatchEncoding) -> None:
        for other in (pickle.loads(pickle.dumps(encoded)), copy.copy(encoded), copy.deepcopy(encoded)):
            assert other == encoded
            assert other.tokens(1) == encoded.tokens(1)
            assert (other.n_sequences, other.is_fast) == (2, True)
            assert other[0] == encoded[0]
            other["labels"] = [1]
            assert "labels" not in encoded

    def test_one_row_is_enough(self, encoded: BatchEncoding) -> None:
        single = BatchEncoding({"input_ids": [1]}, encoding=encoded[0])
        assert single.tokens() == encoded.tokens(0)
        assert BatchEncoding({}, n_sequences=7).n_sequences == 7


class TestRows:
    def test_tokens_words_and_sequences(self, encoded: BatchEncoding) -> None:
        assert encoded.tokens(0) == [
            "[CLS]",
            "hello",
            ",",
            "world",
            "!",
            "[SEP]",
            "second",
            "[SEP]",
            "[PAD]",
            "[PAD]",
        ]
        assert encoded.word_ids(1) == [None, 0, 1, 1, 1, 1, None, 0, 1, None]
        assert encoded.sequence_ids(1) == [None, 0, 0, 0, 0, 0, None, 1, 1, None]
        assert encoded.n_sequences == 2
        assert encoded.encodings is not None
        assert [len(row) for row in encoded.encodings] == [10, 10]

    def test_from_tokens(self, encoded: BatchEncoding) -> None:
        assert [encoded.token_to_sequence(1, token) for token in (0, 1, 7, 99)] == [None, 0, 1, None]
        assert [encoded.token_to_word(1, token) for token in (0, 1, 5, 99)] == [None, 0, 1, None]
        assert encoded.token_to_chars(1, 2) == CharSpan(4, 7) == (4, 7)
        assert encoded.token_to_chars(0) is None
        assert encoded.token_to_chars(1).start == 0  # type: ignore[union-attr]

    def test_tokens_from_the_end(self, encoded: BatchEncoding) -> None:
        assert encoded.token_to_word(-1, -2) == encoded.token_to_word(1, 8) == 1
        assert encoded.token_to_sequence(-1, -2) == 1
        assert encoded.token_to_chars(1, -2) == (4, 7)

    def test_from_words_and_characters(self, encoded: BatchEncoding) -> None:
        assert encoded.word_to_tokens(1, 1) == TokenSpan(2, 6) == (2, 6)
        assert encoded.word_to_tokens(1, 0, sequence_index=1) == (7, 8)
        assert encoded.word_to_tokens(99) is None
        assert encoded.word_to_chars(1, 1) == CharSpan(4, 16)
        assert encoded.word_to_chars(1, 1, 1) == (4, 7)
        assert encoded.word_to_chars(99) is None
        assert [encoded.char_to_token(1, char) for char in (0, 3, 15, 99)] == [1, None, 5, None]
        assert [encoded.char_to_word(1, char) for char in (0, 3, 15, 99)] == [0, None, 1, None]
        assert encoded.char_to_token(0) == 1
        assert encoded.char_to_word(1, 4, 1) == 1

    @pytest.mark.parametrize("method", ["word_to_tokens", "word_to_chars", "char_to_token", "char_to_word"])
    def test_nothing_stands_before_the_start(self, encoded: BatchEncoding, method: str) -> None:
        with pytest.raises(OverflowError):
            getattr(encoded, method)(0, -1)

    @settings(deadline=None)
    @given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
    def test_there_and_back(self, tokenizer: Fast, text: str) -> None:
        encoded = tokenizer(text)
        for token, word in enumerate(encoded.word_ids()):
            if word is not None:
                tokens, chars = encoded.word_to_tokens(word), encoded.token_to_chars(token)
                assert tokens is not None
                assert chars is not None
                assert tokens.start <= token < tokens.end
                for char in range(*chars):
                    assert encoded.char_to_word(char) is not None

    def test_an_encoding_shows_what_it_is(self, encoded: BatchEncoding) -> None:
        assert repr(encoded[0]).startswith("Encoding(num_tokens=10, attributes=[ids, type_ids, tokens")
        assert encoded[0].type_ids == encoded["token_type_ids"][0]
        assert encoded[0].attention_mask == encoded["attention_mask"][0]
        assert encoded[0].special_tokens_mask == [1, 0, 0, 0, 0, 1, 0, 1, 1, 1]
        assert encoded[0].offsets[1:3] == [(0, 5), (5, 6)]
        assert encoded[0].overflowing == []

    def test_overflowing_parts_are_rows_and_known_to_the_first(self, tokenizer: Fast) -> None:
        encoded = tokenizer("a b c d e", truncation=True, max_length=4, return_overflowing_tokens=True)
        assert [row.tokens[1:-1] for row in encoded[0].overflowing] == [["c", "d"], ["e"]]
        assert [encoded.tokens(row)[1:-1] for row in range(3)] == [["a", "b"], ["c", "d"], ["e"]]


class TestTensors:
    def test_lists_become_arrays(self) -> None:
        encoding = BatchEncoding({"input_ids": [[1, 2], [3, 4]], "scores": [1.5, 2.5]}, tensor_type="np")
        assert encoding["input_ids"].dtype == np.int64
        assert encoding["scores"].dtype == np.float64
        assert encoding.convert_to_tensors("np") is encoding

    def test_a_batch_of_one(self) -> None:
        assert BatchEncoding({"x": [1, 2]}, tensor_type="np", prepend_batch_axis=True)["x"].shape == (1, 2)

    @pytest.mark.parametrize("empty", [[], [[]], [[], []]])
    def test_nothing_is_of_integers(self, empty: Any) -> None:
        assert BatchEncoding({"x": empty}, tensor_type="np")["x"].dtype == np.int64

    def test_rows_of_different_lengths(self) -> None:
        rows = BatchEncoding({"labels": [[1, 2], [3]]}, tensor_type="np")["labels"]
        assert rows.dtype == object
        assert [(row.dtype, row.tolist()) for row in rows] == [(np.int64, [1, 2]), (np.int64, [3])]
        with pytest.raises(ValueError, match=r"Unable to create tensor.*`labels` in this case"):
            BatchEncoding({"labels": [[1, 2], [3]]}, tensor_type="tensor")

    @pytest.mark.parametrize("kind", ["np", "tensor"])
    @pytest.mark.parametrize("value", [[[[1], [2, 3]], [[1], [2]]], None, [None]])
    def test_what_is_no_tensor(self, kind: str, value: Any) -> None:
        with pytest.raises(ValueError, match=r"Unable to create tensor.*`labels` in this case"):
            BatchEncoding({"labels": value}, tensor_type=kind)

    def test_unknown_kinds_are_listed(self) -> None:
        with pytest.raises(
            ValueError, match=r"tf is not a valid TensorType, please select one of \['pt', 'np'"
        ):
            BatchEncoding({"x": [1]}, tensor_type="tf")

    def test_our_own_tensors(self) -> None:
        from trustformers import Tensor

        encoding = BatchEncoding({"x": [[1, 2]]}, tensor_type="tensor")
        assert isinstance(encoding["x"], Tensor)
        assert encoding.convert_to_tensors("tensor")["x"] is encoding["x"]

    def test_torch_tensors(self) -> None:
        torch = pytest.importorskip("torch")
        encoding = BatchEncoding({"x": [[1, 2]], "y": np.array([1.5])}, tensor_type="pt")
        assert encoding["x"].dtype == torch.int64
        assert encoding.to("cpu")["y"].device.type == "cpu"
        assert encoding.to(torch.device("cpu"), non_blocking=True)["x"].tolist() == [[1, 2]]
        with pytest.raises(ValueError, match="Unable to create tensor"):
            BatchEncoding({"x": [[1], [2, 3]]}, tensor_type="pt")

    def test_moving_what_cannot_move(self, encoded: BatchEncoding, caplog: pytest.LogCaptureFixture) -> None:
        before = dict(encoded)
        assert encoded.to("cpu") is encoded
        assert encoded == before
        encoded.to(1.5)  # type: ignore[arg-type]
        assert "Attempting to cast a BatchEncoding to type 1.5" in caplog.text


class TestPad:
    def test_batches_lists_and_single_rows(self, tokenizer: Fast) -> None:
        rows = [tokenizer("a b"), tokenizer("c")]
        padded = tokenizer.pad(rows)
        assert padded == tokenizer(["a b", "c"], padding=True)
        assert rows[1]["input_ids"] == [101, 1039, 102]
        assert tokenizer.pad(rows[1], padding="max_length", max_length=5)["input_ids"] == [
            101,
            1039,
            102,
            0,
            0,
        ]
        assert tokenizer.pad({"input_ids": [[1], [2, 3]]}, padding=False)["input_ids"] == [[1], [2, 3]]

    def test_arrays_come_back_as_arrays(self, tokenizer: Fast) -> None:
        padded = tokenizer.pad({"input_ids": [np.array([1, 2]), np.array([3])]}, padding_side="left")
        assert padded["input_ids"].tolist() == [[1, 2], [0, 3]]
        assert padded["attention_mask"].dtype == np.int64
        whole = tokenizer.pad(tokenizer(["a", "c"], return_tensors="np"), padding="max_length", max_length=5)
        assert whole["input_ids"].shape == (2, 5)

    def test_masks_of_two_dimensions_are_left_alone(self, tokenizer: Fast) -> None:
        masks = [np.ones((2, 2)), np.zeros((2, 2))]
        padded = tokenizer.pad({"input_ids": [[1, 2], [3]], "attention_mask": masks}, return_tensors="np")
        assert padded["attention_mask"].shape == (2, 2, 2)

    def test_a_number_beside_one_row(self, tokenizer: Fast) -> None:
        padded = tokenizer.pad({"input_ids": [1, 2], "label": 1}, padding="max_length", max_length=3)
        assert dict(padded) == {"input_ids": [1, 2, 0], "label": 1, "attention_mask": [1, 1, 0]}

    def test_nothing_to_pad(self, tokenizer: Fast) -> None:
        assert tokenizer.pad({"input_ids": []}) == {"input_ids": []}
        assert tokenizer.pad({"input_ids": []}, return_attention_mask=True) == {
            "input_ids": [],
            "attention_mask": [],
        }

    def test_what_cannot_be_padded(self, tokenizer: Fast) -> None:
        for wrong in ([], None, 3):
            with pytest.raises(ValueError, match="You should supply an encoding"):
                tokenizer.pad(wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="different batch size"):
            tokenizer.pad({"input_ids": [[1], [2]], "labels": [1]})
        with pytest.raises(ValueError, match="Should be one of a python, numpy, or pytorch object"):
            tokenizer.pad({"input_ids": ["a"]})
        with pytest.raises(ValueError, match="Invalid padding strategy:up"):
            tokenizer.pad({"input_ids": [[1], [2, 3]]}, padding_side="up")
