"""How far every date and feature is, and how fresh: the ledger in counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from mmpipe.config import Config
from mmpipe.features.extractor import feature_name
from mmpipe.steps.plan.choices import State
from mmpipe.steps.plan.clip_filters import FILTER_STAGE
from mmpipe.steps.plan.feature_set import try_features
from mmpipe.steps.plan.ledger import read_ledger, read_shards
from mmpipe.store.heads import read_heads
from mmpipe.store.layout import open_store
from mmpipe.store.quarantine import read_quarantine
from mmpipe.words import counted

_UNKNOWN = "unknown"
_WHY_LENGTH = 100  # characters of a cause in a table; all of it is in the JSON
_SETTLED = (str(State.COMPLETE), str(State.FAILED))  # a night does no more for these


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One date of one feature."""

    dt: str
    feature: str
    clips: int
    values: int
    quarantined: int
    state: str  # "3 complete, 1 missing"; "unknown" where the feature cannot be made here
    why: str  # what is stale or unknown, and why; "": nothing is
    settled: bool  # nothing is missing, stale or running


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """The newest date of a feature that is whole."""

    feature: str
    newest: str  # "" where no date is whole
    age_h: float | None  # since that date ended, in the schedule's zone
    published: str  # when the head of that date was written, UTC
    late: bool  # older than allowed, or none
    max_age_h: float | None = None  # what is allowed: `max_age_h_of` the feature, else `max_age_h` of the corpus


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All dates x features of a corpus."""

    cells: tuple[Cell, ...]  # by date, then feature
    freshness: tuple[Freshness, ...]
    filtered: Mapping[str, int] = field(default_factory=dict)  # clips that the filters leave out, by date
    faults: Mapping[str, str] = field(default_factory=dict)  # features that cannot be made here, and why

    def matrix(self) -> list[dict[str, Any]]:
        """Return one row per date, with a column per feature."""
        rows: dict[str, dict[str, Any]] = {}
        for cell in self.cells:
            left_out = {"filtered": self.filtered.get(cell.dt, 0)} if self.filtered else {}
            row = rows.setdefault(cell.dt, {"dt": cell.dt, "clips": cell.clips} | left_out)
            row[cell.feature] = cell.state + (f" ({cell.quarantined} quarantined)" if cell.quarantined else "")
            row[cell.feature] += f": {_short(cell.why)}" if cell.why else ""
        return list(rows.values())

    def late(self) -> Iterator[Freshness]:
        """Yield the features that are older than they may be."""
        yield from (fresh for fresh in self.freshness if fresh.late)

    def sentence(self, fresh: Freshness) -> str:
        """Say how old a feature is, and how old it may be."""
        age = f"ended {fresh.age_h:.0f} h ago" if fresh.age_h is not None else "is not there yet"
        age = "is not known" if fresh.feature in self.faults else age
        allowed = "" if fresh.max_age_h is None else f"; max_age_h = {fresh.max_age_h:g}"
        return f"the newest whole date of {fresh.feature} {age}{allowed}"


def read_status(config: Config, corpus: str, now: datetime | None = None, ledger: pl.DataFrame | None = None) -> Status:
    """Count the ledger of a corpus, read where the caller has none, and say how old each feature is."""
    extractors, faults = try_features(config, corpus)
    ledger = read_ledger(config, corpus, extractors=extractors) if ledger is None else ledger
    cells = [*_cells(ledger), *_unknown(config, corpus, faults)]
    cells = sorted(cells, key=lambda cell: cell.dt)  # those of a date stay in their order
    newest = dict.fromkeys(_with_objective(config, corpus, [*map(feature_name, extractors), *faults]), "")
    newest |= {cell.feature: "" for cell in cells}
    newest |= {cell.feature: cell.dt for cell in cells if cell.settled}  # in the order of dates
    return Status(
        cells=tuple(cells),
        freshness=tuple(_freshness(config, corpus, name, dt, now or datetime.now(UTC)) for name, dt in newest.items()),
        filtered=_count_filtered(config, corpus),
        faults=faults,
    )


def _with_objective(config: Config, corpus: str, features: Sequence[str]) -> Iterator[str]:
    """Yield the features that must be fresh, also where there is no date yet, and names that no feature has."""
    _, source = config.corpus(corpus)
    yield from (name for name in features if source.allowed_age_h(name) is not None)
    yield from sorted(source.max_age_h_of.keys() - {name.partition("@")[0] for name in features})


def _unknown(config: Config, corpus: str, faults: Mapping[str, str]) -> Iterator[Cell]:
    """Yield the dates of features whose extractor cannot be made: what there is of them cannot be judged."""
    if not faults:
        return
    dates = read_shards(open_store(config.store), corpus).group_by("partition").agg(pl.col("clips").sum())
    for dt, clips in dates.sort("partition").iter_rows():
        for feature, why in faults.items():
            yield Cell(
                dt=dt, feature=feature, clips=clips, values=0, quarantined=0, state=_UNKNOWN, why=why, settled=False
            )


def _count_filtered(config: Config, corpus: str) -> dict[str, int]:
    """Return how many clips the filters leave out of each date; nothing for a corpus without filters."""
    _, source = config.corpus(corpus)
    if not source.filters:
        return {}
    rows = read_quarantine(open_store(config.store), corpus).filter(pl.col("stage") == FILTER_STAGE)
    return {str(dt): int(count) for dt, count in rows.group_by("partition").len().iter_rows()}


def _cells(ledger: pl.DataFrame) -> Iterator[Cell]:
    counts = ledger.group_by("partition", "feature", "state", maintain_order=True).agg(
        pl.len(), pl.col("clips", "samples", "quarantined").sum(), pl.col("reason").unique(maintain_order=True)
    )
    for (dt, feature), group in counts.group_by("partition", "feature", maintain_order=True):
        states = dict(group.sort("state").select("state", "len").iter_rows())
        yield Cell(
            dt=str(dt),
            feature=str(feature),
            clips=int(group["clips"].sum()),
            values=int(group["samples"].sum()),
            quarantined=int(group["quarantined"].sum()),
            state=", ".join(f"{count} {state}" for state, count in states.items()),
            why=_why_stale(group),
            settled=states.keys() <= set(_SETTLED),
        )


def _why_stale(group: pl.DataFrame) -> str:
    """Return why shards of a date are stale; the first cause, where there are several."""
    reasons = [reason for found in group.filter(pl.col("state") == State.STALE)["reason"] for reason in found]
    more = f" and {counted(len(reasons) - 1, 'other cause')}" if len(reasons) > 1 else ""
    return reasons[0] + more if reasons else ""


def _short(why: str) -> str:
    """Return as much of a cause as fits into a column."""
    line = " ".join(why.split())
    return line if len(line) <= _WHY_LENGTH else f"{line[:_WHY_LENGTH]}..."


def _freshness(config: Config, corpus: str, feature: str, dt: str, now: datetime) -> Freshness:
    _, source = config.corpus(corpus)
    age_h, published = None, ""
    if dt:
        end = datetime.combine(date.fromisoformat(dt) + timedelta(days=1), time(), ZoneInfo(config.timezone))
        age_h = max((now - end).total_seconds() / 3600, 0.0)
        stamps_ns = read_heads(open_store(config.store).dataset(corpus, feature), (dt,))["mtime_ns"]
        published = (
            datetime.fromtimestamp(stamps_ns[0] / 1e9, UTC).isoformat(timespec="seconds") if len(stamps_ns) else ""
        )
    allowed_h = source.allowed_age_h(feature)
    late = allowed_h is not None and (age_h is None or age_h > allowed_h)
    return Freshness(feature=feature, newest=dt, age_h=age_h, published=published, late=late, max_age_h=allowed_h)
