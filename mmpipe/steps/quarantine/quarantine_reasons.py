"""Why things are in quarantine: how many by date, stage and reason, each with an example and its command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmpipe.config import Config
from mmpipe.store.layout import open_store
from mmpipe.store.quarantine import read_quarantine

_BY = ("partition", "stage", "code")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonCount:
    """One reason on one date."""

    dt: str
    stage: str
    code: str
    count: int
    example: str
    detail: str
    replay: str


def count_reasons(config: Config, corpus: str, dts: Sequence[str]) -> tuple[ReasonCount, ...]:
    """Return why things of these dates are in quarantine; what is in use all the same is not counted."""
    rows = read_quarantine(open_store(config.store), corpus, tuple(dts)) if dts else None
    if rows is None or rows.is_empty():
        return ()
    rows = rows.filter(~rows["kept"]).sort(*_BY, "file", "clip_key")
    found = []
    for (dt, stage, code), group in rows.group_by(*_BY, maintain_order=True):
        first = group.row(0, named=True)
        found.append(
            ReasonCount(
                dt=str(dt),
                stage=str(stage),
                code=str(code),
                count=group.height,
                example=first["file"] or first["clip_key"] or first["source_id"],
                detail=first["detail"],
                replay=first["replay"],
            )
        )
    return tuple(found)
