"""Write the fixtures of tokenizers without a `tokenizer.json`: files, and what transformers does with them.

    python tests/reference/slow_tokenizers.py files     # needs sentencepiece and tokenizers
    python tests/reference/slow_tokenizers.py cases     # needs transformers 4.57, which converts all

A fixture is a folder under tests/fixtures/slow_tokenizers holding a repository's files, and `cases.json`: the
version of transformers and what its tokenizer does (see slow_tokenizers.py one folder up).
"""

import base64
import io
import json
import random
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from slow_tokenizers import FIXTURES, outcomes

WORDS = """
    the quick brown fox jumps over lazy dog hello world café déjà vu 123 4567 1,000 don't we'll it's
    der schnelle braune Fuchs springt le renard saute par dessus
    привет мир как дела 你好 世界 こんにちは مرحبا שלום 🙂
"""
#: A few rules of NFKC, instead of its quarter of a megabyte.
RULES = "FB01\t66 69\nA0\t20\n9\t20\nA\t20\nD\t20\nBD\t31 2044 32\n65 301\tE9\n200B\t\nFF11\t31\nFF12\t32\n"
FAIRSEQ = {"model_type": "unigram"}
T5 = {"model_type": "unigram", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
BRACKETS = ["[CLS]", "[SEP]", "[MASK]"]
M2M100 = """
    af am ar ast az ba be bg bn br bs ca ceb cs cy da de el en es et fa ff fi fr fy ga gd gl gu ha he hi hr ht
    hu hy id ig ilo is it ja jv ka kk km kn ko lb lg ln lo lt lv mg mk ml mn mr ms my ne nl no ns oc or pa pl
    ps pt ro ru sd si sk sl so sq sr ss su sv sw ta th tl tn tr uk ur uz vi wo xh yi yo zh zu
"""
#: SentencePiece models: the class that reads each, how it is trained, what stands in the configuration.
MODELS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "xlm-roberta": ("XLMRobertaTokenizer", {**FAIRSEQ, "normalization_rule_name": "nmt_nfkc"}, {}),
    "camembert": ("CamembertTokenizer", FAIRSEQ, {}),
    "mbart": ("MBartTokenizer", FAIRSEQ, {"src_lang": "de_DE", "tgt_lang": "fr_XX"}),
    "mbart50": ("MBart50Tokenizer", FAIRSEQ, {"src_lang": "de_DE", "tgt_lang": "fr_XX"}),
    "nllb": ("NllbTokenizer", {"model_type": "bpe"}, {"src_lang": "deu_Latn", "tgt_lang": "fra_Latn"}),
    "xglm": ("XGLMTokenizer", FAIRSEQ, {}),
    "t5": ("T5Tokenizer", T5, {"extra_ids": 10}),
    "pegasus": ("PegasusTokenizer", T5, {}),
    "albert": (
        "AlbertTokenizer",
        {
            **T5,
            "unk_id": 1,
            "eos_id": -1,
            "control_symbols": BRACKETS,
            "user_defined_symbols": ["(", ")", "—", "£"],
        },
        {},
    ),
    "xlnet": (
        "XLNetTokenizer",
        {**FAIRSEQ, "control_symbols": ["<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"]},
        {},
    ),
    "deberta-v2": (
        "DebertaV2Tokenizer",
        {
            **FAIRSEQ,
            **{"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3},
            **{"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"},
        },
        {"do_lower_case": True, "split_by_punct": True},
    ),
    "llama": (
        "LlamaTokenizer",
        {"model_type": "bpe", "byte_fallback": True},
        {"legacy": False, "add_bos_token": True},
    ),
    "llama-legacy": (
        "LlamaTokenizer",
        {"model_type": "bpe", "byte_fallback": True},
        {"legacy": True, "add_bos_token": True, "add_eos_token": True},
    ),
    "llama-unigram": (
        "LlamaTokenizer",
        {"model_type": "unigram", "byte_fallback": True},
        {"legacy": True, "add_bos_token": True},
    ),
    "gemma": (
        "GemmaTokenizer",
        {
            **{
                "model_type": "bpe",
                "byte_fallback": True,
                "pad_id": 0,
                "eos_id": 1,
                "bos_id": 2,
                "unk_id": 3,
            },
            **{
                "eos_piece": "<eos>",
                "bos_piece": "<bos>",
                "user_defined_symbols": ["<mask>", "<start_of_turn>"],
            },
        },
        {"add_bos_token": True, "mask_token": None},
    ),
    "m2m_100": ("M2M100Tokenizer", {"model_type": "bpe"}, {"src_lang": "de", "tgt_lang": "fr"}),
    "marian": ("MarianTokenizer", FAIRSEQ, {"source_lang": "eng", "target_lang": "fra"}),
}
#: Vocabularies in plain files: the class, the special tokens, what stands in the configuration.
PLAIN: dict[str, tuple[str, list[str], dict[str, Any]]] = {
    "gpt2": ("GPT2Tokenizer", ["<|endoftext|>"], {}),
    "gpt2-space": ("GPT2Tokenizer", ["<|endoftext|>"], {"add_prefix_space": True}),
    "roberta": ("RobertaTokenizer", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], {}),
    "bart": ("BartTokenizer", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], {}),
    "blenderbot": (
        "BlenderbotTokenizer",
        ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        {"add_prefix_space": True},
    ),
    "deberta": ("DebertaTokenizer", ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"], {}),
    "qwen2": ("Qwen2Tokenizer", ["<|endoftext|>"], {}),
    "openai-gpt": ("OpenAIGPTTokenizer", ["<unk>"], {}),
    "distilbert": ("DistilBertTokenizer", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], {}),
    "electra": ("ElectraTokenizer", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], {"do_lower_case": False}),
    "mpnet": ("MPNetTokenizer", ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"], {}),
    "funnel": ("FunnelTokenizer", ["<pad>", "<unk>", "<cls>", "<sep>", "<mask>", "<s>", "</s>"], {}),
}


def texts() -> list[str]:
    """What vocabularies are learned from."""
    chance, words = random.Random(7), WORDS.split()
    return [" ".join(chance.choice(words) for _ in range(chance.randint(3, 12))) for _ in range(1000)]


def sentencepiece_model(lines: list[str], **options: Any) -> bytes:
    """Train a model."""
    import sentencepiece

    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as rules:
        rules.write(RULES)
        rules.flush()
        options.setdefault("normalization_rule_tsv", rules.name)
        if "normalization_rule_name" in options:
            del options["normalization_rule_tsv"]
        written = io.BytesIO()
        size = 520 if options.get("byte_fallback") else 240
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=written,
            minloglevel=2,
            **{"vocab_size": size, "character_coverage": 0.995, "hard_vocab_limit": False, **options}
            if options["model_type"] == "unigram"
            else {"vocab_size": size, "character_coverage": 0.995, **options},
        )
    return written.getvalue()


def pieces_of(model: bytes) -> list[str]:
    """The pieces of a model."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [processor.id_to_piece(index) for index in range(processor.get_piece_size())]


def write_model(name: str, folder: Path) -> None:
    """Write the files around a SentencePiece model."""
    _, options, _ = MODELS[name]
    model = sentencepiece_model(texts(), **options)
    files = {
        "spiece.model": ("t5", "pegasus", "albert", "xlnet"),
        "sentencepiece.bpe.model": ("xlm-roberta", "camembert", "mbart", "mbart50", "nllb", "m2m_100"),
        "tokenizer.model": ("llama", "llama-legacy", "llama-unigram", "gemma"),
        "spm.model": ("deberta-v2",),
        "source.spm": ("marian",),
    }
    places = [file for file, names in files.items() if name in names] or ["sentencepiece.bpe.model"]
    (folder / places[0]).write_bytes(model)
    pieces = [piece for piece in pieces_of(model) if piece not in ("<s>", "</s>", "<unk>", "<pad>")]
    if name == "m2m_100":
        tokens = ["<s>", "<pad>", "</s>", "<unk>", *pieces[5:]]
        write_json(folder / "vocab.json", {token: index for index, token in enumerate(tokens)})
    if name == "marian":
        target = sentencepiece_model([line[::-1] for line in texts()], **options)
        (folder / "target.spm").write_bytes(target)
        both = sorted(
            {*pieces[3:], *pieces_of(target)[3:], "w", ">>fr<<", ">>de<<"} - {"<s>", "</s>", "<unk>"}
        )
        tokens = ["</s>", "<unk>", *both, "<pad>"]
        write_json(folder / "vocab.json", {token: index for index, token in enumerate(tokens)})


def write_plain(name: str, folder: Path) -> None:
    """Write `vocab.txt`, or `vocab.json` and `merges.txt`."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    _, special, _ = PLAIN[name]
    if name in ("distilbert", "electra", "mpnet", "funnel"):
        tokenizer = Tokenizer(models.WordPiece(unk_token=special[1]))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=name != "electra")
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
        tokenizer.train_from_iterator(texts(), trainer)
        vocab = tokenizer.get_vocab()
        tokens = sorted(vocab, key=vocab.__getitem__)
        (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
        return
    tokenizer = Tokenizer(models.BPE())
    options: dict[str, Any] = {"vocab_size": 400, "special_tokens": special, "show_progress": False}
    if name == "openai-gpt":
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        options |= {"vocab_size": 250, "end_of_word_suffix": "</w>"}
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        options["initial_alphabet"] = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts(), trainers.BpeTrainer(**options))
    model = json.loads(tokenizer.to_str())["model"]
    write_json(folder / "vocab.json", model["vocab"])
    merges = ["#version: 0.2", *(" ".join(merge) for merge in model["merges"])]
    (folder / "merges.txt").write_text("".join(f"{merge}\n" for merge in merges), encoding="utf-8")


def write_tiktoken(folder: Path) -> None:
    """Write the merges of a byte-level BPE as ranks."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts(), trainer)
    seen = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    unseen = [byte for byte in range(256) if byte not in seen]
    bytes_of = {chr(byte): byte for byte in seen} | {chr(256 + n): byte for n, byte in enumerate(unseen)}
    vocab = tokenizer.get_vocab()
    tokens = [bytes(bytes_of[c] for c in token) for token in sorted(vocab, key=vocab.__getitem__)]
    lines = (f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens))
    (folder / "tokenizer.model").write_text("".join(lines))


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def write_files() -> None:
    """Write the files of every fixture."""
    shutil.rmtree(FIXTURES, ignore_errors=True)
    for name, (kind, *_, config) in {**MODELS, **PLAIN}.items():
        folder = FIXTURES / name
        folder.mkdir(parents=True)
        (write_model if name in MODELS else write_plain)(name, folder)
        if name == "m2m_100":
            config = {**config, "additional_special_tokens": [f"__{code}__" for code in M2M100.split()]}
        write_json(folder / "tokenizer_config.json", {"tokenizer_class": kind, **config})
    folder = FIXTURES / "tiktoken"
    folder.mkdir()
    write_tiktoken(folder)
    added = {"400": "<|begin_of_text|>", "401": "<|end_of_text|>"}
    tokens = {index: {"content": token, "special": True} for index, token in added.items()}
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "added_tokens_decoder": {index: {**token, **flags} for index, token in tokens.items()},
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|end_of_text|>",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    write_json(folder / "tokenizer_config.json", config)


def load(folder: Path) -> Any:
    """Open a tokenizer with transformers, a fast one where there is one."""
    import transformers

    kind = json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"]
    found = getattr(transformers, f"{kind}Fast", None) or getattr(transformers, kind)
    return found.from_pretrained(folder)


def write_cases() -> None:
    """Write what transformers does with every fixture."""
    for folder in sorted(FIXTURES.iterdir()):
        written = {"transformers": version("transformers"), "outcomes": outcomes(load(folder))}
        text = json.dumps(written, ensure_ascii=False, separators=(",", ":"))
        (folder / "cases.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    {"files": write_files, "cases": write_cases}[sys.argv[1]]()
