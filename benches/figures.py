"""The figures that are measured, in everyone's turn, and the goals that were set for ours."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from harness import Subject, Unavailable, Worker

Medians = dict[str, float]


@dataclass
class Figure:
    """One row of the table. Less is better in all of them."""

    name: str
    unit: str
    samples: dict[str, list[float]] = field(default_factory=dict)
    tokens: int | None = None
    """Tokens that one call goes through, where a call is what is measured."""
    goals: list[tuple[str, Callable[[Medians], bool]]] = field(default_factory=list)
    limit: tuple[float, str] | None = None
    """What the machine would take at its best, in the unit, and which of its limits that is."""

    def add(self, subject: str, value: float) -> None:
        self.samples.setdefault(subject, []).append(value)

    @property
    def medians(self) -> Medians:
        return {subject: statistics.median(values) for subject, values in self.samples.items()}

    @property
    def best_peer(self) -> str | None:
        peers = {subject: value for subject, value in self.medians.items() if subject != "ours"}
        return min(peers, key=peers.__getitem__, default=None)

    def at_most(self, limit: float) -> "Figure":
        self.goals.append((f"≤ {limit:g} {self.unit}", lambda medians: medians["ours"] <= limit))
        return self

    def times_less_than(self, peer: str, label: str, times: float) -> "Figure":
        def met(medians: Medians) -> bool:
            return peer not in medians or medians[peer] >= times * medians["ours"]

        self.goals.append((f"≥ {times:g} x {label}", met))
        return self

    @property
    def reached(self) -> dict[str, bool]:
        """Of each goal, whether ours reached it: none where ours could not be measured."""
        medians = self.medians
        return {text: "ours" in medians and met(medians) for text, met in self.goals}

    @property
    def share(self) -> float | None:
        """Of the limit, that ours reaches."""
        return None if self.limit is None else self.limit[0] / self.medians["ours"]

    def share_at_least(self, share: float) -> "Figure":
        if self.limit is not None:
            best, what = self.limit
            self.goals.append((f"≥ {share:.0%} of {what}", lambda medians: best >= share * medians["ours"]))
        return self


def turns(subjects: list[Subject], rounds: int) -> Iterator[Subject]:
    """Everyone once a round, each round beginning with another, so that nobody has the quiet machine."""
    for start in range(rounds):
        for i in range(len(subjects)):
            yield subjects[(start + i) % len(subjects)]


def side_by_side(
    subjects: list[Subject], rounds: int, seconds: float, make: Callable[[str], Figure | None]
) -> list[Figure]:
    """One workload after another, of everyone who can, in turn; the others idle meanwhile.

    `make` gives a workload's figure, or None to leave it out. Subjects are `<comparison>_<name>`.
    """
    workers = {subject.name: Worker(subject, "serve") for subject in subjects}
    can = {name: worker.read() for name, worker in workers.items()}
    figures = {name: make(name) for name in dict.fromkeys(name for found in can.values() for name in found)}
    wanted = {name: figure for name, figure in figures.items() if figure is not None}
    for name, figure in wanted.items():
        for subject in turns([one for one in subjects if name in can[one.name]], rounds):
            if name not in can[subject.name]:
                continue
            try:
                answer = workers[subject.name].ask({"workload": name, "seconds": seconds})
            except Unavailable as reason:
                print(f"{name}: without {subject.name}: {reason}")
                workers[subject.name] = Worker(subject, "serve")
                can[subject.name] = [one for one in workers[subject.name].read() if one != name]
                continue
            figure.add(subject.name.partition("_")[2], answer["ms"])
            time.sleep(0.1)  # its threads may spin for a while
    for worker in workers.values():
        worker.close()
    return list(wanted.values())


def fresh(subjects: list[Subject], rounds: int, figure: Figure) -> Figure:
    """What a process does once, by `worker.fresh`: the seconds from its start, or those that it tells."""
    found = [replace(one, settings=one.settings | {"workload": figure.name}) for one in subjects]
    for number, subject in enumerate([*found, *turns(found, rounds)]):
        try:
            told, seconds = subject.once("fresh")
        except Unavailable as reason:
            print(f"{figure.name}: without {subject.name}: {reason}")
        else:
            if number >= len(found):  # the first has brought files into memory, and compiled
                figure.add(subject.name.partition("_")[2], told.get("s", seconds))
    return figure


def start_up(subjects: list[Subject], rounds: int, weights_mb: float) -> list[Figure]:
    """What a process pays once. Each sample is a fresh process, the files in the page cache."""
    import_time = Figure("import, over NumPy's", "ms").at_most(60)
    import_memory = Figure("memory of the import, over NumPy's", "MB").at_most(15)
    first = Figure("process start to the first embedding", "s").at_most(0.35)
    first.times_less_than("transformers_torch", "transformers", 15)
    peak = Figure("peak memory of that process", "MB")
    opening = Figure("opening the model", "ms").at_most(20)

    embeddings = {}
    numpy_mb = []
    for subject in subjects:  # bytecode and pages, for everyone
        subject.once("import_it")
    for subject in turns(subjects, rounds):
        answer, _ = subject.once("import_it")
        import_time.add(subject.name, answer["ms"])
        import_memory.add(subject.name, answer["mb"])
    for subject in turns(subjects, rounds):
        answer, seconds = subject.once("first_embedding")
        first.add(subject.name, seconds)
        peak.add(subject.name, answer["peak_mb"])
        embeddings[subject.name] = answer["embedding"]
        if subject.name == "ours":
            numpy_mb.append(answer["numpy_mb"])
    for subject in turns(subjects, rounds):
        answer, _ = subject.once("open_model")
        opening.add(subject.name, answer["ms"])

    for name, embedding in embeddings.items():
        if not np.allclose(embedding, embeddings["ours"], atol=1e-4):
            raise SystemExit(f"{name} and ours embed one sentence differently: nothing to compare")
    peak.at_most(round(1.3 * weights_mb + statistics.median(numpy_mb), 1))
    return [import_time, import_memory, first, peak, opening]


def steady(subjects: list[Subject], rounds: int, seconds: float, tokens: dict[str, int]) -> list[Figure]:
    """What a warmed process does over and over; the others idle meanwhile."""
    figures = {name: Figure(name, "ms", tokens=count) for name, count in tokens.items()}
    workers = {subject.name: Worker(subject, "serve") for subject in subjects}
    can = {name: worker.read() for name, worker in workers.items()}
    for subject in turns(subjects, rounds):
        for name in can[subject.name]:
            answer = workers[subject.name].ask({"workload": name, "seconds": seconds})
            figures[name].add(subject.name, answer["ms"])
        time.sleep(0.3)  # its threads may spin for a while
    for worker in workers.values():
        worker.close()
    return list(figures.values())
