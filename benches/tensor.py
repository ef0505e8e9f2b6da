"""Measure our tensors beside PyTorch's and NumPy's, in turn, with the same threads.

    python benches/tensor.py
    python benches/tensor.py --peers-python some-venv/bin/python      # where torch lives

The results are tensor.json, tensor.md and tensor.png in benches/results. Large operations are held against
the memory's bandwidth, which NumPy measures in the same rounds: by reading, and by copying to memory in use.
"""

import sys
import time

import comparison
import report
from figures import Figure, Medians, turns
from harness import Subject, Worker
from tensor_workloads import MOVES, REPEAT, SIZES, SMALL

NAMES = ("ours", "torch", "numpy")
CEILINGS = ("reading", "copying")


def main() -> None:
    options = comparison.parser(__doc__, rounds=5, seconds=0.3).parse_args()
    described = comparison.described_machine()
    settings = {"threads": options.threads}
    pythons = {"ours": sys.executable, "torch": options.peers_python, "numpy": options.peers_python}
    subjects, versions = comparison.present(
        Subject(f"tensor_{name}", pythons[name], settings) for name in NAMES
    )
    figures = measure(subjects, options.rounds, options.seconds)
    by_name = {figure.name: figure for figure in figures}
    for figure in figures:
        set_goals(figure, by_name)
    labels = {name: comparison.label(f"tensor_{name}") for name in NAMES}
    labels = {name: label for name, label in labels.items() if any(name in f.samples for f in figures)}
    ceilings = {name: bandwidth(by_name, name) for name in by_name if name.startswith(CEILINGS)}
    about = comparison.about(described, versions, options, bandwidth=ceilings)
    ours = [figure for figure in figures if "ours" in figure.samples]
    print(report.write(ours, about, labels, options.results, "tensor", "Tensors"))


def measure(subjects: list[Subject], rounds: int, seconds: float) -> list[Figure]:
    """Every workload of everyone, in turn; the others idle meanwhile."""
    workers = {subject.name: Worker(subject, "serve") for subject in subjects}
    can = {name: worker.read() for name, worker in workers.items()}
    figures: dict[str, Figure] = {}
    for subject in turns(subjects, rounds):
        for workload in can[subject.name]:
            answer = workers[subject.name].ask({"workload": workload, "seconds": seconds})
            small = workload.endswith(SMALL) or workload.startswith("from_numpy")
            figure = figures.setdefault(workload, Figure(workload, "µs" if small else "ms"))
            value = answer["ms"] * 1e3 / REPEAT if small else answer["ms"]
            figure.add(subject.name.removeprefix("tensor_"), value)
        time.sleep(0.3)  # its threads may spin for a while
    for worker in workers.values():
        worker.close()
    return list(figures.values())


def bandwidth(figures: dict[str, Figure], name: str) -> float:
    """Bytes a second that reading or copying has reached at its best: others can only make it slower."""
    what, _, size = name.partition(", ")
    bytes_moved = (4 if what == "reading" else 8) * SIZES[size]
    return bytes_moved / (min(figures[name].samples["numpy"]) / 1e3)


def set_goals(figure: Figure, figures: dict[str, Figure]) -> None:
    """Set what ours should reach.

    Small operations: no slower than twice the best peer. Large ones: near the memory's bandwidth. Those of
    networks: at least as fast as torch.
    """
    operation, _, size = figure.name.rpartition(", ")
    ceiling = f"{'reading' if MOVES.get(operation) == 4 else 'copying'}, {size}"
    if figure.name.startswith("from_numpy"):
        figure.at_most(5)
    elif size == SMALL:

        def near_the_best(medians: Medians) -> bool:
            peers = [value for name, value in medians.items() if name != "ours"]
            return not peers or medians["ours"] <= 2 * min(peers)

        figure.goals.append(("≤ 2 x the best peer", near_the_best))
    elif operation in MOVES and "ours" in figure.samples and ceiling in figures:
        reached = MOVES[operation] * SIZES[size] / (min(figure.samples["ours"]) / 1e3)
        share = reached / bandwidth(figures, ceiling)
        figure.goals.append((f"{share:.0%} of the bandwidth, ≥ 80 %", lambda _: share >= 0.8))
    elif "torch" in figure.samples:
        figure.times_less_than("torch", "torch", 1)


if __name__ == "__main__":
    main()
