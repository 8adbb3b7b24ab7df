"""The folder of a mirror: whole files appear by rename, bounded and under judged names.

A mirror is a cache of its source: it can be made again, so nothing of it is synced to the disk.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.faults import fail_if_asked
from mmpipe.io import escape_name, make_directory, unescape_name
from mmpipe.sources.listing import filter_reason
from mmpipe.sources.mirror_index import Brought
from mmpipe.sources.safe_names import NameBook, safe_name
from mmpipe.sources.tar import FILE, FOLDER, TarMember, TarReader
from mmpipe.types import Drop

_CHUNK_BYTES = 1 << 20
_AGE_NS = 10_000_000_000  # a mirrored file changes by rename alone: it need not look as fresh as it is

Forgotten = Callable[[str], bool]  # says of a sha256 whether it was forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorFolder:
    """Where the mirrored files of a corpus lie, and what may come in."""

    home: Path
    limits: LimitsConfig
    is_forgotten: Forgotten | None  # None: nothing ever was

    @property
    def files(self) -> Path:
        """Return the folder that is listed as the corpus."""
        return self.home / "files"

    @property
    def index(self) -> Path:
        """Return the file that says what came from where."""
        return self.home / "index.parquet"

    @property
    def unfinished(self) -> Path:
        """Return the folder of files that are not whole yet."""
        return self.home / "unfinished"

    def temporary(self) -> Path:
        """Return a new name for something unfinished."""
        return make_directory(self.unfinished) / uuid.uuid4().hex

    def clear(self) -> None:
        """Remove what killed runs left unfinished."""
        with suppress(FileNotFoundError):
            for path in self.unfinished.iterdir():
                path.unlink(missing_ok=True)

    def place(self, name: str) -> Path:
        """Return the path of a mirrored file; the name was judged when it came in, and is judged again."""
        return Path(os.fsdecode(os.path.join(os.fsencode(self.files), safe_name(unescape_name(name)))))

    def write(self, name: str, chunks: Iterable[bytes], stamp_ns: int) -> bool:
        """Take a file in whole, or say that it was forgotten. Raise SampleError empty_file or limit_file."""
        temporary, hasher, nbytes = self.temporary(), hashlib.sha256(), 0
        try:
            with open(temporary, "xb") as file:
                for chunk in chunks:
                    nbytes += len(chunk)
                    if nbytes > self.limits.file_bytes:
                        raise SampleError("limit_file", f"more than {self.limits.file_bytes} bytes")
                    hasher.update(chunk)
                    file.write(chunk)
            if not nbytes:
                raise SampleError("empty_file", "the file holds no bytes")
            if self.is_forgotten and self.is_forgotten(hasher.hexdigest()):
                return False
            os.utime(temporary, ns=(stamp_ns, stamp_ns))
            self._show(temporary, name)
            return True
        finally:
            temporary.unlink(missing_ok=True)

    def link(self, name: str, descriptor: int) -> bool:
        """Show an open local file as it is; return False where links do not reach, or it is to be looked at first."""
        if self.is_forgotten:
            return False
        temporary = self.temporary()
        try:
            # By descriptor and not by name, which may be another's by now; only beside a folder does Python follow it.
            descriptors = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.link(str(descriptor), temporary, src_dir_fd=descriptors, follow_symlinks=True)
            finally:
                os.close(descriptors)
        except OSError:
            return False
        self._show(temporary, name)
        return True

    def remove(self, name: str) -> None:
        """Remove a mirrored file, and the folders that it leaves empty."""
        path = self.place(name)
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self.files:
                return
            try:
                folder.rmdir()
            except OSError:
                return

    def _show(self, temporary: Path, name: str) -> None:
        path = self.place(name)
        make_directory(path.parent)
        fail_if_asked("replace", path)
        os.replace(temporary, path)


def old_stamp_ns() -> int:
    """Return a time stamp for a file that was just mirrored."""
    return time.time_ns() - _AGE_NS


def read_chunks(file: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes of an open file."""
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def unpack_tar(folder: MirrorFolder, archive: str, stamp: str, file: BinaryIO) -> Brought:
    """Bring the members of an archive under the archive's name; what is refused is named with its reason.

    An archive that breaks off keeps its whole members; of one beyond the limits nothing stays.
    """
    unpacking = _Unpacking(folder, archive)
    try:
        unpacking.run(TarReader(file, archive, folder.limits.archive_bytes))
    except SampleError as error:
        unpacking.drop(error, "")
        if error.code == "limit_archive":
            for name in unpacking.files:
                folder.remove(name)
            unpacking.files.clear()
    return Brought(
        stamp=stamp, files=tuple(unpacking.files), drops=tuple(unpacking.drops), hidden=tuple(unpacking.hidden)
    )


class _Unpacking:
    """One archive on its way into a mirror."""

    def __init__(self, folder: MirrorFolder, archive: str) -> None:
        self._folder, self._archive = folder, archive
        self._book, self._stamp_ns = NameBook(), old_stamp_ns()
        self.files: list[str] = []
        self.drops: list[Drop] = []
        self.hidden: list[str] = []

    def run(self, reader: TarReader) -> None:
        for number, member in enumerate(reader.members(), start=1):
            if number > self._folder.limits.archive_members:
                most = self._folder.limits.archive_members
                raise SampleError("limit_archive", f"more than {most} members (`limits.archive_members`)")
            if member.kind == FOLDER:
                continue
            try:
                self._bring(member, reader)
            except SampleError as error:
                if error.code in ("archive_damaged", "limit_archive"):
                    raise
                self.drop(error, f"{escape_name(member.name)}#{number}")  # the name alone may be another's
        if not reader.is_whole:
            raise SampleError("archive_damaged", "cut off: it does not end as archives end")

    def _bring(self, member: TarMember, reader: TarReader) -> None:
        if member.kind != FILE:
            raise SampleError("not_regular", f"a {member.kind}, not a regular file")
        name = safe_name(member.name)
        if any(filter_reason(part) for part in name.split(b"/")):
            self.hidden.append(f"{self._archive}/{escape_name(name)}")
            return
        if member.nbytes > self._folder.limits.file_bytes:
            raise SampleError("limit_file", f"{member.nbytes} bytes, allowed are {self._folder.limits.file_bytes}")
        self._book.add(name)
        mirrored = f"{self._archive}/{escape_name(name)}"
        if self._folder.write(mirrored, reader.chunks(), self._stamp_ns):
            self.files.append(mirrored)

    def drop(self, error: SampleError, member: str) -> None:
        what = f"the archive {self._archive!r}" + (f", member {member[:300]!r}" if member else "")
        file = f"{self._archive}/{member}" if member else self._archive
        self.drops.append(Drop(stage="list", code=error.code, detail=f"{what}: {error.detail}", file=file))
