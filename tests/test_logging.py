"""How much the package says."""

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

import trustformers
from trustformers.training.progress import Bar
from trustformers.utils import logging as verbosity


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger("trustformers")
    before = root.level, list(root.handlers), root.propagate
    yield
    root.setLevel(before[0])
    root.handlers[:], root.propagate = before[1:]
    verbosity.captureWarnings(False)


def test_levels() -> None:
    assert trustformers.logging is verbosity
    for name, level in (("debug", 10), ("info", 20), ("warning", 30), ("error", 40)):
        getattr(verbosity, f"set_verbosity_{name}")()
        assert verbosity.get_verbosity() == level
        assert verbosity.get_logger("trustformers.pipelines.base").isEnabledFor(level)
        assert not verbosity.get_logger("trustformers.pipelines.base").isEnabledFor(level - 1)
    verbosity.set_verbosity(verbosity.CRITICAL)
    assert verbosity.get_logger().level == logging.CRITICAL


def test_handlers_and_formats(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    verbosity.add_handler(handler)
    logger = verbosity.get_logger("trustformers.test")
    logger.warning("plain")
    verbosity.enable_explicit_format()
    logger.warning("told in full")
    verbosity.reset_format()
    verbosity.remove_handler(handler)
    logger.warning("unheard")
    first, second = stream.getvalue().splitlines()
    assert first == "plain"
    assert second.startswith("[WARNING|test_logging.py:")
    assert second.endswith(">> told in full")
    verbosity.disable_default_handler()


def test_propagation(caplog: pytest.LogCaptureFixture) -> None:
    verbosity.disable_propagation()
    verbosity.get_logger("trustformers.test").warning("kept")
    verbosity.enable_propagation()
    verbosity.get_logger("trustformers.test").warning("passed on")
    assert caplog.messages == ["passed on"]


def test_once(caplog: pytest.LogCaptureFixture) -> None:
    logger = verbosity.get_logger("trustformers.test")
    for _ in range(3):
        verbosity.warning_once(logger, "said %s", "once")
    assert caplog.messages == ["said once"]


def test_a_logger_says_things_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    logging.getLogger("trustformers.made_before")
    logger = verbosity.get_logger("trustformers.made_before")
    caplog.set_level(logging.INFO, "trustformers")
    for _ in range(2):
        logger.warning_once("take %s", "care")
        logger.info_once("by the way")
        logger.warning_advice("better so")
        monkeypatch.setenv("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    assert caplog.messages == ["take care", "by the way", "better so"]
    assert {record.filename for record in caplog.records} == {"test_logging.py"}
    assert not hasattr(logging.getLogger("somebody.else"), "warning_once")


def test_progress_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    shown: list[bool] = []
    for switch in (verbosity.disable_progress_bar, verbosity.enable_progress_bar):
        switch()
        terminal = io.StringIO()
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        bar = Bar(2, stream=terminal)
        bar.update(2)
        bar.close()
        shown.append("2/2" in terminal.getvalue())
        assert verbosity.is_progress_bar_enabled() == shown[-1]
    assert shown == [False, True]


@pytest.mark.parametrize("name", ["TRUSTFORMERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"])
@pytest.mark.parametrize(("value", "level"), [("error", 40), ("INFO", 20), ("detail", 10), ("loud", 30)])
def test_the_environment(name: str, value: str, level: int) -> None:
    code = "import trustformers; print(trustformers.logging.get_verbosity())"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert int(result.stdout) == level
    assert ("Unknown option" in result.stderr) == (value == "loud")


def test_versions(capsys: pytest.CaptureFixture[str]) -> None:
    trustformers.show_versions()
    shown = capsys.readouterr().out
    assert f"- trustformers: {trustformers.__version__}" in shown
    assert "- numpy: " in shown
    assert "- processor: " in shown
    stream = io.StringIO()
    trustformers.show_versions(stream)
    assert stream.getvalue() == shown


def test_the_command_shows_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    from trustformers.cli import main

    assert main(["env"]) == 0
    shown = capsys.readouterr().out
    trustformers.show_versions()
    assert capsys.readouterr().out == shown
