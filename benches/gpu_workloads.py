"""What decides on a GPU. Ours and transformers run the same lines, with what their tensors are called."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

#: Tokens that are written in a call, behind a prompt of so many.
WRITTEN, PROMPT = 64, 8

#: Real shapes, and shapes for trying the programs where there is only an emulated device.
SHAPES: dict[str, dict[str, dict[str, Any]]] = {
    "bert": {
        "real": {},
        "tiny": {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
        },
    },
    "gpt2": {"real": {}, "tiny": {"n_embd": 32, "n_layer": 2, "n_head": 2}},
    "llama": {
        "real": {
            "vocab_size": 128256,
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 16,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
        },
        "tiny": {
            "vocab_size": 1000,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
        },
    },
}


@dataclass(frozen=True)
class Work:
    """One row of the table."""

    what: str
    model: str
    lengths: tuple[int, ...]
    #: What ours is to take, in milliseconds a call (in seconds where a process is fresh); or how many times
    #: less than transformers.
    at_most: float | None = None
    times: float | None = None

    @property
    def tokens(self) -> int:
        """Those that a call goes through, of all texts."""
        return WRITTEN * len(self.lengths) if self.what == "write" else sum(self.lengths)


RAGGED = tuple(int(length) for length in np.random.default_rng(1).integers(8, 513, 128))

WORKS = {
    "BERT-base bf16, 1 x 128": Work("encode", "bert", (128,), at_most=0.5),
    "BERT-base bf16, 128 x 128": Work("encode", "bert", (128,) * 128, times=1.5),
    "BERT-base bf16, 128 ragged of 8-512": Work("encode", "bert", RAGGED, times=3),
    f"GPT-2 bf16, {WRITTEN} tokens": Work("write", "gpt2", (PROMPT,), at_most=0.4 * WRITTEN),
    f"GPT-2 bf16, {WRITTEN} tokens of 32": Work("write", "gpt2", (PROMPT,) * 32, at_most=0.6 * WRITTEN),
    f"Llama-1B bf16, {WRITTEN} tokens": Work("write", "llama", (PROMPT,), at_most=1.1 * WRITTEN),
    "Llama-1B bf16, 4096 prompt tokens": Work("read", "llama", (4096,), times=1.3),
    "BERT-base bf16, step of 32 x 128": Work("train", "bert", (128,) * 32, times=2),
}

#: What a fresh process does with a checkpoint, its kernels compiled before. Decoding is ready when it writes
#: the fourth token: while the third is written a step is recorded as a graph, which is launched from then on.
FRESH = {
    "BERT-base bf16, process start to the first result": Work("begin", "bert", (128,), at_most=1.5),
    "Llama-1B bf16, opened to the fourth token": Work("get_ready", "llama", (PROMPT,), at_most=2),
}
KINDS = {"begin": "AutoModel", "get_ready": "AutoModelForCausalLM"}


class Runs:
    """The workloads of a library. `tensors` has what its tensors are made and moved by."""

    def __init__(self, library: Any, settings: dict, tensors: Any) -> None:
        self.library, self.tensors = library, tensors
        self.size, self.device = settings["size"], settings["device"]
        self.checkpoints = Path(settings["checkpoints"])

    def calls(self) -> dict[str, Callable[[], Any]]:
        """One model is in memory at a time: it is opened when it is first asked for."""
        opened = lru_cache(maxsize=1)(lambda name: getattr(self, WORKS[name].what)(WORKS[name]))
        return {name: lambda name=name: self.finished(opened(name)) for name in WORKS}

    def fresh(self) -> dict[str, Callable[[], dict[str, float]]]:
        """What is done once, on checkpoints that `save` has written."""
        return {name: lambda work=work: getattr(self, work.what)(work) for name, work in FRESH.items()}

    def save(self, names: list[str]) -> None:
        """The checkpoints of these of them."""
        for work in (FRESH[name] for name in names):
            self.drawn(KINDS[work.what], work.model).save_pretrained(self.checkpoints / work.model)

    def open(self, work: Work) -> Any:
        auto = getattr(self.library, KINDS[work.what])
        opened = auto.from_pretrained(self.checkpoints / work.model, dtype=self.tensors.bfloat16)
        return opened.to(self.device).eval()

    def begin(self, work: Work) -> dict[str, float]:
        with self.tensors.no_grad():
            self.open(work)(**self.batch(work)).last_hidden_state.cpu()
        return {}

    def get_ready(self, work: Work) -> dict[str, float]:
        start = perf_counter()
        self.finished(lambda: self.generate(self.open(work), self.batch(work), 4))
        return {"s": perf_counter() - start}

    def finished(self, call: Callable[[], Any]) -> None:
        call()
        if self.device != "cpu":
            self.tensors.synchronize()

    def lengths(self, work: Work) -> tuple[int, ...]:
        if self.size == "real":
            return work.lengths
        return tuple(max(2, length // 16) for length in work.lengths[:4])

    def drawn(self, kind: str, name: str) -> Any:
        configs = {"bert": "BertConfig", "gpt2": "GPT2Config", "llama": "LlamaConfig"}
        config = getattr(self.library, configs[name])(**SHAPES[name][self.size])
        return getattr(self.library, kind).from_config(config, dtype=self.tensors.bfloat16)

    def model(self, kind: str, name: str) -> Any:
        return self.drawn(kind, name).to(self.device)

    def batch(self, work: Work) -> dict[str, Any]:
        lengths = self.lengths(work)
        ids = np.random.default_rng(2).integers(100, 900, (len(lengths), max(lengths)))
        mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
        move = lambda array: self.tensors.tensor(array).to(self.device)  # noqa: E731
        return {"input_ids": move(ids), "attention_mask": move(mask)}

    def encode(self, work: Work) -> Callable[[], Any]:
        model, batch = self.model("AutoModel", work.model).eval(), self.batch(work)

        def call() -> Any:
            with self.tensors.no_grad():
                return model(**batch).last_hidden_state

        return call

    def read(self, work: Work) -> Callable[[], Any]:
        model, batch = self.model("AutoModelForCausalLM", work.model).eval(), self.batch(work)

        def call() -> Any:
            with self.tensors.no_grad():
                return model(**batch, use_cache=True, logits_to_keep=1).logits

        return call

    def write(self, work: Work) -> Callable[[], Any]:
        model, batch = self.model("AutoModelForCausalLM", work.model).eval(), self.batch(work)
        return lambda: self.generate(model, batch, WRITTEN if self.size == "real" else 4)

    def generate(self, model: Any, batch: dict[str, Any], wanted: int) -> Any:
        options = {"max_new_tokens": wanted, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
        return model.generate(**batch, **options)

    def train(self, work: Work) -> Callable[[], Any]:
        model, batch = self.model("AutoModelForSequenceClassification", work.model).train(), self.batch(work)
        labels = self.tensors.tensor(np.arange(len(self.lengths(work))) % 2).to(self.device)
        optimizer = self.tensors.optimizer(list(model.parameters()))

        def call() -> None:
            model(**batch, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return call
