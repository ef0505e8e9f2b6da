"""The language models of trustformers."""

from typing import Any

import generation_workloads
import limits
import packaged

LABEL = "trustformers"
PACKAGES = ("trustformers",)


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
    read = limits.reading(generation_workloads.READ, settings["threads"])
    return generation_workloads.calls(models) | {generation_workloads.READING: read}
