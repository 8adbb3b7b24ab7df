"""What is computed of a shard, kept beside it until it is done: a worker that is killed costs one micro-batch.

A spool is a file of records, each with its lengths and a crc over all of it: a record is whole or it is not there, so
nothing is synced. After the first that is torn nothing counts. Numbers lie in it as they are; nothing is unpickled.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Self

import numpy as np

from mmpipe.io import make_directory, remove_file
from mmpipe.steps.ground.wire import decode, encode
from mmpipe.types import Drop, FeatureValue

_MAGIC = b"mmspool1"
_LENGTHS = struct.Struct("<QQ")  # bytes of the numbers, bytes of the text before them
_CRC = struct.Struct("<I")  # over lengths, text and numbers
_PIECE_BYTES = 1 << 20
_LOOK_S = 0.02  # how often a lock is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledValue:
    """A value and where its numbers lie: the array in C order, then the times where there are any."""

    ordinal: int
    key: str
    dtype: str
    shape: tuple[int, ...]
    has_times: bool
    offset: int = 0  # in the file

    @classmethod
    def of(cls, ordinal: int, key: str, value: FeatureValue) -> SpooledValue:
        """Describe a value that is not in a file yet."""
        has_times = value.times_ns is not None
        return cls(ordinal=ordinal, key=key, dtype=value.array.dtype.str, shape=value.array.shape, has_times=has_times)

    @property
    def array_bytes(self) -> int:
        """Return the size of the array."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize

    @property
    def nbytes(self) -> int:
        """Return the size of array and times."""
        return self.array_bytes + (8 * self.shape[0] if self.has_times else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledDrop:
    """A clip that fell out."""

    ordinal: int
    drop: Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What one record settles: the clips of a micro-batch, or those of an asset that have no value."""

    values: tuple[SpooledValue, ...] = ()
    drops: tuple[SpooledDrop, ...] = ()
    absent: tuple[int, ...] = ()  # ordinals
    notes: tuple[Drop, ...] = ()
    passed: str = ""  # the asset that the decoder has come through
    run: str = ""  # which run made it

    def with_drop(self, ordinal: int, drop: Drop) -> Settled:
        """Return it with one more clip that fell out."""
        return replace(self, drops=(*self.drops, SpooledDrop(ordinal=ordinal, drop=drop)))

    def with_absent(self, ordinal: int) -> Settled:
        """Return it with one more clip for which there is nothing."""
        return replace(self, absent=(*self.absent, ordinal))

    def with_note(self, note: Drop) -> Settled:
        """Return it with one more note."""
        return replace(self, notes=(*self.notes, note))


class Spool:
    """An append-only file that one process holds; where another holds it already, a nameless one of our own."""

    def __init__(self, descriptor: int, path: Path | None) -> None:
        """Take an open, locked file; `open_spool` makes one."""
        self._descriptor = descriptor
        self._path = path
        self._end = 0

    def recover(self) -> Iterator[Settled]:
        """Yield the whole records, and cut off what is torn; call it once, before anything is added."""
        size = os.fstat(self._descriptor).st_size
        position = len(_MAGIC)
        if os.pread(self._descriptor, len(_MAGIC), 0) != _MAGIC:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, _MAGIC, 0)
            size = position
        while (found := self._record(position, size)) is not None:
            settled, position = found
            yield settled
        os.ftruncate(self._descriptor, position)
        self._end = position

    def add(self, settled: Settled, values: Sequence[FeatureValue]) -> Settled:
        """Append a record with the numbers of its values; return it with the places of those."""
        text = encode(Settled, settled)
        pieces = [piece for value in values for piece in _numbers(value)]
        lengths = _LENGTHS.pack(sum(piece.nbytes for piece in pieces), len(text))
        crc = zlib.crc32(text, zlib.crc32(lengths))
        for piece in pieces:
            crc = zlib.crc32(piece, crc)
        start = self._end + _LENGTHS.size + _CRC.size + len(text)
        self._end = self._write((memoryview(lengths + _CRC.pack(crc) + text), *pieces))
        return _placed(settled, start)

    def read(self, value: SpooledValue) -> FeatureValue:
        """Return a value that was added or recovered; OSError where the file is shorter than it was."""
        data = os.pread(self._descriptor, value.nbytes, value.offset)
        if len(data) != value.nbytes:
            raise OSError(f"a value of {value.nbytes} bytes at {value.offset} of {self._path or 'a spool'} is cut off")
        array = np.frombuffer(data, value.dtype, value.array_bytes // np.dtype(value.dtype).itemsize)
        times_ns = np.frombuffer(data, np.int64, offset=value.array_bytes) if value.has_times else None
        return FeatureValue(array=array.reshape(value.shape), times_ns=times_ns)

    def remove(self) -> None:
        """Remove the file: the shard is durable."""
        if self._path is not None:
            remove_file(self._path)

    def close(self) -> None:
        """Let go of the file; it stays for who goes on."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        """Return the spool."""
        return self

    def __exit__(self, *error: object) -> None:
        """Let go of the file."""
        self.close()

    def _write(self, pieces: Sequence[memoryview]) -> int:
        position = self._end
        for piece in pieces:
            left = piece
            while left.nbytes:
                written = os.pwrite(self._descriptor, left, position)
                left, position = left[written:], position + written
        return position

    def _record(self, position: int, size: int) -> tuple[Settled, int] | None:
        """Return the record at a position and where it ends; None where there is no whole one."""
        head = os.pread(self._descriptor, _LENGTHS.size + _CRC.size, position)
        if len(head) < _LENGTHS.size + _CRC.size:
            return None
        num_numbers, num_text = _LENGTHS.unpack_from(head)
        start = position + len(head) + num_text
        end = start + num_numbers
        if end > size:
            return None
        text = os.pread(self._descriptor, num_text, position + len(head))
        crc = zlib.crc32(text, zlib.crc32(head[: _LENGTHS.size]))
        for at in range(start, end, _PIECE_BYTES):
            crc = zlib.crc32(os.pread(self._descriptor, min(_PIECE_BYTES, end - at), at), crc)
        if crc != _CRC.unpack_from(head, _LENGTHS.size)[0]:
            return None
        try:
            return _placed(decode(Settled, text), start), end
        except ValueError:  # another version of us wrote it
            return None


def open_spool(folder: Path, name: str, patience_s: float = 1.0) -> Spool:
    """Open the spool of a name, with what a killed process left in it; that may take a moment to be gone."""
    path, give_up_s = make_directory(folder) / name, time.monotonic() + patience_s
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno != errno.EWOULDBLOCK or time.monotonic() > give_up_s:  # or a file system without locks
                return _nameless(folder)
            time.sleep(_LOOK_S)
            continue
        if _is_at(descriptor, path):
            return Spool(descriptor, path)
        os.close(descriptor)  # who had it was done, and took its name away


def _nameless(folder: Path) -> Spool:
    with tempfile.TemporaryFile(dir=folder) as file:
        return Spool(os.dup(file.fileno()), None)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there, ours = os.stat(path), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _numbers(value: FeatureValue) -> list[memoryview]:
    arrays = [value.array] if value.times_ns is None else [value.array, value.times_ns]
    return [np.ascontiguousarray(array).data.cast("B") for array in arrays if array.size]


def _placed(settled: Settled, start: int) -> Settled:
    """Return a record with the offsets of its values: they lie one after another."""
    starts = accumulate((value.nbytes for value in settled.values), initial=start)
    values = (replace(value, offset=offset) for value, offset in zip(settled.values, starts, strict=False))
    return replace(settled, values=tuple(values))
