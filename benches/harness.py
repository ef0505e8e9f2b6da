"""Processes to measure in: fresh ones for what happens once, warmed ones for what happens over and over."""

import json
import os
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORKER = Path(__file__).parent / "worker.py"


class Unavailable(Exception):
    """The subject cannot run here; the message says why."""


@dataclass(frozen=True)
class Subject:
    """A subject of the comparison, by the name of its file in subjects/, and the interpreter that has it."""

    name: str
    python: str
    settings: dict[str, Any]

    def once(self, task: str) -> tuple[Any, float]:
        """Run a task in a fresh process: its answer, and the seconds from the start of the process to it."""
        start = time.perf_counter()
        worker = Worker(self, task)
        answer = worker.read()
        seconds = time.perf_counter() - start
        worker.close()
        return answer, seconds


class Worker:
    """A process of a subject, which answers in lines of JSON."""

    def __init__(self, subject: Subject, task: str) -> None:
        threads = str(subject.settings["threads"])
        limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), threads)
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (it lives as long as the process)
        self.process = subprocess.Popen(
            [subject.python, str(WORKER), subject.name, task, json.dumps(subject.settings)],
            env=os.environ | limits | {"HF_HUB_OFFLINE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def ask(self, request: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.read()

    def read(self) -> Any:
        """The next answer; other lines are the subject's own chatter."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                return json.loads(line)
            except json.JSONDecodeError:
                continue
        self.errors.seek(0)
        raised = re.findall(r"^[\w.]+(?:Error|Exit|Exception)\b.*", self.errors.read(), re.MULTILINE)
        self.close()
        raise Unavailable(raised[-1] if raised else "it ended without an answer")

    def close(self) -> None:
        """Let it end; it reads until there is nothing more."""
        self.process.communicate()
        self.errors.close()
