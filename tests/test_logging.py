"""How much the package says."""

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

import trustformers
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


def test_progress_bars() -> None:
    assert verbosity.is_progress_bar_enabled()
    verbosity.disable_progress_bar()
    assert not verbosity.is_progress_bar_enabled()
    verbosity.enable_progress_bar()
    assert verbosity.is_progress_bar_enabled()


@pytest.mark.parametrize("name", ["TRUSTFORMERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"])
@pytest.mark.parametrize(("value", "level"), [("error", 40), ("INFO", 20), ("loud", 30)])
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
