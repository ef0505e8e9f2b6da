"""The tokenizers of every kind under transformers' names, made from the engine's table.

``named.pyi`` says the same to type checkers; ``make stubs`` writes it.
"""

from __future__ import annotations

import json
from typing import Any

from .. import _engine
from .bert import WordPieceTokenizer
from .kinds import NamedTokenizer
from .languages import LanguageTokenizer
from .marian import PairTokenizer
from .rules import token_of

_KINDS: list[dict[str, Any]] = _engine.tokenizer_kinds()
#: Class to the kind that it is. All of them are what transformers 4 called fast.
_CLASSES = {name: about for about in _KINDS for name in about["classes"]}

#: Model type to class.
BY_MODEL_TYPE: dict[str, str] = {
    model_type: about["classes"][0] for about in _KINDS for model_type in about["model_types"]
}
__all__ = sorted({name + end for name in _CLASSES for end in ("", "Fast")})


def __getattr__(name: str) -> Any:
    if name in globals():
        return globals()[name]
    plain = name.removesuffix("Fast")
    if plain not in _CLASSES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    # Of several threads that make it at once, one makes the class that stays.
    made = globals().setdefault(plain, globals().get(plain) or _make(plain))
    return globals().setdefault(name, made)


def __dir__() -> list[str]:
    return __all__


def _make(name: str) -> type[NamedTokenizer]:
    about = _CLASSES[name]
    keywords = json.loads(about["keywords"])
    base: type[NamedTokenizer] = NamedTokenizer
    body: dict[str, Any] = {}
    if "tokenize_chinese_chars" in keywords:
        base = WordPieceTokenizer
    elif "separate_vocabs" in keywords:
        base = PairTokenizer
    elif about["languages"] is not None:
        base = LanguageTokenizer
        body["languages"] = about["languages"]
    body |= {
        "__module__": "trustformers.tokenizers",
        "__doc__": f"transformers' ``{name}``. {base.__doc__}",
        "kind": about["classes"][0],
        "keywords": {
            key: token_of(value) if isinstance(value, dict) else value for key, value in keywords.items()
        },
        "vocab_files_names": dict(about["files"]),
        "model_input_names": list(about["model_input_names"]),
        "padding_side": about["padding_side"],
        "vocabulary_only": about["vocabulary_only"],
    }
    return type(name, (base,), body)
