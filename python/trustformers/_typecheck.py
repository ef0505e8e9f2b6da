"""Run-time checks of arguments and results, for who asks for them with ``TRUSTFORMERS_TYPECHECK=1``."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from types import ModuleType
from typing import Any


def install() -> None:
    """Check every function of the package that is loaded from now on against its annotations.

    What does not fit raises ``typeguard.TypeCheckError``, which names the argument, what it should be and
    what was given.

    :raises ImportError: without ``typeguard``, which does it.
    """
    try:
        import typeguard
    except ImportError as error:
        raise ImportError(
            "TRUSTFORMERS_TYPECHECK needs typeguard: pip install 'trustformers[typecheck]'"
        ) from error

    class Finder(typeguard.TypeguardFinder):
        def find_spec(self, *args: Any, **kwargs: Any) -> Any:
            spec = super().find_spec(*args, **kwargs)
            if spec is not None and spec.loader is not None:
                loader: Any = spec.loader
                loader.exec_module = functools.partial(_execute, loader.exec_module)
            return spec

    # Some names in annotations are only imported for type checkers: they would make modules need one another.
    typeguard.config.forward_ref_policy = typeguard.ForwardRefPolicy.IGNORE
    typeguard.install_import_hook(__package__, cls=Finder)


def _execute(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    """Load a module, and have the fields of its dataclasses checked: typeguard does not see their calls."""
    execute(module)
    for value in list(vars(module).values()):
        if inspect.isclass(value) and value.__module__ == module.__name__ and dataclasses.is_dataclass(value):
            _check_fields(value)


def _check_fields(cls: Any) -> None:
    """Check what is given to a dataclass against the annotations of its fields."""
    if "__init__" not in vars(cls):
        return
    make = cls.__init__
    signature = inspect.signature(make)

    @functools.cache
    def hints() -> dict[str, Any]:
        try:
            return typing.get_type_hints(cls)
        except NameError:  # one that is only imported for type checkers
            return {}

    @functools.wraps(make)
    def checked(*args: Any, **kwargs: Any) -> None:
        import typeguard

        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            given = {}  # what follows says what is wrong
        for name, value in given.items():
            try:
                typeguard.check_type(value, hints().get(name, Any))
            except typeguard.TypeCheckError as error:
                raise typeguard.TypeCheckError(f'argument "{name}" of {cls.__name__}: {error}') from None
        make(*args, **kwargs)

    cls.__init__ = checked
