"""The command ``trustformers``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with the given arguments, by default those of the process, and return its exit code."""
    parser = argparse.ArgumentParser(prog="trustformers", description=__doc__)
    parser.add_argument("--version", action="version", version=f"trustformers {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True)

    demo = commands.add_parser(
        "demo",
        help="embed a few sentences with a real model and show how alike they are",
        description="Embed sentences with all-MiniLM-L6-v2 and print how alike they are.",
    )
    demo.add_argument(
        "sentences", nargs="*", metavar="SENTENCE", help="what to compare, instead of the examples"
    )

    given = parser.parse_args(arguments)
    try:
        from .demo import run

        print(run(given.sentences))
    except (OSError, ValueError, RuntimeError) as error:
        print(f"trustformers {given.command}: {error}", file=sys.stderr)
        return 1
    return 0
