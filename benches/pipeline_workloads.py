"""What pipelines are asked to do, the same way for both libraries."""

import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from workloads import WORDS

CLASSIFIED = "512 sentences classified, in batches of 32"
FIRST_PIPED = "first token, through the pipeline"
FIRST_GENERATED = "first token, by generate"


def sentences(count: int, seed: int) -> list[str]:
    """Texts of 4 to 128 tokens, [CLS] and [SEP] included: every word is one token."""
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, length - 2)) for length in random.integers(4, 129, count)]


def calls(library: Any, settings: dict, opened: Any) -> dict[str, Callable[[], object]]:
    """The workloads of a library; `opened` are its model and its tokenizer for writing."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    tokenizer = library.AutoTokenizer.from_pretrained(settings["minilm"])
    some = sentences(512, 2)
    model = library.BertForSequenceClassification.from_pretrained(settings["minilm"])
    classify = library.pipeline("text-classification", model=model, tokenizer=tokenizer)
    writer, reader = opened
    write = library.pipeline("text-generation", model=writer, tokenizer=reader)
    chat = [{"role": "user", "content": "What is the capital of France, and why is that so?"}]
    kind = "np" if library.__name__ == "trustformers" else "pt"

    def generate() -> Any:
        inputs = reader.apply_chat_template(
            chat, add_generation_prompt=True, return_tensors=kind, return_dict=True
        )
        ids = writer.generate(**inputs, max_new_tokens=1, do_sample=False)
        return reader.decode(ids[0][inputs["input_ids"].shape[1] :])

    return {
        CLASSIFIED: lambda: classify(some, batch_size=32),
        FIRST_PIPED: lambda: write(chat, max_new_tokens=1, do_sample=False),
        FIRST_GENERATED: generate,
    }
