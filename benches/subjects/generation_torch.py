"""The language models of transformers, with its default attention."""

from typing import Any

import generation_workloads

LABEL = "transformers + torch"
PACKAGES = ("transformers", "torch")


def import_it() -> None:
    import transformers  # noqa: F401


class Opened:
    def __init__(self, model: Any) -> None:
        self.model = model.eval()

    def write(self, prompt: list[list[int]], tokens: int) -> Any:
        import torch

        ids = torch.tensor(prompt)
        return self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=tokens,
            eos_token_id=None,
            pad_token_id=0,
            do_sample=False,
        )


def calls(settings: dict) -> dict:
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config

    torch.set_num_threads(settings["threads"])
    torch.set_grad_enabled(False)

    def gpt2(dtype: Any) -> Opened:
        return Opened(AutoModelForCausalLM.from_config(GPT2Config()).to(dtype))

    models = {"GPT-2 f32": lambda: gpt2(torch.float32), "GPT-2 bf16": lambda: gpt2(torch.bfloat16)}
    return generation_workloads.calls(models)
