"""The command `trustformers run`."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipeline_cases import CHECKPOINTS

from trustformers import Tensor, cli, pipeline
from trustformers import run as command

COMMAND = [sys.executable, "-c", "import sys; from trustformers.cli import main; sys.exit(main())", "run"]
TEXTS = ["The river is long.", "Nobody has an umbrella.", "A short one."]
Shell = Callable[..., list[str]]


def folder(name: str) -> str:
    return str(CHECKPOINTS[name].folder)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    """Runs the command and gives the lines that it printed."""

    def run(*arguments: str) -> list[str]:
        assert cli.main(["run", *arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr().out.splitlines()

    return run


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command, which must fail, and gives the line that it printed."""

    def run(*arguments: str) -> str:
        assert cli.main(["run", *arguments]) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        return printed.err

    return run


def test_json_is_what_the_pipeline_answers(shell: Shell) -> None:
    lines = shell("text-classification", "--model", folder("labels"), *TEXTS, "--output", "json")
    assert [json.loads(line) for line in lines] == pipeline(model=folder("labels"))(TEXTS)


def test_a_line_for_people(shell: Shell) -> None:
    answers = pipeline(model=folder("labels"))(TEXTS)
    expected = [f"{one['label']}\t{one['score']:.4f}" for one in answers]
    assert shell("text-classification", *TEXTS, "--model", folder("labels")) == expected
    assert shell("text-classification", "--batch-size", "2", *TEXTS, "--model", folder("labels")) == expected


def test_entries_of_several_inputs_are_set_apart(shell: Shell) -> None:
    arguments = ("text-classification", "--model", folder("labels"), "--set", "top_k=2")
    assert [line.count("\t") for line in shell(*arguments, *TEXTS[:2])] == [1, 1, 0, 1, 1, 0]
    assert [line.count("\t") for line in shell(*arguments, TEXTS[0])] == [1, 1]


def test_labels_to_choose_from(shell: Shell) -> None:
    lines = shell(
        "zero-shot-classification", "--model", folder("entailment"), "--labels", "rivers,kings", TEXTS[0]
    )
    assert sorted(line.split("\t")[0] for line in lines) == ["kings", "rivers"]


def test_a_context_makes_questions(monkeypatch: pytest.MonkeyPatch, shell: Shell) -> None:
    asked = []

    def answer(inputs: Any, **keywords: Any) -> Any:
        for index in range(len(inputs)):
            asked.append(inputs[index])
            yield {"score": 0.5, "start": 0, "end": 5, "answer": "Paris"}

    monkeypatch.setattr(command, "pipeline", lambda task, **keywords: answer)
    assert shell("question-answering", "Where?", "--context", "Paris it is.") == ["0.5000\t0\t5\tParis"]
    assert asked == [{"question": "Where?", "context": "Paris it is."}]


def test_settings_are_json_or_text(shell: Shell) -> None:
    arguments = ("text-generation", "--model", folder("writer"), "--set", "do_sample=false")
    (line,) = shell(*arguments, "--set", "max-new-tokens=4", "--set", "return_full_text=false", TEXTS[0])
    pipe = pipeline("text-generation", model=folder("writer"))
    answer = pipe(TEXTS[0], do_sample=False, max_new_tokens=4, return_full_text=False)
    assert line == answer[0]["generated_text"]
    assert command.setting("a=b=c") == ("a", "b=c")
    assert command.setting('stop-strings=["x"]') == ("stop_strings", ["x"])
    assert command.setting("revision=") == ("revision", "")


def test_files_and_pipes(monkeypatch: pytest.MonkeyPatch, shell: Shell, tmp_path: Path) -> None:
    arguments = ("text-classification", "--model", folder("labels"))
    expected = shell(*arguments, TEXTS[0], "", TEXTS[1])
    lines = f"{TEXTS[0]}\n\n{TEXTS[1]}"
    (tmp_path / "texts.txt").write_text(lines)
    assert shell(*arguments, "--input", str(tmp_path / "texts.txt")) == expected
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps(text) for text in (TEXTS[0], "", TEXTS[1])))
    assert shell(*arguments, "--input", str(tmp_path / "texts.jsonl")) == expected
    for more in ((), ("--input", "-")):
        monkeypatch.setattr("sys.stdin", io.StringIO(lines + "\n"))
        assert shell(*arguments, *more) == expected


def test_a_pair_and_a_chat_are_json(shell: Shell) -> None:
    pair = {"text": "The river is long.", "text_pair": "It is a very long river."}
    (line,) = shell("text-classification", "--model", folder("labels"), "--jsonl", json.dumps(pair))
    assert line == "{label}\t{score:.4f}".format(**pipeline(model=folder("labels"))(pair))
    chat = [{"role": "user", "content": "What is it?"}]
    settings = ("--set", "do_sample=false", "--set", "max_new_tokens=4")
    lines = shell("text-generation", "--model", folder("writer"), "--jsonl", json.dumps(chat), *settings)
    answer = pipeline("text-generation", model=folder("writer"))(chat, do_sample=False, max_new_tokens=4)
    assert "\n".join(lines) == answer[0]["generated_text"][-1]["content"]


def test_answers_of_a_pipe_come_one_by_one() -> None:
    arguments = [*COMMAND, "text-classification", "--model", folder("labels"), "--output", "json"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for text in TEXTS:
            print(text, file=process.stdin, flush=True)
            assert "label" in json.loads(process.stdout.readline())
        process.stdin.close()
        assert process.wait() == 0


def test_a_gguf_file(shell: Shell, smollm2_path: Path) -> None:
    file = smollm2_path
    settings = ("--set", "do_sample=false", "--set", "max_new_tokens=3")
    by_path = shell("text-generation", "Once upon a time", "--model", str(file), *settings)
    named = ("--model", str(file.parent), "--gguf-file", file.name)
    assert shell("text-generation", "Once upon a time", *named, *settings) == by_path
    assert by_path[0].startswith("Once upon a time")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["summarisation", "x"], "Did you mean 'summarization'?"),
        (["summarization", "x", "--model", "/is/not/there"], "/is/not/there"),
        (["fill-mask", "x", "--input", "y"], "not both"),
        (["fill-mask", "--input", "/is/not/there"], "/is/not/there"),
        (["fill-mask", "x", "--set", "top_k"], "name=value"),
        (["fill-mask", "x", "--jsonl"], "line 1 is not JSON"),
        (["fill-mask", "no mask", "--model", "MASKS"], "input 0: No mask_token"),
        (["fill-mask", "--jsonl", "3", "--model", "MASKS"], "input 0: "),
        (["fill-mask", "a [MASK]", "--model", "MASKS", "--batch-size", "0"], "batch_size"),
        (["zero-shot-classification", "x", "--model", "ENTAILMENT"], "candidate_labels"),
        (["text-generation", "x", "--model", "WRITER", "--set", "max_newtokens=3"], "max_newtokens"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    refusal: Callable[..., str], arguments: list[str], said: str
) -> None:
    line = refusal(*(folder(one.lower()) if one.isupper() else one for one in arguments))
    assert line.startswith("trustformers run: ")
    assert said in line


def test_a_terminal_gives_no_texts(monkeypatch: pytest.MonkeyPatch, refusal: Callable[..., str]) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    assert "--input FILE" in refusal("fill-mask")


def test_ctrl_c_ends_it_quietly() -> None:
    arguments = [*COMMAND, "text-classification", "--model", folder("labels")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(arguments, text=True, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        print(TEXTS[0], file=process.stdin, flush=True)
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr.read() == ""


def test_a_reader_who_has_enough_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("A short one.\n" * 200)
    arguments = [*COMMAND, "text-classification", "--model", folder("labels")]
    arguments += ["--input", str(tmp_path / "texts.txt")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait() == 1
        assert process.stderr.read() == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def slow(count: int) -> Any:
    for _ in range(count):
        yield {"label": "a"}
        time.sleep(0.03)


def test_progress_is_for_terminals_and_long_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_PATIENCE", 0.1)
    monkeypatch.setattr("sys.stderr", Terminal())
    command.write(slow(10), 10, as_json=False)
    assert capsys.readouterr().out == "a\n" * 10
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "/10, " in shown
    assert shown.endswith("\r")
    for count, stream in ((10, io.StringIO()), (1, Terminal())):
        monkeypatch.setattr("sys.stderr", stream)
        command.write(slow(10), count, as_json=False)
        assert stream.getvalue() == ""


def test_through_a_real_terminal() -> None:
    ours, theirs = pty.openpty()
    arguments = [*COMMAND, "text-classification", "--model", folder("labels"), *TEXTS]
    done = subprocess.run(arguments, stdin=theirs, stdout=theirs, stderr=theirs, check=False)
    os.close(theirs)
    assert done.returncode == 0
    assert os.read(ours, 4096).decode().count("\r\n") == len(TEXTS)
    os.close(ours)


@pytest.mark.parametrize(
    ("answer", "lines"),
    [
        ([{"generated_text": "one\ntwo"}], "one\ntwo"),
        ([[{"score": 0.25, "token": 3}], [{"score": 0.5, "token": 4}]], "0.2500\t3\n0.5000\t4"),
        ({"sequence": "x", "labels": ["a", "b"], "scores": [0.75, 0.25]}, "a\t0.7500\nb\t0.2500"),
        ([[[0.5, 1.0]]], "[[[0.5, 1.0]]]"),
        ([{"word": "Maria", "index": np.int64(3)}], "Maria\t3"),
        ([{"generated_token_ids": Tensor.from_numpy(np.array([1, 2]))}], "[1, 2]"),
        ([], ""),
    ],
)
def test_answers_for_people(answer: Any, lines: str) -> None:
    assert command.readable(answer) == lines
