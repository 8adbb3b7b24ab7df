"""The journal of a corpus: which shards of which features every batch made, why, and when; it decides nothing."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from mmpipe.io import StorePath, canonical_json, make_directory, remove_file, write_durable
from mmpipe.store.layout import StoreLayout

_KEPT = 50  # entries of a corpus, one per batch; the oldest go


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class MadeShard:
    """One shard of one feature that was made, from what, and why it was due."""

    partition: str
    shard: int
    feature: str
    inputs: str  # digest of what it was made from
    clips: int  # that were live
    reason: str  # as the plan said it


def note_made(layout: StoreLayout, corpus: str, made: Sequence[MadeShard], ended: str) -> None:
    """Enter what a batch made, under the time it ended (UTC), and keep the newest entries."""
    folder = make_directory(_folder(layout, corpus))
    rows = [asdict(shard) for shard in sorted(made)]
    write_durable(folder / f"{ended.replace(':', '')}-{uuid.uuid4().hex}.json", canonical_json(rows))
    for path in _paths(folder)[:-_KEPT]:
        remove_file(path)


def read_made(layout: StoreLayout, corpus: str) -> tuple[MadeShard, ...]:
    """Return what the kept entries tell, the oldest batch first; an entry that cannot be read is left out."""
    return tuple(shard for path in _paths(_folder(layout, corpus)) for shard in _parse(path))


def drop_journal(layout: StoreLayout, corpus: str) -> None:
    """Remove all entries: a reason may name a file that is to be forgotten."""
    for path in _paths(_folder(layout, corpus)):
        remove_file(path)


def _folder(layout: StoreLayout, corpus: str) -> StorePath:
    return layout.runs / "made" / corpus


def _paths(folder: StorePath) -> list[StorePath]:
    return sorted(folder.glob("*.json")) if folder.is_dir() else []


def _parse(path: StorePath) -> tuple[MadeShard, ...]:
    try:
        return tuple(MadeShard(**row) for row in json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return ()
