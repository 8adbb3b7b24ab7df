"""What an ingest took in last, so that the next run can see without opening a file that nothing is new."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

from mmpipe.config import CorpusConfig, DateRule
from mmpipe.io import canonical_json, make_directory, replace_bytes
from mmpipe.sources.stems import AssetFiles
from mmpipe.steps.ground.scan import forget_in_scan, is_fresh, scan_path
from mmpipe.steps.ingest.intake import Intake
from mmpipe.store.admitted import list_admitted, list_taken_back
from mmpipe.store.layout import StoreLayout
from mmpipe.types import Drop, digest_of


def read_record(layout: StoreLayout, corpus: str) -> dict[str, Any]:
    """Return the note of the last ingest; nothing where there is none, or a damaged one."""
    try:
        record = json.loads(_record_path(layout, corpus).read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def write_record(
    layout: StoreLayout, corpus: str, source: CorpusConfig, dt: str, intake: Intake, exceptions: str
) -> None:
    """Note what was taken in, under which exceptions, by their digest."""
    fresh = any(is_fresh(file, intake.started_ns) for group in intake.groups for file in group.files)
    settings, record = intake.settings, read_record(layout, corpus)
    is_same = record.get("settings") == settings
    listings: Mapping[str, str] = record.get("listings", {}) if is_same else {}
    under: Mapping[str, str] = record.get("exceptions", {}) if is_same else {}
    # A file written while it was read may yet change without a new time stamp: look again next time.
    noted, key = "" if fresh else listing_digest(intake.groups, intake.drops), record_key(source, dt)
    after = {
        "settings": settings,
        "listings": {**listings, key: noted},
        "exceptions": {**under, key: exceptions},
    }
    if after != record:
        make_directory(layout.runs)
        replace_bytes(_record_path(layout, corpus), canonical_json(after))


def look_again(layout: StoreLayout, corpus: str, dt: str, files: Collection[str]) -> None:
    """Make the next ingest of a date look at files again, whatever their stamps say: they are not as they were."""
    forget_in_scan(scan_path(layout, corpus), files, ())
    record = read_record(layout, corpus)
    noted = record.get("listings", {})
    if voided := {key: "" for key in ("*", dt) if noted.get(key)}:
        replace_bytes(_record_path(layout, corpus), canonical_json(record | {"listings": noted | voided}))


def record_key(source: CorpusConfig, dt: str) -> str:
    """Return under which name a date's listing is noted: where first seen sticks, one run looks at all."""
    return "*" if source.dates.rule is DateRule.FIRST_SEEN else dt


def has_same_exceptions(record: Mapping[str, Any], key: str, exceptions: str) -> bool:
    """Say whether a date that was taken in was so under these exceptions."""
    return key not in record.get("listings", {}) or record.get("exceptions", {}).get(key, "") == exceptions


def exceptions_digest(layout: StoreLayout, corpus: str, source: CorpusConfig, dt: str) -> str:
    """Return the digest of what was let in on a date and what was taken back; "" where nothing ever was."""
    in_force, taken_back = sorted(list_admitted(layout, corpus)), sorted(list_taken_back(layout, corpus))
    of_date = None if source.dates.rule is DateRule.FIRST_SEEN else dt
    said = [
        part
        for word, rows in (("in force", in_force), ("taken back", taken_back))
        for partition, code, thing in rows
        if of_date in (None, partition)
        for part in (word, code, thing)
    ]
    return digest_of(*said) if said else ""


def listing_digest(groups: Iterable[AssetFiles], drops: Iterable[Drop]) -> str:
    """Return the digest of what lies in a corpus's folder."""
    files = [part for group in groups for file in group.files for part in astuple(file)]
    return digest_of(*files, "drops", *(part for drop in drops for part in (drop.file, drop.code, drop.source_id)))


def _record_path(layout: StoreLayout, corpus: str) -> Path:
    return layout.runs / f"ingest-{corpus}.json"
