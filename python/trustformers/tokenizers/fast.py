"""Tokenizers on the engine: one `tokenizer.json`, followed to the letter."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from .._engine import AddedToken, EncodedBatch, Tokenizer
from .base import LARGE_INTEGER, PreTrainedTokenizerBase, TextInputs
from .batch_encoding import BatchEncoding, converter, no_tensor
from .decoding import warn_about
from .strategies import PaddingStrategy, TensorType, TruncationStrategy

_T = TypeVar("_T", bound="PreTrainedTokenizerFast")

_NOT_TEXT = (
    "text input must be of type `str` (single example), `list[str]` (batch or single pretokenized example) "
    "or `list[list[str]]` (batch of pretokenized examples) or `list[tuple[list[str], list[str]]]` (batch of "
    "pretokenized sequence pairs)."
)


class PreTrainedTokenizerFast(PreTrainedTokenizerBase):
    """A tokenizer made from a `tokenizer.json`.

    :param tokenizer_file: the path of the file.
    :param tokenizer_object: a tokenizer of the engine or of the package `tokenizers`, which is copied.
    :param vocab_file: a SentencePiece model or a tiktoken file, where there is no `tokenizer.json`.
    :param add_bos_token: whether the template is replaced by one that starts with `bos_token`.
    :param add_eos_token: whether the template is replaced by one that ends with `eos_token`.
    :param kwargs: special tokens by name, and what `PreTrainedTokenizerBase` takes.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {
        "vocab_file": "tokenizer.model",
        "tokenizer_file": "tokenizer.json",
    }
    said_by_tokenizer_file: ClassVar[tuple[str, ...]] = ("add_bos_token", "add_eos_token")
    is_fast: ClassVar[bool] = True

    def __init__(
        self,
        *,
        tokenizer_object: Any = None,
        tokenizer_file: str | os.PathLike[str] | None = None,
        vocab_file: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Take a tokenizer as a file or as an object, and special tokens and settings by name."""
        if tokenizer_object is None and tokenizer_file is None and vocab_file is not None:
            settings = {name: kwargs[name] for name in ("legacy",) if name in kwargs}
            self._tokenizer = Tokenizer.from_vocabulary(
                "TokenizersBackend", json.dumps(settings), files={"vocab_file": os.fspath(vocab_file)}
            )
            kwargs["added_tokens_decoder"] = self._without_gaps(kwargs.get("added_tokens_decoder", {}))
        else:
            self._tokenizer = engine_of(tokenizer_object, tokenizer_file)
        if (truncation := self._tokenizer.truncation) is not None:
            kwargs.setdefault("max_length", truncation["max_length"])
            kwargs.setdefault("truncation_side", truncation["direction"])
            kwargs.setdefault("stride", truncation["stride"])
            kwargs.setdefault("truncation_strategy", truncation["strategy"])
        if (padding := self._tokenizer.padding) is not None:
            kwargs.setdefault("pad_token", padding["pad_token"])
            kwargs.setdefault("pad_token_type_id", padding["pad_type_id"])
            kwargs.setdefault("padding_side", padding["direction"])
            kwargs.setdefault("max_length", padding["length"])
            kwargs.setdefault("pad_to_multiple_of", padding["pad_to_multiple_of"])
        kwargs.setdefault("backend", "tokenizers")
        templated = "add_bos_token" in kwargs or "add_eos_token" in kwargs
        self._add_bos_token: bool = kwargs.get("add_bos_token", False)
        self._add_eos_token: bool = kwargs.get("add_eos_token", False)
        self.add_prefix_space: bool = kwargs.get("add_prefix_space", False)
        super().__init__(**kwargs)
        self._add_missing_tokens(kwargs.get("added_tokens_decoder", {}))
        if templated or not self._tokenizer.has_template:
            self.update_post_processor()

    def _without_gaps(self, listed: Mapping[int, AddedToken]) -> dict[int, AddedToken]:
        """Fill up the ids behind the vocabulary, so that each added token gets its own."""
        filled = dict(listed)
        for index in range(self._tokenizer.get_vocab_size(False), max(listed, default=-1)):
            filled.setdefault(index, AddedToken(f"<|reserved_token_{index}|>", special=True))
        return filled

    def _add_missing_tokens(self, listed: Mapping[int, AddedToken]) -> None:
        """Add the tokens that the configuration lists, and the special tokens that the vocabulary lacks."""
        tokens = [token for _, token in sorted(listed.items())]
        known = {*self.added_tokens_encoder, *map(str, tokens)}
        named = set(self.special_tokens_map.values())
        for token in self.all_special_tokens_extended:
            if str(token) not in known:
                tokens.append(AddedToken(token, special=True) if isinstance(token, str) else token)
        self._add_tokens([token.as_special() if str(token) in named else token for token in tokens], False)

    def update_post_processor(self) -> None:
        """Make the template anew, as `add_bos_token` and `add_eos_token` say."""
        bos = self.bos_token if self._add_bos_token else None
        eos = self.eos_token if self._add_eos_token else None

        def around(sequence: str, type_id: int) -> str:
            pieces = [bos, sequence, eos]
            return " ".join(f"{piece}:{type_id}" for piece in pieces if piece is not None)

        special = [(token, self._id_of(token) or 0) for token in (bos, eos) if token is not None]
        self._tokenizer.set_template(around("$A", 0), f"{around('$A', 0)} {around('$B', 1)}", special)

    @property
    def add_bos_token(self) -> bool:
        """Whether the template starts with `bos_token`; setting it replaces the template."""
        return self._add_bos_token

    @add_bos_token.setter
    def add_bos_token(self, value: bool) -> None:
        self._add_bos_token = value
        self.update_post_processor()

    @property
    def add_eos_token(self) -> bool:
        """Whether the template ends with `eos_token`; setting it replaces the template."""
        return self._add_eos_token

    @add_eos_token.setter
    def add_eos_token(self, value: bool) -> None:
        self._add_eos_token = value
        self.update_post_processor()

    def _encode(
        self,
        text: TextInputs | Sequence[int],
        text_pair: TextInputs | Sequence[int] | None = None,
        *,
        engine: Tokenizer | None = None,
        is_ids: bool = False,
        add_special_tokens: bool = True,
        padding: bool | str | PaddingStrategy = False,
        truncation: bool | str | TruncationStrategy | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | TensorType | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        split_special_tokens: bool | None = None,
        **kwargs: Any,
    ) -> BatchEncoding[Any]:
        warn_about(kwargs)
        padded, truncated, max_length = self._strategies(
            padding, truncation, max_length, pad_to_multiple_of, verbose
        )
        tensor_type = None if return_tensors is None else TensorType(return_tensors)
        inputs: Sequence[Any]
        if is_ids:
            inputs, batched = [[*text] if text_pair is None else ([*text], [*text_pair])], False
        else:
            inputs, batched = _inputs(text, text_pair, is_split_into_words)
        options: dict[str, Any] = {}
        if truncated is not TruncationStrategy.DO_NOT_TRUNCATE:
            options.update(
                truncation=truncated.value,
                max_length=max_length,
                stride=stride,
                truncation_side=self.truncation_side,
            )
        if padded is not PaddingStrategy.DO_NOT_PAD:
            options.update(
                padding=padded.value,
                pad_to_multiple_of=pad_to_multiple_of,
                padding_side=self.padding_side if padding_side is None else padding_side,
                pad_id=self.pad_token_id,
                pad_type_id=self.pad_token_type_id,
                pad_token=self.pad_token,
            )
            if padded is PaddingStrategy.MAX_LENGTH:
                options["max_length"] = max_length
        batch = (self._tokenizer if engine is None else engine).encode_batch(
            inputs,
            is_pretokenized=is_split_into_words,
            is_ids=is_ids,
            add_special_tokens=add_special_tokens,
            split_special_tokens=self.split_special_tokens
            if split_special_tokens is None
            else split_special_tokens,
            return_overflowing_tokens=return_overflowing_tokens,
            **options,
        )
        if verbose and max_length is None:
            self._warn_about_length(batch)

        def wanted(name: str, flag: bool | None) -> bool:
            return name in self.model_input_names if flag is None else flag

        returned = {
            "input_ids": True,
            "token_type_ids": wanted("token_type_ids", return_token_type_ids),
            "attention_mask": wanted("attention_mask", return_attention_mask),
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
            "length": return_length,
            "overflow_to_sample_mapping": return_overflowing_tokens,
        }
        keys = [key for key, flag in returned.items() if flag]
        if tensor_type is not None:
            return BatchEncoding(_tensors(batch, keys, tensor_type), batch)
        lists = {key: batch.lists(key) for key in keys}
        if not batched and not return_overflowing_tokens:
            lists = {key: value[0] if isinstance(value[0], list) else value for key, value in lists.items()}
        return BatchEncoding(lists, batch)

    def _target_engine(self) -> Tokenizer:
        """Give the tokenizer that targets are encoded with."""
        return self._tokenizer

    def _encode_target(
        self, text: TextInputs, text_pair: TextInputs | None, **options: Any
    ) -> BatchEncoding[Any]:
        return self._encode(text, text_pair, engine=self._target_engine(), **options)

    def _warn_about_length(self, batch: EncodedBatch) -> None:
        if LARGE_INTEGER >= self.model_max_length > 0 and batch.longest > self.model_max_length:
            self._warn_once(
                "sequence-length-is-longer-than-the-specified-maximum",
                "Token indices sequence length is longer than the specified maximum sequence length for this "
                f"model ({batch.longest} > {self.model_max_length}). Running this sequence through the model "
                "will result in indexing errors",
            )

    def _warn_once(self, about: str, message: str) -> None:
        if not self.deprecation_warnings.get(about):
            import logging

            logging.getLogger("trustformers").warning(message)
            self.deprecation_warnings[about] = True

    def _decode(self, rows: list[Any], skip_special_tokens: bool, clean_up: bool) -> list[str]:
        texts = self._tokenizer.decode_batch(rows, skip_special_tokens)
        if not clean_up:
            return texts
        # The cleaning is made for WordPiece: it would eat spaces that byte-pair models encode on purpose.
        insists = self.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output
        if self._tokenizer.model_type == "BPE" and not insists:
            self._warn_once(
                "clean-up-of-bpe",
                "Ignoring clean_up_tokenization_spaces=True for a BPE tokenizer: made for WordPiece, it "
                "takes spaces away that were in the text. Leave it out, or have it done by setting "
                "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output=True.",
            )
            return texts
        return [self.clean_up_tokenization(text) for text in texts]

    def _id_of(self, token: str) -> int | None:
        index = self._tokenizer.token_to_id(token)
        if index is not None:
            return index
        unknown = self.unk_token
        return None if unknown is None else self._tokenizer.token_to_id(unknown)

    def _token_of(self, index: int) -> str | None:
        return self._tokenizer.id_to_token(index)

    def _add_tokens(self, tokens: list[Any], special_tokens: bool) -> int:
        if not tokens:
            return 0
        return (self._tokenizer.add_special_tokens if special_tokens else self._tokenizer.add_tokens)(tokens)

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Join tokens to text."""
        return self._tokenizer.join(tokens)

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens go around one sequence, or around two."""
        return self._tokenizer.num_special_tokens_to_add(pair)

    def prepare_for_model(
        self,
        ids: Sequence[int],
        pair_ids: Sequence[int] | None = None,
        add_special_tokens: bool = True,
        prepend_batch_axis: bool = False,
        **options: Any,
    ) -> BatchEncoding[Any]:
        """Truncate ids, put special tokens around them and pad them, with the options of `__call__`."""
        encoded = self._encode(ids, pair_ids, add_special_tokens=add_special_tokens, is_ids=True, **options)
        if options.get("return_tensors") is not None and not prepend_batch_axis:
            return BatchEncoding({key: value[0] for key, value in encoded.items()}, encoded.encodings)
        return encoded

    def build_inputs_with_special_tokens(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Put special tokens around ids that have none."""
        return self._encode(token_ids_0, token_ids_1, is_ids=True)[0].ids

    def create_token_type_ids_from_sequences(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """The token types of `build_inputs_with_special_tokens`."""
        return self._encode(token_ids_0, token_ids_1, is_ids=True)[0].type_ids

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """Give 1 for special tokens and 0 for others, in ids that have them already or will get them."""
        if not already_has_special_tokens:
            return self._encode(token_ids_0, token_ids_1, is_ids=True)[0].special_tokens_mask
        if token_ids_1 is not None:
            raise ValueError(
                "You should not supply a second sequence if the provided sequence of ids is already "
                "formatted with special tokens for the model."
            )
        special = set(self.all_special_ids)
        return [int(int(index) in special) for index in token_ids_0]

    def train_new_from_iterator(
        self: _T,
        text_iterator: Iterable[str | Sequence[str]],
        vocab_size: int,
        length: int | None = None,
        new_special_tokens: Sequence[str | AddedToken] | None = None,
        special_tokens_map: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> _T:
        """Make a tokenizer of the same parts whose vocabulary is learned from texts.

        :param text_iterator: texts, or lists of them; each is read once.
        :param vocab_size: how many tokens there shall be, special ones among them.
        :param length: how many texts there are; nobody needs to know.
        :param new_special_tokens: special tokens beside those that there are.
        :param special_tokens_map: other names for special tokens that there are.
        :param kwargs: settings of the trainer: `min_frequency`, `limit_alphabet`, `max_token_length`, ...
        :raises ValueError: for settings that it does not have, and for a tokenizer that cannot be trained.
        :raises TypeError: for what is no text.
        """
        from .learning import train_new

        return train_new(self, text_iterator, vocab_size, new_special_tokens, special_tokens_map, kwargs)

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The tokenizer of the engine."""
        return self._tokenizer

    @property
    def vocab_size(self) -> int:
        """The size of the vocabulary without added tokens."""
        return self._tokenizer.get_vocab_size(False)

    def __len__(self) -> int:
        """Give the size of the vocabulary with added tokens."""
        return self._tokenizer.get_vocab_size(True)

    def get_vocab(self) -> dict[str, int]:
        """Every token with its id."""
        return self._tokenizer.get_vocab(True)

    @property
    def vocab(self) -> dict[str, int]:
        """Every token with its id."""
        return self.get_vocab()

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The added tokens by id."""
        return self._tokenizer.get_added_tokens_decoder()

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """The ids of the added tokens."""
        return {str(token): index for index, token in self.added_tokens_decoder.items()}

    def get_added_vocab(self) -> dict[str, int]:
        """The ids of the added tokens."""
        return self.added_tokens_encoder


#: What transformers 5 calls it.
TokenizersBackend = PreTrainedTokenizerFast


def engine_of(tokenizer_object: Any, tokenizer_file: str | os.PathLike[str] | None) -> Tokenizer:
    """Copy a tokenizer of the engine or of the package `tokenizers`, or read a file."""
    if isinstance(tokenizer_object, Tokenizer):
        return copy.copy(tokenizer_object)
    if tokenizer_object is not None:  # of the package `tokenizers`
        return Tokenizer.from_str(tokenizer_object.to_str())
    if tokenizer_file is not None and os.path.isfile(tokenizer_file):
        return Tokenizer.from_file(tokenizer_file)
    given = (
        "nothing was given" if tokenizer_file is None else f"there is no file {os.fspath(tokenizer_file)!r}"
    )
    raise ValueError(
        f"Couldn't instantiate the backend tokenizer: {given}. Give tokenizer_file=... (a tokenizer.json) or "
        "tokenizer_object=... (a tokenizer)"
    )


def _inputs(text: Any, text_pair: Any, words: bool) -> tuple[list[Any] | tuple[Any, ...], bool]:
    """Give the inputs of a batch, and whether they were given as a batch."""
    if not _is_text(text) or (text_pair is not None and not _is_text(text_pair)):
        raise ValueError(_NOT_TEXT)
    batched = isinstance(text, (list, tuple))
    if words:
        batched = batched and len(text) > 0 and isinstance(text[0], (list, tuple))
    if not batched:
        return [(text, text_pair)] if text_pair else [text], False
    if isinstance(text_pair, str):
        raise TypeError(
            "when tokenizing batches of text, `text_pair` must be a list or tuple with the same length as"
            " `text`."
        )
    if not text:
        raise IndexError("list index out of range: the batch is empty, give at least one text")
    if text_pair is None:
        return text, True
    if len(text) != len(text_pair):
        raise ValueError(
            f"batch length of `text`: {len(text)} does not match batch length of `text_pair`:"
            f" {len(text_pair)}."
        )
    return list(zip(text, text_pair, strict=True)), True


def _is_text(text: Any, depth: int = 3) -> bool:
    """Whether it looks like text, or like lists of text, judging by what comes first."""
    if isinstance(text, str):
        return True
    return isinstance(text, (list, tuple)) and depth > 0 and (not text or _is_text(text[0], depth - 1))


def _tensors(batch: EncodedBatch, keys: Sequence[str], tensor_type: TensorType) -> dict[str, Any]:
    _, make = converter(tensor_type)
    tensors = {}
    for key in keys:
        try:
            tensors[key] = make(batch.array(key))
        except ValueError as error:  # rows of different lengths
            if tensor_type is not TensorType.NUMPY:
                raise no_tensor(key) from error
            tensors[key] = make(batch.lists(key))
    return tensors
