"""Tokenizers from the files there were before `tokenizer.json`, against what transformers recorded."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

import trustformers
from slow_tokenizers import FIXTURES, TEXTS, outcomes
from trustformers import AutoTokenizer

NAMES = sorted(folder.name for folder in FIXTURES.iterdir())


def recorded(name: str) -> dict[str, Any]:
    return json.loads((FIXTURES / name / "cases.json").read_text(encoding="utf-8"))["outcomes"]


def compared(tokenizer: Any) -> dict[str, Any]:
    """What a tokenizer does, as JSON has it."""
    return json.loads(json.dumps(outcomes(tokenizer)))


def assert_same(outcome: dict[str, Any], expected: dict[str, Any]) -> None:
    for text, ours, theirs in zip(TEXTS, outcome.pop("texts"), expected.pop("texts"), strict=True):
        assert {key: ours[key] for key in theirs} == theirs, text
    for ours, theirs in zip(outcome.pop("pairs"), expected.pop("pairs"), strict=True):
        assert ours[0] == theirs[0]
        assert theirs[1] is None or ours[1] == theirs[1]
    assert outcome == expected


@pytest.mark.parametrize("name", NAMES)
def test_does_what_transformers_does(name: str, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(FIXTURES / name)
    assert_same(compared(tokenizer), recorded(name))
    # And so does what is saved, what is pickled, and what is made from the files by the class itself.
    tokenizer.save_pretrained(tmp_path)
    assert_same(compared(AutoTokenizer.from_pretrained(tmp_path)), recorded(name))
    assert_same(compared(pickle.loads(pickle.dumps(tokenizer))), recorded(name))


@pytest.mark.parametrize("name", ["gpt2", "roberta", "t5", "distilbert", "m2m_100", "marian"])
def test_the_older_files_are_written_again(name: str, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(FIXTURES / name)
    tokenizer.save_pretrained(tmp_path, legacy_format=True)
    (tmp_path / "tokenizer.json").unlink(missing_ok=True)
    assert_same(compared(AutoTokenizer.from_pretrained(tmp_path)), recorded(name))


def test_files_may_be_given_by_name_and_place() -> None:
    folder = FIXTURES / "roberta"
    files = str(folder / "vocab.json"), str(folder / "merges.txt")
    expected = AutoTokenizer.from_pretrained(folder)("the fox")["input_ids"]
    merges = [line.split(" ") for line in (folder / "merges.txt").read_text().splitlines()[1:]]
    vocab = json.loads((folder / "vocab.json").read_text())
    for made in (
        trustformers.RobertaTokenizer(*files),
        trustformers.RobertaTokenizerFast(vocab_file=files[0], merges_file=files[1]),
        trustformers.RobertaTokenizer(vocab=vocab, merges=[tuple(merge) for merge in merges]),
        trustformers.BartTokenizer(vocab=vocab, merges=[" ".join(merge) for merge in merges]),
    ):
        assert made("the fox")["input_ids"] == expected
    model = str(FIXTURES / "t5" / "spiece.model")
    assert len(trustformers.T5TokenizerFast(model, extra_ids=3)) == len(trustformers.T5Tokenizer(model)) - 97


def test_a_byte_level_tokenizer_that_is_called_llamas_gets_none_of_its_tokens(tmp_path: Path) -> None:
    gpt2 = AutoTokenizer.from_pretrained(FIXTURES / "gpt2")
    gpt2.save_pretrained(tmp_path)
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"tokenizer_class": "LlamaTokenizerFast", "eos_token": "<|endoftext|>"}))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert type(tokenizer) is trustformers.PreTrainedTokenizerFast
    assert tokenizer.get_vocab() == gpt2.get_vocab()


def test_special_tokens_alone() -> None:
    for kind in ("RobertaTokenizer", "T5Tokenizer", "LlamaTokenizer", "DistilBertTokenizer"):
        tokenizer = getattr(trustformers, kind)()
        assert set(tokenizer.all_special_tokens) <= set(tokenizer.get_vocab())


@pytest.mark.parametrize("name", trustformers.tokenizers.named.__all__)
def test_every_class_is_there(name: str) -> None:
    found = getattr(trustformers, name)
    assert found.__name__ == name.removesuffix("Fast")
    assert issubclass(found, trustformers.PreTrainedTokenizerFast)
    assert pickle.loads(pickle.dumps(found)) is found
    with pytest.raises(TypeError, match="positional arguments"):
        found(*[None] * 40)


class TestLanguages:
    """Tokenizers that mark texts with their language."""

    @pytest.mark.parametrize(
        ("name", "german", "french"),
        [
            ("mbart", "de_DE", "fr_XX"),
            ("mbart50", "de_DE", "fr_XX"),
            ("nllb", "deu_Latn", "fra_Latn"),
            ("m2m_100", "de", "fr"),
        ],
    )
    def test_languages_are_marked(self, name: str, german: str, french: str) -> None:
        tokenizer = AutoTokenizer.from_pretrained(FIXTURES / name)
        of_german, of_french = (tokenizer.get_lang_id(code) for code in (german, french))
        assert of_german == tokenizer.lang_code_to_id[german]
        assert tokenizer.convert_tokens_to_ids(tokenizer.get_lang_token(french)) == of_french
        plain = tokenizer("the fox", add_special_tokens=False)["input_ids"]
        end = tokenizer.eos_token_id

        def marked(language: int) -> list[int]:
            return [*plain, end, language] if name == "mbart" else [language, *plain, end]

        encoded = tokenizer("the fox", text_target="the fox")
        assert (encoded["input_ids"], encoded["labels"]) == (marked(of_german), marked(of_french))
        assert tokenizer("the fox")["input_ids"] == marked(of_german)
        tokenizer.src_lang = french
        assert tokenizer("the fox")["input_ids"] == marked(of_french)
        inputs = tokenizer._build_translation_inputs("the fox", src_lang=german, tgt_lang=french)
        assert (inputs["input_ids"], inputs["forced_bos_token_id"]) == (marked(of_german), of_french)
        tokenizer.tgt_lang = french
        with pytest.warns(DeprecationWarning, match="text_target"), tokenizer.as_target_tokenizer():
            assert tokenizer("the fox")["input_ids"] == marked(of_french)
        assert tokenizer("the fox")["input_ids"] == marked(of_german)
        with pytest.raises(ValueError, match="requires a `src_lang` and a `tgt_lang`"):
            tokenizer._build_translation_inputs("the fox", src_lang=german)

    def test_a_language_that_is_none(self) -> None:
        with pytest.raises(KeyError):
            AutoTokenizer.from_pretrained(FIXTURES / "m2m_100", src_lang="xx")

    def test_targets_are_split_by_their_own_model(self) -> None:
        tokenizer = AutoTokenizer.from_pretrained(FIXTURES / "marian")
        assert tokenizer.supported_language_codes == [">>de<<", ">>fr<<"]
        source, target = (tokenizer(**{key: "the fox"})["input_ids"] for key in ("text", "text_target"))
        assert source != target
        assert tokenizer("the fox", text_target="the fox")["labels"] == target


class TestBadFiles:
    """Damaged files are errors that name them."""

    @pytest.mark.parametrize(
        ("name", "file", "content"),
        [
            ("t5", "spiece.model", b""),
            ("t5", "spiece.model", b"\x0a\xff\xff\xff\xff\x0f"),
            ("t5", "spiece.model", b"hello, this is text"),
            ("tiktoken", "tokenizer.model", b"YQ== -1\n"),
            ("gpt2", "merges.txt", b"#version\na b c\n"),
            ("gpt2", "merges.txt", b"nosuch token\n"),
            ("gpt2", "vocab.json", b"[1, 2]"),
            ("gpt2", "vocab.json", b'{"a": "b"}'),
            ("distilbert", "vocab.txt", b"\xff\xfe"),
            ("m2m_100", "vocab.json", b'{"a": 1}'),
        ],
    )
    def test_is_refused(self, name: str, file: str, content: bytes, tmp_path: Path) -> None:
        shutil.copytree(FIXTURES / name, tmp_path, dirs_exist_ok=True)
        (tmp_path / file).write_bytes(content)
        with pytest.raises(ValueError, match="is not a tokenizer"):
            AutoTokenizer.from_pretrained(tmp_path)

    def test_a_file_that_is_missing_is_named(self, tmp_path: Path) -> None:
        shutil.copytree(FIXTURES / "gpt2", tmp_path, dirs_exist_ok=True)
        (tmp_path / "merges.txt").unlink()
        with pytest.raises(ValueError, match=r"no merges\.txt"):
            AutoTokenizer.from_pretrained(tmp_path)
        with pytest.raises(OSError, match="nowhere"):
            trustformers.GPT2Tokenizer("/nowhere/vocab.json", "/nowhere/merges.txt")
