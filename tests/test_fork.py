"""A forked child has none of its parent's threads, and computes all the same."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")

#: Models that are large enough for their operations to be shared out to threads.
MODELS = """
import numpy as np
from trustformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, tensor

encoder = BertModel(
    BertConfig(hidden_size=256, num_hidden_layers=2, num_attention_heads=4, intermediate_size=512), seed=1
).eval()
decoder = GPT2LMHeadModel(GPT2Config(n_embd=256, n_layer=2, n_head=4, vocab_size=500), seed=2)
IDS = np.arange(4 * 64).reshape(4, 64) + 5

def forward():
    return encoder(IDS).last_hidden_state

def generate():
    return decoder.generate(IDS, max_new_tokens=8, eos_token_id=None, pad_token_id=0)

def beams():
    return decoder.generate(IDS[:1], max_new_tokens=8, num_beams=3, eos_token_id=None, pad_token_id=0)

def multiply():
    return (tensor(np.ones((512, 512), np.float32)) @ tensor(np.ones((512, 512), np.float32))).numpy()
"""
FORK = """
import os, threading
before = {work.__name__: work() for work in (forward, generate, beams, multiply)}

def in_a_child(work):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = int(not np.array_equal(work(), before[work.__name__]))
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


def run(code: str) -> None:
    threads = {"TRUSTFORMERS_NUM_THREADS": "3"}
    script = MODELS + FORK + code
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120, env=os.environ | threads)


@pytest.mark.parametrize("work", ["forward", "generate", "beams", "multiply"])
def test_a_child_computes_what_its_parent_did(work: str) -> None:
    run(f"assert in_a_child({work}) == 0\nassert np.array_equal({work}(), before['{work}'])")


def test_a_child_of_a_child_computes() -> None:
    run(
        "def child(): return forward() if in_a_child(generate) == 0 else None\nbefore['child'] = forward()\n"
        "assert in_a_child(child) == 0"
    )


def test_a_child_computes_that_was_forked_while_others_were_computing() -> None:
    run(
        """
done = threading.Event()

def keep_on():
    while not done.is_set():
        forward()
        generate()

workers = [threading.Thread(target=keep_on) for _ in range(2)]
for worker in workers:
    worker.start()
try:
    assert [in_a_child(work) for work in (forward, generate, beams, multiply) * 3] == [0] * 12
finally:
    done.set()
"""
    )
