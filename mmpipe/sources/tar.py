"""Read tar archives forward, once, with bounds: no seeking, no header larger than a limit, no name believed.

Python's tarfile reads extended headers of any size into memory and follows negative sizes backward; what is read here
was made by somebody else. Compressed archives are bounded by what they unpack to and by the ratio.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from mmpipe.errors import SampleError

_BLOCK = 512
_CHUNK_BYTES = 1 << 20
_HEADER_BYTES = 1 << 20  # of one extended header: names are at most a few thousand bytes long
_RATIO = 200  # media and texts are below 20; a bomb is beyond 1000
_RATIO_FREE_BYTES = 64 << 20
_KINDS = {
    b"1": "hard link",
    b"2": "symbolic link",
    b"3": "device",
    b"4": "device",
    b"5": "folder",
    b"6": "FIFO",
    b"S": "sparse file",
}
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")
FILE, FOLDER = "file", "folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class TarMember:
    """One entry of an archive, under the name that the archive gives it."""

    name: bytes
    kind: str  # "file", "folder", "symbolic link", ...
    nbytes: int


class TarReader:
    """The members of an archive in its order; the bytes of a member are to be read before the next is asked for."""

    def __init__(self, raw: BinaryIO, name: str, max_bytes: int) -> None:
        """Take an open archive; its name decides how it is unpacked."""
        self._unpacked = _Unpacked(raw, name, max_bytes)
        self._left = 0  # bytes of the member that were not read yet
        self._padding = 0
        self.is_whole = False  # its end was reached, and marked as such

    def members(self) -> Iterator[TarMember]:
        """Yield the members, of all archives that follow one another. Raise SampleError archive_damaged, limit_archive.

        A mark of the end does not stop it: `cat one.tar two.tar` holds both, as `tar --ignore-zeros` reads it.
        """
        path, size, is_sparse = b"", -1, False  # what extended headers said of the next member
        while block := self._unpacked.take_block():
            if not any(block):
                self.is_whole = True
                path, size, is_sparse = b"", -1, False
                continue
            kind, nbytes = _checked(block, self.is_whole), _number(block[124:136])
            self.is_whole = False
            if kind in (b"x", b"X", b"L", b"K", b"g"):
                data = self._extended(nbytes)
                if kind in (b"x", b"X"):
                    said = _pax(data)
                    path, size = said.get(b"path", path), int(said.get(b"size", size))
                    is_sparse = any(key.startswith(b"GNU.sparse") for key in said)
                elif kind == b"L":
                    path = data.rstrip(b"\x00")
                continue
            name = path or _name(block)
            nbytes = size if size >= 0 else nbytes
            what = "sparse file" if is_sparse else _kind(kind, name)
            if kind == b"S":
                self._skip_sparse_map(block)
            self._begin(0 if kind in _WITHOUT_DATA else nbytes)
            yield TarMember(name=name, kind=what, nbytes=nbytes)
            self._finish()
            path, size, is_sparse = b"", -1, False

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes of the member at hand."""
        while self._left:
            chunk = self._unpacked.take(min(self._left, _CHUNK_BYTES))
            self._left -= len(chunk)
            yield chunk

    def _begin(self, nbytes: int) -> None:
        self._left, self._padding = nbytes, -nbytes % _BLOCK

    def _finish(self) -> None:
        for _ in self.chunks():
            pass
        self._unpacked.take(self._padding)

    def _extended(self, nbytes: int) -> bytes:
        if nbytes > _HEADER_BYTES:
            raise SampleError("limit_archive", f"an extended header of {nbytes} bytes, allowed are {_HEADER_BYTES}")
        self._begin(nbytes)
        data = b"".join(self.chunks())
        self._finish()
        return data

    def _skip_sparse_map(self, block: bytes) -> None:
        more = block[482]
        while more:
            more = self._unpacked.take(_BLOCK)[504]


class _Unpacked:
    """The bytes of an archive, unpacked, counted and bounded."""

    def __init__(self, raw: BinaryIO, name: str, max_bytes: int) -> None:
        self._packed = _Counted(raw)
        self._stream, self._is_packed = _opened(self._packed, name)
        self._max_bytes = max_bytes
        self._nbytes = 0

    def take_block(self) -> bytes:
        """Return the next block, nothing at the very end; the last one may be short."""
        return self._read(_BLOCK)

    def take(self, nbytes: int) -> bytes:
        """Return exactly so many bytes."""
        data = self._read(nbytes)
        if len(data) < nbytes:
            raise SampleError("archive_damaged", "cut off: the last member is not whole")
        return data

    def _read(self, nbytes: int) -> bytes:
        parts, missing = [], nbytes
        while missing:
            try:
                part = bytes(self._stream.read(missing))
            except (EOFError, zlib.error, gzip.BadGzipFile, OSError, ValueError) as error:
                raise SampleError("archive_damaged", f"cannot be unpacked: {type(error).__name__}") from error
            if not part:
                break
            parts.append(part)
            missing -= len(part)
        self._nbytes += nbytes - missing
        self._require_bounds()
        return b"".join(parts)

    def _require_bounds(self) -> None:
        if self._nbytes > self._max_bytes:
            raise SampleError("limit_archive", f"unpacks to more than {self._max_bytes} bytes (`limits.archive_bytes`)")
        if self._is_packed and self._nbytes > max(_RATIO_FREE_BYTES, _RATIO * self._packed.nbytes):
            raise SampleError("limit_archive", f"unpacks to more than {_RATIO} times its size")


class _Counted:
    """A file that counts what was read of it. Faults of its own are told apart from those of the bytes."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.nbytes = 0
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        data = self._raw.read(size)
        self.nbytes += len(data)
        return data

    def readable(self) -> bool:
        """Say yes."""
        return True

    def writable(self) -> bool:
        """Say no."""
        return False

    def seekable(self) -> bool:
        """Say no: archives are read forward."""
        return False

    def close(self) -> None:
        """Leave it to whoever opened it."""


def _opened(packed: _Counted, name: str) -> tuple[Any, bool]:
    lower = name.lower()
    if lower.endswith((".gz", ".tgz")):
        return gzip.GzipFile(fileobj=cast(BinaryIO, packed), mode="rb"), True
    if lower.endswith(".zst"):
        import pyarrow as pa

        return pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), "zstd"), True
    return packed, False


# --------------------------------------------------------------------------- headers


def _checked(block: bytes, is_after_end: bool) -> bytes:
    """Return the type of a header whose sum is right."""
    try:
        said = int(block[148:156].strip(b" \x00") or b"0", 8)
    except ValueError:
        said = -1
    is_header = len(block) == _BLOCK and said in (sum(block[:148]) + 256 + sum(block[156:]), _signed_sum(block))
    if is_header:
        return block[156:157]
    if is_after_end:
        raise SampleError("archive_damaged", "bytes after its end that are no archive: what comes there is not read")
    if len(block) < _BLOCK:
        raise SampleError("archive_damaged", "cut off inside a header")
    raise SampleError("archive_damaged", "a header with a wrong sum: it is no tar archive, or its bytes changed")


def _signed_sum(block: bytes) -> int:
    return sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:]) + 256


def _number(field: bytes) -> int:
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    try:
        number = int(field.strip(b" \x00") or b"0", 8)
    except ValueError:
        number = -1
    if number < 0:
        raise SampleError("archive_damaged", "a member whose size is no number")
    return number


def _kind(kind: bytes, name: bytes) -> str:
    if kind in (b"0", b"\x00", b"7"):
        return FOLDER if name.endswith(b"/") else FILE
    return _KINDS.get(kind, "member of an unknown kind")


def _name(block: bytes) -> bytes:
    name, prefix = block[:100].split(b"\x00")[0], block[345:500].split(b"\x00")[0]
    return prefix + b"/" + name if prefix and block[257:263] == b"ustar\x00" else name


def _pax(data: bytes) -> dict[bytes, bytes]:
    """Return what an extended header says: records of `LENGTH KEY=VALUE` and a newline."""
    said: dict[bytes, bytes] = {}
    start = 0
    while start < len(data) and data[start] != 0:
        space = data.find(b" ", start, start + 10)
        digits = data[start:space] if space > 0 else b""
        end = start + int(digits) if digits.isdigit() else 0
        if not space + 1 < end <= len(data):
            raise SampleError("archive_damaged", "an extended header that cannot be read")
        key, _, value = data[space + 1 : end - 1].partition(b"=")
        said[key] = value
        start = end
    if not said.get(b"size", b"0")[:20].isdigit() or len(said.get(b"size", b"")) > 20:
        raise SampleError("archive_damaged", "a member whose size is no number")
    return said
