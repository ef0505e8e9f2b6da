"""Measure the forward pass of every architecture beside transformers', in turn, with the same threads.

    python benches/architectures.py
    python benches/architectures.py --peers-python some-venv/bin/python  # where torch is
    python benches/architectures.py --only llama,t5

Both draw their weights at random: what is in them changes no time. The results are architectures.json and
architectures.md in benches/results, and in architectures.png how many times faster ours are.
"""

import argparse
import importlib
import platform
import sys
import time
from pathlib import Path
from typing import Any

import machine
import report
from figures import Figure, turns
from harness import Subject, Unavailable, Worker

NAMES = ("ours", "torch")
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    options = arguments()
    described = machine.describe()  # before we are a load ourselves
    if described["load"] > 0.5:
        print(f"This machine is busy (load {described['load']}): do not trust the figures.")
    subjects, versions = [], {"python": platform.python_version()}
    for name in NAMES:
        python = sys.executable if name == "ours" else options.peers_python
        subject = Subject(f"architectures_{name}", python, {"threads": options.threads})
        try:
            found, _ = subject.once("versions")
        except Unavailable as reason:
            print(f"Without {name}: {reason}")
        else:
            subjects.append(subject)
            versions |= found
    figures = measure(subjects, options)
    for figure in figures:
        figure.times_less_than("torch", "transformers", 1)
    labels = {name: importlib.import_module(f"subjects.architectures_{name}").LABEL for name in NAMES}
    about = {
        "machine": described,
        "versions": versions,
        "threads": options.threads,
        "rounds": options.rounds,
    }
    title = "Every architecture, hidden 512, 4 layers"
    print(report.write(figures, about, labels, options.results, "architectures", title, draw))


def measure(subjects: list[Subject], options: argparse.Namespace) -> list[Figure]:
    """Every workload of everyone, in turn; the others idle meanwhile."""
    workers = {subject.name: Worker(subject, "serve") for subject in subjects}
    can = [worker.read() for worker in workers.values()]
    names = [name for name in can[0] if not options.only or name.split(",")[0] in options.only.split(",")]
    figures = {name: Figure(name, "ms") for name in names}
    for name, figure in figures.items():
        for subject in turns(subjects, options.rounds):
            answer = workers[subject.name].ask({"workload": name, "seconds": options.seconds})
            figure.add(subject.name.removeprefix("architectures_"), answer["ms"])
            time.sleep(0.1)  # its threads may spin for a while
    for worker in workers.values():
        worker.close()
    return list(figures.values())


def draw(figures: list[Figure], labels: dict[str, str], title: str, path: Path) -> None:
    """How many times faster ours is, a bar a figure; needs matplotlib, and does without."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError:
        print("No picture: matplotlib is not installed.")
        return
    rows: dict[str, dict[str, float]] = {}
    for figure in figures:
        architecture, _, shape = figure.name.partition(", ")
        rows.setdefault(architecture, {})[shape] = report.ratio(figure) or 0.0
    shapes = list(dict.fromkeys(shape for row in rows.values() for shape in row))
    sheet, axes = plt.subplots(1, len(shapes), figsize=(4 * len(shapes), 0.8 + 0.22 * len(rows)), sharey=True)
    panels: Any = axes if len(shapes) > 1 else [axes]
    for shape, axis in zip(shapes, panels, strict=True):
        values = [row.get(shape, 0.0) for row in rows.values()][::-1]
        axis.barh(
            list(rows)[::-1], values, color=["#d1495b" if value >= 1 else "#9aa5b1" for value in values]
        )
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set_title(f"{shape}: times as fast as {labels['torch']}", fontsize=9, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    sheet.suptitle(title, fontsize=10)
    sheet.tight_layout()
    sheet.savefig(path, dpi=110)
    plt.close(sheet)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peers-python", default=sys.executable, help="the interpreter that has transformers"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.2, help="for each workload and round")
    parser.add_argument("--only", help="the model types to measure, with commas between")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
