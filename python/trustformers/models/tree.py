"""A model's parameters as a tree, for people to read: torch's way of showing modules."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

#: Modules by name, down to the shapes of parameters.
Tree = dict[str, Any]


def tree(parameters: Iterable[tuple[str, list[int]]]) -> list[str]:
    """The lines of a tree of parameters by their names, each with its shape; like layers are shown once."""
    root: Tree = {}
    for name, shape in parameters:
        *modules, own = name.split(".")
        place = root
        for module in modules:
            place = place.setdefault(module, {})
        place[own] = shape
    return _lines(root)


def _lines(modules: Tree) -> list[str]:
    """The lines of what is in a module; neighbours of the same content become one entry."""
    lines: list[str] = []
    for content, alike in groupby(modules.items(), key=lambda item: item[1]):
        names = [name for name, _ in alike]
        if not isinstance(content, dict):
            lines += [f"({name}): {_shape(content)}" for name in names]
            continue
        if not all(name.isdecimal() for name in names):
            for name in names:
                lines += _entry(name, "", content)
        elif len(names) > 1:
            lines += _entry(f"{names[0]}-{names[-1]}", f"{len(names)} x ", content)
        else:
            lines += _entry(names[0], "", content)
    return lines


def _entry(name: str, count: str, content: Tree) -> list[str]:
    """A module with what is in it: in one line if that is parameters alone."""
    if not any(isinstance(value, dict) for value in content.values()):
        listed = ", ".join(f"{own} {_shape(shape)}" for own, shape in content.items())
        return [f"({name}): {count}{listed}"]
    return [f"({name}): {count}(", *(f"  {line}" for line in _lines(content)), ")"]


def _shape(shape: list[int]) -> str:
    return str(tuple(shape))
