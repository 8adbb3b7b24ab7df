"""How fast features were made: a note per batch of shards, so that a plan can say how long it takes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mmpipe.io import StorePath, canonical_json, make_directory, remove_file, write_durable
from mmpipe.store.layout import StoreLayout

_KEPT = 50  # notes of a corpus; the oldest go


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputNote:
    """What one batch of shards took."""

    features: Sequence[str]  # that were made, all in one pass
    computed: int  # values
    reused: int
    seconds: float
    workers: int
    ended: str  # UTC


def note_throughput(layout: StoreLayout, corpus: str, note: ThroughputNote) -> None:
    """Keep a note, and of all notes the newest."""
    folder = make_directory(_folder(layout, corpus))
    write_durable(folder / f"{note.ended.replace(':', '')}-{uuid.uuid4().hex}.json", canonical_json(asdict(note)))
    for path in _paths(folder)[:-_KEPT]:
        remove_file(path)


def read_throughput(layout: StoreLayout, corpus: str) -> tuple[ThroughputNote, ...]:
    """Return the notes of a corpus, oldest first; what cannot be read is left out."""
    return tuple(note for path in _paths(_folder(layout, corpus)) if (note := _parse(path)))


def values_per_second(notes: Iterable[ThroughputNote], features: Iterable[str]) -> Mapping[str, float]:
    """Return for features the values that were computed in a second, as far as it was measured.

    Features that were made in one pass share its time in equal parts.
    """
    notes = tuple(notes)
    rates = {}
    for feature in features:
        ran = [note for note in notes if feature in note.features and note.computed and note.seconds > 0]
        if ran:
            values = sum(note.computed / len(note.features) for note in ran)
            rates[feature] = values / sum(note.seconds / len(note.features) for note in ran)
    return rates


def _folder(layout: StoreLayout, corpus: str) -> StorePath:
    return layout.runs / "throughput" / corpus


def _paths(folder: StorePath) -> list[StorePath]:
    return sorted(folder.glob("*.json")) if folder.is_dir() else []


def _parse(path: StorePath) -> ThroughputNote | None:
    try:
        table: dict[str, Any] = json.loads(path.read_bytes())
        return ThroughputNote(**{**table, "features": tuple(table["features"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
