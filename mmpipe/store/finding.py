"""What verify finds: where, what, how bad, and the way out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mmpipe.io import StorePath


class Severity(StrEnum):
    """How bad a finding is."""

    DAMAGE = "damage"  # bytes are not what was committed: exit 1
    WARNING = "warning"  # bytes are as committed, but look at them: exit 0


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """Something in the store that is not as it should be."""

    path: str  # from the store's root
    code: str
    detail: str
    way_out: str
    severity: Severity = Severity.DAMAGE

    @classmethod
    def at(
        cls,
        root: StorePath,
        path: StorePath,
        code: str,
        detail: str,
        way_out: str,
        severity: Severity = Severity.DAMAGE,
    ) -> Finding:
        """Return a finding about a path of the store."""
        return cls(path=str(path.relative_to(root)), code=code, detail=detail, way_out=way_out, severity=severity)


RESTORE = "`mmpipe verify --repair --from COPY` brings it back from any copy of the store that still has it whole."
REMAKE = "`mmpipe verify --repair` sets the bytes aside and makes the shard again from the raw files."
REMEASURE = (
    "`mmpipe verify --repair` measures the recordings of its date anew from the raw files; where they are gone, "
    "`--from COPY` brings it back from any copy of the store, and `--accept-loss` goes on without what it said."
)
REDRAW = (
    "`mmpipe verify --repair` draws the banks anew from the raw files where they come out the same, else `--from COPY` "
    "brings them back from any copy of the store. With `--accept-loss` they are given up: `mmpipe run` draws others, "
    "and makes the features that are mixed with them again."
)
READMIT = (
    "`mmpipe verify --repair` takes it from the audit log where that proves it, else `--from COPY` brings it back from "
    "any copy of the store. It is what people decided: with `--accept-loss` it is given up, and `mmpipe quarantine "
    "release` lets in again what should be."
)
RECOUNT = "`mmpipe verify --repair` commits a revision with the statistics of the values; the old revisions stay."
HEAL = "`mmpipe verify --repair` brings it up to the manifests again; so does the next commit."
SET_ASIDE = "`mmpipe verify --repair` sets it aside, so that the revision before it is the head, and makes it again."
RESTORE_REVISION = (
    "`mmpipe verify --repair` makes it again where what is left proves it, else `--from COPY` brings it back from a "
    "copy of the store that has it. With `--accept-loss` the revision before it is the head for good, and what was "
    "lost is made or taken in again by `mmpipe run`."
)
