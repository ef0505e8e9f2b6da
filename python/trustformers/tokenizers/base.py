"""What every tokenizer can do, whatever it is built on."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, overload

from .._engine import AddedToken
from .._hub import push_folder, push_saved, split_gguf, take_source
from ..asynchronous.pool import in_loading_pool
from ..asynchronous.tokenizers import AsyncTokenizer
from .batch_encoding import BatchEncoding
from .conversations import Conversations
from .decoding import Decoding
from .padding import pad
from .strategies import PaddingStrategy, TensorType, TruncationStrategy

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Unpack

    from .._engine import Tensor
    from .options import EncodingOptions

#: The maximum length of what has none.
VERY_LARGE_INTEGER = int(1e30)
#: What is longer is no real maximum.
LARGE_INTEGER = int(1e20)

TextInput = str
PreTokenizedInput = Sequence[str]
EncodedInput = Sequence[int]
#: A text, a text split into words, a batch of these, or a batch of pairs of them.
TextInputs = (
    TextInput
    | PreTokenizedInput
    | Sequence[PreTokenizedInput]
    | Sequence[tuple[str, str]]
    | Sequence[tuple[PreTokenizedInput, PreTokenizedInput]]
)

_T = TypeVar("_T", bound="PreTrainedTokenizerBase")


class PreTrainedTokenizerBase(Conversations, Decoding, AsyncTokenizer):
    """The base of all tokenizers: arguments, defaults and conveniences.

    :param model_max_length: the longest row that the model takes.
    :param padding_side: "right" or "left".
    :param truncation_side: "right" or "left".
    :param model_input_names: what the model wants to be given.
    :param clean_up_tokenization_spaces: whether decoding removes spaces before punctuation.
    :param split_special_tokens: whether special tokens in a text are read as ordinary text.
    :param chat_template: how a conversation becomes a text, or several ways to do that by name.
    """

    #: The files that a tokenizer is made from, by keyword.
    vocab_files_names: ClassVar[dict[str, str]] = {}
    #: Those of them that may be missing.
    optional_files: ClassVar[tuple[str, ...]] = ()
    #: Whether a `tokenizer.json` cannot say what the tokenizer is.
    vocabulary_only: ClassVar[bool] = False
    #: What a `tokenizer.json` says better than a configuration beside it.
    said_by_tokenizer_file: ClassVar[tuple[str, ...]] = ()
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012  (as in transformers)
    padding_side: str = "right"
    truncation_side: str = "right"

    def __init__(self, **kwargs: Any) -> None:
        """Take settings and special tokens by name; other arguments are kept for `save_pretrained`."""
        for name in kwargs:
            if callable(getattr(type(self), name, None)):
                raise AttributeError(f"{name} conflicts with the method {name} in {type(self).__name__}")
        if "additional_special_tokens" in kwargs and "extra_special_tokens" not in kwargs:
            kwargs["extra_special_tokens"] = kwargs.pop("additional_special_tokens")
        self.init_inputs: tuple[Any, ...] = ()
        self.init_kwargs: dict[str, Any] = copy.deepcopy(kwargs)
        self.name_or_path: str = kwargs.pop("name_or_path", "")
        self.verbose = kwargs.pop("verbose", False)
        self._init_special_tokens(kwargs)

        longest = kwargs.pop("model_max_length", kwargs.pop("max_len", None))
        self.model_max_length: int = VERY_LARGE_INTEGER if longest is None else longest
        self.padding_side = _side("Padding", kwargs.pop("padding_side", self.padding_side))
        self.truncation_side = _side("Truncation", kwargs.pop("truncation_side", self.truncation_side))
        self.model_input_names = list(kwargs.pop("model_input_names", self.model_input_names))
        self.clean_up_tokenization_spaces = kwargs.pop("clean_up_tokenization_spaces", False)
        name = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"
        self.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output = kwargs.pop(name, False)
        self.split_special_tokens: bool = kwargs.pop("split_special_tokens", False)
        template = kwargs.pop("chat_template", None)
        if isinstance(template, (list, tuple)):  # as tokenizer_config.json has several of them
            template = {named["name"]: named["template"] for named in template}
        self.chat_template = template
        #: The tokens beside the special ones that `sanitize_control_tokens` takes for control tokens.
        self.chat_control_tokens: list[str] | None = kwargs.pop("chat_control_tokens", None)
        if not isinstance(self.chat_control_tokens, (list, tuple, type(None))):
            raise TypeError(
                f"`chat_control_tokens` should be a list of strings, got {self.chat_control_tokens!r}"
            )
        self.backend: str | None = kwargs.pop("backend", None)
        self.deprecation_warnings: dict[str, bool] = {}

    @classmethod
    def from_pretrained(
        cls: type[_T],
        pretrained_model_name_or_path: str | os.PathLike[str],
        *init_inputs: Any,
        **kwargs: Any,
    ) -> _T:
        """Load a tokenizer from a folder, a repository of the hub, or a single file.

        :param pretrained_model_name_or_path: the folder, the repository or the file.
        :param kwargs: say where from (`revision`, `subfolder`, `cache_dir`, `local_files_only`,
            `force_download`, `token`, `gguf_file`), or override what the files say: `pad_token="<pad>"`,
            `model_max_length=512`, ...
        :raises OSError: for a model that is not there.
        :raises ValueError: for a model without a tokenizer, and for files that are damaged.
        """
        from .loading import Files, load, load_gguf

        place, gguf_file = split_gguf(pretrained_model_name_or_path, kwargs.pop("gguf_file", None))
        files = Files(place, take_source(kwargs))
        if gguf_file is not None:
            return load_gguf(cls, files, gguf_file, init_inputs, kwargs)
        return load(cls, files, init_inputs, kwargs)

    @classmethod
    async def from_pretrained_async(cls: type[_T], *args: Any, **kwargs: Any) -> _T:
        """:meth:`from_pretrained`, off the event loop."""
        return await in_loading_pool(cls.from_pretrained, *args, **kwargs)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
        push_to_hub: bool = False,
        save_jinja_files: bool = True,
        **kwargs: Any,
    ) -> tuple[str, ...]:
        """Write the files that `from_pretrained` reads, here and in transformers, and give their paths.

        With `push_to_hub` the folder is then uploaded; `kwargs` are those of `push_to_hub`.

        :raises OSError: when a file cannot be written.
        :raises TypeError: for other keywords.
        """
        from .saving import save

        if kwargs and not push_to_hub:
            raise TypeError(f"save_pretrained() got unexpected keyword arguments: {', '.join(kwargs)}")
        written = save(self, save_directory, legacy_format, filename_prefix, save_jinja_files)
        if push_to_hub:
            repo_id = kwargs.pop("repo_id", os.path.basename(os.path.abspath(save_directory)))
            push_folder(save_directory, repo_id, **{"commit_message": "Upload tokenizer", **kwargs})
        return written

    def push_to_hub(self, repo_id: str, *, commit_message: str | None = None, **kwargs: Any) -> Any:
        """Upload the tokenizer to a repository of the hub, which is made if need be.

        :param kwargs: `commit_description`, `private`, `token`, `revision` and `create_pr`.
        :raises ImportError: without `huggingface_hub`, which does it.
        """
        message = commit_message or "Upload tokenizer"
        return push_saved(self.save_pretrained, repo_id, commit_message=message, **kwargs)

    @overload
    def __call__(
        self,
        text: TextInputs | None = None,
        text_pair: TextInputs | None = None,
        text_target: TextInputs | None = None,
        text_pair_target: TextInputs | None = None,
        *,
        return_tensors: Literal["np"],
        **kwargs: Unpack[EncodingOptions],
    ) -> BatchEncoding[npt.NDArray[np.int64]]: ...

    @overload
    def __call__(
        self,
        text: TextInputs | None = None,
        text_pair: TextInputs | None = None,
        text_target: TextInputs | None = None,
        text_pair_target: TextInputs | None = None,
        *,
        return_tensors: Literal["tensor"],
        **kwargs: Unpack[EncodingOptions],
    ) -> BatchEncoding[Tensor]: ...

    @overload
    def __call__(
        self,
        text: TextInputs | None = None,
        text_pair: TextInputs | None = None,
        text_target: TextInputs | None = None,
        text_pair_target: TextInputs | None = None,
        *,
        return_tensors: str | TensorType | None = None,
        **kwargs: Unpack[EncodingOptions],
    ) -> BatchEncoding[Any]: ...

    def __call__(
        self,
        text: TextInputs | None = None,
        text_pair: TextInputs | None = None,
        text_target: TextInputs | None = None,
        text_pair_target: TextInputs | None = None,
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
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        *,
        split_special_tokens: bool | None = None,
        max_target_length: int | None = None,
        **kwargs: Any,
    ) -> BatchEncoding[Any]:
        """Encode a text, a pair of texts, or a batch of them.

        All settings travel with the call: one tokenizer used by any number of threads gives each of them
        what it asked for.

        :param text: a text; a list of texts; with `is_split_into_words` a list of words or of such lists.
        :param text_pair: the second of two texts, or one for each of the first ones.
        :param text_target: texts whose ids are returned as `labels`.
        :param padding: `True` or "longest", "max_length", or `False` for rows of their own lengths.
        :param truncation: `True` or "longest_first", "only_first", "only_second", or `False` for none.
        :param max_length: the length for both; the model's own if nothing is said.
        :param stride: by how many tokens overflowing parts overlap.
        :param return_tensors: "np" (int64), "pt", "tensor", or `None` for lists.
        :param return_overflowing_tokens: whether what truncation cuts off follows as further rows.
        :raises ValueError: for what is no text, and for settings that contradict each other.
        :raises TypeError: for a batch with something in it that is no text.
        """
        if text is None and text_target is None:
            raise ValueError("You need to specify either `text` or `text_target`.")
        options: dict[str, Any] = {
            "add_special_tokens": add_special_tokens,
            "padding": padding,
            "truncation": truncation,
            "max_length": max_length,
            "stride": stride,
            "is_split_into_words": is_split_into_words,
            "pad_to_multiple_of": pad_to_multiple_of,
            "padding_side": padding_side,
            "return_tensors": return_tensors,
            "return_token_type_ids": return_token_type_ids,
            "return_attention_mask": return_attention_mask,
            "return_overflowing_tokens": return_overflowing_tokens,
            "return_special_tokens_mask": return_special_tokens_mask,
            "return_offsets_mapping": return_offsets_mapping,
            "return_length": return_length,
            "verbose": verbose,
            "split_special_tokens": split_special_tokens,
            **(tokenizer_kwargs or {}),
            **kwargs,
        }
        encoded = None if text is None else self._encode(text, text_pair, **options)
        if text_target is None:
            assert encoded is not None  # one of them was given
            return encoded
        if max_target_length is not None:
            options["max_length"] = max_target_length
        target = self._encode_target(text_target, text_pair_target, **options)
        if encoded is None:
            return target
        encoded["labels"] = target["input_ids"]
        return encoded

    def encode(
        self,
        text: TextInputs,
        text_pair: TextInputs | None = None,
        add_special_tokens: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Encode as `__call__` does and give only the ids."""
        return self._encode(text, text_pair, add_special_tokens=add_special_tokens, **kwargs)["input_ids"]

    def encode_plus(
        self,
        text: TextInputs,
        text_pair: TextInputs | None = None,
        add_special_tokens: bool = True,
        **kwargs: Any,
    ) -> BatchEncoding[Any]:
        """Encode as `__call__` does (the name of transformers 4 for a single input)."""
        return self(text, text_pair, add_special_tokens=add_special_tokens, **kwargs)

    def batch_encode_plus(
        self, batch_text_or_text_pairs: TextInputs, add_special_tokens: bool = True, **kwargs: Any
    ) -> BatchEncoding[Any]:
        """Encode as `__call__` does (the name of transformers 4 for a batch)."""
        if not isinstance(batch_text_or_text_pairs, (list, tuple)):
            raise TypeError(
                f"batch_text_or_text_pairs has to be a list or a tuple (got {type(batch_text_or_text_pairs)})"
            )
        return self(batch_text_or_text_pairs, add_special_tokens=add_special_tokens, **kwargs)

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **kwargs: Any
    ) -> list[str]:
        """Split a text into tokens."""
        encoded = self._encode(text, pair, add_special_tokens=add_special_tokens, **kwargs)
        if encoded.encodings is not None and len(encoded.encodings) != 1:
            raise ValueError(
                "tokenize takes one text at a time: call it for each of them, or use the tokenizer itself"
            )
        return encoded.tokens()

    def _encode(
        self, text: TextInputs, text_pair: TextInputs | None = None, **options: Any
    ) -> BatchEncoding[Any]:
        raise NotImplementedError

    def _encode_target(
        self, text: TextInputs, text_pair: TextInputs | None, **options: Any
    ) -> BatchEncoding[Any]:
        """Encode what a model shall answer; for most it is no other text than what it is asked."""
        return self._encode(text, text_pair, **options)

    def _strategies(
        self,
        padding: bool | str | PaddingStrategy = False,
        truncation: bool | str | TruncationStrategy | None = None,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        verbose: bool = True,
    ) -> tuple[PaddingStrategy, TruncationStrategy, int | None]:
        """Say what padding, truncation and maximum length come to, given what the tokenizer knows."""
        if max_length is not None and padding is False and truncation is None:
            truncation = "longest_first"
        if (
            padding is True
            and verbose
            and max_length is not None
            and truncation in (None, False, "do_not_truncate")
        ):
            warnings.warn(
                "`max_length` is ignored when `padding`=`True` and there is no truncation strategy. "
                "To pad to max length, use `padding='max_length'`.",
                stacklevel=4,
            )
        names: dict[object, str] = {False: "do_not_pad", True: "longest"}
        padded = PaddingStrategy(names.get(padding, padding))
        names = {None: "do_not_truncate", False: "do_not_truncate", True: "longest_first"}
        truncated = TruncationStrategy(names.get(truncation, truncation))

        if max_length is None:
            known = self.model_max_length <= LARGE_INTEGER
            if padded is PaddingStrategy.MAX_LENGTH or truncated is not TruncationStrategy.DO_NOT_TRUNCATE:
                max_length = self.model_max_length if known else None
            if padded is PaddingStrategy.MAX_LENGTH and not known:
                padded = PaddingStrategy.DO_NOT_PAD
            if not known:
                truncated = TruncationStrategy.DO_NOT_TRUNCATE

        if padded is not PaddingStrategy.DO_NOT_PAD and self.pad_token_id is None:
            raise ValueError(
                "Asking to pad but the tokenizer does not have a padding token. "
                "Please select a token to use as `pad_token` "
                "`(tokenizer.pad_token = tokenizer.eos_token e.g.)` "
                "or add a new pad token via `tokenizer.add_special_tokens({'pad_token': '[PAD]'})`."
            )
        if (
            truncated is not TruncationStrategy.DO_NOT_TRUNCATE
            and padded is not PaddingStrategy.DO_NOT_PAD
            and pad_to_multiple_of
            and max_length is not None
            and max_length % pad_to_multiple_of != 0
        ):
            raise ValueError(
                f"Truncation and padding are both activated but truncation length ({max_length}) is not a "
                f"multiple of pad_to_multiple_of ({pad_to_multiple_of})."
            )
        return padded, truncated, max_length

    def pad(
        self,
        encoded_inputs: BatchEncoding[Any] | Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str | PaddingStrategy = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | TensorType | None = None,
        verbose: bool = True,
    ) -> BatchEncoding[Any]:
        """Fill up rows that are already encoded: one of them, a batch, or a list of single ones.

        Arrays and tensors come back as such, lists as lists, unless `return_tensors` says otherwise.
        """
        strategy, _, max_length = self._strategies(padding, max_length=max_length, verbose=verbose)
        return pad(
            self,
            encoded_inputs,
            strategy,
            max_length,
            pad_to_multiple_of,
            self.padding_side if padding_side is None else padding_side,
            return_attention_mask,
            return_tensors,
        )

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens go around one sequence, or around two."""
        raise NotImplementedError

    @property
    def max_len_single_sentence(self) -> int:
        """How many tokens of one sequence the model takes, besides special ones."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=False)

    @property
    def max_len_sentences_pair(self) -> int:
        """How many tokens of two sequences the model takes, besides special ones."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    @property
    def pad_token_type_id(self) -> int:
        """The token type of padding."""
        return 0

    @contextmanager
    def as_target_tokenizer(self) -> Iterator[None]:
        """Encode targets inside of this, as in transformers 4; now there is `text_target`."""
        warnings.warn(
            "`as_target_tokenizer` is deprecated. Encode the targets with the argument `text_target` of "
            "the tokenizer instead.",
            DeprecationWarning,
            stacklevel=3,
        )
        self._switch_to_target_mode()
        try:
            yield
        finally:
            self._switch_to_input_mode()

    def _switch_to_target_mode(self) -> None:
        """Encode targets from now on, where these are other texts than what a model is asked."""

    def _switch_to_input_mode(self) -> None:
        """Encode what a model is asked from now on."""

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The added tokens by id."""
        raise NotImplementedError

    @property
    def vocab_size(self) -> int:
        """The size of the vocabulary without added tokens."""
        raise NotImplementedError

    def __len__(self) -> int:
        """Give the size of the vocabulary with added tokens."""
        raise NotImplementedError

    def __bool__(self) -> bool:
        """Be true, whatever the size of the vocabulary."""
        return True

    def __repr__(self) -> str:
        """Show what the tokenizer is and which tokens it has been given."""
        added = "".join(f"\n\t{index}: {token!r}," for index, token in self.added_tokens_decoder.items())
        added = f"{added}\n" if added else ""
        return (
            f"{type(self).__name__}(name_or_path='{self.name_or_path}',"
            f" vocab_size={self.vocab_size}, model_max_length={self.model_max_length},"
            f" padding_side='{self.padding_side}', truncation_side='{self.truncation_side}',"
            f" special_tokens={self.special_tokens_map},"
            f" added_tokens_decoder={{{added}}})"
        )


def _side(what: str, side: str) -> str:
    if side not in ("right", "left"):
        raise ValueError(f"{what} side should be selected between 'right' and 'left', current value: {side}")
    return side
