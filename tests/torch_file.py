"""torch.save written by hand, so that the tests need no torch and can also write the broken files.

A file is a zip archive, stored and not compressed: `data.pkl`, a pickle that names the tensors, and their
storages `data/0`, `data/1` and so on. The pickle is put together here one operation after another.
"""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

STORAGES = {"f4": "FloatStorage", "f8": "DoubleStorage", "f2": "HalfStorage", "i8": "LongStorage"}


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def integers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"


def tensor(key: str, array: np.ndarray, offset: int = 0, strides: tuple[int, ...] | None = None) -> bytes:
    """The operations that make the tensor of an array whose bytes are the storage `key`."""
    if strides is None:
        strides = tuple(stride // array.itemsize for stride in array.strides)
    storage = f"ctorch\n{STORAGES[array.dtype.str[1:]]}\n".encode()
    identifier = b"(" + text("storage") + storage + text(key) + text("cpu")
    identifier += b"J" + struct.pack("<i", array.size) + b"tQ"
    arguments = identifier + integers((offset,))[1:-1] + integers(array.shape) + integers(strides)
    hooks = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"\x89" + hooks + b"tR"


def state_dict(tensors: Mapping[str, bytes]) -> bytes:
    """The pickle of a dictionary of tensors."""
    return b"\x80\x02}(" + b"".join(text(name) + made for name, made in tensors.items()) + b"u."


def write_archive(path: Path, pickle: bytes, storages: Mapping[str, bytes], compressed: bool = False) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/byteorder", b"little")
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A well-formed file."""
    named = [(name, np.ascontiguousarray(array)) for name, array in arrays.items()]
    pickle = state_dict({name: tensor(str(key), array) for key, (name, array) in enumerate(named)})
    write_archive(path, pickle, {str(key): array.tobytes() for key, (_, array) in enumerate(named)})
