"""The command ``trustformers``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from . import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with the given arguments, by default those of the process, and return its exit code."""
    parser = argparse.ArgumentParser(prog="trustformers", description=__doc__)
    parser.add_argument("--version", action="version", version=f"trustformers {__version__}")
    commands = parser.add_subparsers(
        title="commands", dest="command", required=True, parser_class=_CommandParser
    )
    _add_demo(commands)
    _add_chat(commands)
    _add_run(commands)
    _add_env(commands)

    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Who read what we print wants no more of it; what is still in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ValueError, RuntimeError) as error:
        print(f"trustformers {given.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


class _CommandParser(argparse.ArgumentParser):
    """Takes options between texts as well as before and behind them."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        # What mixes them asks this method for each kind.
        self.parse_known_args = super().parse_known_args  # type: ignore[method-assign]
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            del self.parse_known_args


def _add_env(commands: Any) -> None:
    env = commands.add_parser("env", help="show what is installed here, for reports of bugs")
    env.set_defaults(run=_env)


def _env(given: argparse.Namespace) -> None:
    from .utils import show_versions

    show_versions()


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


def _add_run(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        help="answer texts with a pipeline: classify, translate, summarize, go on, ...",
        description="Answer texts, the lines of a file, or those of a pipe, with the pipeline of a task.",
    )
    run.add_argument("task", metavar="TASK", help="text-classification, question-answering, ...")
    run.add_argument("texts", nargs="*", metavar="TEXT", help="what to answer; without any, the pipe is read")
    run.add_argument("--model", metavar="M", help="a folder, a repository, a .gguf file; the task's default")
    run.add_argument("--gguf-file", metavar="FILE", help="the .gguf file in it")
    run.add_argument(
        "--input", metavar="FILE", help="one text a line, or JSON if it ends in .jsonl; - the pipe"
    )
    run.add_argument("--jsonl", action="store_true", help="each text or line is JSON: a chat, a pair, ...")
    run.add_argument("--context", metavar="TEXT", help="where question-answering looks for the answers")
    run.add_argument("--labels", metavar="A,B", help="what zero-shot-classification chooses from")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a keyword of the pipeline, the value as JSON or a text; may be given again",
    )
    run.add_argument("--batch-size", type=int, metavar="N", help="how many inputs run together")
    run.add_argument(
        "--output", choices=("text", "json"), default="text", help="json: a line of JSON for each input"
    )
    run.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> None:
    from .run import run

    run(
        given.task,
        given.texts,
        model=given.model,
        gguf_file=given.gguf_file,
        file=given.input,
        is_jsonl=given.jsonl,
        context=given.context,
        labels=given.labels,
        settings=given.set,
        batch_size=given.batch_size,
        as_json=given.output == "json",
    )
