"""Tokenizers against what transformers recorded, and on their own."""

import copy
import json
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tokenizer_outcomes import FIXTURES, perform, plain
from trustformers import AutoTokenizer, BertTokenizer, BertTokenizerFast, PreTrainedTokenizerBase
from trustformers import PreTrainedTokenizerFast as Fast
from trustformers.tokenizers import AddedToken

NAMES = sorted(folder.name for folder in FIXTURES.iterdir())


def recorded(name: str) -> Iterator[dict[str, Any]]:
    return iter(json.loads((FIXTURES / name / "cases.json").read_text(encoding="utf-8"))["cases"])


@pytest.fixture
def folder(request: pytest.FixtureRequest, minilm_path: Path) -> Path:
    return minilm_path if request.param == "minilm" else FIXTURES / request.param


@pytest.mark.parametrize(("name", "folder"), [(name, name) for name in NAMES], indirect=["folder"])
def test_does_what_transformers_does(name: str, folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for case in recorded(name):
        used = AutoTokenizer.from_pretrained(folder) if "set" in case else tokenizer
        outcome, expected = perform(used, case), case["outcome"]
        if isinstance(expected, dict) and "error" in expected:
            assert expected["error"][0] in outcome["error"], case
        elif case["do"] == "repr":
            assert outcome.replace("PreTrainedTokenizerFast", "TokenizersBackend") == expected
        else:
            assert outcome == expected, case


@pytest.fixture
def bert() -> Fast:
    return AutoTokenizer.from_pretrained(FIXTURES / "bert")


@pytest.fixture
def byte_level() -> Fast:
    return AutoTokenizer.from_pretrained(FIXTURES / "byte_level")


@pytest.fixture(scope="session")
def minilm(minilm_path: Path) -> Fast:
    return AutoTokenizer.from_pretrained(minilm_path)


class TestThreads:
    def test_settings_of_other_threads_do_not_leak(self, minilm: Fast) -> None:
        text = "one two three four five six seven eight nine ten " * 4
        wrong: list[Any] = []

        def encode(index: int) -> None:
            length = 4 + 3 * index
            for repeat in range(100):
                padding = "max_length" if (index + repeat) % 2 else False
                side = "left" if index % 2 else "right"
                texts = [text, "short"] if repeat % 3 else text
                got = minilm(texts, truncation=True, max_length=length, padding=padding, padding_side=side)
                rows = got["input_ids"] if isinstance(texts, list) else [got["input_ids"]]
                if len(rows[0]) != length or (len(rows) > 1 and len(rows[1]) != (length if padding else 3)):
                    wrong.append((index, repeat))
                if padding and len(rows) > 1 and rows[1][-1 if side == "right" else 0] != minilm.pad_token_id:
                    wrong.append((index, repeat, side))

        run_threads(encode)
        assert not wrong

    def test_adding_tokens_meanwhile_is_seen_whole_or_not_at_all(self) -> None:
        tokenizer = AutoTokenizer.from_pretrained(FIXTURES / "bert")
        allowed = {tuple(tokenizer("abcxyz")["input_ids"])}
        tokenizer.add_tokens(["abc", "xyz"])
        allowed.add(tuple(tokenizer("abcxyz")["input_ids"]))
        wrong: list[Any] = []

        def work(index: int) -> None:
            if index == 0:
                for number in range(100):
                    tokenizer.add_tokens([f"token{number}"])
            for _ in range(200):
                if tuple(tokenizer("abcxyz")["input_ids"]) not in allowed:
                    wrong.append(index)

        run_threads(work)
        assert not wrong
        assert tokenizer.convert_tokens_to_ids("token99") == len(tokenizer) - 1

    def test_a_forked_child_encodes(self, minilm_path: Path) -> None:
        code = """
import os, sys
from trustformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
texts = ["some words to share between threads " * 20] * 100
before = tokenizer(texts)["input_ids"]
child = os.fork()
if child == 0:
    os._exit(0 if tokenizer(texts)["input_ids"] == before else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
        subprocess.run([sys.executable, "-c", code, str(minilm_path)], check=True, timeout=60)


def run_threads(work: Any) -> None:
    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class TestArrays:
    def test_numpy_arrays_are_int64_and_writable(self, minilm: Fast) -> None:
        encoded = minilm(["a b", "c"], padding=True, return_tensors="np")
        for value in encoded.values():
            assert value.dtype == np.int64
            assert value.flags.c_contiguous
            value[0, 0] = 1

    def test_our_own_tensors(self, minilm: Fast) -> None:
        from trustformers import Tensor

        ids = minilm("a b", return_tensors="tensor")["input_ids"]
        assert isinstance(ids, Tensor)
        assert ids.to_numpy().tolist() == [minilm("a b")["input_ids"]]

    def test_torch_tensors(self, minilm: Fast) -> None:
        torch = pytest.importorskip("torch")
        ids = minilm(["a b", "c"], padding=True, return_tensors="pt")["input_ids"]
        assert ids.dtype == torch.int64
        assert ids.tolist() == minilm(["a b", "c"], padding=True)["input_ids"]

    def test_torch_is_named_where_it_is_missing(self, minilm: Fast, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(ImportError, match="PyTorch is not installed"):
            minilm("a", return_tensors="pt")

    def test_rows_of_different_lengths(self, minilm: Fast) -> None:
        with pytest.raises(ValueError, match=r"padding=True.*`input_ids` in this case"):
            minilm(["a b c", "a"], return_tensors="tensor")
        # NumPy can hold them, each as an array of its own, as transformers gives them.
        encoded = minilm(["a b c", "a"], return_tensors="np", return_offsets_mapping=True, return_length=True)
        assert encoded["input_ids"].dtype == object
        assert [row.tolist() for row in encoded["input_ids"]] == minilm(["a b c", "a"])["input_ids"]
        assert [row.shape for row in encoded["offset_mapping"]] == [(5, 2), (3, 2)]
        assert encoded["length"].tolist() == [5, 3]

    def test_padding_beyond_all_memory_is_refused(self, minilm: Fast) -> None:
        with pytest.raises(ValueError, match="lower max_length"):
            minilm("a", padding="max_length", max_length=2**60)

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to RLIMIT_AS")
    @pytest.mark.parametrize(
        "ask",
        [
            "tokenizer('a', padding='max_length', max_length=2**30)",
            "tokenizer('a', padding='max_length', max_length=2**28, return_offsets_mapping=True)",
            "tokenizer('a', padding='max_length', max_length=2**30, return_tensors='np')",
            "padded(2**24)",
            "padded(2**24, padding_side='left')",
            "row = padded(2**20); kept = [row.tokens for _ in range(30)]",
        ],
    )
    def test_padding_beyond_the_memory_of_this_process(self, minilm_path: Path, ask: str) -> None:
        code = f"""
import resource, sys
from trustformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
tokenizer("a", padding="max_length", max_length=8)[0].tokens

def padded(length, **options):
    encoded = tokenizer(["a"], padding="max_length", max_length=length, return_tensors="np",
        return_attention_mask=False, return_token_type_ids=False, **options)
    return encoded[0]

used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, resource.RLIM_INFINITY))
try:
    {ask}
except MemoryError:
    print(tokenizer("a", padding="max_length", max_length=4)[0].ids)
"""
        run = subprocess.run(
            [sys.executable, "-c", code, str(minilm_path)],
            check=True,
            timeout=60,
            capture_output=True,
            text=True,
        )
        assert run.stdout == "[101, 1037, 102, 0]\n"


class TestLimits:
    @pytest.mark.parametrize("max_length", [0, 1])
    def test_no_room_for_special_tokens(self, minilm: Fast, max_length: int) -> None:
        with pytest.raises(ValueError, match="no room for the 2 special tokens"):
            minilm("a b", truncation=True, max_length=max_length)
        assert (
            len(minilm("a b", truncation=True, max_length=max_length, add_special_tokens=False)["input_ids"])
            == max_length
        )

    @pytest.mark.parametrize("stride", [4, 5, 100])
    def test_a_stride_that_never_ends(self, minilm: Fast, stride: int) -> None:
        with pytest.raises(ValueError, match="stride="):
            minilm("a b c d e f g h", truncation=True, max_length=6, stride=stride)

    @pytest.mark.parametrize(
        "options", [{"max_length": -1}, {"max_length": 2**70}, {"max_length": 5, "stride": -1}]
    )
    def test_numbers_out_of_range(self, minilm: Fast, options: dict[str, int]) -> None:
        with pytest.raises(OverflowError):
            minilm("a b", truncation=True, **options)
        with pytest.raises(TypeError):
            minilm("a b", truncation=True, max_length=1.5)

    def test_a_megabyte(self, minilm: Fast) -> None:
        text = "word " * 200_000
        assert len(minilm(text, verbose=False)["input_ids"]) == 200_002
        pair = minilm(text, text, truncation=True, max_length=8, return_tensors="np")
        assert pair["input_ids"].shape == (1, 8)
        assert minilm("x" * 1_000_000)["input_ids"] == [101, 100, 102]

    def test_two_long_texts_that_overflow(self, minilm: Fast) -> None:
        text = "a b c d " * 1000
        with pytest.raises(ValueError, match="4000 times 4000 parts"):
            minilm(text, text, truncation=True, max_length=5, return_overflowing_tokens=True, verbose=False)

    def test_warns_once_of_what_the_model_cannot_take(
        self, minilm_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        tokenizer = AutoTokenizer.from_pretrained(minilm_path, model_max_length=4)
        for _ in range(2):
            tokenizer("a b c d e")
        assert [record.getMessage().count("(7 > 4)") for record in caplog.records] == [1]

    def test_warns_of_keywords_that_nobody_knows(self, minilm: Fast) -> None:
        with pytest.warns(UserWarning, match=r"\['paddings'\] not recognized"):
            minilm("a", paddings=True)
        with pytest.warns(UserWarning, match=r"\['skip'\] not recognized"):
            minilm.decode([101], skip=True)

    def test_warns_of_a_length_without_a_strategy(self, minilm: Fast) -> None:
        with pytest.warns(UserWarning, match="`max_length` is ignored"):
            minilm("a", padding=True, max_length=3)


class TestBadInput:
    @pytest.mark.parametrize("text", ["\ud800", ["fine", "a\udfffb"], [("a", "\ud800")]])
    def test_lone_surrogates(self, minilm: Fast, text: Any) -> None:
        with pytest.raises(TypeError, match=r"lone surrogate.*surrogatepass"):
            minilm(text)
        with pytest.raises(ValueError, match="surrogates not allowed"):
            minilm.convert_tokens_to_ids("\ud800")

    @pytest.mark.parametrize(
        "text", [b"bytes", 3, 1.5, {"a": 1}, {"a"}, object(), np.array(["a"]), (x for x in "ab")]
    )
    def test_no_text(self, minilm: Fast, text: Any) -> None:
        with pytest.raises(ValueError, match="text input must be of type `str`"):
            minilm(text)
        with pytest.raises(ValueError, match="text input must be of type `str`"):
            minilm("a", text)

    @pytest.mark.parametrize("item", [b"bytes", 3, None, ["a", "b", "c"], [["a"], ["b"]], {"a": 1}])
    def test_no_text_further_down(self, minilm: Fast, item: Any) -> None:
        with pytest.raises(TypeError, match="must be"):
            minilm(["a", item])
        with pytest.raises(TypeError, match="must be"):
            minilm([["a", item]], is_split_into_words=True)

    def test_the_input_at_fault_is_named(self, minilm: Fast) -> None:
        with pytest.raises(TypeError, match="input 2 has a value of type int"):
            minilm(["a", "b", 3])

    @pytest.mark.parametrize("ids", [[-1], [2**32], [[1], [-1]], -1])
    def test_ids_that_cannot_be(self, minilm: Fast, ids: Any) -> None:
        with pytest.raises(OverflowError, match="ids are numbers from 0 to 4294967295"):
            minilm.decode(ids)

    def test_tokenize_takes_one_text(self, minilm: Fast) -> None:
        with pytest.raises(ValueError, match="one text at a time"):
            minilm.tokenize(["a", "b"])

    def test_batches_are_lists(self, minilm: Fast) -> None:
        with pytest.raises(TypeError, match="has to be a list or a tuple"):
            minilm.batch_encode_plus("a")


class TestDecoding:
    def test_arrays_lists_and_batches(self, minilm: Fast) -> None:
        ids = minilm(["hello world", "hi"], padding=True, return_tensors="np")["input_ids"]
        texts = ["[CLS] hello world [SEP]", "[CLS] hi [SEP] [PAD]"]
        assert minilm.decode(ids) == minilm.batch_decode(ids) == minilm.decode(list(ids)) == texts
        assert minilm.decode(ids[0]) == minilm.decode(tuple(ids[0])) == texts[0]
        assert minilm.decode(ids[0, 1]) == minilm.decode(7592) == "hello"
        assert minilm.decode(minilm("hello world")) == texts[0]
        assert minilm.decode(minilm(["hello world"])) == texts[:1]

    def test_no_rows_are_no_texts(self, minilm: Fast) -> None:
        assert minilm.batch_decode([]) == []
        assert minilm.batch_decode([[]]) == [""]
        assert minilm.decode([]) == ""

    def test_cleaning_up_after_byte_pairs_has_to_be_insisted_on(
        self, byte_level: Fast, caplog: pytest.LogCaptureFixture
    ) -> None:
        ids = byte_level("a , b")["input_ids"]
        assert byte_level.decode(ids, clean_up_tokenization_spaces=True) == byte_level.decode(ids)
        assert "Ignoring clean_up_tokenization_spaces=True" in caplog.text
        caplog.clear()
        byte_level.decode(ids, clean_up_tokenization_spaces=True)
        assert not caplog.text  # it was said
        byte_level.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output = True
        text = byte_level.decode(ids)
        assert byte_level.decode(ids, clean_up_tokenization_spaces=True) == text.replace(" ,", ",")

    def test_what_transformers_does_not_look_at(self, minilm: Fast) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert minilm.decode([7592], spaces_between_special_tokens=False) == "hello"

    def test_how_a_text_is_read_step_by_step(self, minilm: Fast, byte_level: Fast) -> None:
        engine = minilm.backend_tokenizer
        assert engine.normalizer is not None
        assert engine.normalizer.normalize_str("Héllò hôw are ü?") == "hello how are u?"
        assert engine.pre_tokenizer is not None
        pieces = engine.pre_tokenizer.pre_tokenize_str("Hello, how are  you?")
        assert pieces[:3] == [("Hello", (0, 5)), (",", (5, 6)), ("how", (7, 10))]
        assert pieces[-1] == ("?", (19, 20))
        assert byte_level.backend_tokenizer.normalizer is None
        assert byte_level.backend_tokenizer.pre_tokenizer is not None
        assert byte_level.backend_tokenizer.pre_tokenizer.pre_tokenize_str("é b")[-1] == ("Ġb", (1, 3))

    def test_many_rows_are_decoded_in_parallel_as_one_by_one(self, byte_level: Fast) -> None:
        rows = byte_level(["the quick brown fox 東京 👩‍🚀 " * 9, "", "a"] * 300)["input_ids"]
        assert byte_level.batch_decode(rows) == [byte_level.decode(row) for row in rows]


class TestOldNames:
    def test_encode_plus(self, minilm: Fast) -> None:
        assert minilm.encode_plus("a", "b", return_tensors="np")["input_ids"].shape == (1, 5)
        assert minilm.batch_encode_plus(["a", "b"]) == minilm(["a", "b"])

    def test_ids_become_inputs(self, minilm: Fast) -> None:
        assert minilm.build_inputs_with_special_tokens([5, 6]) == [101, 5, 6, 102]
        assert minilm.build_inputs_with_special_tokens([5], [6, 7]) == [101, 5, 102, 6, 7, 102]
        assert minilm.create_token_type_ids_from_sequences([5], [6, 7]) == [0, 0, 0, 1, 1, 1]
        assert minilm.get_special_tokens_mask([5], [6, 7]) == [1, 0, 1, 0, 0, 1]
        encoded = minilm.prepare_for_model(
            [5, 6, 7], [8, 9], truncation="only_first", max_length=7, padding="max_length"
        )
        assert encoded["input_ids"] == [101, 5, 6, 102, 8, 9, 102]
        array = minilm.prepare_for_model([5, 6], return_tensors="np")["input_ids"]
        assert array.tolist() == [101, 5, 6, 102]
        assert minilm.prepare_for_model([5], return_tensors="np", prepend_batch_axis=True)[
            "input_ids"
        ].shape == (1, 3)

    def test_targets(self, minilm: Fast) -> None:
        with pytest.warns(DeprecationWarning, match="text_target"), minilm.as_target_tokenizer():
            assert minilm("a")["input_ids"] == [101, 1037, 102]

    def test_special_tokens(self, bert: Fast) -> None:
        assert bert.additional_special_tokens == bert.extra_special_tokens == ["<extra>"]
        assert bert.additional_special_tokens_ids == bert.extra_special_tokens_ids
        bert.additional_special_tokens = ["<other>"]
        assert bert.extra_special_tokens == ["<other>"]
        assert [str(token) for token in bert.all_special_tokens_extended] == bert.all_special_tokens
        assert str(bert.special_tokens_map_extended["mask_token"]) == "[MASK]"


class TestSpecialTokens:
    def test_set_and_unset(self, bert: Fast) -> None:
        bert.eos_token = "fox"
        assert bert.eos_token_id == bert.convert_tokens_to_ids("fox")
        bert.eos_token_id = bert.cls_token_id = 3
        assert bert.eos_token == bert.cls_token == "[SEP]"
        bert.eos_token = None
        assert bert.eos_token is None
        assert bert.eos_token_id is None
        with pytest.raises(ValueError, match="Cannot set a non-string value as the eos_token"):
            bert.eos_token = 3  # type: ignore[assignment]
        with pytest.raises(ValueError, match="must be a list or tuple"):
            bert.extra_special_tokens = "text"  # type: ignore[assignment]

    def test_a_model_has_its_own(self, bert: Fast) -> None:
        assert bert.image_token == "[IMAGE]"
        assert bert.image_token_id == bert.get_vocab()["[IMAGE]"]
        bert.image_token = "fox"
        assert bert.special_tokens_map["image_token"] == "fox"
        bert.image_token_id = 3
        assert bert.image_token == "[SEP]"

    def test_without_padding_token(self, minilm_path: Path) -> None:
        tokenizer = Fast(tokenizer_file=FIXTURES / "words" / "tokenizer.json")
        with pytest.raises(ValueError, match="does not have a padding token"):
            tokenizer(["the", "dog"], padding=True)
        with pytest.raises(ValueError, match="does not have a padding token"):
            tokenizer.pad({"input_ids": [[1], [2, 3]]})

    def test_unset_ones_are_named_if_wished(self, caplog: pytest.LogCaptureFixture) -> None:
        tokenizer = Fast(tokenizer_file=FIXTURES / "words" / "tokenizer.json", verbose=True)
        assert tokenizer.sep_token is None
        assert "Using sep_token, but it is not set yet." in caplog.text

    def test_templates_follow_bos_and_eos(self) -> None:
        file = FIXTURES / "words" / "tokenizer.json"
        tokenizer = Fast(tokenizer_file=file, bos_token="<s>", eos_token="the", add_bos_token=True)
        assert tokenizer.tokenize("dog", "quick", add_special_tokens=True) == ["<s>", "dog", "<s>", "quick"]
        tokenizer.add_eos_token = True
        tokenizer.add_bos_token = False
        assert (tokenizer.add_bos_token, tokenizer.add_eos_token) == (False, True)
        assert tokenizer("dog", "quick", return_token_type_ids=True)["token_type_ids"] == [0, 0, 1, 1]

    def test_tokens_of_the_package_tokenizers(self, bert: Fast) -> None:
        tokenizers = pytest.importorskip("tokenizers")
        token = tokenizers.AddedToken("a b", lstrip=True, special=True)
        assert bert.add_tokens(token) == 1
        assert bert.tokenize("§ a b") == ["[UNK]", " a b"]
        bert.eos_token = token
        assert bert.eos_token == "a b"
        made = Fast(
            tokenizer_object=tokenizers.Tokenizer.from_file(str(FIXTURES / "bert" / "tokenizer.json"))
        )
        assert (
            made("the fox")["input_ids"]
            == AutoTokenizer.from_pretrained(FIXTURES / "bert")("the fox")["input_ids"]
        )

    @pytest.mark.parametrize("token", [3, b"bytes", None, ["a"]])
    def test_no_tokens(self, bert: Fast, token: Any) -> None:
        with pytest.raises(TypeError, match=r"List\[Union\[str, AddedToken\]\]"):
            bert.add_tokens([token])
        with pytest.raises(ValueError, match="should be a str or an AddedToken"):
            bert.add_special_tokens({"cls_token": token})
        with pytest.raises(ValueError, match="should all be str or AddedToken"):
            bert.add_special_tokens({"extra_special_tokens": [token]})


class TestAddedToken:
    def test_is_a_value(self) -> None:
        token = AddedToken("x", lstrip=True)
        assert (str(token), token.normalized, AddedToken("x", special=True).normalized) == ("x", True, False)
        assert (
            repr(token)
            == 'AddedToken("x", rstrip=False, lstrip=True, single_word=False, normalized=True, special=False)'
        )
        assert (
            token
            == AddedToken(**token.__getstate__())
            == copy.deepcopy(token)
            == pickle.loads(pickle.dumps(token))
        )
        assert len({token, AddedToken("x", lstrip=True), AddedToken("x")}) == 2
        assert token != "x"
        with pytest.raises(AttributeError):
            token.lstrip = False  # type: ignore[misc]

    def test_special_ones_are_not_normalized_unless_that_was_said(self, minilm_path: Path) -> None:
        for said, normalized in ((None, False), (True, True), (False, False)):
            token = AddedToken("<p>", lstrip=True, normalized=said)
            assert token.normalized is (said is not False)
            assert pickle.loads(pickle.dumps(token)).as_special().normalized is normalized
            tokenizer = AutoTokenizer.from_pretrained(minilm_path, pad_token=token)
            assert tokenizer.added_tokens_decoder[tokenizer.pad_token_id].normalized is normalized
            assert tokenizer.add_special_tokens({"mask_token": AddedToken("<m>", normalized=said)}) == 1
            assert tokenizer.added_tokens_decoder[tokenizer.mask_token_id].normalized is normalized


class TestFiles:
    def test_what_is_saved_is_loaded_again(self, bert: Fast, tmp_path: Path) -> None:
        bert.add_tokens(["novel"])
        bert.add_special_tokens({"sep_token": "<sep>", "extra_special_tokens": ["<more>"]})
        files = bert.save_pretrained(tmp_path / "new" / "folder")
        assert [Path(file).name for file in files] == [
            "tokenizer_config.json",
            "chat_template.jinja",
            "tokenizer.json",
        ]
        again = AutoTokenizer.from_pretrained(tmp_path / "new" / "folder")
        assert repr(again).split(",", 1)[1] == repr(bert).split(",", 1)[1]
        assert again("the novel <more> fox") == bert("the novel <more> fox")
        assert again.chat_template == bert.chat_template

    def test_transformers_reads_what_is_saved(self, minilm: Fast, bert: Fast, tmp_path: Path) -> None:
        transformers = pytest.importorskip("transformers")
        for tokenizer in (minilm, bert):
            tokenizer.save_pretrained(tmp_path)
            theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
            for text in ("the unbelievable fox", "[MASK] [IMAGE] <extra> é"):
                assert theirs(text)["input_ids"] == tokenizer(text)["input_ids"]
            assert theirs.special_tokens_map == tokenizer.special_tokens_map
            assert theirs.extra_special_tokens == tokenizer.extra_special_tokens
            assert theirs.model_max_length == tokenizer.model_max_length

    def test_named_templates_have_files(self, bert: Fast, tmp_path: Path) -> None:
        bert.chat_template = {"default": "one", "tools": "two"}
        bert.save_pretrained(tmp_path)
        assert (tmp_path / "additional_chat_templates" / "tools.jinja").read_text() == "two"
        assert AutoTokenizer.from_pretrained(tmp_path).chat_template == {"default": "one", "tools": "two"}
        bert.chat_template = {"default": "one", "../tools": "two"}
        with pytest.raises(ValueError, match="Invalid chat template name"):
            bert.save_pretrained(tmp_path)

    @pytest.mark.parametrize("template", ["one", {"default": "one", "tools": "two"}])
    def test_templates_in_the_configuration(self, bert: Fast, tmp_path: Path, template: Any) -> None:
        bert.chat_template = template
        bert.save_pretrained(tmp_path, save_jinja_files=False)
        assert not (tmp_path / "chat_template.jinja").exists()
        assert AutoTokenizer.from_pretrained(tmp_path).chat_template == template

    def test_vocabulary_and_prefix(self, minilm_path: Path, tmp_path: Path) -> None:
        tokenizer = AutoTokenizer.from_pretrained(minilm_path)
        tokenizer.save_pretrained(tmp_path, legacy_format=True, filename_prefix="my")
        assert (tmp_path / "my-vocab.txt").read_text(encoding="utf-8") == (
            minilm_path / "vocab.txt"
        ).read_text(encoding="utf-8")
        assert {path.name for path in tmp_path.iterdir()} == {
            "my-vocab.txt",
            "my-tokenizer.json",
            "my-tokenizer_config.json",
        }

    def test_uploading_goes_through_huggingface_hub(
        self, bert: Fast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub = pytest.importorskip("huggingface_hub")
        seen: list[dict[str, Any]] = []

        class Api:
            def __init__(self, token: Any = None) -> None:
                self.token = token

            def create_repo(self, repo_id: str, **keywords: Any) -> Any:
                return type("Url", (), {"repo_id": f"me/{repo_id}"})

            def upload_folder(self, **keywords: Any) -> str:
                files = sorted(path.name for path in Path(keywords["folder_path"]).iterdir())
                seen.append({**keywords, "files": files, "token": self.token})
                return "done"

        monkeypatch.setattr(hub, "HfApi", Api)
        assert bert.push_to_hub("mine", token="secret", private=True) == "done"
        assert bert.save_pretrained(tmp_path / "other", push_to_hub=True, commit_message="First")
        assert [one["repo_id"] for one in seen] == ["me/mine", "me/other"]
        assert [one["commit_message"] for one in seen] == ["Upload tokenizer", "First"]
        assert [one["token"] for one in seen] == ["secret", None]
        assert all({"tokenizer.json", "tokenizer_config.json"} <= {*one["files"]} for one in seen)

    def test_what_cannot_be_saved(self, bert: Fast, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match="privat"):
            bert.save_pretrained(tmp_path, privat=True)
        with pytest.raises(ValueError, match="no legacy format"):
            bert.save_pretrained(tmp_path, legacy_format=True)
        (tmp_path / "file").touch()
        with pytest.raises(ValueError, match="should be a directory"):
            bert.save_pretrained(tmp_path / "file")

    def test_pickled_and_copied(self, bert: Fast) -> None:
        bert.add_tokens(["novel"])
        for other in (pickle.loads(pickle.dumps(bert)), copy.deepcopy(bert)):
            assert repr(other) == repr(bert)
            assert other("the novel") == bert("the novel")
            other.add_tokens(["unheard"])
            assert "unheard" not in bert.get_vocab()

    def test_numbered_files(self, bert: Fast, tmp_path: Path) -> None:
        bert.save_pretrained(tmp_path)
        (tmp_path / "tokenizer.json").rename(tmp_path / "tokenizer.4.10.0.json")
        (tmp_path / "tokenizer.4.9.0.json").write_text("not this one")
        config = json.loads((tmp_path / "tokenizer_config.json").read_text())
        config["fast_tokenizer_files"] = ["tokenizer.json", "tokenizer.4.9.0.json", "tokenizer.4.10.0.json"]
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        assert len(AutoTokenizer.from_pretrained(tmp_path)) == len(bert)


class TestAuto:
    def test_the_class_fits_the_model(self, minilm: Fast, minilm_path: Path, tmp_path: Path) -> None:
        assert BertTokenizerFast is BertTokenizer
        assert type(minilm) is BertTokenizer
        assert isinstance(minilm, PreTrainedTokenizerBase)
        bare = copy_of(minilm_path, tmp_path, "tokenizer.json")
        assert type(AutoTokenizer.from_pretrained(bare)) is Fast
        assert type(AutoTokenizer.from_pretrained(bare, tokenizer_type="bert")) is BertTokenizer
        assert type(AutoTokenizer.from_pretrained(bare, config={"model_type": "bert"})) is BertTokenizer
        (bare / "config.json").write_text('{"model_type": "bert"}')
        assert AutoTokenizer.from_pretrained(bare)("a", "b").keys() == minilm("a", "b").keys()
        (bare / "config.json").write_text('{"model_type": "mystery"}')
        assert type(AutoTokenizer.from_pretrained(bare)) is Fast

    def test_a_single_file(self, minilm_path: Path) -> None:
        assert type(AutoTokenizer.from_pretrained(minilm_path / "tokenizer.json")) is Fast
        assert len(BertTokenizer.from_pretrained(minilm_path / "vocab.txt")) == 30522
        with pytest.raises(ValueError, match="neither a SentencePiece model"):
            Fast.from_pretrained(minilm_path / "vocab.txt")

    def test_registered_classes(self, bert: Fast, tmp_path: Path) -> None:
        class Mine(Fast):
            pass

        class Config:
            model_type = "mine"

        AutoTokenizer.register(Config, fast_tokenizer_class=Mine)
        bert.save_pretrained(tmp_path)
        assert type(AutoTokenizer.from_pretrained(tmp_path, tokenizer_type="mine")) is Mine
        Mine.from_pretrained(tmp_path).save_pretrained(tmp_path)
        assert type(AutoTokenizer.from_pretrained(tmp_path)) is Mine
        with pytest.raises(ValueError, match="already used"):
            AutoTokenizer.register(Config, Mine)
        with pytest.raises(ValueError, match="tokenizer_class"):
            AutoTokenizer.register(Config)

    def test_only_from_pretrained(self, minilm_path: Path) -> None:
        with pytest.raises(OSError, match="from_pretrained"):
            AutoTokenizer()
        with pytest.raises(ValueError, match="`tokenizer_type` should be one of"):
            AutoTokenizer.from_pretrained(minilm_path, tokenizer_type="mystery")

    def test_arguments_override_the_files(self, minilm_path: Path) -> None:
        tokenizer = AutoTokenizer.from_pretrained(
            minilm_path, model_max_length=7, padding_side="left", pad_token="[FOO]", use_fast=True
        )
        assert (tokenizer.model_max_length, tokenizer.padding_side) == (7, "left")
        assert tokenizer.pad_token_id == 30522
        for wrong in ({"padding_side": "up"}, {"truncation_side": "down"}):
            with pytest.raises(ValueError, match="side should be selected"):
                AutoTokenizer.from_pretrained(minilm_path, **wrong)
        with pytest.raises(TypeError, match="has to be either str or AddedToken"):
            AutoTokenizer.from_pretrained(minilm_path, pad_token=3)
        with pytest.raises(TypeError, match="list/tuple of tokens or a dict"):
            AutoTokenizer.from_pretrained(minilm_path, extra_special_tokens=3)
        with pytest.raises(AttributeError, match="conflicts with the method decode"):
            AutoTokenizer.from_pretrained(minilm_path, decode="no")
        with pytest.raises(TypeError, match="not both"):
            AutoTokenizer.from_pretrained(minilm_path, "vocabulary")


class TestBert:
    def test_from_a_vocabulary(self, minilm_path: Path) -> None:
        vocab_file = minilm_path / "vocab.txt"
        texts = ["Hello, wörld!", "東京 İstanbul", "unbelievable"]
        expected = AutoTokenizer.from_pretrained(minilm_path)(texts)
        for tokenizer in (BertTokenizer(str(vocab_file)), BertTokenizer(vocab_file=vocab_file)):
            assert tokenizer(texts) == expected
            assert tokenizer.convert_ids_to_tokens(expected["input_ids"][2]) == [
                "[CLS]",
                "unbelievable",
                "[SEP]",
            ]
        vocab = {
            token: index for index, token in enumerate(["[UNK]", "[CLS]", "[SEP]", "Straße", "strasse", "é"])
        }
        cased = BertTokenizer(vocab, do_lower_case=False)
        assert cased.tokenize("Straße é") == ["Straße", "é"]
        assert (cased.pad_token_id, cased.mask_token_id, cased.do_lower_case) == (6, 7, False)

    @pytest.mark.parametrize("loader", [AutoTokenizer, BertTokenizer])
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, [7592, 2088, 19413, 1879, 1755, 1060]),
            ({"do_lower_case": True, "strip_accents": True}, [7592, 2088, 19413, 1879, 1755, 1060]),
            ({"do_lower_case": False}, [100, 100, 100, 1879, 1755, 1060]),
            ({"strip_accents": False}, [7592, 100, 100, 1879, 1755, 1060]),
            ({"tokenize_chinese_chars": False}, [7592, 2088, 19413, 1879, 30281, 2595]),
            ({"do_lower_case": False, "strip_accents": True}, [100, 2088, 100, 1879, 1755, 1060]),
        ],
    )
    def test_the_caller_says_how_text_is_read(
        self, minilm_path: Path, tmp_path: Path, loader: Any, options: dict[str, bool], expected: list[int]
    ) -> None:
        # The ids are those of transformers 5.23.
        text = "Hello wörld Éa 東京x"
        tokenizer = loader.from_pretrained(minilm_path, **options)
        assert tokenizer(text)["input_ids"] == [101, *expected, 102]
        done = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True} | options
        assert {name: getattr(tokenizer, name) for name in done} == done
        tokenizer.save_pretrained(tmp_path)
        written = json.loads((tmp_path / "tokenizer_config.json").read_text())
        assert {name: written[name] for name in done} == done
        for again in (loader.from_pretrained(tmp_path), pickle.loads(pickle.dumps(tokenizer))):
            assert again(text) == tokenizer(text)

    def test_what_is_saved_is_what_the_file_does(self, minilm_path: Path, tmp_path: Path) -> None:
        copy_of(minilm_path, tmp_path, "tokenizer.json")
        config = {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "strip_accents": True}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        tokenizer = AutoTokenizer.from_pretrained(tmp_path)
        assert tokenizer("Hello")["input_ids"] == [101, 7592, 102]
        tokenizer.save_pretrained(tmp_path)
        written = json.loads((tmp_path / "tokenizer_config.json").read_text())
        assert (written["do_lower_case"], written["strip_accents"]) == (True, None)

    def test_special_tokens_alone(self) -> None:
        assert BertTokenizer().get_vocab() == {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}

    def test_a_vocabulary_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe")
        with pytest.raises(ValueError, match=r"vocab\.txt is not a tokenizer"):
            BertTokenizer.from_pretrained(tmp_path)


class TestBadFiles:
    @pytest.mark.parametrize(
        "content", ["", "hello", "{}", "[]", '{"version": "2.0", "model": {}}', "\x00", '{"model": 3}']
    )
    @pytest.mark.parametrize("loader", [AutoTokenizer, BertTokenizer, Fast])
    def test_no_tokenizer(self, tmp_path: Path, loader: Any, content: str) -> None:
        (tmp_path / "tokenizer.json").write_text(content)
        with pytest.raises(ValueError, match=r"tokenizer\.json is not a tokenizer"):
            loader.from_pretrained(tmp_path)
        with pytest.raises(ValueError, match=r"tokenizer\.json is not a tokenizer"):
            Fast(tokenizer_file=tmp_path / "tokenizer.json")

    @pytest.mark.parametrize(
        "name", ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"]
    )
    @pytest.mark.parametrize("content", ["hello", "[]", "3"])
    def test_no_configuration(self, tmp_path: Path, name: str, content: str) -> None:
        (tmp_path / "tokenizer.json").write_bytes((FIXTURES / "bert" / "tokenizer.json").read_bytes())
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            AutoTokenizer.from_pretrained(tmp_path)

    @pytest.mark.parametrize(
        "key", ["vocab_file", "tokenizer_file", "vocab", "init_inputs", "tokenizer_object"]
    )
    def test_a_configuration_cannot_name_other_files(self, tmp_path: Path, key: str) -> None:
        secret = tmp_path / "secret"
        secret.write_text("password\n")
        (tmp_path / "vocab.txt").write_text("word\n")
        value = [str(secret)] if key == "init_inputs" else str(secret)
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            (tmp_path / name).write_text(json.dumps({key: value}))
        assert "password" not in BertTokenizer.from_pretrained(tmp_path).get_vocab()

    def test_added_tokens_that_are_none(self, tmp_path: Path) -> None:
        (tmp_path / "tokenizer.json").write_bytes((FIXTURES / "bert" / "tokenizer.json").read_bytes())
        (tmp_path / "added_tokens.json").write_text('{"fox": "five"}')
        with pytest.raises(ValueError, match="'five' for the id of 'fox'"):
            AutoTokenizer.from_pretrained(tmp_path)
        (tmp_path / "tokenizer_config.json").write_text('{"added_tokens_decoder": {"5": 3}}')
        with pytest.raises(ValueError, match=r"added_tokens_decoder is \{'5': 3\}"):
            AutoTokenizer.from_pretrained(tmp_path)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("tokenizer_class", {}),
            ("tokenizer_class", 5),
            ("added_tokens_decoder", [5]),
            ("added_tokens_decoder", {"x": {"content": "x"}}),
            ("added_tokens_decoder", {"9" * 5000: {"content": "x"}}),
            ("added_tokens_decoder", {"5": {"content": 5}}),
            ("model_max_length", "512"),
            ("model_max_length", True),
            ("model_input_names", "input_ids"),
            ("model_input_names", [5]),
            ("fast_tokenizer_files", [5]),
            ("chat_template", 5),
            ("chat_template", [5]),
            ("chat_template", [{"name": "default"}]),
            ("pad_token", 5),
            ("pad_token", {}),
            ("mask_token", {"content": 5, "lstrip": False, "rstrip": False}),
            ("additional_special_tokens", [None]),
            ("extra_special_tokens", {"image": 5}),
            ("padding_side", "up"),
            ("truncation_side", 5),
            ("do_lower_case", "no"),
            ("extra_special_tokens", "<x>"),
        ],
    )
    def test_settings_that_cannot_be(self, tmp_path: Path, key: str, value: Any) -> None:
        (tmp_path / "tokenizer.json").write_bytes((FIXTURES / "bert" / "tokenizer.json").read_bytes())
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({key: value}))
        with pytest.raises(ValueError, match=rf"tokenizer_config\.json of .* says that {key} is"):
            AutoTokenizer.from_pretrained(tmp_path)

    @pytest.mark.parametrize(
        "key",
        [
            "added_tokens_decoder",
            "additional_special_tokens",
            "chat_template",
            "extra_special_tokens",
            "fast_tokenizer_files",
            "model_input_names",
            "model_max_length",
            "padding_side",
            "split_special_tokens",
            "tokenizer_class",
        ],
    )
    def test_settings_that_are_null_are_absent(self, tmp_path: Path, key: str) -> None:
        (tmp_path / "tokenizer.json").write_bytes((FIXTURES / "bert" / "tokenizer.json").read_bytes())
        absent = AutoTokenizer.from_pretrained(tmp_path)
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({key: None, "vocab": {"fox": 0}}))
        tokenizer = AutoTokenizer.from_pretrained(tmp_path)
        assert repr(tokenizer) == repr(absent)
        assert tokenizer("a fox") == absent("a fox")

    @pytest.mark.parametrize(("name", "value"), [("pad_token", 5), ("additional_special_tokens", 5)])
    def test_named_tokens_that_are_none(self, tmp_path: Path, name: str, value: Any) -> None:
        (tmp_path / "tokenizer.json").write_bytes((FIXTURES / "bert" / "tokenizer.json").read_bytes())
        (tmp_path / "special_tokens_map.json").write_text(json.dumps({name: value}))
        with pytest.raises(ValueError, match=rf"special_tokens_map\.json of .* says that {name} is {value}"):
            AutoTokenizer.from_pretrained(tmp_path)

    def test_no_files(self, tmp_path: Path) -> None:
        for loader in (AutoTokenizer, BertTokenizer, Fast):
            with pytest.raises(ValueError, match=r"has no tokenizer\.json"):
                loader.from_pretrained(tmp_path)
        (tmp_path / "config.json").write_text('{"model_type": "bert"}')
        with pytest.raises(ValueError, match=r"no tokenizer\.json and no vocab\.txt"):
            AutoTokenizer.from_pretrained(tmp_path)
        with pytest.raises(OSError, match="nowhere"):
            AutoTokenizer.from_pretrained(tmp_path / "nowhere")
        with pytest.raises(ValueError, match="there is no file"):
            Fast(tokenizer_file=tmp_path / "nowhere.json")
        with pytest.raises(ValueError, match="nothing was given"):
            Fast()
        with pytest.raises(OSError, match=r"a file named model\.gguf"):
            AutoTokenizer.from_pretrained(tmp_path, gguf_file="model.gguf")

    def test_settings_that_contradict_each_other(self, tmp_path: Path) -> None:
        content = json.loads((FIXTURES / "words" / "tokenizer.json").read_text())
        content["decoder"] = {"type": "Strip", "content": "a", "start": 1, "stop": 1}
        (tmp_path / "tokenizer.json").write_text(json.dumps(content))
        tokenizer = AutoTokenizer.from_pretrained(tmp_path)
        with pytest.raises(RuntimeError, match="contradict"):
            tokenizer.decode(tokenizer.convert_tokens_to_ids(["a"]))


def copy_of(folder: Path, target: Path, *names: str) -> Path:
    for name in names:
        (target / name).write_bytes((folder / name).read_bytes())
    return target


def test_plain_knows_arrays() -> None:
    assert plain(np.array([[1, 2]])) == {"array": [[1, 2]], "dtype": "int64", "shape": [1, 2]}
