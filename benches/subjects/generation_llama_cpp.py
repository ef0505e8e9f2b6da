"""llama.cpp, through its Python binding: the file as it is."""

from typing import Any

import numpy as np

import generation_workloads
import packaged

LABEL = "llama.cpp"
PACKAGES = ("llama-cpp-python",)


def import_it() -> None:
    import llama_cpp  # noqa: F401


class Opened:
    def __init__(self, model: Any) -> None:
        from llama_cpp import llama_get_logits_ith

        self.model, self.scores = model, llama_get_logits_ith

    def write(self, prompt: list[list[int]], tokens: int) -> Any:
        (ids,) = prompt
        self.model.reset()
        self.model.eval(ids)
        for _ in range(tokens - 1):
            self.model.eval([self.likeliest()])
        return self.likeliest()

    def likeliest(self) -> int:
        scores = self.scores(self.model.ctx, -1)
        return int(np.argmax(np.ctypeslib.as_array(scores, shape=(self.model.n_vocab(),))))


def calls(settings: dict) -> dict:
    from llama_cpp import Llama

    def smollm2() -> Opened:
        threads = settings["threads"]
        model = Llama(
            packaged.smollm2(),
            n_ctx=2048,
            n_threads=threads,
            n_threads_batch=threads,
            verbose=False,
        )
        return Opened(model)

    found = generation_workloads.calls({"SmolLM2 Q4_1": smollm2})
    # Several texts at once its binding does not write.
    return {name: call for name, call in found.items() if "16 texts" not in name}
