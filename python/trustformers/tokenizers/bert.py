"""WordPiece, whose way to read text may be set beside a `tokenizer.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .._engine import Tokenizer
from .kinds import NamedTokenizer


class WordPieceTokenizer(NamedTokenizer):
    """A tokenizer that reads text as BERT does.

    :param do_lower_case: whether text is lowercased.
    :param strip_accents: whether accents are dropped; if nothing is said, they are where text is lowercased.
    :param tokenize_chinese_chars: whether every CJK ideograph is a word of its own. These three override
        what a `tokenizer.json` does; with a bare vocabulary, nothing said is `True`, `None` and `True`.
    """

    said_by_tokenizer_file: ClassVar[tuple[str, ...]] = (
        *NamedTokenizer.said_by_tokenizer_file,
        "do_lower_case",
        "strip_accents",
        "tokenize_chinese_chars",
    )
    do_lower_case: bool
    strip_accents: bool | None
    tokenize_chinese_chars: bool

    def _told(self, engine: Tokenizer, given: Mapping[str, Any]) -> dict[str, Any]:
        """Set what is asked for, and say what the engine does."""
        names = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
        asked = {name: given[name] for name in names if given.get(name) is not None}
        if asked:
            engine.set_bert_options(**asked)
        return engine.bert_options or {}
