"""No peer: what the machine itself can do at most, in calls of a known amount of work."""

from collections.abc import Callable
from typing import Any

import limits
from peer_workloads import LOOPS, OPERATIONS, READ, READING

LABEL = "the machine"
PACKAGES = ("numpy",)


def import_it() -> None:
    limits.library()


def calls(settings: dict) -> dict[str, Callable[[], Any]]:
    threads = settings["threads"]
    loops = {name: limits.computing(loop, OPERATIONS, threads) for name, loop in LOOPS.items()}
    found = {name: call for name, call in loops.items() if call is not None}
    return found | {READING: limits.reading(READ, threads)}
