"""Event files that TensorBoard shows: scalars by tag and step, written without TensorBoard.

A file is a run of TFRecords: length (uint64, little endian), masked CRC-32C of the length, data, masked CRC-32C of the
data. The data are protocol buffers of tensorflow/core/util/event.proto: Event{wall_time = 1, step = 2,
file_version = 3, summary = 5}, Summary{value = 1}, Value{tag = 1, simple_value = 2}.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

EVENTS_NAME = "events.out.tfevents.0.mmpipe"  # TensorBoard looks for `tfevents` in names
_POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected
_MASK_DELTA = 0xA282EAD8


def file_start() -> bytes:
    """Return the record that every event file begins with."""
    return _record(_event(0) + _chunk(3, b"brain.Event:2"))


def scalars_record(step: int, scalars: Mapping[str, float]) -> bytes:
    """Return the record of a step's scalars; its time is the step's number: a clock would make no two files equal."""
    values = b"".join(
        _chunk(1, _chunk(1, tag.encode()) + _key(2, 5) + struct.pack("<f", value)) for tag, value in scalars.items()
    )
    return _record(_event(step) + _chunk(5, values))


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of some bytes (RFC 3720)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF)


def _event(step: int) -> bytes:
    return _key(1, 1) + struct.pack("<d", step) + _key(2, 0) + _varint(step)


def _chunk(field: int, data: bytes) -> bytes:
    return _key(field, 2) + _varint(len(data)) + data


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _row(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = tuple(_row(byte) for byte in range(256))
