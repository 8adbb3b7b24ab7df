"""SHA256SUMS of a published version: what its files must be, also after something was forgotten out of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmpipe.errors import StoreError
from mmpipe.registry.redacted import VersionRedaction, read_version_redaction

SUMS_NAME = "SHA256SUMS"
_SUM_LINE = re.compile(r"^(?P<sha256>[0-9a-f]{64})  (?P<name>.+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What SHA256SUMS says now, and the record that vouches for it where it is not as published."""

    digest: str
    now: Mapping[str, str]  # file -> sha256
    redaction: VersionRedaction | None

    def has(self, file: str, sha256: str) -> bool:
        """Say whether a file may have these bytes: while a redaction is under way, also those of before."""
        return sha256 == self.now[file] or bool(self.redaction and self.redaction.pending.get(file) == sha256)


def read_checked(path: Path, sums: Sums, file: str) -> bytes:
    """Return a file of a version whose sums were read; raise StoreError where it is not what they say."""
    if file not in sums.now:
        raise StoreError(f"the version {path.name} has no file {file!r}; it has: {', '.join(sorted(sums.now))}")
    data = _read(path / file)
    if not sums.has(file, hashlib.sha256(data).hexdigest()):
        raise tampered(path, f"{file} has other content than published")
    return data


def read_sums(path: Path, digest: str) -> Sums:
    """Read SHA256SUMS, which has the digest that was published, or its beginning, or one that a redaction gave it."""
    data = _read(path / SUMS_NAME)
    found, redaction = hashlib.sha256(data).hexdigest(), None
    if not found.startswith(digest):
        redaction = read_version_redaction(path)
        if redaction is None or found not in redaction.sums or not redaction.published.startswith(digest):
            raise tampered(path, f"{SUMS_NAME} has other content than published")
    matches = [_SUM_LINE.match(line) for line in data.decode().splitlines()]
    now = {match["name"]: match["sha256"] for match in matches if match}
    return Sums(digest=found, now=now, redaction=redaction)


def sums_bytes(sums: Mapping[str, str]) -> bytes:
    """Return SHA256SUMS for files with their sums, as `sha256sum -c` reads it."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise tampered(path.parent, f"{path.name} cannot be read ({error.strerror})") from error


def tampered(path: Path, what: str) -> StoreError:
    """Return the error that says what of a version is damaged, and the way out."""
    return StoreError(
        f"the published version {path.name} is damaged: {what} ({path}). "
        "Restore the folder from a backup, or remove it and publish again; use another version until then."
    )
