"""Measure the forward pass of every architecture beside transformers', in turn, with the same threads.

    python benches/architectures.py
    python benches/architectures.py --peers-python some-venv/bin/python  # where torch is
    python benches/architectures.py --only llama,t5

Both draw their weights at random: what is in them changes no time. The results are architectures.json and
architectures.md in benches/results, and in architectures.png how many times faster ours are.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import comparison
import report
from figures import Figure, side_by_side
from harness import Subject

NAMES = ("ours", "torch")


def main() -> None:
    options = arguments()
    described = comparison.described_machine()
    pythons = {"ours": sys.executable, "torch": options.peers_python}
    settings = {"threads": options.threads}
    subjects, versions = comparison.present(
        Subject(f"architectures_{name}", pythons[name], settings) for name in NAMES
    )

    def wanted(name: str) -> Figure | None:
        if options.only and name.split(",")[0] not in options.only.split(","):
            return None
        return Figure(name, "ms").times_less_than("torch", "transformers", 1)

    figures = side_by_side(subjects, options.rounds, options.seconds, wanted)
    labels = {name: comparison.label(f"architectures_{name}") for name in NAMES}
    about = comparison.about(described, versions, options)
    title = "Every architecture, hidden 512, 4 layers"
    print(report.write(figures, about, labels, options.results, "architectures", title, draw))


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
    parser = comparison.parser(__doc__, rounds=3, seconds=0.2)
    parser.add_argument("--only", help="the model types to measure, with commas between")
    return parser.parse_args()


if __name__ == "__main__":
    main()
