"""What 8 bits cost: real models with ``quantization="int8"`` beside themselves in float32.

More than 16 rows at once meet weights of 8 bits in 8 bits, fewer in 16.
"""

import copy
import gc
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest

from trustformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaModel,
    memory_allocated,
)

TEXTS = [
    "The cat sits on the mat and looks out of the window.",
    "A feline rests on a rug beside the glass, watching the garden.",
    "Stock markets fell sharply after the central bank raised interest rates by half a point.",
    "Shares dropped when borrowing became more expensive.",
    "How do I bake sourdough bread at home without a Dutch oven?",
    "Baking a loaf in an ordinary oven, with flour, water, salt and patience.",
    "The match ended in a draw after extra time and twenty penalties.",
    "Neither team won: the game was level at the final whistle.",
]


class TestMiniLM:
    """An encoder."""

    @pytest.fixture
    def models(self, minilm_path: Path) -> tuple[Any, Any]:
        exact = AutoModel.from_pretrained(minilm_path)
        return exact, AutoModel.from_pretrained(minilm_path, quantization="int8")

    def embeddings(self, model: Any, folder: Path, texts: list[str]) -> np.ndarray:
        encoded = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="np")
        hidden, mask = model(**encoded).last_hidden_state, encoded["attention_mask"][..., None]
        sums = (hidden * mask).sum(axis=1)
        vectors: np.ndarray = sums / np.linalg.norm(sums, axis=-1, keepdims=True)
        return vectors

    def test_embeddings_are_near(self, models: tuple[Any, Any], minilm_path: Path) -> None:
        exact, rounded = (self.embeddings(model, minilm_path, TEXTS) for model in models)
        assert (exact * rounded).sum(axis=-1).min() > 0.997
        assert np.abs(exact @ exact.T - rounded @ rounded.T).max() < 0.02

    def test_what_is_most_alike_is_the_same(self, models: tuple[Any, Any], minilm_path: Path) -> None:
        for model in models:
            vectors = self.embeddings(model, minilm_path, TEXTS)
            alike = vectors @ vectors.T - 2 * np.eye(len(TEXTS))
            assert alike.argmax(axis=1).tolist() == [1, 0, 3, 2, 5, 4, 7, 6]

    def test_a_batch_is_what_its_texts_are(self, models: tuple[Any, Any], minilm_path: Path) -> None:
        _, model = models
        # The last has fewer tokens than 16: alone it is rounded to 16 bits, as no text of the batch is.
        texts = [*TEXTS, "A short one."]
        batch = self.embeddings(model, minilm_path, texts)
        alone = np.concatenate([self.embeddings(model, minilm_path, [text]) for text in texts])
        assert (batch * alone).sum(axis=-1).min() > 0.997


def test_a_prompt_is_as_likely(tmp_path: Path, smollm2_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SmolLM2's activations have outliers: one scale for a whole prompt raises its perplexity by half.

    One for each row raises it by 0.1 to 1.5 in a hundred: how much, the last bits of floats decide, which
    differ from processor to processor.
    """
    benches = Path(__file__).parents[1] / "benches"
    monkeypatch.syspath_prepend(benches)
    bench = run_path(str(benches / "perplexity.py"))
    ids = AutoTokenizer.from_pretrained(smollm2_path)(bench["TEXT"].replace("\n", " "))["input_ids"]
    exact = AutoModelForCausalLM.from_pretrained(smollm2_path, dtype="float32")
    exact.save_pretrained(tmp_path)
    rounded = AutoModelForCausalLM.from_pretrained(tmp_path, quantization="int8")
    assert bench["perplexity"](rounded, ids) < 1.02 * bench["perplexity"](exact, ids)
    choices = [model([ids]).logits.argmax(axis=-1) for model in (exact, rounded)]
    assert (choices[0] == choices[1]).mean() > 0.9


@pytest.mark.parametrize("quantization", ["int8", "q4"])
def test_blocks_that_are_made_on_load_take_memory_once(tmp_path: Path, quantization: str) -> None:
    sizes = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 16, "vocab_size": 1000}
    LlamaModel(LlamaConfig(num_attention_heads=8, **sizes), seed=1).save_pretrained(tmp_path / "floats")
    gc.collect()
    before = memory_allocated()
    model = AutoModel.from_pretrained(tmp_path / "floats", quantization=quantization)
    one, many = np.arange(3)[None], np.arange(100)[None]
    for ids in (one, many, one):  # by all the ways that there are
        hidden = model(ids).last_hidden_state
    held = memory_allocated() - before
    footprint = model.get_memory_footprint()
    assert held < 1.35 * footprint, f"{held / footprint:.2f} times the blocks"

    np.testing.assert_array_equal(copy.deepcopy(model)(one).last_hidden_state, hidden)
    # What it stands for is there for who asks, and is what it computes with.
    state = {name: tensor.to_numpy() for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path / "numbers")
    saved = AutoModel.from_pretrained(tmp_path / "numbers")
    for name, tensor in saved.state_dict().items():
        np.testing.assert_array_equal(tensor.to_numpy(), state[name])
    np.testing.assert_allclose(saved(one).last_hidden_state, hidden, atol=5e-3)
