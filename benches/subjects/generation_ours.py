"""The language models of trustformers."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

import bandwidth
import generation_workloads
import packaged

LABEL = "trustformers"
PACKAGES = ("trustformers", "numpy")


def import_it() -> None:
    import trustformers  # noqa: F401


class Opened:
    def __init__(self, model: Any) -> None:
        self.model = model

    def write(self, prompt: list[list[int]], tokens: int) -> Any:
        return self.model.generate(prompt, max_new_tokens=tokens, eos_token_id=None, pad_token_id=0)


def calls(settings: dict) -> dict:
    from trustformers import AutoModelForCausalLM, GPT2Config

    def gpt2(dtype: str) -> Opened:
        return Opened(AutoModelForCausalLM.from_config(GPT2Config(), dtype=dtype))

    def smollm2() -> Opened:
        return Opened(AutoModelForCausalLM.from_pretrained(packaged.smollm2()))

    models = {
        "SmolLM2 Q4_1": smollm2,
        "GPT-2 f32": lambda: gpt2("float32"),
        "GPT-2 bf16": lambda: gpt2("bfloat16"),
    }
    threads = settings["threads"]
    parts = np.split(np.ones(generation_workloads.READ // 4, np.float32), threads)
    read = bandwidth.reader(parts, ThreadPoolExecutor(threads))
    return generation_workloads.calls(models) | {generation_workloads.READING: read}
