"""What was let in by hand although a policy refused it, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmpipe.store.admitted import list_admitted
from mmpipe.store.assets import read_assets
from mmpipe.store.audit import read_events
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine

RELEASED, TAKEN_BACK = "quarantine-release", "quarantine-take-back"  # kinds of audit events


@dataclass(frozen=True, slots=True, kw_only=True)
class Exempt:
    """One exception: a file or clip that a code does not bind."""

    partition: str
    code: str
    thing: str  # sha256 of the file, or key of the clip
    what: str  # its name, where the store still has it

    def row(self) -> dict[str, Any]:
        """Return a row of plain values."""
        return {"dt": self.partition, "code": self.code, "what": self.what or self.thing, "thing": self.thing}


def list_released(layout: StoreLayout, corpus: str) -> tuple[Exempt, ...]:
    """Return the exceptions of a corpus with the names that their bytes have now."""
    names = dict(read_assets(layout, corpus).select("file_sha256", "file").iter_rows())
    drops = read_quarantine(layout, corpus).select("file_sha256", "file")
    names = {sha256: file for sha256, file in drops.iter_rows() if sha256} | names
    return tuple(
        Exempt(partition=dt, code=code, thing=thing, what=names.get(thing, thing))
        for dt, code, thing in list_admitted(layout, corpus)
    )


def reasons_of(layout: StoreLayout, corpus: str) -> dict[tuple[str, str], str]:
    """Return why each (code, thing) was let in, as the audit log has it: who, when and the words."""
    found: dict[tuple[str, str], str] = {}
    for event in read_events(layout):
        if event.kind == RELEASED and event.facts.get("corpus") == corpus:
            for code, thing in event.facts.get("things", ()):
                found[code, thing] = f"{event.reason} ({event.who}, {event.when})"
    return found
