"""BERT's tokenizer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from .._engine import AddedToken, Tokenizer
from .fast import PreTrainedTokenizerFast, engine_of


class BertTokenizer(PreTrainedTokenizerFast):
    """BERT's tokenizer, from a `tokenizer.json` or from a bare vocabulary.

    :param vocab: the tokens with their ids, or the path of a `vocab.txt`; without it, the special tokens.
    :param do_lower_case: whether text is lowercased.
    :param strip_accents: whether accents are dropped; if nothing is said, they are where text is lowercased.
    :param tokenize_chinese_chars: whether every CJK ideograph is a word of its own. These three override
        what a `tokenizer.json` does; with a bare vocabulary, nothing said is `True`, `None` and `True`.
    :param vocab_file: the path of a `vocab.txt`.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {
        "vocab_file": "vocab.txt",
        "tokenizer_file": "tokenizer.json",
    }
    said_by_tokenizer_file: ClassVar[tuple[str, ...]] = (
        *PreTrainedTokenizerFast.said_by_tokenizer_file,
        "do_lower_case",
        "strip_accents",
        "tokenize_chinese_chars",
    )
    model_input_names: list[str] = ["input_ids", "token_type_ids", "attention_mask"]  # noqa: RUF012

    def __init__(
        self,
        vocab: str | os.PathLike[str] | Mapping[str, int] | None = None,
        do_lower_case: bool | None = None,
        unk_token: str | AddedToken = "[UNK]",
        sep_token: str | AddedToken = "[SEP]",
        pad_token: str | AddedToken = "[PAD]",
        cls_token: str | AddedToken = "[CLS]",
        mask_token: str | AddedToken = "[MASK]",
        tokenize_chinese_chars: bool | None = None,
        strip_accents: bool | None = None,
        *,
        vocab_file: str | os.PathLike[str] | None = None,
        tokenizer_object: Any = None,
        tokenizer_file: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Make it from a vocabulary, or from a whole tokenizer as `PreTrainedTokenizerFast` does."""
        self.vocab_file = vocab_file
        asked: dict[str, Any] = {
            "do_lower_case": do_lower_case,
            "strip_accents": strip_accents,
            "tokenize_chinese_chars": tokenize_chinese_chars,
        }
        asked = {name: value for name, value in asked.items() if value is not None}
        if tokenizer_object is not None or tokenizer_file is not None:
            if vocab is not None:
                raise TypeError("give a vocabulary or a whole tokenizer, not both: leave out vocab")
            tokenizer_object = engine_of(tokenizer_object, tokenizer_file)
            if asked:
                tokenizer_object.set_bert_options(**asked)
        else:
            special = (pad_token, unk_token, cls_token, sep_token, mask_token)
            tokenizer_object = Tokenizer.from_bert_vocab(
                _vocab(vocab_file if vocab is None else vocab, map(str, special)),
                **asked,
                unk_token=str(unk_token),
                sep_token=str(sep_token),
                pad_token=str(pad_token),
                cls_token=str(cls_token),
                mask_token=str(mask_token),
            )
        # What is told, and saved, is what the engine does.
        done: dict[str, Any] = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}
        done |= tokenizer_object.bert_options or {}
        self.do_lower_case: bool = done["do_lower_case"]
        self.strip_accents: bool | None = done["strip_accents"]
        self.tokenize_chinese_chars: bool = done["tokenize_chinese_chars"]
        super().__init__(
            tokenizer_object=tokenizer_object,
            tokenizer_file=tokenizer_file,
            unk_token=unk_token,
            sep_token=sep_token,
            pad_token=pad_token,
            cls_token=cls_token,
            mask_token=mask_token,
            **done,
            **kwargs,
        )

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Write the vocabulary, without added tokens, as a `vocab.txt`."""
        vocab = self._tokenizer.get_vocab(False)
        path = Path(save_directory, f"{filename_prefix}-vocab.txt" if filename_prefix else "vocab.txt")
        lines = (f"{token}\n" for token in sorted(vocab, key=vocab.__getitem__))
        path.write_text("".join(lines), encoding="utf-8")
        return (str(path),)


#: The name that transformers 4 gave to the one on a Rust engine. Ours always is.
BertTokenizerFast = BertTokenizer


def _vocab(
    given: str | os.PathLike[str] | Mapping[str, int] | None, special: Iterable[str]
) -> Mapping[str, int]:
    """Give the ids of a vocabulary, of a file with a token on each line, or of the special tokens."""
    if given is None:
        return {token: index for index, token in enumerate(special)}
    if isinstance(given, Mapping):
        return given
    try:
        # Read line by line: str.splitlines also splits at characters that stand in vocabularies as tokens.
        with open(given, encoding="utf-8") as lines:
            return {line.rstrip(): index for index, line in enumerate(lines)}
    except UnicodeDecodeError as error:
        raise ValueError(f"{os.fspath(given)} is not a vocabulary: it is not UTF-8 text ({error})") from error
