"""Writes ``blocks.bin``: blocks of every format of ggml with the numbers that ``gguf`` reads in them.

``python make.py`` with the Python package ``gguf`` installed. For each format: its name (8 bytes, padded with
spaces), the number of columns, the blocks of two rows, and their (2, columns) float32 numbers; for those that
``gguf`` can also write (``written`` is 1), the numbers that the blocks were written from.
"""

import struct
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize

WRITTEN = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
READ = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
# Where a block has its float16 scales: they must be ordinary numbers, all else may be anything.
SCALES = {"Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def blocks_of(name: str, random: np.random.Generator) -> tuple[int, np.ndarray, np.ndarray | None]:
    """The columns of two drawn rows, their blocks, and what they were written from."""
    kind = GGMLQuantizationType[name]
    elements, size = GGML_QUANT_SIZES[kind]
    columns = 2 * elements if name in WRITTEN else elements
    if name in WRITTEN:
        source = random.standard_normal((2, columns)).astype(np.float32)
        source[1, :32] = 0
        return columns, quantize(source, kind), source
    rows = random.integers(0, 256, (2, size), dtype=np.uint8)
    for at in SCALES[name]:
        rows[:, at : at + 2] = random.uniform(-0.1, 0.1, (2, 1)).astype(np.float16).view(np.uint8)
    return columns, rows, None


def main() -> None:
    """Write the file beside this one."""
    random = np.random.default_rng(1)
    with Path(__file__).with_name("blocks.bin").open("wb") as file:
        for name in WRITTEN + READ:
            columns, rows, source = blocks_of(name, random)
            numbers = dequantize(rows, GGMLQuantizationType[name])
            assert numbers.shape == (2, columns)
            assert np.isfinite(numbers).all()
            file.write(name.ljust(8).encode() + struct.pack("<II", columns, source is not None))
            file.write(rows.tobytes() + numbers.astype("<f4").tobytes())
            if source is not None:
                file.write(source.astype("<f4").tobytes())


if __name__ == "__main__":
    main()
