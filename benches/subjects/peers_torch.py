"""transformers on PyTorch, beside all peers: fused attention, as it is and compiled."""

from collections.abc import Callable
from typing import Any

import numpy as np

from peer_workloads import BEAMS, TRANSLATION, WRITTEN, encoding, lazily, sources, writing
from subjects import generation_torch, transformers_torch
from subjects.transformers_torch import Subject

LABEL = transformers_torch.LABEL
PACKAGES = transformers_torch.PACKAGES
import_it = transformers_torch.import_it


class Compiled(Subject):
    """Compiled by torch for each shape that comes."""

    def open(self) -> object:
        return self.torch.compile(super().open(), dynamic=False)


class Quantized(Subject):
    """Linear layers in int8, their inputs quantised as they come."""

    def open(self) -> object:
        quantize = self.torch.ao.quantization.quantize_dynamic
        return quantize(super().open(), {self.torch.nn.Linear}, dtype=self.torch.qint8)


def calls(settings: dict) -> dict[str, Callable[[], Any]]:
    both = [Subject, Compiled] if settings["compile"] else [Subject]

    def bert(kinds: list[type[Subject]], **keywords: str) -> list[Callable[[], Subject]]:
        about = {"model": f"{settings['models']}/bert", "threads": settings["threads"], "keywords": keywords}
        return [lambda kind=kind: kind(about) for kind in kinds]

    def minilm() -> Subject:
        subject = Subject({"model": settings["minilm"], "threads": settings["threads"]})
        subject.open_tokenizer()
        return subject

    def translate() -> Callable[[], Any]:
        import torch
        from transformers import AutoModelForSeq2SeqLM

        model, ids = AutoModelForSeq2SeqLM.from_pretrained(f"{settings['models']}/t5").eval(), sources()
        ids = torch.from_numpy(ids)
        options = {"num_beams": BEAMS, "max_new_tokens": WRITTEN, "eos_token_id": None, "pad_token_id": 0}

        @torch.inference_mode()
        def call() -> np.ndarray:
            return model.generate(ids, attention_mask=torch.ones_like(ids), **options).numpy()

        return call

    encoders = {
        "BERT-base f32": bert(both),
        "BERT-base bf16": bert(both, dtype="bfloat16"),
        "BERT-base int8": bert([Quantized]),
        "MiniLM f32": [minilm],
    }
    written = writing(generation_torch.calls(settings))
    return encoding(encoders, settings["texts"]) | written | lazily({TRANSLATION: translate})
