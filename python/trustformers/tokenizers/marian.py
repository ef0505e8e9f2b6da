"""MarianMT's tokenizer, which splits sources and targets with models of their own."""

from __future__ import annotations

from typing import Any, ClassVar

from .._engine import Tokenizer
from .kinds import NamedTokenizer


class PairTokenizer(NamedTokenizer):
    """A tokenizer with a SentencePiece model for each of two languages, and one or two vocabularies.

    :param source_spm: the model of the language that is translated.
    :param target_spm: that of the language that it is translated to.
    :param vocab: the ids of the pieces.
    :param target_vocab_file: those of the target, with `separate_vocabs`.
    """

    optional_files: ClassVar[tuple[str, ...]] = ("target_vocab_file",)
    separate_vocabs: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take the files, and what `NamedTokenizer` takes."""
        super().__init__(*args, **kwargs)
        vocab = {} if self.separate_vocabs else self.get_vocab()
        codes = (token for token in sorted(vocab, key=vocab.__getitem__) if token.startswith(">>"))
        #: What a text may begin with to say the language that it is translated to.
        self.supported_language_codes: list[str] = [code for code in codes if code.endswith("<<")]
        self._targets = self._tokenizer if self._files.get("target_spm") is None else self._of_targets()

    def _of_targets(self) -> Tokenizer:
        vocab = self._files["target_vocab_file" if self.separate_vocabs else "vocab"]
        settings = self._plain({**self.keywords, **self.special_tokens_map})
        files = {"source_spm": self._files["target_spm"], "vocab": vocab}
        engine = Tokenizer.from_vocabulary(self.kind, settings, files=files)
        engine.add_tokens(list(self.added_tokens_decoder.values()))
        engine.set_special_tokens_of(self.kind, settings)
        return engine

    def _target_engine(self) -> Tokenizer:
        return self._targets

    def _decode(self, rows: list[Any], skip_special_tokens: bool, clean_up: bool) -> list[str]:
        texts = self._targets.decode_batch(rows, skip_special_tokens)
        return [self.clean_up_tokenization(text) for text in texts] if clean_up else texts
