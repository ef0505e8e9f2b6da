"""Tokenizers that mark a text with its language."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

from .._engine import Tokenizer
from .batch_encoding import BatchEncoding
from .kinds import NamedTokenizer


class LanguageTokenizer(NamedTokenizer):
    """A tokenizer that puts the token of a language beside a text.

    :param src_lang: the language of texts.
    :param tgt_lang: that of targets (`text_target`).
    """

    #: The codes of the languages, how a token is spelled, the default, and whether it stands before the text.
    languages: ClassVar[tuple[list[str], str, str, bool]] = ([], "{}", "", False)
    prefix_tokens: list[int]
    suffix_tokens: list[int]

    def __init__(
        self, *args: Any, src_lang: str | None = None, tgt_lang: str | None = None, **kwargs: Any
    ) -> None:
        """Take the languages, and what `NamedTokenizer` takes."""
        super().__init__(*args, src_lang=src_lang, tgt_lang=tgt_lang, **kwargs)
        codes, token, default, _ = self.languages
        known = self.get_vocab()
        codes = [code for code in codes if token.format(code) in known]
        #: The ids of the languages' tokens.
        self.lang_code_to_id: dict[str, int] = {code: known[token.format(code)] for code in codes}
        self.lang_code_to_token = {code: token.format(code) for code in codes}
        self.lang_token_to_id = {token.format(code): index for code, index in self.lang_code_to_id.items()}
        self.id_to_lang_token = {index: token for token, index in self.lang_token_to_id.items()}
        self.tgt_lang = tgt_lang
        self.src_lang = default if src_lang is None else src_lang

    @property
    def src_lang(self) -> str:
        """The language of texts; setting it places its token."""
        return self._src_lang

    @src_lang.setter
    def src_lang(self, lang: str) -> None:
        self._src_lang = lang
        self.set_src_lang_special_tokens(lang)

    def get_lang_token(self, lang: str) -> str:
        """The token of a language.

        :raises KeyError: for a language that the model does not know.
        """
        return self.lang_code_to_token[lang]

    def get_lang_id(self, lang: str) -> int:
        """The id of a language's token.

        :raises KeyError: for a language that the model does not know.
        """
        return self.lang_code_to_id[lang]

    def set_src_lang_special_tokens(self, src_lang: str) -> None:
        """Mark texts with a language from now on."""
        self.prefix_tokens, self.suffix_tokens = self._place(self._tokenizer, src_lang)
        self.cur_lang_code = self.cur_lang_code_id = self.cur_lang_id = self._lang_id(src_lang)

    def set_tgt_lang_special_tokens(self, lang: str) -> None:
        """Mark texts with the language of targets from now on; `text_target` needs no such setting."""
        self.set_src_lang_special_tokens(lang)

    def _switch_to_input_mode(self) -> None:
        self.set_src_lang_special_tokens(self.src_lang)

    def _switch_to_target_mode(self) -> None:
        self.set_tgt_lang_special_tokens(self.src_lang if self.tgt_lang is None else self.tgt_lang)

    def _target_engine(self) -> Tokenizer:
        engine = copy.copy(self._tokenizer)
        self._place(engine, self.src_lang if self.tgt_lang is None else self.tgt_lang)
        return engine

    def _lang_id(self, lang: str) -> int | None:
        if lang not in self.lang_code_to_id and self.languages[1] != "{}":
            raise KeyError(lang)
        return self._id_of(self.languages[1].format(lang))

    def _place(self, engine: Tokenizer, lang: str) -> tuple[list[int], list[int]]:
        """Place the tokens of a language and of the end, and give the ids before and behind a text."""
        index, end = self._lang_id(lang), self.eos_token_id
        if index is None or end is None:
            raise ValueError(f"{lang!r} is no language of this tokenizer, or it has no eos_token")
        first = self.languages[3] and not getattr(self, "legacy_behaviour", False)
        before, behind = ([index], [end]) if first else ([], [end, index])
        tokens = {number: self._token_of(number) or "" for number in (*before, *behind)}
        texts = ["".join(f"{tokens[number]}:0 " for number in numbers) for numbers in (before, behind)]
        texts[1] = texts[1].strip()
        engine.set_template(
            f"{texts[0]}$A:0 {texts[1]}",
            f"{texts[0]}$A:0 $B:0 {texts[1]}",
            [(token, number) for number, token in tokens.items()],
        )
        return before, behind

    def _build_translation_inputs(
        self,
        raw_inputs: Any,
        return_tensors: Any = None,
        src_lang: str | None = None,
        tgt_lang: str | None = None,
        **kwargs: Any,
    ) -> BatchEncoding[Any]:
        """Encode texts to be translated, with the token that the translation begins with.

        :raises ValueError: without both languages.
        """
        if src_lang is None or tgt_lang is None:
            raise ValueError("Translation requires a `src_lang` and a `tgt_lang` for this model")
        self.src_lang = src_lang
        inputs = self(raw_inputs, add_special_tokens=True, return_tensors=return_tensors, **kwargs)
        inputs["forced_bos_token_id"] = self._lang_id(tgt_lang)
        return inputs
