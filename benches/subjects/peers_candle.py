"""candle: a program of its own, which answers in the worker's place."""

import json
import os
import re
import subprocess

from peer_workloads import ROOT

LABEL = "candle"
PROJECT = ROOT / "benches" / "candle"
TARGET = ROOT / "target" / "candle"


def versions(module: object, settings: dict) -> None:
    """Build it, minutes at first, for this very processor: its products of blocks ask for that."""
    command = ["cargo", "build", "--release", "--quiet", "--locked", "--target-dir", str(TARGET)]
    subprocess.run(command, cwd=PROJECT, env=os.environ | {"RUSTFLAGS": "-C target-cpu=native"}, check=True)
    lock = (PROJECT / "Cargo.lock").read_text()
    (version,) = re.findall(r'name = "candle-core"\nversion = "(.+)"', lock)
    print(json.dumps({"candle": version}), flush=True)


def serve(module: object, settings: dict) -> None:
    program = str(TARGET / "release" / "candle-peer")
    os.execv(program, [program, json.dumps(settings)])


TASKS = {"versions": versions, "serve": serve}
