"""TensorBoard's event files: records of TensorFlow's ``Event`` message, each with checksums.

A record is the length (8 bytes), its checksum, the message, its checksum. The message is written by hand:
of protocol buffers only four fields are needed (tensorflow/core/util/event.proto, framework/summary.proto).
"""

from __future__ import annotations

import io
import os
import socket
import struct
import time
from pathlib import Path
from types import TracebackType


def _table() -> list[int]:
    """CRC-32C of every byte (Castagnoli's polynomial, reflected)."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The CRC-32C of bytes (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _masked(data: bytes) -> bytes:
    """The checksum as records carry it: rotated by 15 bits, plus a constant."""
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(message: bytes) -> bytes:
    """A message with its length and checksums."""
    length = struct.pack("<Q", len(message))
    return length + _masked(length) + message + _masked(message)


def _varint(value: int) -> bytes:
    value &= 2**64 - 1
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*result, value])


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


#: ``SummaryMetadata`` that says that a tensor is a text.
_IS_TEXT = _bytes(1, _bytes(1, b"text"))


class EventWriter:
    """Writes one event file. Every record is in the file when the call returns.

    :param folder: where; it is made if it is not there.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        now = time.time()
        name = f"events.out.tfevents.{int(now * 1e6):016d}.{socket.gethostname()}.{os.getpid()}"
        self.path = Path(folder) / name
        self._file = io.FileIO(self.path, "a")
        self._write(_bytes(3, b"brain.Event:2"), 0)

    def scalar(self, tag: str, value: float, step: int) -> None:
        """A number under a name, at a step."""
        self._summary(_bytes(1, tag.encode()) + _varint(2 << 3 | 5) + struct.pack("<f", value), step)

    def text(self, tag: str, text: str, step: int = 0) -> None:
        """A text under a name, which is shown as Markdown."""
        # A TensorProto of one string: dtype DT_STRING, shape [1].
        shape = _bytes(2, _bytes(2, _varint(1 << 3) + _varint(1)))
        tensor = _varint(1 << 3) + _varint(7) + shape + _bytes(8, text.encode())
        self._summary(_bytes(1, tag.encode()) + _bytes(9, _IS_TEXT) + _bytes(8, tensor), step)

    def _summary(self, value: bytes, step: int) -> None:
        self._write(_bytes(5, _bytes(1, value)), step)

    def _write(self, what: bytes, step: int) -> None:
        when = _varint(1 << 3 | 1) + struct.pack("<d", time.time())
        self._file.write(record(when + _varint(2 << 3) + _varint(step) + what))

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
