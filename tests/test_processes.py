"""Models and tokenizers in several processes and threads: forked, started anew, served before a fork."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from process_workers import IDS, embed, memory, serve, tokenize
from trustformers import AutoModel, AutoTokenizer, PreTrainedModel

#: Bytes, and those of them that count for one process.
Measured = tuple[int, int]
METHODS = multiprocessing.get_all_start_methods()


@pytest.fixture(scope="module")
def model(minilm_path: Path) -> PreTrainedModel:
    return AutoModel.from_pretrained(minilm_path)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_sent_to_a_pool_answers_there(method: str, model: PreTrainedModel, minilm_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(minilm_path)
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        answers = list(pool.map(embed, [model] * 3))
        ids = list(pool.map(tokenize, [tokenizer] * 3))
    assert all(np.array_equal(answer, embed(model)) for answer in answers)
    assert ids == [tokenize(tokenizer)] * 3


def served(
    work: Callable[..., None], about: Any, method: str, measure: Callable[[int], Measured]
) -> list[Measured]:
    """What is measured of each of three processes while they serve."""
    context = multiprocessing.get_context(method)
    workers = []
    for _ in range(3):
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(about, theirs))
        process.start()
        workers.append((process, ours))
    try:
        for _, connection in workers:
            connection.send(IDS)
        answers = [connection.recv() for _, connection in workers]
        found = [measure(process.pid or 0) for process, _ in workers]
    finally:
        for process, connection in workers:
            connection.send(None)
            process.join(30)
    assert all(np.array_equal(answer, answers[0]) for answer in answers)
    assert [process.exitcode for process, _ in workers] == [0, 0, 0]
    return found


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="there is no /proc to measure in")
@pytest.mark.skipif("fork" not in METHODS, reason="processes are not forked here")
@pytest.mark.parametrize("weights", ["minilm_path", "smollm2_path"])
def test_forked_processes_share_what_was_made_of_the_weights(
    weights: str, request: pytest.FixtureRequest
) -> None:
    model = AutoModel.from_pretrained(request.getfixturevalue(weights))
    embed(model)  # as a server does that loads and warms up before it forks, gunicorn after `preload_app`
    for resident, private in served(serve, model, "fork", memory):
        assert resident > 30e6
        assert private < 0.25 * model.get_memory_footprint()


def test_one_model_in_many_threads(model: PreTrainedModel, minilm_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(minilm_path)
    texts = [f"text number {number} " + "and more " * number for number in range(16)]
    want = [model(**tokenizer(text, return_tensors="np")).last_hidden_state for text in texts]
    start = threading.Barrier(8)

    def work(first: int) -> list[np.ndarray[Any, Any]]:
        start.wait(30)
        turn = texts[first:] + texts[:first]
        return [model(**tokenizer(text, return_tensors="np")).last_hidden_state for text in turn]

    with ThreadPoolExecutor(8) as pool:
        for first, answers in enumerate(pool.map(work, range(8))):
            wanted = want[first:] + want[:first]
            assert all(np.array_equal(a, b) for a, b in zip(answers, wanted, strict=True))


@pytest.mark.skipif(
    getattr(sys, "_is_gil_enabled", lambda: True)(), reason="this interpreter has its GIL, see python3.14t"
)
def test_a_free_threaded_interpreter_stays_so() -> None:
    import trustformers

    trustformers.tensor([1.0]).exp()
    assert not sys._is_gil_enabled()  # type: ignore[attr-defined]


def test_other_threads_run_while_a_model_computes(model: PreTrainedModel) -> None:
    ids = np.full((8, 256), 2000)
    counted = 0
    done = threading.Event()

    def compute() -> None:
        model(ids)
        done.set()

    worker = threading.Thread(target=compute)
    worker.start()
    while not done.is_set():
        counted += 1
        done.wait(0.001)
    worker.join()
    # Had the GIL been held, this loop would have come to at most a turn before and one after.
    assert counted > 5, os.cpu_count()
