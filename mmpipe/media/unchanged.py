"""Prove that an open file still holds the bytes that were taken in."""

from __future__ import annotations

import hashlib
import os

from mmpipe.errors import SampleError
from mmpipe.types import Stream


def require_same_bytes(descriptor: int, stream: Stream) -> None:
    """Hash the file behind a descriptor. Raise SampleError changed_since_ingest where it is not the stream's."""
    with open(os.dup(descriptor), "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    os.lseek(descriptor, 0, os.SEEK_SET)
    if found != stream.file_sha256:
        raise SampleError("changed_since_ingest", f"{stream.file!r} holds other bytes now; ingest again")
