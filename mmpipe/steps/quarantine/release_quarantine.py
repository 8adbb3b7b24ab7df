"""Let things in that a policy refused, and damaged media as far as they decode; or take that back.

An exception holds for the very bytes, or the very clip, on every later night, until it is taken back. Time and memory
are never lifted. Who, when and why stand in the audit log. Both verbs can be killed anywhere and done again: the
exception is what counts, and any ingest brings up what it says.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from mmpipe.config import Config
from mmpipe.errors import ConfigError, PartialError, SampleError
from mmpipe.features.extractor import feature_name
from mmpipe.media.guard import open_regular
from mmpipe.media.lifted import DAMAGED, LIFTED, LIMIT_FILE
from mmpipe.media.probe import digest_file
from mmpipe.steps.ground.mirror import media_root
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.ingest.survey import asks_for_survey
from mmpipe.steps.plan.feature_set import resolve_features
from mmpipe.steps.quarantine.releasable import (
    FILTERED,
    can_be_let_in,
    in_vain,
    is_releasable,
    is_vain,
    way_out,
    why_left,
    why_not,
)
from mmpipe.steps.quarantine.released import RELEASED, TAKEN_BACK, Exempt, list_released, list_undone, what_came
from mmpipe.steps.quarantine.retry import EXTRACT_STAGE, extract_again, extract_anew, forget_looks, ingest_again
from mmpipe.store.admitted import admit, take_back
from mmpipe.store.assets import read_assets
from mmpipe.store.audit import append_event
from mmpipe.store.layout import ADMITTED, StoreLayout, open_store
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.spine import read_spine


def release_quarantined(
    config: Config, corpus: str, which: str, reason: str, *, dry_run: bool = False, progress: Progress = SILENT
) -> tuple[Exempt, ...]:
    """Let in every row that has a code or a file name, and ingest them; return what was tried.

    What is in quarantine all the same says why in its `left`; a dry run knows that only of what is never let in.
    ConfigError: there is no reason, no such row, none that can be released, or none of them was let in. PartialError,
    when all is done, with what came of each: too much is still in quarantine.
    """
    _require_reason(reason)
    layout = open_store(config.store, to_write=not dry_run)
    rows, others = _rows_to_release(layout, corpus, which)
    found = (_exempt(row, _thing(config, layout, corpus, row)) for row in rows.iter_rows(named=True))
    made = tuple(dict.fromkeys(found))
    never = tuple(_exempt(row, row["file_sha256"], why_not(corpus, row)) for row in others.iter_rows(named=True))
    if dry_run:
        return made + never
    broken = _broken_rows(layout, corpus)
    forget_looks(layout, corpus, rows)
    _write_down(layout, corpus, RELEASED, which, reason, made)
    for dt, group in _by_partition(made):
        admit(layout.dataset(corpus, ADMITTED), dt, group)
    partial = ingest_again(config, layout, corpus, rows, progress)
    extract_again(config, layout, corpus, rows.filter(pl.col("stage") == EXTRACT_STAGE), progress)
    now, refused = _broken_rows(layout, corpus), _refused(layout, corpus)
    left = {
        entry: why_left(corpus, entry.code, refused.get(entry.thing))
        for entry in made
        if entry.thing in refused or (entry.code == DAMAGED and now[entry.thing] >= broken[entry.thing])
    }
    vain = tuple(entry for entry in left if is_vain(entry.code, refused.get(entry.thing, {}).get("code", entry.code)))
    if vain:
        _withdraw(config, layout, corpus, which, vain, progress)
    if len(left) == len(made):
        raise ConfigError(in_vain(which, sorted((entry.what, why) for entry, why in left.items())))
    tried = tuple(replace(entry, left=left.get(entry, "")) for entry in made) + never
    if partial:
        raise PartialError(f"{what_came(tried)}. {partial}", partial.report)
    return tried


def _exempt(row: Mapping[str, Any], thing: str, left: str = "") -> Exempt:
    what = row["clip_key"] if row["code"].startswith(FILTERED) else row["file"] or row["clip_key"] or row["source_id"]
    return Exempt(partition=row["partition"], code=row["code"], thing=thing, what=what, left=left)


def take_back_release(
    config: Config, corpus: str, which: str, reason: str, *, dry_run: bool = False, progress: Progress = SILENT
) -> tuple[Exempt, ...]:
    """Take back the exceptions of a code, file, digest or clip, and ingest: what is refused again leaves the datasets.

    Its rows are back in quarantine and its clips superseded; snapshots that hold them stay as they are. Once more does
    no harm, and finishes what was cut short. What nothing refuses now, or whose file is gone from the corpus's folder,
    stays: `list_still_used` names it.
    """
    _require_reason(reason)
    layout = open_store(config.store, to_write=not dry_run)
    in_force, before = list_released(layout, corpus), list_undone(layout, corpus)
    there = (*in_force, *before)
    undone = tuple(entry for entry in there if which in (entry.code, entry.thing, entry.what))
    if not undone:
        known = ", ".join(sorted({entry.code for entry in there})) or "none"
        raise ConfigError(f"nothing of {corpus!r} was released as {which!r}; released codes: {known}")
    if dry_run:
        return undone
    rows = pl.DataFrame(
        [{"partition": entry.partition, "file": entry.what, "file_sha256": entry.thing} for entry in undone]
    )
    forget_looks(layout, corpus, rows)
    if fresh := tuple(entry for entry in undone if entry in in_force):
        _write_down(layout, corpus, TAKEN_BACK, which, reason, fresh)
    for dt, group in _by_partition(undone):  # those of before too: their commit may have been cut short
        take_back(layout.dataset(corpus, ADMITTED), dt, group)
    partial = ingest_again(config, layout, corpus, rows, progress)
    _, source = config.corpus(corpus)
    if not asks_for_survey(source):  # else the ingest has judged all that a decoder could say
        places, streams = _made_from(config, layout, corpus, undone)
        extract_anew(config, corpus, places, streams, progress)
    if partial:
        raise partial
    return undone


def _rows_to_release(layout: StoreLayout, corpus: str, which: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows that can be released of what is named, and those that cannot."""
    every = read_quarantine(layout, corpus)
    asked = pl.any_horizontal(pl.col(name) == which for name in ("code", "file", "clip_key", "source_id"))
    rows, notes = every.filter(~pl.col("kept")), every.filter(pl.col("kept") & asked)
    named = rows.filter(asked)
    if named.is_empty() and not notes.is_empty():
        raise ConfigError(
            f"{which!r} is in use all the same, its row ({notes['code'][0]!r}) is a note: there is nothing to let in. "
            f"What is left out because too much of it is broken has the code {DAMAGED!r}"
        )
    if named.is_empty():
        there = ", ".join(rows["code"].unique().sort()) or "nothing"
        raise ConfigError(f"the quarantine of {corpus!r} has no code, file or clip {which!r}; codes there: {there}")
    can = pl.Series([can_be_let_in(row) for row in named.iter_rows(named=True)], dtype=pl.Boolean)
    if not can.any():
        raise ConfigError(way_out(corpus, which, named.row(0, named=True)))
    return named.filter(can), named.filter(~can)


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise ConfigError("an exception needs a reason, which is kept in the audit log: --reason TEXT")


def _thing(config: Config, layout: StoreLayout, corpus: str, row: dict[str, Any]) -> str:
    if row["code"].startswith(FILTERED):
        return str(row["clip_key"])
    if row["file_sha256"]:
        return str(row["file_sha256"])
    if row["code"] == LIMIT_FILE:
        return _digest_large(config, layout, corpus, row["file"])
    raise ConfigError(f"{row['file'] or row['source_id']!r} has no digest to release it by: its row names no bytes")


def _digest_large(config: Config, layout: StoreLayout, corpus: str, name: str) -> str:
    """Return the digest of a file that was too large to be read so far."""
    digest = _digest_now(config, layout, corpus, name)
    if not digest:
        raise ConfigError(
            f"{name!r} cannot be released: it is not here to be read, what is too large is not brought from elsewhere. "
            f"Raise `limits.file_bytes` of the corpus {corpus!r}, then: mmpipe ingest --corpus {corpus}"
        )
    return digest


def _digest_now(config: Config, layout: StoreLayout, corpus: str, name: str) -> str:
    """Return the digest of what a file holds now, "" where it cannot be read."""
    _, source = config.corpus(corpus)
    try:
        descriptor = open_regular(media_root(layout, corpus, source), name)
    except (SampleError, OSError):
        return ""
    try:
        return digest_file(descriptor)
    finally:
        os.close(descriptor)


def _broken_rows(layout: StoreLayout, corpus: str) -> Counter[str]:
    """Return how many rows each file has for what is wrong with its bytes."""
    rows = read_quarantine(layout, corpus).filter(~pl.col("kept")).select("code", "file_sha256")
    return Counter(sha256 for code, sha256 in rows.iter_rows() if code == DAMAGED or not is_releasable(code))


def _refused(layout: StoreLayout, corpus: str) -> dict[str, dict[str, Any]]:
    """Return by digest, or by the key of a clip that a filter left out, the row of what is refused now."""
    rows = read_quarantine(layout, corpus).filter(~pl.col("kept") & (pl.col("stage") != EXTRACT_STAGE))
    found = {row["clip_key"] or row["file_sha256"]: row for row in rows.iter_rows(named=True)}
    return {thing: row for thing, row in found.items() if thing}


def _withdraw(
    config: Config, layout: StoreLayout, corpus: str, which: str, vain: Sequence[Exempt], progress: Progress
) -> None:
    """Take exceptions back that let nothing in: nothing is left of them but the marks, and why in the audit log."""
    rows = pl.DataFrame([{"partition": it.partition, "file": it.what, "file_sha256": it.thing} for it in vain])
    _write_down(layout, corpus, TAKEN_BACK, which, "nothing of it was let in", vain)
    for dt, group in _by_partition(vain):
        take_back(layout.dataset(corpus, ADMITTED), dt, group)
    ingest_again(config, layout, corpus, rows, progress)


def _made_from(
    config: Config, layout: StoreLayout, corpus: str, undone: Sequence[Exempt]
) -> tuple[set[tuple[str, int, str]], set[str]]:
    """Return the (partition, shard, feature) that hold values of these files in clips that are in use; and the streams.

    Files that are gone are left out: nobody could make their values again.
    """
    things = sorted({entry.thing for entry in undone if entry.code in LIFTED})
    streams = read_assets(layout, corpus).filter(pl.col("file_sha256").is_in(things))
    named = streams.select("file", "file_sha256").unique().iter_rows()
    here = sorted(sha256 for file, sha256 in named if _digest_now(config, layout, corpus, file) == sha256)
    streams = streams.filter(pl.col("file_sha256").is_in(here))
    live = read_spine(layout, corpus).filter(~pl.col("superseded")).select("partition", "asset_id", "shard").unique()
    features = [(feature_name(found), str(found.modality)) for found in resolve_features(config, corpus)]
    made = pl.DataFrame(features, schema={"feature": pl.String, "modality": pl.String}, orient="row")
    held = streams.join(live, on=["partition", "asset_id"]).join(made, on="modality")
    return set(held.select("partition", "shard", "feature").iter_rows()), set(held["digest"])


def _by_partition(made: Sequence[Exempt]) -> list[tuple[str, list[tuple[str, str]]]]:
    dates = sorted({entry.partition for entry in made})
    return [(dt, [(entry.code, entry.thing) for entry in made if entry.partition == dt]) for dt in dates]


def _write_down(layout: StoreLayout, corpus: str, kind: str, which: str, reason: str, made: Sequence[Exempt]) -> None:
    """Note it first: an exception without its reason must not be."""
    codes = sorted({entry.code for entry in made})
    things = sorted({(entry.code, entry.thing) for entry in made})  # digests: no name is kept for ever
    append_event(layout, kind, f"{corpus} {' '.join(codes)}", reason, {"corpus": corpus, "things": things})
