"""Write what transformers' ``train_new_from_iterator`` learns: tests/fixtures/trained_tokenizers.json.

    python tests/reference/trained_tokenizers.py

It needs `transformers` 5. What WordPiece and Unigram learn differs from run to run.
"""

import json
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

FIXTURES = Path(__file__).parent.parent / "fixtures"
TEXTS = [
    "the quick brown fox jumps over the lazy dog while the other foxes sleep",
    "researchers carefully investigate the unbelievable phenomena of language",
    "hello world, hello there, how are you today? the world is wide",
]
CASES: list[tuple[str, dict[str, Any]]] = [
    ("tokenizers/bert_vocab", {"vocab_size": 80}),
    ("tokenizers/bert_vocab", {"vocab_size": 60, "special_tokens_map": {"[MASK]": "<mask>"}}),
    ("tokenizers/byte_level", {"vocab_size": 300, "new_special_tokens": ["<new>"], "min_frequency": 2}),
    ("tokenizers/words", {"vocab_size": 30}),
    ("slow_tokenizers/t5", {"vocab_size": 60}),
]


def main() -> None:
    recorded = []
    for name, settings in CASES:
        tokenizer = AutoTokenizer.from_pretrained(FIXTURES / name)
        trained = tokenizer.train_new_from_iterator([TEXTS[:2], TEXTS[2:]], **settings)
        case: dict[str, Any] = {
            "fixture": name,
            "settings": settings,
            "length": len(trained),
            "special_tokens_map": trained.special_tokens_map,
            "model_max_length": trained.model_max_length,
        }
        if "t5" not in name:
            case["extra_special_tokens"] = trained.extra_special_tokens
            case["specials"] = [trained.convert_tokens_to_ids(token) for token in trained.all_special_tokens]
        if "bert" not in name and "t5" not in name:
            case["vocab"] = trained.get_vocab()
            case["ids"] = trained(TEXTS[0], TEXTS[1])["input_ids"]
        recorded.append(case)
    text = json.dumps({"texts": TEXTS, "cases": recorded}, ensure_ascii=False, indent=1)
    (FIXTURES / "trained_tokenizers.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
