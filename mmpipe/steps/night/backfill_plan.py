"""What a backfill has to do on each date of its range, and why: it reads the ledger and lists the folder once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.steps.ingest.ingest import ingest_reason
from mmpipe.steps.ingest.ingest_record import listing_digest, read_record, record_key
from mmpipe.steps.ingest.intake import Look, look_at_corpus, take_in
from mmpipe.steps.plan.choices import MAX_DAYS, Only
from mmpipe.steps.plan.plan import Plan, plan_corpus
from mmpipe.store.layout import StoreLayout

_TAKES_NEW_FILES = frozenset({Only.DUE, Only.MISSING, Only.ALL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a backfill takes up of each date."""

    only: Only = Only.DUE
    features: tuple[str, ...] = ()  # names; none means every feature of the corpus
    force: bool = False  # also what is complete, and computed anew

    @property
    def takes_new_files(self) -> bool:
        """Say whether it includes files that were never taken in."""
        return self.only in _TAKES_NEW_FILES


@dataclass(frozen=True, slots=True, kw_only=True)
class DayDue:
    """A date with something to do."""

    dt: str
    new_files: str = ""  # why it is to be ingested; "" where it is not
    shards: int = 0  # that are due now; new files bring more
    running: int = 0  # that somebody else is making

    @property
    def reason(self) -> str:
        """Return in words what there is to do."""
        running = f"{self.running} being made" if self.running else ""
        shards = f"{self.shards} shards due" if self.shards else ""
        return "; ".join(part for part in (self.new_files, shards, running) if part)


def plan_backfill(
    config: Config, corpus: str, dates: Sequence[str], choice: Choice, *, refresh: bool = True
) -> tuple[DayDue, ...]:
    """Return the dates that have something to do; with `refresh` off a far corpus is only asked what it has."""
    look = look_at_corpus(config, corpus, refresh=refresh) if choice.takes_new_files else None
    new_files = dict(dates_with_new_files(config, corpus, dates, look)) if look else {}
    plan = plan_choice(config, corpus, dates, choice)
    shards = Counter(due.partition for due in plan.shards)
    running = Counter(state.partition for state in plan.running)
    days = (
        DayDue(dt=dt, new_files=new_files.get(dt, ""), shards=shards[dt], running=running[dt])
        for dt in sorted(set(dates))
    )
    return tuple(day for day in days if day.reason)


def plan_choice(config: Config, corpus: str, dates: Sequence[str] | None, choice: Choice) -> Plan:
    """Return the plan of some dates, None: of all; a store that was never made has nothing due."""
    if not config.store.exists():
        return Plan(corpus=corpus, shards=())
    return plan_corpus(config, corpus, dates, choice.only, choice.features or None, choice.force)


def dates_with_new_files(config: Config, corpus: str, dates: Sequence[str], look: Look) -> Iterator[tuple[str, str]]:
    """Yield the dates to ingest, with the reason: where one ingest looks at all files, only the first date does."""
    _, source = config.corpus(corpus)
    noted = read_record(StoreLayout(config.store), corpus).get("listings", {})
    nothing, told = listing_digest((), ()), set()
    for dt in dates:
        key = record_key(source, dt)
        reason = "" if key in told else ingest_reason(config, corpus, dt, look)
        if not reason:
            continue
        intake = take_in(source, dt, look)
        if look.pending or intake.groups or intake.drops or noted.get(key, nothing) != nothing:
            told.add(key)
            yield dt, reason


def dates_of_range(first: str, last: str) -> tuple[str, ...]:
    """Return every date from first to last, both included."""
    try:
        begin, end = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError as error:
        raise ConfigError(f"a date is written 2026-11-20: {error}") from error
    days = (end - begin).days + 1
    if days < 1:
        raise ConfigError(f"the range ends on {last}, before it begins on {first}")
    if days > MAX_DAYS:
        raise ConfigError(f"{first} to {last} is {days:,} days; one backfill takes {MAX_DAYS:,}: give it fewer")
    return tuple((begin + timedelta(days=day)).isoformat() for day in range(days))
