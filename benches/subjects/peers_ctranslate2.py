"""CTranslate2, on models that it converted before anything is measured."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from generation_workloads import SHORT, prompt
from peer_workloads import BEAMS, TRANSLATION, WRITING, WRITTEN, encoding, lazily, sources

LABEL = "CTranslate2"
PACKAGES = ("ctranslate2",)


def import_it() -> None:
    import ctranslate2  # noqa: F401


def converted(settings: dict) -> dict[str, tuple[str, Path]]:
    """The models: from where, to where."""
    models = Path(settings["models"])
    found = {name: (str(models / name), models / "ctranslate2" / name) for name in ("bert", "gpt2", "t5")}
    return found | {"minilm": (settings["minilm"], models / "ctranslate2" / "minilm")}


def prepare(settings: dict) -> None:
    missing = [pair for pair in converted(settings).values() if not pair[1].exists()]
    if missing:
        from ctranslate2.converters import TransformersConverter

        for source, target in missing:
            TransformersConverter(source).convert(str(target))


def words(ids: np.ndarray) -> list[list[str]]:
    """The models' tokens are their numbers."""
    return [[str(number) for number in row] for row in ids]


class Encoder:
    def __init__(self, kind: str, source: str, folder: Path, options: dict) -> None:
        import ctranslate2
        from tokenizers import Tokenizer

        self.model = ctranslate2.Encoder(str(folder), compute_type=kind, **options)
        self.tokenizer = Tokenizer.from_file(os.path.join(source, "tokenizer.json"))
        self.tokenizer.enable_truncation(512)
        self.tokenizer.no_padding()

    def run(self, ids: list[list[int]]) -> np.ndarray:
        return np.array(self.model.forward_batch(ids).last_hidden_state)

    def forward(self, ids: np.ndarray) -> np.ndarray:
        return self.run(ids.tolist())

    def embed(self, texts: list[str]) -> np.ndarray:
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        means = [rows[: len(row)].mean(axis=0) for rows, row in zip(self.run(ids), ids, strict=True)]
        return np.array([mean / np.linalg.norm(mean) for mean in means])


def calls(settings: dict) -> dict[str, Callable[[], Any]]:
    import ctranslate2

    models = converted(settings)
    options = {"device": "cpu", "inter_threads": 1, "intra_threads": settings["threads"]}
    kinds = ctranslate2.get_supported_compute_types("cpu")

    def bert(kind: str) -> list[Callable[[], Encoder]]:
        return [lambda: Encoder(kind, *models["bert"], options)]

    def gpt2() -> Callable[[], Any]:
        model = ctranslate2.Generator(str(models["gpt2"][1]), compute_type="float32", **options)
        start = words(np.array(prompt(SHORT)))
        lengths = {"max_length": WRITTEN, "min_length": WRITTEN, "include_prompt_in_result": False}
        return lambda: model.generate_batch(start, **lengths)

    def translate() -> Callable[[], Any]:
        model = ctranslate2.Translator(str(models["t5"][1]), compute_type="float32", **options)
        lengths = {"max_decoding_length": WRITTEN, "min_decoding_length": WRITTEN}
        return lambda: model.translate_batch(words(sources()), beam_size=BEAMS, **lengths)

    encoders = {
        "BERT-base f32": bert("float32"),
        "BERT-base int8": bert("int8"),
        "MiniLM f32": [lambda: Encoder("float32", *models["minilm"], options)],
    }
    if "bfloat16" in kinds:
        encoders["BERT-base bf16"] = bert("bfloat16")
    return encoding(encoders, settings["texts"]) | lazily({WRITING[0]: gpt2, TRANSLATION: translate})
