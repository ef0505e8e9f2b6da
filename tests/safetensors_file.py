"""safetensors files read and written by hand, so that the tests can also write the broken ones.

A file is: the header's length (8 bytes, little-endian), the header (JSON: name to dtype, shape and the first
and last offset of its bytes; `__metadata__`: strings), the bytes.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

DTYPES = {"F32": np.float32, "F64": np.float64, "F16": np.float16, "I64": np.int64, "I32": np.int32}
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}

Header = dict[str, Any]


def split(data: bytes) -> tuple[Header, bytes]:
    """The header and the bytes that follow it."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header: Header | bytes, body: bytes) -> bytes:
    """A file of this header, however wrong it is."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + body


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a file and its metadata."""
    header, body = split(path.read_bytes())
    metadata = header.pop("__metadata__", {})
    arrays = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        arrays[name] = np.frombuffer(body[first:last], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays, metadata


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A well-formed file."""
    header: Header = {}
    body = b""
    for name, array in arrays.items():
        data = np.ascontiguousarray(array).tobytes()
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape), "data_offsets": offsets}
        body += data
    path.write_bytes(join(header, body))
