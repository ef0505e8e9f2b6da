"""What a tokenizer does with a call, in a form that JSON holds.

Written by reference/tokenizer_cases.py, read by the tests.

Everything here works with the tokenizers of transformers as well as with ours, and so knows neither.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

FIXTURES = Path(__file__).parent / "fixtures" / "tokenizers"


def perform(tokenizer: Any, case: dict[str, Any]) -> Any:
    """Do what a case says with a tokenizer and give the outcome."""
    for name, value in case.get("set", {}).items():
        setattr(tokenizer, name, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return plain(value_of(tokenizer, case))
    except Exception as error:
        return {"error": [kind.__name__ for kind in type(error).__mro__]}


def value_of(tokenizer: Any, case: dict[str, Any]) -> Any:
    """Get, or call, what a case names."""
    if case["do"] == "get":
        return getattr(tokenizer, case["args"][0])
    if case["do"] == "repr":
        return repr(tokenizer).replace(tokenizer.name_or_path, "")
    if case["do"] == "len":
        return len(tokenizer)
    if case["do"] == "spans":
        return spans(tokenizer(*case["args"], **case.get("kwargs", {})))
    value = getattr(tokenizer, case["do"])(*case["args"], **case.get("kwargs", {}))
    return with_rows(value) if case["do"] == "__call__" else value


def with_rows(encoded: Any) -> dict[str, Any]:
    """The output of a call, and all that its rows know."""
    rows = [
        {
            "tokens": row.tokens,
            "word_ids": row.word_ids,
            "sequence_ids": row.sequence_ids,
            "offsets": row.offsets,
            "special_tokens_mask": row.special_tokens_mask,
        }
        for row in encoded.encodings
    ]
    return {"data": dict(encoded), "rows": rows, "n_sequences": encoded.n_sequences}


def spans(encoded: Any) -> list[Any]:
    """Every way from tokens to words to characters and back, for every index and a few beyond."""
    answers = []
    for row in range(len(encoded["input_ids"])):
        for index in range(len(encoded["input_ids"][row]) + 2):
            answers += [encoded.token_to_sequence(row, index), encoded.token_to_word(row, index)]
            answers += [encoded.token_to_chars(row, index)]
            for sequence in (0, 1):
                answers += [encoded.word_to_tokens(row, index, sequence)]
                answers += [encoded.char_to_token(row, index, sequence)]
                answers += [encoded.char_to_word(row, index, sequence)]
    return answers


def plain(value: Any) -> Any:
    """Turn a value into what JSON gives back."""
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype), "shape": list(value.shape)}
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (str, int, float, type(None))):
        return value
    return repr(value)
