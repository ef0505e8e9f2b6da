"""Functions as tools: type hints and docstrings as the JSON schema that chat templates show to models."""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_SCALARS: dict[type, str] = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    type(None): "null",
}
_CONTAINERS: dict[type, str] = {list: "array", tuple: "array", dict: "object"}

_DESCRIPTION = re.compile(r"^(.*?)[\n\s]*(Args:|Returns:|Raises:|\Z)", re.DOTALL)
_ARGUMENTS = re.compile(r"\n\s*Args:\n(.*?)[\n\s]*(Returns:|Raises:|\Z)", re.DOTALL)
#: An argument's name, behind its indentation and before a type, and what is said about it up to the next one.
_ARGUMENT = re.compile(
    r"(?:^|\n)([ \t]*)(\w+)(?:[ \t]*\([^()\n]*\))?:\s*(.*?)\s*"
    r"(?=\n(?!\1[ \t])[ \t]*\w+(?:[ \t]*\([^()\n]*\))?:|\Z)",
    re.DOTALL,
)
_RETURNS = re.compile(r"\n\s*Returns:\n\s*(.*?)[\n\s]*(Raises:|\Z)", re.DOTALL)
_CHOICES = re.compile(r"\(choices:\s*(.*?)\)\s*$", re.IGNORECASE)


class TypeHintParsingException(Exception):
    """A type hint that has no JSON schema."""


class DocstringParsingException(Exception):
    """A docstring that does not say what it must."""


def get_json_schema(func: Callable[..., Any]) -> dict[str, Any]:
    """The JSON schema of a function, from its type hints and its docstring in Google's style.

    :raises TypeHintParsingException: for a parameter without a type hint, or with one that has no schema.
    :raises DocstringParsingException: without a docstring, or without a description of a parameter.
    """
    name, doc = getattr(func, "__name__", "operation"), inspect.getdoc(func)
    if not doc:
        raise DocstringParsingException(
            f"Cannot generate JSON schema for {name} because it has no docstring!"
        )
    doc = doc.strip()
    about = _DESCRIPTION.search(doc)
    schema, returned = _parameters(func, name)
    described = _described(doc)
    for argument, hint in schema["properties"].items():
        if argument not in described:
            raise DocstringParsingException(
                f"Cannot generate JSON schema for {name} because the docstring has no description for the "
                f"argument '{argument}'"
            )
        description = described[argument]
        if choices := _CHOICES.search(description):
            hint["enum"] = [
                choice.strip() if isinstance(choice, str) else choice
                for choice in json.loads(choices.group(1))
            ]
            description = description[: choices.start()].strip()
        hint["description"] = description
    function = {"name": name, "description": about and about.group(1).strip(), "parameters": schema}
    if returned is not None:
        if said := _RETURNS.search(doc):
            returned["description"] = said.group(1).strip()
        function["return"] = returned
    return {"type": "function", "function": function}


def _described(doc: str) -> dict[str, str]:
    """What a docstring says about each argument."""
    section = _ARGUMENTS.search(doc)
    if section is None:
        return {}
    lines = "\n".join(line for line in section.group(1).split("\n") if line.strip())
    found = _ARGUMENT.findall(lines)
    return {name: re.sub(r"\s*\n+\s*", " ", text.strip()) for _, name, text in found}


def _parameters(func: Callable[..., Any], name: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The schema of a function's parameters and that of what it returns, if that has one."""
    parameters = inspect.signature(func).parameters
    first = next(iter(parameters.values()), None)
    implicit = (
        first.name if first and first.name in ("self", "cls") and first.annotation is first.empty else None
    )
    required = []
    for parameter in parameters.values():
        if parameter.name == implicit:
            continue
        if parameter.annotation is parameter.empty:
            raise TypeHintParsingException(
                f"Argument {parameter.name} is missing a type hint in function {name}"
            )
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    hints = {key: hint for key, hint in get_type_hints(func).items() if key != implicit}
    returned = None
    if "return" in hints:
        try:
            returned = _of_hint(hints.pop("return"))
        except TypeHintParsingException:
            returned = None  # A model never writes what a tool returns.
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {key: _of_hint(hint) for key, hint in hints.items()},
    }
    if required:
        schema["required"] = required
    return schema, returned


def _of_hint(hint: Any) -> dict[str, Any]:
    """The schema of a type hint."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is None:
        return _of_type(hint)
    if origin is Union or origin is types.UnionType:
        return _of_union(arguments)
    if origin is Literal:
        return _of_values(list(arguments), "Only the valid python literals can be listed in typing.Literal.")
    if origin is list:
        return {"type": "array", "items": _of_hint(arguments[0])}
    if origin is tuple:
        if len(arguments) < 2 or ... in arguments:
            raise TypeHintParsingException(
                f"The type hint {hint} is a tuple of one element or of any number: use list[] for it"
            )
        return {"type": "array", "prefixItems": [_of_hint(argument) for argument in arguments]}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of_hint(arguments[1])}
    raise TypeHintParsingException(
        f"Couldn't parse this type hint, likely due to a custom class or object: {hint}"
    )


def _of_type(hint: Any) -> dict[str, Any]:
    if isinstance(hint, type) and issubclass(hint, Enum):
        values = [member.value for member in hint]
        if not values:
            raise TypeHintParsingException(
                f"The Enum {hint.__name__} has no members, so no value could ever match it."
            )
        return _of_values(
            values, f"The Enum {hint.__name__} has member values that cannot be written as JSON scalars."
        )
    if hint is Any:
        return {}
    name = {**_SCALARS, **_CONTAINERS}.get(hint)
    if name is None:
        raise TypeHintParsingException(
            f"Couldn't convert the type hint {hint!r} to a JSON schema, likely because it is a custom class "
            "or object. Supported type hints are basic types like int, float, str and bool, Enum classes, "
            "typing.Literal, and list, tuple, dict and Union types containing those. If you need a more "
            "complex schema than that, you can write the JSON schema for your tool by hand and pass that "
            "instead of the function."
        )
    return {"type": name}


def _of_union(arguments: tuple[Any, ...]) -> dict[str, Any]:
    kinds = [_of_hint(argument) for argument in arguments if argument is not type(None)]
    schema: dict[str, Any]
    if len(kinds) == 1:
        schema = kinds[0]
    elif all(kind.keys() == {"type"} and isinstance(kind["type"], str) for kind in kinds):
        names = sorted({kind["type"] for kind in kinds})
        schema = {"type": names[0] if len(names) == 1 else names}
    else:
        schema = {"anyOf": kinds}
    if type(None) in arguments:
        schema["nullable"] = True
    return schema


def _of_values(values: list[Any], refusal: str) -> dict[str, Any]:
    if any(type(value) not in _SCALARS for value in values):
        raise TypeHintParsingException(refusal)
    names = list(dict.fromkeys(_SCALARS[type(value)] for value in values))
    return {"type": names[0] if len(names) == 1 else names, "enum": values}
