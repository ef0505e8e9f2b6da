"""Everything public says what it is."""

import inspect
import types
import typing
from collections.abc import Iterator

import pytest

import trustformers as tf

PACKAGES = (tf, tf.generation, tf.models, tf.pipelines, tf.tokenizers, tf.training, tf.utils, tf.logging)


def public(package: types.ModuleType) -> Iterator[tuple[str, object]]:
    """Every public name of a package, and of its classes, with what has a docstring there."""
    yield package.__name__, package
    for name in package.__all__:
        value = getattr(package, name)
        place = f"{package.__name__}.{name}"
        if inspect.isclass(value):
            yield place, value
            yield from ((f"{place}.{member}", item) for member, item in members(value))
        elif callable(value) and typing.get_origin(value) is None:
            yield place, value


def members(cls: type) -> Iterator[tuple[str, object]]:
    """The methods and properties that a class has of ours."""
    for name in dir(cls):
        if name.startswith("_"):
            continue
        owner = next((base for base in cls.__mro__ if name in base.__dict__), None)
        if owner is None or owner.__module__.partition(".")[0] != "trustformers":
            continue
        item = owner.__dict__[name]
        if isinstance(item, property) or inspect.isgetsetdescriptor(item):
            yield name, item
        elif callable(getattr(cls, name)) and not inspect.isclass(getattr(cls, name)):
            yield name, getattr(cls, name)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_public_name_has_a_docstring(package: types.ModuleType) -> None:
    named = list(public(package))
    assert len(named) > 1
    assert [name for name, value in named if not (inspect.getdoc(value) or "").strip()] == []


def test_a_missing_docstring_is_found() -> None:
    module = types.ModuleType("broken", "A module.")

    class Told:
        """A class."""

        def untold(self) -> None: ...

    Told.__module__ = "trustformers.broken"
    module.Told, module.__all__ = Told, ["Told"]  # type: ignore[attr-defined]
    missing = [name for name, value in public(module) if not inspect.getdoc(value)]
    assert missing == ["broken.Told.untold"]
