"""What the processes of test_processes.py do: functions that a process started anew can import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

#: A short text.
IDS = np.array([[101, 7592, 102]])


def embed(model: Any) -> np.ndarray[Any, Any]:
    return model(IDS).last_hidden_state


def tokenize(tokenizer: Any) -> list[int]:
    return tokenizer(["one text", "and another one"], padding=True).input_ids


def serve(model: Any, connection: Any) -> None:
    """Answers until nobody asks any more."""
    while (ids := connection.recv()) is not None:
        connection.send(model(ids).last_hidden_state)


def memory(pid: int) -> tuple[int, int]:
    """Of all that a process has in memory, the bytes, and those that are its alone."""
    sizes = {"Rss:": 0, "Private_Clean:": 0, "Private_Dirty:": 0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size, _ = line.split()
        if name in sizes:
            sizes[name] = int(size) * 1024
    return sizes["Rss:"], sizes["Private_Clean:"] + sizes["Private_Dirty:"]
