"""The record of what was forgotten out of a published version: it vouches for bytes that are not as published.

MODELS/NAME/redacted/<n>-<digest8>.json    the version keeps its name, which is the digest of what was published
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mmpipe.errors import StoreError
from mmpipe.io import canonical_json, make_directory, replace_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRedaction:
    """What stands in place of what was published, and who was forgotten, by digest."""

    published: str  # sha256 of SHA256SUMS as it was published
    sums: tuple[str, ...]  # of SHA256SUMS since; while a redaction is under way, of before and after
    assets: tuple[str, ...]
    reasons: tuple[str, ...]
    pending: Mapping[str, str] = field(default_factory=dict)  # file -> sha256 that it may still have: not done yet


def redaction_path(version: Path) -> Path:
    """Return where the record about a version's folder lies."""
    return version.parent.parent / "redacted" / f"{version.name}.json"


def read_version_redaction(version: Path) -> VersionRedaction | None:
    """Return what was forgotten out of a version's folder; None where it is as published."""
    path = redaction_path(version)
    try:
        return parse_version_redaction(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is damaged: {error}. Bring it back from a copy of the store.") from error


def parse_version_redaction(data: bytes) -> VersionRedaction:
    """Read a record; ValueError, TypeError or AttributeError on anything else."""
    table = json.loads(data)
    lists = {name: tuple(value) for name, value in table.items() if isinstance(value, list)}
    return VersionRedaction(**{**table, **lists})


def write_version_redaction(version: Path, redaction: VersionRedaction) -> None:
    """Write the record; whoever forgets holds the model."""
    path = redaction_path(version)
    make_directory(path.parent)
    replace_bytes(path, canonical_json(asdict(redaction)))
