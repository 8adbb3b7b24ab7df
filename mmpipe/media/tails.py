"""What lies behind a recording in its file: another one, in a format that is read up to the end of the first only."""

from __future__ import annotations

import os
import re

from mmpipe.errors import SampleError

# How a file of each format begins; bytes that merely look so are rarer than one in 10^9 of files.
_BEGINNINGS = {
    "aiff": re.compile(rb"FORM....AIF[FC]", re.DOTALL),
    "flac": re.compile(rb"fLaC[\x00\x80]\x00\x00\x22"),
    "flv": re.compile(rb"FLV\x01[\x00-\x05]\x00\x00\x00\x09"),
    "matroska,webm": re.compile(rb"\x1aE\xdf\xa3.{1,48}?(?:matroska|webm)", re.DOTALL),
    "mov,mp4,m4a,3gp,3g2,mj2": re.compile(rb"\x00\x00\x00[\x10-\x80]ftyp"),
    "w64": re.compile(rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"),
    "wav": re.compile(rb"RIFF....WAVE", re.DOTALL),
}
# FFmpeg hands on what follows as if it were the first recording's, whose header ends before: so look through all of it.
_RUNS_ON = {"flac": 4}
_CHUNK_BYTES = 1 << 20
_LONGEST = 64  # bytes of a beginning


def unread_share(descriptor: int, format_name: str, end: int, nbytes: int, max_missing: float) -> float:
    """Return the share of a file's bytes from the beginning of a recording on that lies behind `end`, 0 without one.

    `end` is the end of the last packet that was read. Raise SampleError decode_error for more than `max_missing`.
    """
    place = _find(descriptor, format_name, _RUNS_ON.get(format_name, end), nbytes) if end else None
    if place is None:
        return 0.0
    share = (nbytes - place) / nbytes
    if share > max_missing:
        told = f"another recording begins at byte {place}, where this format is read no further"
        raise SampleError("decode_error", f"{told}: {share:.1%} of the file, allowed are {max_missing:.1%}")
    return share


def _find(descriptor: int, format_name: str, start: int, nbytes: int) -> int | None:
    beginning = _BEGINNINGS.get(format_name)
    while beginning and start < nbytes:
        found = beginning.search(os.pread(descriptor, _CHUNK_BYTES + _LONGEST, start))
        if found:
            return start + found.start()
        start += _CHUNK_BYTES
    return None
