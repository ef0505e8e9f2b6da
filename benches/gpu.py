"""Measure what decides on a GPU, beside transformers and torch, in turn on the same device.

    python benches/gpu.py
    python benches/gpu.py --peers-python some-venv/bin/python     # where torch is
    python benches/gpu.py --size tiny                             # the programs alone, on any device

Models have real shapes and drawn weights. The results are gpu.json, .md and .png in benches/results.
"""

import re
import sys
import tempfile

import comparison
import report
from figures import Figure, fresh, side_by_side
from gpu_workloads import FRESH, WORKS
from harness import Subject


def main() -> None:
    parser = comparison.parser(__doc__, rounds=3, seconds=2.0)
    parser.add_argument("--only", default="", help="a regular expression of workloads' names")
    parser.add_argument("--size", choices=("real", "tiny"), default="real")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    described = comparison.described_machine()
    wanted = [name for name in (*FRESH, *WORKS) if re.search(options.only, name)]
    pythons = {"ours": sys.executable, "torch": options.peers_python}
    with tempfile.TemporaryDirectory() as checkpoints:
        settings = {
            "size": options.size,
            "device": options.device,
            "threads": options.threads,
            "checkpoints": checkpoints,
            "fresh": [name for name in FRESH if name in wanted],
        }
        subjects, versions = comparison.present(
            (Subject(f"gpu_{name}", python, settings) for name, python in pythons.items()), prepare=True
        )
        if not subjects or subjects[0].name != "gpu_ours":
            raise SystemExit("trustformers cannot be measured")
        figures = [fresh(subjects, options.rounds, Figure(name, "s")) for name in settings["fresh"]]
    figures += side_by_side(
        subjects,
        options.rounds,
        options.seconds,
        lambda name: Figure(name, "ms") if name in wanted else None,
    )
    if options.size == "real":
        for figure in figures:
            set_goals(figure)
    where = f"The device: {device_name(options.device)}; models of {options.size} shapes."
    about = comparison.about(described, versions, options, derived=[where])
    labels = {subject.name.partition("_")[2]: comparison.label(subject.name) for subject in subjects}
    print(report.write(figures, about, labels, options.results, "gpu", "Ours and torch on a GPU"))


def set_goals(figure: Figure) -> None:
    work = FRESH.get(figure.name) or WORKS[figure.name]
    if figure.unit == "ms":
        figure.tokens = work.tokens
    if work.at_most is not None:
        figure.at_most(work.at_most)
    if work.times is not None and "torch" in figure.samples:
        figure.times_less_than("torch", comparison.label("gpu_torch"), work.times)


def device_name(device: str) -> str:
    """What the device is called, which the report must say."""
    import trustformers

    return "the processor" if device == "cpu" else trustformers.cuda.get_device_name(device)


if __name__ == "__main__":
    main()
