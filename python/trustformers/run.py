"""What ``trustformers run`` does: texts in, the answers of a pipeline out, a line or a few for each."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, TextIO

from .pipelines import PipelineException, pipeline

#: How long a run must take before its progress is shown, and how often that changes, in seconds.
_PATIENCE, _PACE = 1.0, 0.1


def run(
    task: str,
    texts: Sequence[str] = (),
    *,
    model: str | None = None,
    gguf_file: str | None = None,
    file: str | None = None,
    is_jsonl: bool = False,
    context: str | None = None,
    labels: str | None = None,
    settings: Sequence[str] = (),
    batch_size: int | None = None,
    as_json: bool = False,
) -> None:
    """Answer texts, the lines of a file, or those of a pipe, and print the answers as they come.

    :raises OSError: for a model or a file that is not there.
    :raises ValueError: for an unknown task, inputs that are none, and keywords that the task does not take.
    """
    keywords = dict(setting(one) for one in settings)
    if labels is not None:
        keywords["candidate_labels"] = labels
    inputs: Any = given(texts, file, is_jsonl)
    if context is not None:
        inputs = _mapped(inputs, lambda question: {"question": question, "context": context})
    source = {} if gguf_file is None else {"gguf_file": gguf_file}
    try:
        pipe: Any = pipeline(task, model=model, model_kwargs=source)
        answers = pipe(inputs, batch_size=batch_size, **keywords)
        write(answers, len(inputs) if isinstance(inputs, Sized) else None, as_json)
    except (KeyError, TypeError, PipelineException) as error:
        raise ValueError(error.args[0] if error.args else str(error)) from error


class _Inputs:
    """Inputs that are all at hand. Pipelines sort these by length, and still give answers one by one."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> Any:
        return self._values[index]


def _mapped(inputs: Any, change: Any) -> Any:
    changed = (change(one) for one in inputs)
    return _Inputs(list(changed)) if isinstance(inputs, _Inputs) else changed


def setting(text: str) -> tuple[str, Any]:
    """Name and value of ``name=value``; the value is JSON, or else a text.

    :raises ValueError: without a "=".
    """
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise ValueError(f"--set takes name=value, got {text!r}")
    name = name.strip().replace("-", "_")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def given(texts: Sequence[str], file: str | None, is_jsonl: bool) -> _Inputs | Iterator[Any]:
    """What was given: texts, a file, or else what comes over the pipe, as it comes.

    :raises ValueError: for texts and a file, and for neither at a terminal.
    """
    if texts and file is not None:
        raise ValueError("give either texts or --input, not both")
    if texts:
        return _Inputs([_value(text, is_jsonl, number) for number, text in enumerate(texts, 1)])
    if file is not None and file != "-":
        with open(file, encoding="utf-8") as lines:
            return _Inputs(list(_values(lines, is_jsonl or file.endswith(".jsonl"))))
    if file is None and sys.stdin.isatty():
        raise ValueError("nothing to answer: give texts, --input FILE, or a pipe")
    return _values(sys.stdin, is_jsonl)


def _values(lines: Iterable[str], is_jsonl: bool) -> Iterator[Any]:
    return (_value(line.rstrip("\n"), is_jsonl, number) for number, line in enumerate(lines, 1))


def _value(line: str, is_jsonl: bool, number: int) -> Any:
    if not is_jsonl:
        return line
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number} is not JSON: {error}") from error


def write(answers: Iterable[Any], count: int | None, as_json: bool) -> None:
    """Print answers as they come, and on the terminal how many there are so far."""
    progress = _Progress(sys.stderr, count)
    try:
        for answer in answers:
            text = json.dumps(answer, ensure_ascii=False, default=_plain) if as_json else readable(answer)
            if count != 1 and not as_json and "\n" in text:
                text += "\n"  # so that one sees where the next answer begins
            if sys.stdout.isatty():
                progress.clear()
            print(text, flush=True)
            progress.step()
    finally:
        progress.clear()


def readable(answer: Any) -> str:
    """An answer for people: the text that it is, or a line of values for each of its entries."""
    return "\n".join("\t".join(_cell(value) for value in row) for row in _rows(answer))


def _rows(answer: Any) -> Iterator[Sequence[Any]]:
    if isinstance(answer, Mapping):
        values = list(answer.values())
        lists = [value for value in values if isinstance(value, list) and not _is_chat(value)]
        # Labels and their scores are lists of one length.
        if len(lists) > 1 and len({len(one) for one in lists}) == 1:
            yield from zip(*lists, strict=True)
        else:
            yield values
    elif isinstance(answer, list) and _has_entries(answer):
        for entry in answer:
            yield from _rows(entry)
    elif answer != []:
        yield [answer]


def _has_entries(values: Any) -> bool:
    """Whether these are entries with names, or lists of them, and not just numbers."""
    while isinstance(values, list) and values:
        values = values[0]
    return isinstance(values, Mapping)


def _is_chat(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping) and "role" in value[0]


def _cell(value: Any) -> str:
    if _is_chat(value):
        value = value[-1]["content"]
    if isinstance(value, str):
        return value
    return f"{value:.4f}" if isinstance(value, float) else json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    """Arrays and numbers of NumPy's as JSON has them."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


class _Progress:
    """How far a long run is, on one line of a terminal; nothing where there is none."""

    def __init__(self, out: TextIO, count: int | None) -> None:
        self._out, self._count = out, count
        self._is_shown = out.isatty() and count != 1
        self._done, self._begun, self._changed, self._width = 0, time.monotonic(), 0.0, 0

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        now = time.monotonic()
        is_due = not self._width or now - self._changed > _PACE
        if self._is_shown and is_due and now - self._begun > _PATIENCE:
            whole = "" if self._count is None else f"/{self._count}"
            line = f"{self._done}{whole}, {self._done / (now - self._begun):.1f} a second"
            self._out.write("\r" + line.ljust(self._width))
            self._out.flush()
            self._changed, self._width = now, len(line)

    def clear(self) -> None:
        """Take the line back, so that something else can be printed."""
        if self._width:
            self._out.write("\r" + " " * self._width + "\r")
            self._out.flush()
            self._width = 0
