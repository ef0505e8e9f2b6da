"""Command lines to dataclasses: transformers' ``HfArgumentParser``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import types
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from .spellings import other_spellings


class HfArgumentParser(argparse.ArgumentParser):
    """A parser whose options are the fields of dataclasses, which it fills.

    The type of a field says what its option takes: ``bool`` nothing or a word such as ``true`` (and one that
    is True by default has ``--no_<name>`` too), ``list`` several values, ``Enum`` and ``Literal`` one of
    their values. ``metadata`` may have ``help`` and ``aliases``. Options that are added later come in a
    namespace of their own, after the dataclasses. Other spellings that a class of arguments takes are
    options too.

    :param dataclass_types: one dataclass, or several in the order of the results.
    :raises ValueError: for a field of several types, neither of which is ``None`` or ``str``.
    """

    dataclass_types: list[Any]

    def __init__(self, dataclass_types: Any = None, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.ArgumentDefaultsHelpFormatter)
        super().__init__(**kwargs)
        several = isinstance(dataclass_types, Iterable) and not dataclasses.is_dataclass(dataclass_types)
        given = dataclass_types if several else [] if dataclass_types is None else [dataclass_types]
        self.dataclass_types = list(given)
        for made in self.dataclass_types:
            self._add_fields(made)

    def parse_args_into_dataclasses(
        self,
        args: list[str] | None = None,
        return_remaining_strings: bool = False,
        look_for_args_file: bool = True,
        args_filename: str | None = None,
        args_file_flag: str | None = None,
    ) -> tuple[Any, ...]:
        """Parse a command line, that of the program by default.

        :param return_remaining_strings: give what no option takes, at the end, instead of refusing it.
        :param look_for_args_file: read the file of the program's name that ends with ``.args`` first, if
            there is one.
        :param args_filename: another such file.
        :param args_file_flag: an option that names further ones. What comes later counts.
        :raises ValueError: for what no option takes.
        """
        if args_file_flag or args_filename or (look_for_args_file and sys.argv):
            args = list(sys.argv[1:] if args is None else args)
            files = [Path(args_filename) if args_filename else Path(sys.argv[0]).with_suffix(".args")]
            if args_file_flag:
                flags = argparse.ArgumentParser(add_help=False)
                flags.add_argument(args_file_flag, action="append", dest="files")
                found, args = flags.parse_known_args(args)
                files += map(Path, found.files or [])
            read = [word for file in files if file.is_file() for word in file.read_text().split()]
            args = read + args
        namespace, remaining = self.parse_known_args(args)
        made = []
        for one in self.dataclass_types:
            names = _names(one)
            made.append(one(**{name: value for name, value in vars(namespace).items() if name in names}))
            for name in names & vars(namespace).keys():
                delattr(namespace, name)
        if vars(namespace):
            made.append(namespace)
        if return_remaining_strings:
            return (*made, remaining)
        if remaining:
            raise ValueError(f"Some specified arguments are not used by the HfArgumentParser: {remaining}")
        return tuple(made)

    def parse_dict(self, args: Mapping[str, Any], allow_extra_keys: bool = False) -> tuple[Any, ...]:
        """Fill the dataclasses from a dictionary.

        :raises ValueError: for keys that are fields of none, unless ``allow_extra_keys``.
        """
        known = set().union(*map(_names, self.dataclass_types))
        if (unused := args.keys() - known) and not allow_extra_keys:
            raise ValueError(f"Some keys are not used by the HfArgumentParser: {sorted(unused)}")
        return tuple(
            one(**{name: value for name, value in args.items() if name in _names(one)})
            for one in self.dataclass_types
        )

    def parse_json_file(
        self, json_file: str | os.PathLike[str], allow_extra_keys: bool = False
    ) -> tuple[Any, ...]:
        """:meth:`parse_dict` of a JSON file."""
        return self.parse_dict(json.loads(Path(json_file).read_text(encoding="utf-8")), allow_extra_keys)

    def parse_yaml_file(
        self, yaml_file: str | os.PathLike[str], allow_extra_keys: bool = False
    ) -> tuple[Any, ...]:
        """:meth:`parse_dict` of a YAML file.

        :raises ImportError: without PyYAML.
        """
        import yaml  # type: ignore[import-untyped]

        return self.parse_dict(yaml.safe_load(Path(yaml_file).read_text(encoding="utf-8")), allow_extra_keys)

    def _add_fields(self, made: Any) -> None:
        group = getattr(made, "_argument_group_name", None)
        parser = self if group is None else self.add_argument_group(group)
        try:
            hints = get_type_hints(made)
        except NameError as error:
            raise RuntimeError(
                f"Type resolution failed for {made}. Try declaring the class in global scope or removing "
                "line of `from __future__ import annotations` which opts in Postponed Evaluation of "
                "Annotations (PEP 563)"
            ) from error
        for one in dataclasses.fields(made):
            if one.init:
                _add_option(parser, one, hints[one.name])
        for name in other_spellings(made):
            # Nothing is set where they are not there, so that they do not hide what they stand for.
            parser.add_argument(
                *_options(name),
                nargs="?",
                const=True,
                type=_plain,
                default=argparse.SUPPRESS,
                help=argparse.SUPPRESS,
            )


def _names(made: Any) -> set[str]:
    """What a dataclass may be made with."""
    return {one.name for one in dataclasses.fields(made) if one.init} | {*other_spellings(made)}


def _options(name: str, before: str = "--") -> list[str]:
    """An option with underscores, and with hyphens."""
    return list(dict.fromkeys([f"{before}{name}", f"{before.replace('_', '-')}{name.replace('_', '-')}"]))


def _add_option(parser: Any, one: dataclasses.Field[Any], hint: Any) -> None:
    settings = dict(one.metadata)
    aliases = settings.pop("aliases", [])
    aliases = [aliases] if isinstance(aliases, str) else aliases
    kind = _kind(one.name, hint)
    has_default = one.default is not dataclasses.MISSING
    if has_default:
        settings["default"] = one.default
    elif one.default_factory is not dataclasses.MISSING:
        settings["default"] = one.default_factory()
    elif kind is not bool:
        settings["required"] = True
    if kind is bool:
        settings["type"] = string_to_bool
        # One that may be None says nothing without a word.
        if hint is bool or (has_default and one.default is not None):
            settings = {"default": False, **settings, "nargs": "?", "const": True}
    elif get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
        choices = get_args(kind) if get_origin(kind) is Literal else [value.value for value in kind]
        by_text = {str(choice): choice for choice in choices}
        settings |= {"choices": choices, "type": lambda text: by_text.get(text, text)}
    elif get_origin(kind) is list or kind is list:
        settings |= {"nargs": "+", "type": (get_args(kind) or (str,))[0]}
    else:
        settings["type"] = kind
    parser.add_argument(*_options(one.name), *aliases, **settings)
    if kind is bool and one.default is True:
        about = {name: value for name, value in one.metadata.items() if name != "aliases"}
        parser.add_argument(
            *_options(one.name, "--no_"), action="store_false", dest=one.name, **{**about, "default": False}
        )


def _kind(name: str, hint: Any) -> Any:
    """The one type that an option's text is read as: ``X`` of ``X | None``, and of ``X | str``."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    if len(kinds) > 1 and str not in kinds:
        raise ValueError(
            "Only `Union[X, NoneType]` (i.e., `Optional[X]`) is allowed for `Union` because the argument "
            f"parser only supports one type per argument. Problem encountered in field '{name}'."
        )
    if type(None) in get_args(hint) and len(kinds) > 1:
        # What else it may be is written as a text.
        return str
    return next((kind for kind in kinds if kind is not str), str)


def _plain(text: str) -> Any:
    """A number or a truth if the text is one."""
    try:
        return json.loads(text.lower())
    except ValueError:
        return text


def string_to_bool(text: str | bool) -> bool:
    """The truth of a word such as ``yes``, ``true``, ``n`` or ``0``.

    :raises argparse.ArgumentTypeError: for any other.
    """
    if isinstance(text, bool):
        return text
    if text.lower() in ("yes", "true", "t", "y", "1"):
        return True
    if text.lower() in ("no", "false", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError(
        f"Truthy value expected: got {text} but expected one of yes/no, true/false, t/f, y/n, 1/0 (case "
        "insensitive)."
    )
