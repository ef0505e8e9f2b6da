"""Measure how long a checkpoint of more than a gigabyte takes to open, in one file and in shards.

    python benches/opening.py
    python benches/opening.py --peers-python some-venv/bin/python      # where transformers and torch live

The model is a BERT of 24 layers, 1.3 GB of zeros: holes, which take no room on the disk and are read as fast
as any file that the system has in memory. Each figure is the median of five openings in a process that has
opened the model before.
"""

import argparse
import json
import struct
import sys
import tempfile
from pathlib import Path

from harness import Subject, Unavailable

CONFIG = {
    "model_type": "bert",
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
}
SHARDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers-python", default=sys.executable, help="the interpreter that has the peers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for shards in (1, SHARDS):
            folder = Path(temporary) / str(shards)
            size = write(folder, shards)
            settings = {"model": str(folder), "threads": 2}
            for name, python in (("ours", sys.executable), ("transformers_torch", options.peers_python)):
                try:
                    answer, _ = Subject(name, python, settings).once("open_model")
                    print(f"{size / 1e9:.2f} GB in {shards} files, {name}: {answer['ms']:.1f} ms")
                except Unavailable as reason:
                    print(f"Without {name}: {reason}")


def shapes() -> dict[str, list[int]]:
    """BERT's parameters."""
    hidden, wide = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    tables = {"word": "vocab_size", "position": "max_position_embeddings", "token_type": "type_vocab_size"}
    found = {f"embeddings.{name}_embeddings.weight": [CONFIG[size], hidden] for name, size in tables.items()}
    linear = {"pooler.dense": (hidden, hidden)}
    norms = ["embeddings.LayerNorm"]
    for layer in range(CONFIG["num_hidden_layers"]):
        place = f"encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            linear[f"{place}.attention.{part}"] = (hidden, hidden)
        linear[f"{place}.intermediate.dense"] = (wide, hidden)
        linear[f"{place}.output.dense"] = (hidden, wide)
        norms += [f"{place}.attention.output.LayerNorm", f"{place}.output.LayerNorm"]
    for name, (rows, columns) in linear.items():
        found |= {f"{name}.weight": [rows, columns], f"{name}.bias": [rows]}
    return found | {f"{name}.{part}": [hidden] for name in norms for part in ("weight", "bias")}


def write(folder: Path, shards: int) -> int:
    """The checkpoint in so many files; returns its size."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    named = list(shapes().items())
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


def write_zeros(path: Path, tensors: dict[str, list[int]]) -> int:
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
