"""Let things in that a policy refused: limits and filters bend for a person who gives a reason, broken bytes do not.

An exception holds for the very bytes, or the very clip, on every later night, until it is taken back. Time and memory
are never lifted. Who, when and why stand in the audit log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from mmpipe.config import Config
from mmpipe.errors import ConfigError, PartialError
from mmpipe.media.lifted import LIFTS
from mmpipe.steps.progress import SILENT, Progress
from mmpipe.steps.released import RELEASED, TAKEN_BACK, Exempt, list_released
from mmpipe.steps.retry import ingest_again
from mmpipe.store.admitted import admit, take_back
from mmpipe.store.audit import append_event
from mmpipe.store.layout import ADMITTED, StoreLayout, open_store
from mmpipe.store.quarantine import read_quarantine

NEAR_DUPLICATE = "near_duplicate"
_FILTERED = "filtered_"


def release_quarantined(
    config: Config, corpus: str, which: str, reason: str, *, dry_run: bool = False, progress: Progress = SILENT
) -> tuple[Exempt, ...]:
    """Let in every row that has a code or a file name, and ingest them; return the exceptions that were made.

    ConfigError: there is no reason, no such row, or none that a policy refused.
    """
    _require_reason(reason)
    layout = open_store(config.store, to_write=not dry_run)
    rows = _rows_to_release(layout, corpus, which)
    made = tuple(
        Exempt(partition=row["partition"], code=row["code"], thing=_thing(row), what=row["file"] or row["clip_key"])
        for row in rows.iter_rows(named=True)
    )
    if not dry_run:
        _write_down(layout, corpus, RELEASED, which, reason, made)
        for dt, group in _by_partition(made):
            admit(layout.dataset(corpus, ADMITTED), dt, group)
        _bring_up(config, layout, corpus, rows, progress)
    return made


def take_back_release(
    config: Config, corpus: str, which: str, reason: str, *, dry_run: bool = False, progress: Progress = SILENT
) -> tuple[Exempt, ...]:
    """Take back the exceptions of a code, file, digest or clip: the policy binds again what comes from then on.

    What was let in by a limit or the search for near twins, and is in the spine by then, stays until it is forgotten.
    """
    _require_reason(reason)
    layout = open_store(config.store, to_write=not dry_run)
    there = list_released(layout, corpus)
    undone = tuple(entry for entry in there if which in (entry.code, entry.thing, entry.what))
    if not undone:
        known = ", ".join(sorted({entry.code for entry in there})) or "none"
        raise ConfigError(f"nothing of {corpus!r} was released as {which!r}; released codes: {known}")
    if not dry_run:
        _write_down(layout, corpus, TAKEN_BACK, which, reason, undone)
        for dt, group in _by_partition(undone):
            take_back(layout.dataset(corpus, ADMITTED), dt, group)
        rows = pl.DataFrame(
            [{"partition": entry.partition, "file": entry.what, "file_sha256": entry.thing} for entry in undone]
        )
        _bring_up(config, layout, corpus, rows, progress)
    return undone


def is_policy(code: str) -> bool:
    """Say whether a code is a policy's refusal, not a fault of the bytes."""
    return code in LIFTS or code == NEAR_DUPLICATE or code.startswith(_FILTERED)


def _rows_to_release(layout: StoreLayout, corpus: str, which: str) -> pl.DataFrame:
    rows = read_quarantine(layout, corpus).filter(~pl.col("kept"))
    named = rows.filter((pl.col("code") == which) | (pl.col("file") == which) | (pl.col("clip_key") == which))
    if named.is_empty():
        there = ", ".join(rows["code"].unique().sort()) or "nothing"
        raise ConfigError(f"the quarantine of {corpus!r} has no code, file or clip {which!r}; codes there: {there}")
    chosen = named.filter(pl.col("code").map_elements(is_policy, return_dtype=pl.Boolean))
    if chosen.is_empty():
        code = named["code"][0]
        raise ConfigError(
            f"{which!r} is in quarantine for {code!r}: that is what the bytes or the tables are, and no policy that "
            f"could be bent. Mend it at its source, then: mmpipe quarantine retry --corpus {corpus}. "
            f"What can be released: {', '.join(sorted(LIFTS))}, {NEAR_DUPLICATE}, {_FILTERED}NAME"
        )
    return chosen


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise ConfigError("an exception needs a reason, which is kept in the audit log: --reason TEXT")


def _thing(row: dict[str, Any]) -> str:
    thing = row["clip_key"] if row["code"].startswith(_FILTERED) else row["file_sha256"] or row["clip_key"]
    if not thing:
        raise ConfigError(f"{row['file'] or row['source_id']!r} has no digest to release it by: its row names no bytes")
    return str(thing)


def _by_partition(made: Sequence[Exempt]) -> list[tuple[str, list[tuple[str, str]]]]:
    dates = sorted({entry.partition for entry in made})
    return [(dt, [(entry.code, entry.thing) for entry in made if entry.partition == dt]) for dt in dates]


def _write_down(layout: StoreLayout, corpus: str, kind: str, which: str, reason: str, made: Sequence[Exempt]) -> None:
    """Note it first: an exception without its reason must not be."""
    codes = sorted({entry.code for entry in made})
    things = sorted({(entry.code, entry.thing) for entry in made})  # digests: no name is kept for ever
    append_event(layout, kind, f"{corpus} {' '.join(codes)}", reason, {"corpus": corpus, "things": things})


def _bring_up(config: Config, layout: StoreLayout, corpus: str, rows: pl.DataFrame, progress: Progress) -> None:
    partial: PartialError | None = ingest_again(config, layout, corpus, rows, progress)
    if partial:
        raise partial
