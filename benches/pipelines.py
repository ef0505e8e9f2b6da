"""Measure pipelines beside transformers', in turn, with the same threads.

    python benches/pipelines.py
    python benches/pipelines.py --peers-python some-venv/bin/python  # where torch is

The texts are drawn words. Texts are classified by all-MiniLM-L6-v2 with a head that is drawn: what is in it
changes no time. SmolLM2-135M-Instruct writes from PyPI's file, for us as it is and for transformers expanded.
The results are pipelines.json, .md and .png in benches/results.
"""

import sys

import comparison
import report
from figures import Figure, side_by_side
from harness import Subject
from packaged import minilm
from pipeline_workloads import CLASSIFIED, FIRST_GENERATED, FIRST_PIPED

NAMES = ("ours", "torch")


def main() -> None:
    options = comparison.parser(__doc__, rounds=3, seconds=1.0).parse_args()
    described = comparison.described_machine()
    pythons = {"ours": sys.executable, "torch": options.peers_python}
    settings = {"threads": options.threads, "minilm": minilm()}
    subjects, versions = comparison.present(
        Subject(f"pipelines_{name}", pythons[name], settings) for name in NAMES
    )
    figures = side_by_side(subjects, options.rounds, options.seconds, lambda name: goals(Figure(name, "ms")))
    labels = {name: comparison.label(f"pipelines_{name}") for name in NAMES}
    ours = {figure.name: figure.medians["ours"] for figure in figures if "ours" in figure.samples}
    more = (
        f"first token through the pipeline: {ours[FIRST_PIPED] / ours[FIRST_GENERATED]:.3f} times generate's"
    )
    about = comparison.about(described, versions, options, derived=[f"{more} (goal 1.05)"])
    title = "Pipelines"
    print(report.write(figures, about, labels, options.results, "pipelines", title))


def goals(figure: Figure) -> Figure:
    """What was aimed at."""
    if figure.name == CLASSIFIED:
        figure.times_less_than("torch", "transformers", 2.5)
    return figure


if __name__ == "__main__":
    main()
