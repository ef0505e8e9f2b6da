"""The process in which a subject is measured: `worker.py SUBJECT TASK SETTINGS`, answers in lines of JSON.

Whatever this file imports is part of every subject's start, so it imports little.
"""

import importlib
import json
import sys
import time

import numpy as np

import memory


def answer(result: object) -> None:
    print(json.dumps(result), flush=True)


def versions(module, settings: dict) -> None:
    """Fails where something is not installed."""
    from importlib.metadata import version

    module.import_it()
    answer({package: version(package) for package in module.PACKAGES})


def prepare(module, settings: dict) -> None:
    """What has to be done once before anything is measured."""
    if hasattr(module, "prepare"):
        module.prepare(settings)
    answer("ready")


def import_it(module, settings: dict) -> None:
    """The price of the import statement, over an interpreter that has NumPy."""
    memory_before, start = memory.resident_mb(), time.perf_counter()
    module.import_it()
    seconds = time.perf_counter() - start
    answer({"ms": seconds * 1e3, "mb": memory.resident_mb() - memory_before})


def first_embedding(module, settings: dict) -> None:
    """From nothing to an embedding; the parent's clock stops when it reads the answer."""
    numpy_mb = memory.resident_mb()
    subject = module.Subject(settings)
    subject.open_tokenizer()
    embedding = subject.embed([settings["sentence"]])[0]
    answer({"embedding": embedding.tolist(), "peak_mb": memory.peak_mb(), "numpy_mb": numpy_mb})


def fresh(module, settings: dict) -> None:
    """What a process does once: it may tell how many of its seconds count; otherwise all do."""
    answer(module.fresh(settings)[settings["workload"]]())


def open_model(module, settings: dict) -> None:
    """Opening the model again, when all code is in memory and the file in the page cache."""
    subject = module.Subject(settings)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        model = subject.open()
        times.append(time.perf_counter() - start)
        del model
    answer({"ms": float(np.median(times)) * 1e3})


def open_and_run(module, settings: dict) -> None:
    """The most memory that a process has which opens the model and runs it once."""
    subject = module.Subject(settings)
    subject.forward(np.arange(16)[None])
    answer({"peak_mb": memory.peak_mb()})


def prepared(module, settings: dict) -> dict:
    """The workloads of a subject that has a model."""
    import workloads

    subject = module.Subject(settings)
    subject.open_tokenizer()
    return workloads.prepared(subject, settings["sentence"])


def serve(module, settings: dict) -> None:
    """Stay warm, and run the workload whose name is read until its seconds have passed."""
    calls = module.calls(settings) if hasattr(module, "calls") else prepared(module, settings)
    answer(sorted(calls))
    for line in sys.stdin:
        request = json.loads(line)
        call = calls[request["workload"]]
        call()
        times = []
        end = time.perf_counter() + request["seconds"]
        while len(times) < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        answer({"ms": float(np.median(times)) * 1e3})


def peak_of_training(module, settings: dict) -> None:
    """The most memory that a process has which takes three steps of a workload, if it knows that."""
    call = module.calls(settings).get(settings["workload"])
    if call is not None:
        for _ in range(3):
            call()
    answer({"peak_mb": None if call is None else memory.peak_mb()})


def memory_of_many_steps(module, settings: dict) -> None:
    """How much memory the steps of a workload add once it has begun."""
    call = module.trainings(settings).made(settings["workload"])
    for _ in range(500):
        call()
    before = memory.resident_mb()
    for _ in range(settings["steps"]):
        call()
    answer({"mb": memory.resident_mb() - before})


TASKS = {
    task.__name__: task
    for task in (
        *(versions, prepare, import_it, first_embedding, fresh, open_model, open_and_run, serve),
        *(peak_of_training, memory_of_many_steps),
    )
}

if __name__ == "__main__":
    name, task, settings = sys.argv[1:]
    module = importlib.import_module(f"subjects.{name}")
    tasks = TASKS | getattr(module, "TASKS", {})  # what is no Python has its own
    tasks[task](module, json.loads(settings))
