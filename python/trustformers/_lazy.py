"""Packages whose names are loaded when they are first asked for.

The stub of such a package, ``__init__.pyi``, says once where each of its names lives, as an import. Type
checkers read it, and what stands here reads the same when it is first asked for a name.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterator


def attach(package: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package."""
    module = sys.modules[package]

    def load(name: str) -> object:
        if name == "__all__":
            return _starred(package)
        lists = () if name.startswith("__") else _lists(package)
        home = next((names[name] for names in lists if name in names), None)
        if home is None:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        if home == package:
            return importlib.import_module(f"{package}.{name}")
        value = getattr(importlib.import_module(home), name)
        setattr(module, name, value)
        return value

    def names() -> list[str]:
        own = (name for name in vars(module) if name.startswith("__"))
        return sorted({*own, *_public(package)})

    return load, names


def _lists(package: str) -> Iterator[dict[str, str]]:
    """The names of a package with the modules that they are defined in, stub by stub."""
    modules = [package]
    for module in modules:  # which grows
        names, starred = _read(module)
        yield names
        modules += starred


@functools.cache
def _read(module: str) -> tuple[dict[str, str], list[str]]:
    """What a module's stub says: names with their homes, and the modules of which it takes all."""
    import ast  # NumPy does so too, which whoever asks for a name needs anyway
    from importlib.util import resolve_name

    path = os.path.join(os.path.dirname(__file__), *module.split(".")[1:])
    path = os.path.join(path, "__init__.pyi") if os.path.isdir(path) else f"{path}.pyi"
    with open(path, encoding="utf-8") as file:
        statements = ast.parse(file.read()).body
    names: dict[str, str] = {}
    starred = []
    for statement in statements:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            names.update(dict.fromkeys(ast.literal_eval(statement.value), module))
        elif isinstance(statement, ast.ImportFrom) and statement.level:
            home = resolve_name("." * statement.level + (statement.module or ""), module)
            starred += [home for alias in statement.names if alias.name == "*"]
            names.update({alias.name: home for alias in statement.names if alias.asname == alias.name})
    return names, starred


def _public(package: str) -> set[str]:
    """All names of a package."""
    return {name for names in _lists(package) for name in names}


def _starred(package: str) -> list[str]:
    """What a star import takes: all but what would hide names of Python's own."""
    import builtins

    return sorted(_public(package) - set(dir(builtins)) - sys.stdlib_module_names)
