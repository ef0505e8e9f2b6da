"""Measure how long checkpoints of more than a gigabyte take to open, in one file and in shards, and how much
memory a process has had when it has opened one and run it once.

    python benches/opening.py
    python benches/opening.py --peers-python some-venv/bin/python      # where transformers and torch live

The models are a BERT of 24 layers and a Llama of 20 with its language model's head, which shares the word
embeddings. Their weights are zeros: holes, which take no room on the disk and are read as fast as any file
that the system has in memory. Opening is the median of five in a process that has opened the model before;
memory is the peak of a fresh process, Python and all. The results are opening.json, opening.md and
opening.png in benches/results.
"""

import json
import struct
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import comparison
import report
from figures import Figure, turns
from harness import Subject

BERT = {
    "model_type": "bert",
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 1024,
    "num_hidden_layers": 20,
    "num_attention_heads": 16,
    "intermediate_size": 3072,
    "vocab_size": 32000,
    "tie_word_embeddings": True,
}
SHARDS = 5
NAMES = ("ours", "transformers_torch")
Shapes = dict[str, list[int]]


def main() -> None:
    options = comparison.parser(__doc__, rounds=3).parse_args()
    described = comparison.described_machine()
    pythons = {"ours": sys.executable, "transformers_torch": options.peers_python}
    subjects, versions = comparison.present(
        Subject(name, pythons[name], {"threads": options.threads}) for name in NAMES
    )
    figures = []
    with tempfile.TemporaryDirectory() as temporary:
        for title, config, shapes, auto in (
            ("BERT", BERT, bert(), "AutoModel"),
            ("Llama", LLAMA, llama(), "AutoModelForCausalLM"),
        ):
            for shards in (1, SHARDS):
                folder = Path(temporary) / f"{title}-{shards}"
                size = write(folder, config, shapes, shards) / 1e6
                settings = {"model": str(folder), "auto": auto, "threads": options.threads}
                figures += measure(f"{title}, {size:,.0f} MB in {shards}", size, subjects, settings, options)
    labels = {subject.name: comparison.label(subject.name) for subject in subjects}
    about = comparison.about(described, versions, options)
    print(report.write(figures, about, labels, options.results, "opening", "Opening large checkpoints"))


def measure(
    title: str, size: float, subjects: list[Subject], settings: dict[str, Any], options: Any
) -> list[Figure]:
    """Opening, and peak memory of opening and one pass, of one checkpoint of `size` MB."""
    opening = Figure(f"{title}: opening", "ms").at_most(50)
    peak = Figure(f"{title}: peak memory with one pass", "MB").at_most(round(1.15 * size))
    for subject in turns([replace(subject, settings=settings) for subject in subjects], options.rounds):
        answer, _ = subject.once("open_model")
        opening.add(subject.name, answer["ms"])
        answer, _ = subject.once("open_and_run")
        peak.add(subject.name, answer["peak_mb"])
    return [opening, peak]


def bert() -> Shapes:
    """BERT's parameters."""
    hidden, wide = BERT["hidden_size"], BERT["intermediate_size"]
    tables = {"word": "vocab_size", "position": "max_position_embeddings", "token_type": "type_vocab_size"}
    found = {f"embeddings.{name}_embeddings.weight": [BERT[size], hidden] for name, size in tables.items()}
    linear = {"pooler.dense": (hidden, hidden)}
    norms = ["embeddings.LayerNorm"]
    for layer in range(BERT["num_hidden_layers"]):
        place = f"encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            linear[f"{place}.attention.{part}"] = (hidden, hidden)
        linear[f"{place}.intermediate.dense"] = (wide, hidden)
        linear[f"{place}.output.dense"] = (hidden, wide)
        norms += [f"{place}.attention.output.LayerNorm", f"{place}.output.LayerNorm"]
    for name, (rows, columns) in linear.items():
        found |= {f"{name}.weight": [rows, columns], f"{name}.bias": [rows]}
    return found | {f"{name}.{part}": [hidden] for name in norms for part in ("weight", "bias")}


def llama() -> Shapes:
    """Llama's parameters, of which the head has none of its own."""
    hidden, wide = LLAMA["hidden_size"], LLAMA["intermediate_size"]
    found = {"model.embed_tokens.weight": [LLAMA["vocab_size"], hidden], "model.norm.weight": [hidden]}
    for layer in range(LLAMA["num_hidden_layers"]):
        place = f"model.layers.{layer}"
        found |= {f"{place}.self_attn.{part}_proj.weight": [hidden, hidden] for part in "qkvo"}
        found |= {f"{place}.mlp.{part}_proj.weight": [wide, hidden] for part in ("gate", "up")}
        found[f"{place}.mlp.down_proj.weight"] = [hidden, wide]
        found |= {f"{place}.{norm}_layernorm.weight": [hidden] for norm in ("input", "post_attention")}
    return found


def write(folder: Path, config: dict[str, Any], shapes: Shapes, shards: int) -> int:
    """The checkpoint in so many files; returns its size."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    named = list(shapes.items())
    size, weight_map = 0, {}
    for number in range(shards):
        name = "model.safetensors" if shards == 1 else f"model-{number + 1:05}-of-{shards:05}.safetensors"
        shard = dict(named[number::shards])
        size += write_zeros(folder / name, shard)
        weight_map |= dict.fromkeys(shard, name)
    if shards > 1:
        index = {"metadata": {"total_size": size}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return size


def write_zeros(path: Path, tensors: Shapes) -> int:
    """A safetensors file of float32 zeros that is mostly a hole; returns their size."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        start, end = end, end + 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return end


if __name__ == "__main__":
    main()
