"""GGUF files written by hand, so that the tests can write the broken ones too."""

import struct

#: Numbers of types: of metadata values, and of tensors.
U32, F32, TEXT, ARRAY = 4, 6, 8, 9


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(key: str, kind: int, data: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + data


def u32(key: str, number: int) -> bytes:
    return value(key, U32, struct.pack("<I", number))


def f32(key: str, number: float) -> bytes:
    return value(key, F32, struct.pack("<f", number))


def texts(key: str, values: list[str]) -> bytes:
    return value(key, ARRAY, struct.pack("<IQ", TEXT, len(values)) + b"".join(map(text, values)))


def tensor(name: str, dimensions: tuple[int, ...], kind: int, offset: int) -> bytes:
    sizes = struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
    return text(name) + sizes + struct.pack("<IQ", kind, offset)


def join(values: list[bytes], tensors: list[bytes] = [], data: bytes = b"", version: int = 3) -> bytes:  # noqa: B006
    """A file of these parts, however wrong they are."""
    header = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values)) + b"".join(values + tensors)
    return header + bytes(-len(header) % 32) + data
