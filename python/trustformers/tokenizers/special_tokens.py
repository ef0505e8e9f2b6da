"""The tokens that mean something to a model, by their names: `cls_token`, `pad_token_id` and the like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, overload

from .._engine import AddedToken


class _Token:
    """A special token under its name, as text."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, tokenizer: None, owner: type) -> _Token: ...

    @overload
    def __get__(self, tokenizer: SpecialTokens, owner: type) -> str | None: ...

    def __get__(self, tokenizer: SpecialTokens | None, owner: type) -> _Token | str | None:
        return self if tokenizer is None else tokenizer._special_token(self.name)

    def __set__(self, tokenizer: SpecialTokens, token: str | AddedToken | None) -> None:
        tokenizer._set_special_token(self.name, token)


class _TokenId:
    """The id of a special token."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    @overload
    def __get__(self, tokenizer: None, owner: type) -> _TokenId: ...

    @overload
    def __get__(self, tokenizer: SpecialTokens, owner: type) -> int | None: ...

    def __get__(self, tokenizer: SpecialTokens | None, owner: type) -> _TokenId | int | None:
        return self if tokenizer is None else tokenizer._special_token_id(self.name)

    def __set__(self, tokenizer: SpecialTokens, index: int | None) -> None:
        token = None if index is None else tokenizer._token_of(index)
        tokenizer._set_special_token(self.name, token)


class SpecialTokens:
    """The special tokens of a tokenizer: seven common ones, a model's own, and a list of more."""

    SPECIAL_TOKENS_ATTRIBUTES: list[str] = [  # noqa: RUF012  (models add their own to a copy)
        "bos_token",
        "eos_token",
        "unk_token",
        "sep_token",
        "pad_token",
        "cls_token",
        "mask_token",
    ]

    bos_token = _Token()
    eos_token = _Token()
    unk_token = _Token()
    sep_token = _Token()
    pad_token = _Token()
    cls_token = _Token()
    mask_token = _Token()
    bos_token_id = _TokenId()
    eos_token_id = _TokenId()
    unk_token_id = _TokenId()
    sep_token_id = _TokenId()
    pad_token_id = _TokenId()
    cls_token_id = _TokenId()
    mask_token_id = _TokenId()

    _STANDARD: ClassVar[frozenset[str]] = frozenset(SPECIAL_TOKENS_ATTRIBUTES)
    _special_tokens_map: dict[str, str | AddedToken | None]
    _extra_special_tokens: list[str | AddedToken]
    verbose: bool

    def _init_special_tokens(self, kwargs: dict[str, Any]) -> None:
        """Take the special tokens out of the arguments of a constructor."""
        self._special_tokens_map = dict.fromkeys(self.SPECIAL_TOKENS_ATTRIBUTES)
        self._extra_special_tokens = []
        own = kwargs.pop("model_specific_special_tokens", None) or {}
        if not isinstance(own, dict):
            raise TypeError("model_specific_special_tokens must be a dictionary of token name to token value")
        extra = kwargs.pop("additional_special_tokens", None)
        extra = kwargs.pop("extra_special_tokens", None) or extra or []
        if isinstance(extra, dict):
            own = {**own, **extra}
        elif isinstance(extra, (list, tuple)):
            self._extra_special_tokens = [_checked("extra_special_tokens", token) for token in extra]
        else:
            raise TypeError("extra_special_tokens must be a list/tuple of tokens or a dict of named tokens")
        for name in list(kwargs):
            if name in self._special_tokens_map:
                if (token := kwargs.pop(name)) is not None:
                    self._special_tokens_map[name] = _checked(name, token)
            elif name.endswith("_token") and type(kwargs[name]).__name__ in ("str", "AddedToken"):
                own = {name: kwargs.pop(name), **own}
        if own:
            self._set_model_specific_special_tokens(own)

    def _set_model_specific_special_tokens(self, special_tokens: Mapping[str, str | AddedToken]) -> None:
        self.SPECIAL_TOKENS_ATTRIBUTES = [*self.SPECIAL_TOKENS_ATTRIBUTES, *special_tokens]
        for name, token in special_tokens.items():
            self._special_tokens_map[name] = _checked(name, token)

    def _special_token(self, name: str) -> str | None:
        token = self.__dict__.get("_special_tokens_map", {}).get(name)
        if token is None and self.__dict__.get("verbose"):
            import logging

            logging.getLogger("trustformers").error("Using %s, but it is not set yet.", name)
        return None if token is None else str(token)

    def _special_token_id(self, name: str) -> int | None:
        token = self._special_token(name)
        return None if token is None else self._id_of(token)

    def _set_special_token(self, name: str, token: str | AddedToken | None) -> None:
        try:
            self._special_tokens_map[name] = None if token is None else _checked(name, token)
        except TypeError as error:
            raise ValueError(f"Cannot set a non-string value as the {name}") from error

    def _id_of(self, token: str) -> int | None:
        raise NotImplementedError

    def _token_of(self, index: int) -> str | None:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        """Give a model's own special tokens by their names."""
        token = name.removesuffix("_id")
        if token in self.__dict__.get("_special_tokens_map", ()):
            return self._special_token(token) if token == name else self._special_token_id(token)
        raise AttributeError(f"{type(self).__name__} has no attribute {name}")

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a model's own special tokens by their names."""
        token = name.removesuffix("_id")
        if token in self._STANDARD or token not in self.__dict__.get("_special_tokens_map", ()):
            super().__setattr__(name, value)
        else:
            self._set_special_token(token, value if token == name or value is None else self._token_of(value))

    @property
    def extra_special_tokens(self) -> list[str]:
        """Special tokens without a name of their own."""
        return [str(token) for token in self._extra_special_tokens]

    @extra_special_tokens.setter
    def extra_special_tokens(self, tokens: list[str | AddedToken] | None) -> None:
        if tokens is not None and not isinstance(tokens, (list, tuple)):
            raise ValueError(f"extra_special_tokens must be a list or tuple, got {type(tokens)}")
        self._extra_special_tokens = [_checked("extra_special_tokens", token) for token in tokens or []]

    @property
    def extra_special_tokens_ids(self) -> list[int | None]:
        """The ids of the special tokens without a name."""
        return [self._id_of(token) for token in self.extra_special_tokens]

    @extra_special_tokens_ids.setter
    def extra_special_tokens_ids(self, ids: list[int]) -> None:
        self._extra_special_tokens = [token for token in map(self._token_of, ids) if token is not None]

    #: transformers 4 called them so.
    additional_special_tokens = extra_special_tokens
    additional_special_tokens_ids = extra_special_tokens_ids

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The special tokens that are set, by name."""
        return {name: str(token) for name, token in self.special_tokens_map_extended.items()}

    @property
    def special_tokens_map_extended(self) -> dict[str, str | AddedToken]:
        """The special tokens that are set, by name, as they were given."""
        tokens = ((name, self._special_tokens_map.get(name)) for name in self.SPECIAL_TOKENS_ATTRIBUTES)
        return {name: token for name, token in tokens if token is not None}

    @property
    def all_special_tokens(self) -> list[str]:
        """All special tokens, each once."""
        return list(dict.fromkeys([*self.special_tokens_map.values(), *self.extra_special_tokens]))

    @property
    def all_special_tokens_extended(self) -> list[str | AddedToken]:
        """All special tokens as they were given, each once."""
        tokens: dict[str, str | AddedToken] = {}
        for token in [*self.special_tokens_map_extended.values(), *self._extra_special_tokens]:
            tokens.setdefault(str(token), token)
        return list(tokens.values())

    @property
    def all_special_ids(self) -> list[int | None]:
        """The ids of all special tokens."""
        return [self._id_of(token) for token in self.all_special_tokens]

    def add_tokens(
        self, new_tokens: str | AddedToken | Sequence[str | AddedToken], special_tokens: bool = False
    ) -> int:
        """Add tokens to the vocabulary and say how many were new; a model's embeddings must grow with it."""
        if not new_tokens:
            return 0
        tokens = list(new_tokens) if isinstance(new_tokens, (list, tuple)) else [new_tokens]
        return self._add_tokens(tokens, special_tokens)

    def _add_tokens(self, tokens: list[Any], special_tokens: bool) -> int:
        raise NotImplementedError

    def add_special_tokens(
        self,
        special_tokens_dict: Mapping[str, str | AddedToken | Sequence[str | AddedToken]],
        replace_extra_special_tokens: bool = True,
    ) -> int:
        """Set special tokens by name, add those that the vocabulary lacks, and say how many these were."""
        named = dict(special_tokens_dict)
        if "additional_special_tokens" in named and not named.get("extra_special_tokens"):
            named["extra_special_tokens"] = named.pop("additional_special_tokens")
        added: list[AddedToken] = []
        for name, value in named.items():
            if name == "extra_special_tokens":
                if not isinstance(value, (list, tuple)) or not all(
                    isinstance(t, (str, AddedToken)) for t in value
                ):
                    raise ValueError(
                        f"Tokens {value} for key {name} should all be str or AddedToken instances"
                    )
                known = [] if replace_extra_special_tokens else self.extra_special_tokens
                tokens = [_special(token) for token in value if str(token) not in known]
                if tokens and replace_extra_special_tokens:
                    self._extra_special_tokens = list(tokens)
                else:
                    self._extra_special_tokens.extend(tokens)
                added.extend(tokens)
            elif name in self.SPECIAL_TOKENS_ATTRIBUTES:
                if not isinstance(value, (str, AddedToken)):
                    raise ValueError(
                        f"Token {value} for key {name} should be a str or an AddedToken instance"
                    )
                setattr(self, name, _special(value))
                added.append(_special(value))
            else:
                valid = [*self.SPECIAL_TOKENS_ATTRIBUTES, "extra_special_tokens"]
                raise ValueError(f"Key {name} is not a valid special token. Valid keys are: {valid}")
        return self.add_tokens(added, special_tokens=True)


def _special(token: str | AddedToken) -> AddedToken:
    return AddedToken(token, special=True) if isinstance(token, str) else token


def _checked(name: str, token: Any) -> str | AddedToken:
    if isinstance(token, (str, AddedToken)):
        return token
    if type(token).__name__ == "AddedToken":  # that of the package `tokenizers`
        return AddedToken(**token.__getstate__())
    raise TypeError(f"Special token {name} has to be either str or AddedToken but got: {type(token)}")
