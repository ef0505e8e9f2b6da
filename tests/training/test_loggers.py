"""What is shown and written of a training: bars, event files, tables and lines."""

import csv
import io
import json
import struct
from pathlib import Path

import pytest

from trustformers import training
from trustformers.training import event_files
from trustformers.training.progress import Bar, shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def records(path: Path) -> list[bytes]:
    """The messages of an event file; their checksums must be right."""
    data, messages = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        message = data[12 : 12 + length]
        assert data[: 16 + length] == event_files.record(message)
        messages.append(message)
        data = data[16 + length :]
    return messages


def test_the_checksum_is_that_of_the_standard() -> None:
    # RFC 3720, appendix B.4.
    assert event_files.crc32c(bytes(32)) == 0x8A9136AA
    assert event_files.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert event_files.crc32c(bytes(range(32))) == 0x46DD794E
    assert event_files.crc32c(b"123456789") == 0xE3069283


def test_event_files_have_what_was_written(tmp_path: Path) -> None:
    with event_files.EventWriter(tmp_path) as writer:
        writer.scalar("train/loss", 1.5, 300)
        writer.text("args", "größe")
        # Every record is there while the file is open.
        version, scalar, text = records(writer.path)
    assert version.endswith(b"brain.Event:2")
    assert b"train/loss" in scalar
    assert struct.pack("<f", 1.5) in scalar
    # Field 2 of the event, a varint: the step.
    assert b"\x10\xac\x02" in scalar
    assert b"text" in text
    assert "größe".encode() in text


def test_tensorboard_reads_them(tmp_path: Path) -> None:
    module = "tensorboard.backend.event_processing.event_accumulator"
    accumulator = pytest.importorskip(module, reason="tensorboard is not installed").EventAccumulator
    with event_files.EventWriter(tmp_path) as writer:
        for step in (1, 200, 70_000):
            writer.scalar("train/loss", 1 / step, step)
        writer.text("args", "a text")
    events = accumulator(str(tmp_path))
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("train/loss")] == [
        (step, pytest.approx(1 / step)) for step in (1, 200, 70_000)
    ]
    assert events.Tensors("args")[0].tensor_proto.string_val == [b"a text"]
    assert "args" in events.PluginTagToContent("text")


def test_callbacks_write_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    args = training.TrainingArguments(str(tmp_path / "out"))
    state, control = training.TrainerState(global_step=3), training.TrainerControl()
    logs = {"loss": 0.5, "eval_accuracy": 1, "note": "a text"}
    callbacks = [training.TensorBoardCallback(), training.CSVCallback(), training.JSONLinesCallback()]
    for callback in callbacks:
        callback.on_train_begin(args, state, control)
        callback.on_log(args, state, control, logs=logs)
        callback.on_log(args, state, control, logs={"loss": 0.25})
        callback.on_train_end(args, state, control)
    (file,) = (tmp_path / "events").iterdir()
    said = b"".join(records(file))
    assert said.count(b"train/loss") == 2
    assert b"eval/accuracy" in said
    with open(tmp_path / "out" / "logs.csv", newline="") as table:
        rows = list(csv.reader(table))
    assert rows[:2] == [["step", "name", "value"], ["3", "loss", "0.5"]]
    assert rows[-1] == ["3", "loss", "0.25"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "logs.jsonl").read_text().splitlines()]
    assert lines == [{"step": 3, **logs}, {"step": 3, "loss": 0.25}]


def test_a_bar_grows() -> None:
    terminal = Terminal()
    bar = Bar(4, stream=terminal)
    assert bar.text().startswith("  0%|")
    bar.update(3)
    assert " 75%|█" in bar.text()
    assert " 3/4 [00:00<00:00," in bar.text()
    bar.write("a line")
    bar.update()
    bar.close()
    assert "a line\n" in terminal.getvalue()
    assert terminal.getvalue().endswith("/s]\n")
    assert "100%" in terminal.getvalue()
    assert Bar(None, stream=terminal).text().startswith("0/?")


def test_a_bar_draws_on_terminals_alone() -> None:
    file = io.StringIO()
    bar = Bar(2, stream=file)
    bar.update(2)
    bar.write("a line")
    bar.close()
    assert file.getvalue() == "a line\n"


def test_progress_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    args, state, control = training.TrainingArguments(), training.TrainerState(), training.TrainerControl()
    callback, state.max_steps = training.ProgressCallback(max_str_len=4), 2
    callback.on_train_begin(args, state, control)
    for state.global_step in (1, 2):
        callback.on_step_end(args, state, control)
    callback.on_prediction_step(args, state, control, eval_dataloader=[1, 2])
    assert callback.prediction_bar is not None
    assert "1/2" in callback.prediction_bar.text()
    callback.on_predict(args, state, control, metrics={})
    callback.on_log(args, state, control, logs={"loss": 0.5, "text": "a long text"})
    callback.on_train_end(args, state, control)
    assert (callback.training_bar, callback.prediction_bar) == (None, None)
    assert "100%" in terminal.getvalue()
    assert terminal.getvalue().endswith("\n")


def test_logs_are_shown_short() -> None:
    logs = {"loss": 0.123456789, "epoch": 2, "total_flos": 1e9, "text": "x" * 300}
    result = shown(logs, longest=10)
    assert result == {"loss": "0.1235", "epoch": 2, "text": "xxxxxxxxxx… (300 characters)"}


def test_the_printer_prints(capsys: pytest.CaptureFixture[str]) -> None:
    args, state, control = training.TrainingArguments(), training.TrainerState(), training.TrainerControl()
    logs = {"loss": 0.5, "total_flos": 1.0}
    training.PrinterCallback().on_log(args, state, control, logs=logs)
    assert capsys.readouterr().out == "{'loss': '0.5'}\n"
    assert "total_flos" in logs
