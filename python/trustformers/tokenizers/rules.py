"""What the configuration of a tokenizer may say. It comes from anybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._engine import AddedToken

_FLAGS = {"content", "single_word", "lstrip", "rstrip", "normalized", "special"}


def token_of(token: Any, **flags: bool) -> AddedToken:
    """Turn what a file says of a token into one.

    :raises TypeError: if it says something else.
    """
    if isinstance(token, AddedToken):
        return token
    if not isinstance(token, dict):
        raise TypeError(
            f"Found a {type(token)} in the saved `added_tokens_decoder`, should be a dictionary or an "
            "AddedToken instance"
        )
    return AddedToken(**{key: value for key, value in token.items() if key in _FLAGS} | flags)


def is_id(value: Any) -> bool:
    """Whether it can be the id of a token."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32


def check(content: dict[str, Any], origin: str) -> dict[str, Any]:
    """Give what a file says, without the settings that are null.

    :raises ValueError: if it says something that cannot be, with the name of the setting and of the file.
    """
    for name, (expected, holds) in _RULES.items():
        value = content.get(name)
        if value is not None and not holds(value):
            raise ValueError(f"{origin} says that {name} is {value!r}, where {expected} should be")
    return {name: value for name, value in content.items() if value is not None or name not in _ABSENT}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_length(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_token(value: Any) -> bool:
    if isinstance(value, dict) and not (
        value.get("__type") == "AddedToken" or {"lstrip", "rstrip"} <= value.keys()
    ):
        return False
    return isinstance(value, str) or _is_token_with_flags(value)


def _is_token_with_flags(value: Any) -> bool:
    try:
        return "content" in value and isinstance(token_of(value), AddedToken)
    except TypeError:
        return False


def _is_list(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(of, value))


def _is_dict(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(of, value.values()))


def _is_side(value: Any) -> bool:
    return value in ("left", "right")


def _is_template(value: Any) -> bool:
    named = _is_list(
        lambda item: isinstance(item, dict) and _is_text(item.get("name")) and _is_text(item.get("template"))
    )
    return _is_text(value) or _is_dict(_is_text)(value) or named(value)


def _are_tokens_by_id(value: Any) -> bool:
    return _is_dict(_is_token_with_flags)(value) and all(
        index.isdecimal() and len(index) <= 10 and is_id(int(index)) for index in value
    )


def _are_tokens(value: Any) -> bool:
    return _is_list(_is_token)(value) or _is_dict(_is_token)(value)


_TOKEN = ("a token", _is_token)
_FLAG = ("true or false", _is_flag)
_LENGTH = ("a number", _is_length)
_TEXTS = ("a list of texts", _is_list(_is_text))
#: What may be said besides nothing.
_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "added_tokens_decoder": ("tokens by their ids", _are_tokens_by_id),
    "additional_special_tokens": ("a list of tokens", _is_list(_is_token)),
    "bos_token": _TOKEN,
    "chat_template": ("a template, or several of them by name", _is_template),
    "clean_up_tokenization_spaces": _FLAG,
    "cls_token": _TOKEN,
    "do_lower_case": _FLAG,
    "eos_token": _TOKEN,
    "extra_special_tokens": ("a list of tokens, or tokens by name", _are_tokens),
    "fast_tokenizer_files": _TEXTS,
    "mask_token": _TOKEN,
    "max_len": _LENGTH,
    "model_input_names": _TEXTS,
    "model_max_length": _LENGTH,
    "model_specific_special_tokens": ("tokens by name", _is_dict(_is_token)),
    "pad_token": _TOKEN,
    "padding_side": ("'left' or 'right'", _is_side),
    "sep_token": _TOKEN,
    "split_special_tokens": _FLAG,
    "strip_accents": _FLAG,
    "tokenize_chinese_chars": _FLAG,
    "tokenizer_class": ("the name of a class", _is_text),
    "truncation_side": ("'left' or 'right'", _is_side),
    "unk_token": _TOKEN,
}
#: What is absent where it is null. That a token is null says that there is none.
_ABSENT = {name for name in _RULES if not name.endswith("_token")}
