"""trustformers, beside all peers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from peer_workloads import BEAMS, TRANSLATION, WRITTEN, encoding, lazily, sources, writing
from subjects import generation_ours, ours

LABEL = ours.LABEL
PACKAGES = ours.PACKAGES
import_it = ours.import_it


def calls(settings: dict) -> dict[str, Callable[[], Any]]:
    def bert(**keywords: str) -> list[Callable[[], ours.Subject]]:
        return [lambda: ours.Subject({"model": f"{settings['models']}/bert", "keywords": keywords})]

    def minilm() -> ours.Subject:
        subject = ours.Subject({"model": settings["minilm"]})
        subject.open_tokenizer()
        return subject

    def translate() -> Callable[[], Any]:
        from trustformers import AutoModelForSeq2SeqLM

        model, ids = AutoModelForSeq2SeqLM.from_pretrained(f"{settings['models']}/t5"), sources()
        options = {"num_beams": BEAMS, "max_new_tokens": WRITTEN, "eos_token_id": None, "pad_token_id": 0}
        return lambda: model.generate(ids, attention_mask=np.ones_like(ids), **options)

    encoders = {
        "BERT-base f32": bert(),
        "BERT-base bf16": bert(dtype="bfloat16"),
        "BERT-base int8": bert(quantization="int8"),
        "MiniLM f32": [minilm],
    }
    written = writing(generation_ours.calls(settings))
    return encoding(encoders, settings["texts"]) | written | lazily({TRANSLATION: translate})
