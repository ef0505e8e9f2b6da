"""What a tokenizer that was made from older files does, in a form that JSON holds.

Written by reference/slow_tokenizers.py, read by the tests. It works with the tokenizers of transformers as
well as with ours, and so knows neither.
"""

from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parent / "fixtures" / "slow_tokenizers"

TEXTS = [
    "Hello, world!",
    "",
    " ",
    "  the  quick   brown fox \t\n jumps  ",
    "Café naïve e\u0301 Straße İstanbul ﬁ ½ １２ ㎏",
    "ἀρχή Москва привет 東京と 你好 한국어 ภาษาไทย",
    "👩‍🚀 👨‍👩‍👧 🇩🇪 👍🏽 ☕️ 🙂",
    "שלום עולם! مرحبا بالعالم",
    "a\x00b\x07c\u200bd\ufeffe\tf\r\ng\u2028h\ufffdi\u00a0j",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠮷野 𓀀 \U0010ffff",
    "don't we'll can't ``quoted'' 1,000 1234 (x)—£9,",
    "<s>the</s> <mask> fox <pad> [CLS] dog [MASK] <unk> <extra_id_3> en_XX __fr__",
    "the fox</s>  the dog <mask>the",
    "▁the ▁▁ quick_brown",
    ">>fr<< the quick brown fox",
    "w" * 60,
]
LONG = "the fox, 你好 🙂 naïve! " * 40_000
PAIRS = [("the quick brown fox", "jumps over"), ("", "lazy dog"), ("hello", "")]


def outcomes(tokenizer: Any) -> dict[str, Any]:
    """All that is compared."""
    known = [row for row in range(len(tokenizer)) if row % 7 == 0]
    done: dict[str, Any] = {"texts": [], "pairs": [], "targets": []}
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        options: dict[str, Any] = {"clean_up_tokenization_spaces": False}
        if "Marian" in type(tokenizer).__name__:
            options["use_source_tokenizer"] = True  # the other one does not know the source's pieces
        done["texts"].append(
            {
                "ids": ids,
                "tokens": tokenizer.tokenize(text),
                "decoded": tokenizer.decode(ids, **options),
                "skipped": tokenizer.decode(ids, skip_special_tokens=True, **options),
                "bare": tokenizer(text, add_special_tokens=False)["input_ids"],
            }
        )
        if tokenizer.is_fast:
            done["texts"][-1]["offsets"] = [
                list(pair) for pair in tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
            ]
    for first, second in PAIRS:
        encoded = tokenizer(first, second, return_token_type_ids=True)
        done["pairs"].append([encoded["input_ids"], encoded["token_type_ids"] if tokenizer.is_fast else None])
    # More than a megabyte, of which the ids' sum will do.
    ids = tokenizer(LONG)["input_ids"]
    done["long"] = [len(ids), sum(index * place for place, index in enumerate(ids))]
    done["targets"] = tokenizer(text_target=TEXTS[:4])["input_ids"]
    done["length"] = len(tokenizer)
    done["vocab_size"] = tokenizer.vocab_size
    done["some tokens"] = tokenizer.convert_ids_to_tokens(known)
    done["special"] = tokenizer.num_special_tokens_to_add(False), tokenizer.num_special_tokens_to_add(True)
    done["named"] = {
        name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)
    }
    done["added"] = [
        [index, token.content, token.lstrip, token.rstrip, token.single_word, token.special]
        for index, token in sorted(tokenizer.added_tokens_decoder.items())
    ]
    done["inputs"] = sorted(tokenizer("a").keys())
    done["padding_side"] = tokenizer.padding_side
    return {key: list(value) if isinstance(value, tuple) else value for key, value in done.items()}
