"""Take an upload in: streamed to files of ours, cut off at the limit, and gone with the answer.

No name of the sender's reaches the disk: a file is called after its role, with a suffix from a fixed list.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from mmpipe.serve.limits import ServeLimits
from mmpipe.serve.predictor import UploadedFile
from mmpipe.serve.problems import Problem

ROLES = ("video", "audio", "image", "text")
_HEADER_BYTES = 8 << 10  # of one part
_SUFFIX_CHARACTERS = 8


@dataclass(slots=True, eq=False)
class Quota:
    """What all uploads together may take on the disk."""

    most_bytes: int
    held_bytes: int = 0

    def take(self, nbytes: int) -> None:
        """Count bytes that are written. Raise Problem 503 where there is no room."""
        if self.held_bytes + nbytes > self.most_bytes:
            raise Problem(
                status=503,
                code="disk_full",
                detail=f"uploads under way take {self.held_bytes} of {self.most_bytes} bytes of temporary space",
                headers={"Retry-After": "1"},
            )
        self.held_bytes += nbytes


@dataclass(slots=True, eq=False, kw_only=True)
class Share:
    """What one upload takes of it."""

    quota: Quota
    held_bytes: int = 0

    def take(self, nbytes: int) -> None:
        """Count bytes that are written. Raise Problem 503 where there is no room."""
        self.quota.take(nbytes)
        self.held_bytes += nbytes

    def give_back(self) -> None:
        """Count that all of it is gone."""
        self.quota.held_bytes -= self.held_bytes
        self.held_bytes = 0


@contextmanager
def upload_folder(root: Path) -> Iterator[Path]:
    """Yield a folder for one upload; nothing of it is left."""
    folder = Path(tempfile.mkdtemp(prefix="upload-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # a worker that is being killed may still hold a file of it


async def receive_upload(
    content_type: str,
    chunks: AsyncIterator[bytes],
    folder: Path,
    limits: ServeLimits,
    share: Share,
    suffixes: Mapping[str, tuple[str, ...]],
) -> tuple[UploadedFile, ...]:
    """Write the files of a multipart body; the share is the caller's to give back. Raise Problem.

    `suffixes` are those that a role's files may keep, by role; the first is that of a file without one.
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise Problem(status=400, code="bad_form", detail="multipart/form-data without a boundary")
    form = _Form(folder=folder, share=share, suffixes=suffixes)
    received = 0
    try:
        parser = MultipartParser(boundary, form.callbacks(), max_header_size=_HEADER_BYTES)  # type: ignore[arg-type]
        async for chunk in chunks:
            received += len(chunk)
            if received > limits.upload_bytes:
                raise too_large(limits)
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise Problem(status=400, code="bad_form", detail=f"the form cannot be parsed: {error}") from error
    finally:
        form.close()
    if not form.is_complete:
        raise Problem(status=400, code="bad_form", detail="the form ends before its last boundary")
    if not form.files:
        roles = ", ".join(ROLES)
        raise Problem(status=422, code="no_file", detail=f"the form has no file; its fields may be {roles}")
    return tuple(form.files)


def too_large(limits: ServeLimits) -> Problem:
    """Return the problem of a body beyond the limit."""
    detail = f"a request may have {limits.upload_bytes} bytes"
    return Problem(status=413, code="upload_too_large", detail=detail, headers={"Connection": "close"})


def name_on_disk(role: str, filename: str, suffixes: tuple[str, ...]) -> str:
    """Return what a file is called here: its role, and the sender's suffix where that is one of the role's."""
    suffix = f".{filename.rpartition('.')[2]}".lower() if "." in filename else ""
    return role + (suffix if suffix in suffixes else suffixes[0])


@dataclass(slots=True, eq=False, kw_only=True)
class _Form:
    """The parts of a form while they come in."""

    folder: Path
    share: Share
    suffixes: Mapping[str, tuple[str, ...]]
    files: list[UploadedFile] = field(default_factory=list)
    is_complete: bool = False
    _name: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _disposition: bytes = b""
    _file: BinaryIO | None = None
    _path: Path = Path()
    _role: str = ""
    _nbytes: int = 0

    def callbacks(self) -> dict[str, object]:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": self._write,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def close(self) -> None:
        """Close what is open, however the form ended."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin_part(self) -> None:
        self._disposition = b""

    def _end_header(self) -> None:
        if bytes(self._name).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _open(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._disposition)
        role = options.get(b"name", b"").decode("utf-8", "replace")
        if role not in ROLES:
            raise Problem(status=422, code="unknown_role", detail=f"the field {role!r} is none of {', '.join(ROLES)}")
        if any(file.role == role for file in self.files):
            raise Problem(status=422, code="role_twice", detail=f"there are two files for the role {role!r}")
        filename = options.get(b"filename", b"").decode("utf-8", "replace")[-_SUFFIX_CHARACTERS:]
        self._role, self._nbytes = role, 0
        self._path = self.folder / name_on_disk(role, filename, self.suffixes[role])
        self._file = self._path.open("xb")

    def _write(self, data: bytes, start: int, end: int) -> None:
        assert self._file is not None, "data of a part comes after its headers"
        self.share.take(end - start)
        self._nbytes += end - start
        self._file.write(data[start:end])

    def _end_part(self) -> None:
        self.close()
        if not self._nbytes:
            raise Problem(status=422, code="empty_file", detail=f"the file for the role {self._role!r} has 0 bytes")
        self.files.append(UploadedFile(role=self._role, path=self._path, nbytes=self._nbytes))

    def _end(self) -> None:
        self.is_complete = True
