"""What was let in by hand although a policy refused it, and why; and what of it was taken back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from mmpipe.store.admitted import list_admitted, list_taken_back
from mmpipe.store.assets import read_assets
from mmpipe.store.audit import read_events
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.spine import read_spine

RELEASED, TAKEN_BACK = "quarantine-release", "quarantine-take-back"  # kinds of audit events


@dataclass(frozen=True, slots=True, kw_only=True)
class Exempt:
    """One exception: a file or clip that a code does not bind."""

    partition: str
    code: str
    thing: str  # sha256 of the file, or key of the clip
    what: str  # its name, where the store still has it
    left: str = ""  # why it is in quarantine all the same; "" where it was let in

    def row(self) -> dict[str, Any]:
        """Return a row of plain values."""
        return {"dt": self.partition, "code": self.code, "what": self.what or self.thing, "thing": self.thing}


def what_came(tried: Iterable[Exempt]) -> str:
    """Say in a line which of what was tried was let in, and why the rest is left."""
    entries = list(tried)
    let_in = ", ".join(repr(entry.what) for entry in entries if not entry.left)
    left = "; ".join(f"{entry.what!r}: {entry.left}" for entry in entries if entry.left)
    return f"released: {let_in}" + (f"; left: {left}" if left else "")


def list_released(layout: StoreLayout, corpus: str) -> tuple[Exempt, ...]:
    """Return the exceptions of a corpus with the names that their bytes have now."""
    return _named(layout, corpus, list_admitted(layout, corpus))


def list_undone(layout: StoreLayout, corpus: str) -> tuple[Exempt, ...]:
    """Return the exceptions of a corpus that were taken back."""
    return _named(layout, corpus, list_taken_back(layout, corpus))


def list_still_used(layout: StoreLayout, corpus: str, undone: Iterable[Exempt]) -> tuple[str, ...]:
    """Return the names of files that were taken back and are in use all the same: nothing refuses them now."""
    refused = read_quarantine(layout, corpus).filter(~pl.col("kept")).select("file_sha256", "file")
    gone = {text for row in refused.iter_rows() for text in row if text}
    live = read_spine(layout, corpus).filter(~pl.col("superseded")).select("partition", "asset_id").unique()
    assets = read_assets(layout, corpus).join(live, on=["partition", "asset_id"], how="semi")
    used = set(assets["file_sha256"])
    names = {entry.what for entry in undone if entry.thing in used and not {entry.thing, entry.what} & gone}
    return tuple(sorted(names))


def released_before(layout: StoreLayout, corpus: str, rows: pl.DataFrame) -> pl.Series:
    """Say of rows of the quarantine whether what they name was let in past that code before, in vain or taken back."""
    known = [*list_admitted(layout, corpus), *list_taken_back(layout, corpus)]
    pairs = pl.DataFrame(
        [(code, thing) for _, code, thing in known], schema={"code": pl.String, "thing": pl.String}, orient="row"
    ).unique()
    things = rows.select("code", thing=pl.when(pl.col("clip_key") == "").then("file_sha256").otherwise("clip_key"))
    marks = pairs.with_columns(before=pl.lit(True))
    found = things.join(marks, on=["code", "thing"], how="left", maintain_order="left")
    return found["before"].fill_null(False)


def reasons_of(layout: StoreLayout, corpus: str) -> dict[tuple[str, str], str]:
    """Return why each (code, thing) was let in, as the audit log has it: who, when and the words."""
    found: dict[tuple[str, str], str] = {}
    for event in read_events(layout):
        if event.kind == RELEASED and event.facts.get("corpus") == corpus:
            for code, thing in event.facts.get("things", ()):
                found[code, thing] = f"{event.reason} ({event.who}, {event.when})"
    return found


def _named(layout: StoreLayout, corpus: str, rows: Iterable[tuple[str, str, str]]) -> tuple[Exempt, ...]:
    names = dict(read_assets(layout, corpus).select("file_sha256", "file").iter_rows())
    drops = read_quarantine(layout, corpus).select("file_sha256", "file")
    names = {sha256: file for sha256, file in drops.iter_rows() if sha256} | names
    return tuple(Exempt(partition=dt, code=code, thing=thing, what=names.get(thing, thing)) for dt, code, thing in rows)
