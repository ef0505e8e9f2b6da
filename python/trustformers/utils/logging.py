"""How much the package says: transformers' verbosity helpers over Python's ``logging``.

Every message goes to a logger below ``trustformers``; warnings and errors are shown unless somebody says
otherwise. ``TRUSTFORMERS_VERBOSITY`` and ``TRANSFORMERS_VERBOSITY`` may be "detail" (all, with levels and
places), "debug", "info", "warning", "error" or "critical".
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from logging import CRITICAL, DEBUG, ERROR, FATAL, INFO, NOTSET, WARN, WARNING
from typing import Any, cast

__all__ = [
    "CRITICAL",
    "DEBUG",
    "ERROR",
    "FATAL",
    "INFO",
    "NOTSET",
    "WARN",
    "WARNING",
    "Logger",
    "add_handler",
    "captureWarnings",
    "disable_default_handler",
    "disable_progress_bar",
    "disable_propagation",
    "enable_default_handler",
    "enable_explicit_format",
    "enable_progress_bar",
    "enable_propagation",
    "get_log_levels_dict",
    "get_logger",
    "get_verbosity",
    "is_progress_bar_enabled",
    "remove_handler",
    "reset_format",
    "set_verbosity",
    "set_verbosity_debug",
    "set_verbosity_error",
    "set_verbosity_info",
    "set_verbosity_warning",
    "warning_once",
]

_NAME = "trustformers"
_LEVELS = {
    "detail": DEBUG,
    "debug": DEBUG,
    "info": INFO,
    "warning": WARNING,
    "error": ERROR,
    "critical": CRITICAL,
}
_VARIABLES = ("TRUSTFORMERS_VERBOSITY", "TRANSFORMERS_VERBOSITY")
_EXPLICIT = "[%(levelname)s|%(filename)s:%(lineno)s] %(asctime)s >> %(message)s"
#: huggingface_hub's variable, which the engine's downloads read too.
_NO_PROGRESS = "HF_HUB_DISABLE_PROGRESS_BARS"
#: What shows messages, once somebody has asked for something that Python does not show by itself.
_handler: logging.Handler | None = None


def _root() -> logging.Logger:
    return logging.getLogger(_NAME)


class Logger(logging.Logger):
    """A logger that can say something once."""

    def warning_once(self, message: str, *args: Any) -> None:
        """Warn of something once in a process."""
        _once(self, WARNING, message, args)

    def info_once(self, message: str, *args: Any) -> None:
        """Tell something once in a process."""
        _once(self, INFO, message, args)

    def warning_advice(self, message: str, *args: Any) -> None:
        """Warn of something that is only advice, unless ``TRANSFORMERS_NO_ADVISORY_WARNINGS`` is set."""
        if not os.environ.get("TRANSFORMERS_NO_ADVISORY_WARNINGS"):
            self.warning(message, *args, stacklevel=2)


@functools.cache
def _once(logger: logging.Logger, level: int, message: str, args: tuple[Any, ...]) -> None:
    logger.log(level, message, *args, stacklevel=3)


def get_logger(name: str | None = None) -> Logger:
    """The logger of a module; the package's own without a name."""
    logger = logging.getLogger(name or _NAME)
    if not isinstance(logger, Logger):
        # Somebody had it made as one of Python's own; what it has is the same.
        logger.__class__ = Logger
    return cast(Logger, logger)


def get_log_levels_dict() -> dict[str, int]:
    """The levels by the names that the environment may give them."""
    return dict(_LEVELS)


def get_verbosity() -> int:
    """The level from which on messages are shown, as a number of ``logging``."""
    return _root().getEffectiveLevel()


def set_verbosity(verbosity: int) -> None:
    """Set the level from which on messages are shown, as a number of ``logging``."""
    if verbosity < WARNING:
        enable_default_handler()  # Python itself shows warnings and errors only
    _root().setLevel(verbosity)


def set_verbosity_debug() -> None:
    """Show everything."""
    set_verbosity(DEBUG)


def set_verbosity_info() -> None:
    """Show what may interest, too."""
    set_verbosity(INFO)


def set_verbosity_warning() -> None:
    """Show warnings and errors, as from the start."""
    set_verbosity(WARNING)


def set_verbosity_error() -> None:
    """Show errors only."""
    set_verbosity(ERROR)


def from_environment() -> None:
    """Set the level that the environment names, if it names one."""
    named = next((os.environ[name] for name in _VARIABLES if os.environ.get(name)), None)
    if named is None:
        return
    level = _LEVELS.get(named.lower())
    if level is None:
        _root().warning(
            "Unknown option %s=%s, has to be one of: %s", _VARIABLES[0], named, ", ".join(_LEVELS)
        )
    else:
        set_verbosity(level)
    if named.lower() == "detail":
        enable_explicit_format()


def enable_default_handler() -> None:
    """Show messages on stderr, besides what other handlers do with them."""
    global _handler
    if _handler is None:
        _handler = logging.StreamHandler(sys.stderr)
    add_handler(_handler)


def disable_default_handler() -> None:
    """Show messages no longer on stderr."""
    if _handler is not None:
        remove_handler(_handler)


def add_handler(handler: logging.Handler) -> None:
    """Give messages to a handler, too."""
    _root().addHandler(handler)


def remove_handler(handler: logging.Handler) -> None:
    """Give messages no longer to a handler."""
    _root().removeHandler(handler)


def enable_propagation() -> None:
    """Give messages to the handlers of the root logger too, as from the start."""
    _root().propagate = True


def disable_propagation() -> None:
    """Keep messages from the handlers of the root logger."""
    _root().propagate = False


def enable_explicit_format() -> None:
    """Show with each message its level, file, line and time."""
    enable_default_handler()
    for handler in _root().handlers:
        handler.setFormatter(logging.Formatter(_EXPLICIT))


def reset_format() -> None:
    """Show messages alone."""
    for handler in _root().handlers:
        handler.setFormatter(None)


def captureWarnings(capture: bool) -> None:
    """Whether Python's warnings become messages of the logger ``py.warnings``."""
    logging.captureWarnings(capture)


def warning_once(logger: logging.Logger, message: str, *args: Any) -> None:
    """Warn of something once in a process."""
    _once(logger, WARNING, message, args)


def enable_progress_bar() -> None:
    """Show progress of trainings and downloads, as from the start."""
    os.environ.pop(_NO_PROGRESS, None)


def disable_progress_bar() -> None:
    """Show no progress."""
    os.environ[_NO_PROGRESS] = "1"


def is_progress_bar_enabled() -> bool:
    """Whether progress is shown."""
    return os.environ.get(_NO_PROGRESS, "").upper() not in ("1", "ON", "YES", "TRUE")
