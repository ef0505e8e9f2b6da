"""The command ``trustformers``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from . import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with the given arguments, by default those of the process, and return its exit code."""
    parser = argparse.ArgumentParser(prog="trustformers", description=__doc__)
    parser.add_argument("--version", action="version", version=f"trustformers {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True)
    _add_demo(commands)
    _add_chat(commands)

    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"trustformers {given.command}: {error}", file=sys.stderr)
        return 1
    return 0


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo",
        help="show real models at work: sentences compared, and a story told",
        description="Embed sentences with all-MiniLM-L6-v2, print how alike they are, and let SmolLM2 tell a "
        "story.",
    )
    demo.add_argument(
        "sentences", nargs="*", metavar="SENTENCE", help="what to compare, instead of the examples"
    )
    demo.set_defaults(run=_demo)


def _demo(given: argparse.Namespace) -> None:
    from .demo import run, tell_story

    print(run(given.sentences))
    print()
    tell_story(sys.stdout)


def _add_chat(commands: Any) -> None:
    chat = commands.add_parser(
        "chat",
        help="talk with a chat model",
        description="Talk with a chat model, over the terminal or, one line a question, over a pipe.",
    )
    chat.add_argument("--model", required=True, help="a folder, a repository of the hub, or a .gguf file")
    chat.add_argument("--gguf-file", metavar="FILE", help="the .gguf file in it")
    chat.add_argument("--system", metavar="TEXT", help="what the model is told before the conversation")
    chat.add_argument("--max-new-tokens", type=int, default=512, metavar="N", help="an answer's length: 512")
    chat.add_argument(
        "--temperature",
        type=float,
        default=None,
        metavar="T",
        help="0 for the likeliest answer; the model's own",
    )
    chat.add_argument("--top-p", type=float, default=None, metavar="P", help="the model's own")
    chat.add_argument("--seed", type=int, default=None, metavar="N", help="to be answered alike again")
    chat.set_defaults(run=_chat)


def _chat(given: argparse.Namespace) -> None:
    from . import set_seed
    from .chat import run

    settings: dict[str, Any] = {"max_new_tokens": given.max_new_tokens}
    if given.seed is not None:
        set_seed(given.seed)
    if given.temperature == 0:
        settings["do_sample"] = False
    else:
        drawn = {"temperature": given.temperature, "top_p": given.top_p}
        drawn = {name: value for name, value in drawn.items() if value is not None}
        settings |= {"do_sample": True, **drawn} if drawn else {}
    run(given.model, given.gguf_file, given.system, **settings)
