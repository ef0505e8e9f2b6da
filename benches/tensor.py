"""Measure our tensors beside PyTorch's and NumPy's, in turn, with the same threads.

    python benches/tensor.py
    python benches/tensor.py --peers-python some-venv/bin/python      # where torch lives

The results are tensor.json and tensor.md in benches/results.
"""

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

import machine
import report
from figures import Figure, Medians, turns
from harness import Subject, Unavailable, Worker
from tensor_workloads import LARGE, MOVES, REPEAT

NAMES = ("ours", "torch", "numpy")
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    options = arguments()
    settings = {"threads": options.threads}
    subjects = []
    for name in NAMES:
        subject = Subject(
            f"tensor_{name}", sys.executable if name == "ours" else options.peers_python, settings
        )
        try:
            subject.once("versions")
        except Unavailable as reason:
            print(f"Without {name}: {reason}")
        else:
            subjects.append(subject)
    figures = measure(subjects, options.rounds, options.seconds)
    for figure in figures:
        set_goals(figure, next((f for f in figures if f.name == "copy, large"), None))
    labels = {name: importlib.import_module(f"subjects.tensor_{name}").LABEL for name in NAMES}
    labels = {name: label for name, label in labels.items() if any(name in f.samples for f in figures)}
    text = report.table([figure for figure in figures if "ours" in figure.samples], labels)
    about = {"machine": machine.describe(), "threads": options.threads, "rounds": options.rounds}
    RESULTS.mkdir(parents=True, exist_ok=True)
    samples = {figure.name: {"unit": figure.unit, "samples": figure.samples} for figure in figures}
    (RESULTS / "tensor.json").write_text(json.dumps(about | {"figures": samples}, indent=1) + "\n")
    (RESULTS / "tensor.md").write_text(text)
    print(text)


def measure(subjects: list[Subject], rounds: int, seconds: float) -> list[Figure]:
    """Every workload of everyone, in turn; the others idle meanwhile."""
    workers = {subject.name: Worker(subject, "serve") for subject in subjects}
    can = {name: worker.read() for name, worker in workers.items()}
    figures: dict[str, Figure] = {}
    for subject in turns(subjects, rounds):
        for workload in can[subject.name]:
            answer = workers[subject.name].ask({"workload": workload, "seconds": seconds})
            small = workload.endswith(", 64") or workload.startswith("from_numpy")
            figure = figures.setdefault(workload, Figure(workload, "µs" if small else "ms"))
            value = answer["ms"] * 1e3 / REPEAT if small else answer["ms"]
            figure.add(subject.name.removeprefix("tensor_"), value)
        time.sleep(0.3)  # its threads may spin for a while
    for worker in workers.values():
        worker.close()
    return list(figures.values())


def set_goals(figure: Figure, copy: Figure | None) -> None:
    """Set what ours should reach.

    Small operations: no slower than twice the best peer. Large ones: near the memory's bandwidth. Those of
    networks: at least as fast as torch.
    """
    operation, _, size = figure.name.rpartition(", ")
    if figure.name.startswith("from_numpy"):
        figure.at_most(5)
    elif size == "64":

        def near_the_best(medians: Medians) -> bool:
            return medians["ours"] <= 2 * min(value for name, value in medians.items() if name != "ours")

        figure.goals.append(("≤ 2 x the best peer", near_the_best))
    elif operation in MOVES and copy is not None:
        bandwidth = 8 * LARGE / copy.medians["numpy"]
        limit = MOVES[operation] * LARGE / bandwidth / 0.8
        figure.goals.append((f"≥ 80 % of {bandwidth / 1e6:.0f} GB/s", lambda m: m["ours"] <= limit))
    elif "torch" in figure.samples:
        figure.times_less_than("torch", "torch", 1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers-python", default=sys.executable, help="the interpreter that has torch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each workload and round")
    return parser.parse_args()


if __name__ == "__main__":
    main()
