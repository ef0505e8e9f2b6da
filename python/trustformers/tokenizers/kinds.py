"""Tokenizers that the engine knows by name: from a `tokenizer.json`, or from the files there were before."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from .. import _engine
from .._engine import AddedToken, Tokenizer
from .fast import PreTrainedTokenizerFast, engine_of

#: The order of special tokens where there is nothing else.
_FIRST = ("pad", "unk", "cls", "bos", "sep", "eos", "mask")


class NamedTokenizer(PreTrainedTokenizerFast):
    """A tokenizer of one of transformers' classes, over the vocabulary in its files.

    :param args: the vocabulary (its files in the order of `vocab_files_names`, or what they hold), then the
        keywords in the order of `keywords`.
    :param kwargs: the same by name: `vocab`, `merges`, `vocab_file`, ..., special tokens and settings. A
        `tokenizer_file` or a `tokenizer_object` is taken as it is.
    :raises ValueError: for files that are damaged, and for a vocabulary of another kind.
    :raises OSError: for files that cannot be read.
    """

    #: The class of transformers whose tokenizer this is.
    kind: ClassVar[str] = ""
    #: What can be said beside the vocabulary, with the defaults.
    keywords: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Make it from a vocabulary, or from a whole tokenizer as `PreTrainedTokenizerFast` does."""
        given = self._by_name(args, kwargs)
        files = {name: given.pop(name, None) for name in {*self.vocab_files_names, "vocab_file"}}
        tokenizer_file = files.pop("tokenizer_file", None)
        whole = given.pop("tokenizer_object", None)
        vocab, merges = given.pop("vocab", None), given.pop("merges", None)
        settings = {**self.keywords, **given}
        for name, usual in self.keywords.items():
            if isinstance(usual, AddedToken) and isinstance(settings[name], str):
                settings[name] = AddedToken(**{**usual.__getstate__(), "content": settings[name]})
        self._files = {name: os.fspath(path) for name, path in files.items() if path is not None}
        self.vocab_file: str | None = self._files.get("vocab_file")
        made = whole is None and tokenizer_file is None
        if made:
            engine = self._from_vocabulary(vocab, merges, settings)
        else:
            if args or vocab is not None:
                raise TypeError("give a vocabulary or a whole tokenizer, not both: leave out vocab")
            engine = engine_of(whole, tokenizer_file)
        settings.update(self._told(engine, given))
        self._add_extra_tokens(settings, engine, made)
        super().__init__(tokenizer_object=engine, **settings)
        if made:
            self._mark_special_tokens()
        if made and not (given.get("add_bos_token") or given.get("add_eos_token")):
            self._tokenizer.set_special_tokens_of(self.kind, self._plain(settings))
        for name in self.keywords:
            if not name.endswith("_token") and not hasattr(self, name):
                setattr(self, name, settings[name])

    def _mark_special_tokens(self) -> None:
        """Give special tokens that are in the vocabulary the flags that they are given with."""
        tokens = self.all_special_tokens_extended
        self._add_tokens(
            [AddedToken(t, special=True, normalized=False) if isinstance(t, str) else t for t in tokens], True
        )

    @classmethod
    def _by_name(cls, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Give positional arguments their names, and paths those of files."""
        files = [name for name in cls.vocab_files_names if name != "tokenizer_file"]
        names = [*files, *cls.keywords]
        if len(args) > len(names):
            raise TypeError(
                f"{cls.__name__} takes at most {len(names)} positional arguments, got {len(args)}"
            )
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        held = {"vocab_file": "vocab", "merges_file": "merges"}
        for file, content in held.items():
            if file in files and isinstance(given.get(content), (str, os.PathLike)):
                given[file] = given.pop(content)
            elif (
                file in files
                and given.get(file) is not None
                and not isinstance(given[file], (str, os.PathLike))
            ):
                given[content] = given.pop(file)
        return given

    def _from_vocabulary(self, vocab: Any, merges: Any, settings: Mapping[str, Any]) -> Tokenizer:
        if vocab is None and not self._files:
            vocab, merges = self._smallest(settings)
        if isinstance(vocab, Mapping):
            vocab = dict(vocab)
        return Tokenizer.from_vocabulary(
            self.kind, self._plain(settings), files=self._files, vocab=vocab, merges=merges
        )

    def _smallest(self, settings: Mapping[str, Any]) -> tuple[Any, Any]:
        """Give the vocabulary of the special tokens alone."""
        named = [settings.get(f"{name}_token") for name in _FIRST]
        tokens = dict.fromkeys(str(token) for token in named if token is not None)
        ids = {token: index for index, token in enumerate(tokens)}
        if "merges_file" in self.vocab_files_names:
            return ids, []
        model = str(self.vocab_files_names.get("vocab_file", "")).endswith(".model")
        return ([(token, 0.0) for token in ids] if model else ids), None

    def _told(self, engine: Tokenizer, given: Mapping[str, Any]) -> dict[str, Any]:
        """Say which settings are others than those asked for, because the engine has them."""
        return {}

    def _add_extra_tokens(self, settings: dict[str, Any], engine: Tokenizer, made: bool) -> None:
        """Put the special tokens that a class has without a name before those that are given."""
        given = (
            settings.pop("extra_special_tokens", None)
            or settings.pop("additional_special_tokens", None)
            or []
        )
        settings.pop("additional_special_tokens", None)
        if isinstance(given, (list, tuple)):
            given = list(given)
            known = set(map(str, given))
            own = _engine.extra_special_tokens(self.kind, self._plain(settings))
            # What a tokenizer.json does not have is not put into it.
            own = [token for token in own if made or engine.token_to_id(token) is not None]
            if not known.issuperset(own):
                given = [*own, *(token for token in given if str(token) not in own)]
        if given:
            settings["extra_special_tokens"] = given

    @classmethod
    def _plain(cls, settings: Mapping[str, Any]) -> str:
        """Write settings as the engine takes them."""
        said: dict[str, str | int | float | None] = {}
        for name, value in settings.items():
            if name.endswith("_token") and value is not None and not isinstance(value, bool):
                said[name] = str(value)
            elif value is None or isinstance(value, (str, int, float)):
                said[name] = value
        return json.dumps(said)

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Write the vocabulary, without added tokens, as the files of `vocab_files_names`.

        :raises ValueError: where they are copies of files that are gone, as SentencePiece models are.
        """
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        names = [name for name in self.vocab_files_names if name != "tokenizer_file"]
        paths = {name: Path(save_directory, prefix + self.vocab_files_names[name]) for name in names}
        if set(names) == {"vocab_file"} and self.vocab_files_names["vocab_file"].endswith(".txt"):
            vocab = self._tokenizer.get_vocab(False)
            lines = (f"{token}\n" for token in sorted(vocab, key=vocab.__getitem__))
            paths["vocab_file"].write_text("".join(lines), encoding="utf-8")
        elif set(names) == {"vocab_file", "merges_file"}:
            model = json.loads(self._tokenizer.to_str())["model"]
            paths["vocab_file"].write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
            merges = (merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"])
            lines = (f"{merge}\n" for merge in ("#version: 0.2", *merges))
            paths["merges_file"].write_text("".join(lines), encoding="utf-8")
        else:
            for name in names:
                source = self._files.get(name)
                if source is None and name == "target_vocab_file":
                    del paths[name]
                elif source is None or not os.path.isfile(source):
                    raise ValueError(
                        f"{type(self).__name__} was not made from a {self.vocab_files_names[name]}, or it is "
                        "gone: leave out legacy_format=True"
                    )
                elif os.path.abspath(source) != os.path.abspath(paths[name]):
                    shutil.copyfile(source, paths[name])
        return tuple(map(str, paths.values()))
