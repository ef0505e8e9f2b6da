"""Ctrl-C ends whatever computes within a tenth of a second, and nothing that computes holds the GIL."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from async_models import wide_encoder

import trustformers as tf

pytestmark = pytest.mark.alone

PATIENCE = 0.1
LONG = np.arange(32 * 512).reshape(32, 512) % 900 + 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 160 MB."""
    folder = tmp_path_factory.mktemp("model")
    config = tf.BertConfig(
        hidden_size=768, num_hidden_layers=6, num_attention_heads=12, intermediate_size=2048, vocab_size=1000
    )
    tf.BertModel(config, seed=1).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def writer() -> Any:
    """A decoder whose tokens take a few milliseconds each."""
    config = tf.GPT2Config(n_embd=512, n_layer=6, n_head=8, vocab_size=2000, eos_token_id=None)
    return tf.GPT2LMHeadModel(config, seed=1)


class Load:
    """Blocks of few bits are made of a model's matrices."""

    def __init__(self, folder: Path, writer: Any) -> None:
        self.folder = folder

    def __call__(self) -> None:
        for _ in range(40):
            tf.AutoModel.from_pretrained(self.folder, quantization="q4")


class Forward:
    """A batch whose every operation takes long."""

    def __init__(self, folder: Path, writer: Any) -> None:
        pass

    def __call__(self) -> None:
        wide_encoder()(LONG)


class Generate:
    """A long text."""

    def __init__(self, folder: Path, writer: Any) -> None:
        self.writer = writer

    def __call__(self) -> None:
        self.writer.generate([[5, 6, 7]], max_new_tokens=1000, pad_token_id=0)


class Train:
    """Steps of a model whose every operation takes long."""

    def __init__(self, folder: Path, writer: Any) -> None:
        self.folder = folder

    def __call__(self) -> None:
        config = tf.BertConfig(hidden_size=512, num_hidden_layers=2, num_attention_heads=8, vocab_size=1000)
        model = tf.BertForSequenceClassification(config, seed=1)
        row = {"input_ids": LONG[0, :256], "labels": 1}
        arguments = tf.TrainingArguments(
            output_dir=str(self.folder / "out"),
            per_device_train_batch_size=16,
            max_steps=100,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        )
        tf.Trainer(model=model, args=arguments, train_dataset=[row] * 64).train()


WORKS = [Load, Forward, Generate, Train]


def interrupted_after(work: Callable[[], None], begin: float) -> float:
    """How long ``work`` went on after Ctrl-C, in seconds."""
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(begin, press)
    timer.start()
    try:
        work()
    except KeyboardInterrupt:
        return time.perf_counter() - pressed[0]
    finally:
        timer.cancel()
        timer.join()
    raise AssertionError("it ended before it could be interrupted, or did not hear that it was")


@pytest.mark.skipif(os.name != "posix", reason="a process cannot press Ctrl-C for itself")
@pytest.mark.parametrize("kind", WORKS)
def test_ctrl_c(kind: Any, folder: Path, writer: Any) -> None:
    work, seen = kind(folder, writer), []
    # Others may take the machine for a while; what is deaf is so every time.
    for attempt in range(5):
        seen.append(interrupted_after(work, 0.4 + 0.13 * attempt))
        if seen[-1] < PATIENCE:
            return
    raise AssertionError(f"Ctrl-C was heard after {seen} seconds")


@pytest.mark.parametrize("kind", WORKS)
def test_the_gil_is_free(kind: Any, folder: Path, writer: Any) -> None:
    """Another thread goes on counting, half as fast as while this one sleeps, or faster."""
    work, done, counted = kind(folder, writer), threading.Event(), 0

    def count() -> None:
        nonlocal counted
        while not done.is_set():
            counted += 1
            time.sleep(0.001)

    def rate(call: Callable[[], Any]) -> float:
        before, began = counted, time.perf_counter()
        call()
        return (counted - before) / (time.perf_counter() - began)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        seen = []
        for _ in range(5):
            seen.append((rate(lambda: interrupted_after(work, 1.0)), rate(lambda: time.sleep(0.5))))
            if seen[-1][0] > seen[-1][1] / 2:
                return
    finally:
        done.set()
        thread.join()
    raise AssertionError(f"counts a second while it computes, and while nothing does: {seen}")


def test_one_model_in_many_threads() -> None:
    model, rows = wide_encoder(), [LONG[:1, : 3 + i] for i in range(24)]
    want = [model(row).last_hidden_state for row in rows]
    found: list[Any] = [None] * len(rows)

    def run(first: int) -> None:
        for i in range(first, len(rows), 6):
            found[i] = model(rows[i]).last_hidden_state

    threads = [threading.Thread(target=run, args=(first,)) for first in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ours, one in zip(found, want, strict=True):
        np.testing.assert_allclose(ours, one, rtol=1e-4, atol=1e-5)
