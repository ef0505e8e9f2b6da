"""Measure trainings beside transformers' and torch's, in turn, with the same threads.

    python benches/training.py
    python benches/training.py --peers-python some-venv/bin/python  # where torch and accelerate are
    python benches/training.py --only GPT-2                         # figures whose names match

Models are drawn, and trained without dropout by AdamW; MiniLM is fine-tuned by both Trainers, from texts to a
checkpoint. Memory is that of a fresh process after three steps, and what ten thousand steps of a tiny model
add to it. The results are training.json, .md and .png in benches/results.
"""

import re
import sys

import comparison
import report
from figures import Figure, side_by_side, turns
from harness import Subject
from packaged import minilm
from training_workloads import BERT, GPT2, LORA, MINILM, TINY

NAMES = ("ours", "torch")
#: How many times faster than transformers a training is to be.
GOALS = {BERT: 1.3, GPT2: 1.3, MINILM: 1.5}
MANY = 10_000
GROWN = f"memory that {MANY:,} steps of {TINY} add"


def main() -> None:
    parser = comparison.parser(__doc__, rounds=3, seconds=2.0)
    parser.add_argument("--only", default="", help="a regular expression of figures' names")
    options = parser.parse_args()
    described = comparison.described_machine()
    pythons = {"ours": sys.executable, "torch": options.peers_python}
    settings = {"threads": options.threads, "minilm": minilm()}
    subjects, versions = comparison.present(
        Subject(f"training_{name}", pythons[name], settings) for name in NAMES
    )

    def is_asked(name: str) -> bool:
        return re.search(options.only, name) is not None

    def wanted(name: str) -> Figure | None:
        if not is_asked(name):
            return None
        figure = Figure(name, "ms")
        return figure.times_less_than("torch", "transformers", GOALS[name]) if name in GOALS else figure

    figures = side_by_side(subjects, options.rounds, options.seconds, wanted)
    figures += [
        peak(subjects, name) for name in (BERT, GPT2, LORA, MINILM) if is_asked(f"peak memory: {name}")
    ]
    if is_asked(GROWN):
        figures.append(grown(subjects))
    labels = {name: comparison.label(f"training_{name}") for name in NAMES}
    about = comparison.about(described, versions, options)
    print(report.write(figures, about, labels, options.results, "training", "Training"))


def peak(subjects: list[Subject], workload: str) -> Figure:
    """The most memory that a process has which takes three steps, or trains once."""
    figure = Figure(f"peak memory: {workload}", "MB").times_less_than("torch", "transformers", 1)
    for subject in subjects:
        asked = Subject(subject.name, subject.python, {**subject.settings, "workload": workload})
        answer, _ = asked.once("peak_of_training")
        if answer["peak_mb"] is not None:
            figure.add(subject.name.partition("_")[2], answer["peak_mb"])
    return figure


def grown(subjects: list[Subject]) -> Figure:
    """How much memory ten thousand steps of a tiny model add to that after the first five hundred."""
    figure = Figure(GROWN, "MB").at_most(1)
    for subject in turns(subjects, 1):
        asked = Subject(subject.name, subject.python, {**subject.settings, "workload": TINY, "steps": MANY})
        answer, _ = asked.once("memory_of_many_steps")
        figure.add(subject.name.partition("_")[2], max(answer["mb"], 0.0))
    return figure


if __name__ == "__main__":
    main()
