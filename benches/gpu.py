"""Measure what decides on a GPU, beside transformers and torch, in turn on the same device.

    python benches/gpu.py
    python benches/gpu.py --peers-python some-venv/bin/python     # where torch is
    python benches/gpu.py --size tiny                             # the programs alone, on any device

Models have real shapes and drawn weights. The results are gpu.json, .md and .png in benches/results.
"""

import re
import sys

import comparison
import report
from figures import Figure, side_by_side
from gpu_workloads import WORKS
from harness import Subject


def main() -> None:
    parser = comparison.parser(__doc__, rounds=3, seconds=2.0)
    parser.add_argument("--only", default="", help="a regular expression of workloads' names")
    parser.add_argument("--size", choices=("real", "tiny"), default="real")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    described = comparison.described_machine()
    settings = {"size": options.size, "device": options.device, "threads": options.threads}
    pythons = {"ours": sys.executable, "torch": options.peers_python}
    subjects, versions = comparison.present(
        Subject(f"gpu_{name}", python, settings) for name, python in pythons.items()
    )
    figures = side_by_side(
        subjects,
        options.rounds,
        options.seconds,
        lambda name: Figure(name, "ms") if re.search(options.only, name) else None,
    )
    for figure in figures if options.size == "real" else ():
        work = WORKS[figure.name]
        figure.tokens = work.tokens
        if work.at_most is not None:
            figure.at_most(work.at_most)
        if work.times is not None and "torch" in figure.samples:
            figure.times_less_than("torch", comparison.label("gpu_torch"), work.times)
    where = f"The device: {device_name(options.device)}; models of {options.size} shapes."
    about = comparison.about(described, versions, options, derived=[where])
    labels = {name: comparison.label(f"gpu_{name}") for name in pythons}
    print(report.write(figures, about, labels, options.results, "gpu", "Ours and torch on a GPU"))


def device_name(device: str) -> str:
    """What the device is called, which the report must say."""
    import trustformers

    return "the processor" if device == "cpu" else trustformers.cuda.get_device_name(device)


if __name__ == "__main__":
    main()
