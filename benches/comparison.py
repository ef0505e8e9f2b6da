"""What all comparisons begin and end with: the machine, who can be measured on it, and the options."""

import argparse
import datetime
import importlib
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import machine
from harness import Subject, Unavailable

RESULTS = Path(__file__).parent / "results"


def parser(doc: str | None, *, rounds: int, seconds: float | None = None) -> argparse.ArgumentParser:
    """The options that all have."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--peers-python", default=sys.executable, help="the interpreter that has the peers")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--rounds", type=int, default=rounds, help="samples of every figure")
    if seconds is not None:
        options.add_argument(
            "--seconds", type=float, default=seconds, help="of calls, for each workload and round"
        )
    options.add_argument("--results", type=Path, default=RESULTS)
    return options


def described_machine() -> dict[str, Any]:
    """The machine as it is before we are a load ourselves; warns of others' load."""
    described = machine.describe()
    if described["load"] > 0.5:
        print(f"This machine is busy (load {described['load']}): do not trust the figures.")
    return described


def present(subjects: Iterable[Subject], *, prepare: bool = False) -> tuple[list[Subject], dict[str, str]]:
    """Those that run here, made ready if asked for, and their versions; the others are named with reasons."""
    found, versions = [], {"python": platform.python_version()}
    for subject in subjects:
        try:
            theirs, _ = subject.once("versions")
            if prepare:
                subject.once("prepare")
        except Unavailable as reason:
            print(f"Without {label(subject.name)}: {reason}")
        else:
            found.append(subject)
            versions |= theirs
    return found, versions


def label(name: str) -> str:
    """What a subject is called in the report."""
    return importlib.import_module(f"subjects.{name}").LABEL


def about(
    described: dict[str, Any], versions: dict[str, str], options: argparse.Namespace, **more: Any
) -> dict[str, Any]:
    """What the report says of how its figures were taken."""
    return {
        "date": datetime.date.today().isoformat(),
        "machine": described,
        "versions": versions,
        "threads": options.threads,
        "rounds": options.rounds,
        **more,
    }
