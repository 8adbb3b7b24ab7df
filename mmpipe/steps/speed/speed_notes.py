"""Keep what runs took, a note per batch of shards, and tell the newest run from them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from mmpipe.io import StorePath, make_directory, remove_file, write_durable
from mmpipe.steps.ground.wire import decode, encode
from mmpipe.steps.speed.speed import SpeedFacts, SpeedReport, join_facts, judge_speed
from mmpipe.store.layout import StoreLayout

_KEPT = 200  # notes of a corpus; the oldest go
_SAME_RUN_S = 5.0  # a batch that begins so soon after another one belongs to its run


def note_speed(layout: StoreLayout, corpus: str, facts: SpeedFacts) -> None:
    """Keep a note, and of all notes the newest."""
    folder = make_directory(_folder(layout, corpus))
    ended_ms = round(max(last for _, last in facts.spans) * 1000)
    write_durable(folder / f"{ended_ms:016d}-{uuid.uuid4().hex}.json", encode(SpeedFacts, facts))
    for path in _paths(folder)[:-_KEPT]:
        remove_file(path)


def newest_speed(layout: StoreLayout, corpus: str) -> SpeedReport | None:
    """Return the report on the newest run of a corpus; None where none was noted."""
    facts = newest_run(read_speed(layout, corpus))
    return judge_speed(join_facts(facts)) if facts else None


def read_speed(layout: StoreLayout, corpus: str) -> tuple[SpeedFacts, ...]:
    """Return the notes of a corpus, oldest first; what cannot be read is left out."""
    return tuple(facts for path in _paths(_folder(layout, corpus)) if (facts := _parse(path)))


def newest_run(notes: Sequence[SpeedFacts]) -> tuple[SpeedFacts, ...]:
    """Return the newest note with those whose batches ran beside it or right before: they shared its workers."""
    chosen: list[SpeedFacts] = []
    begins_s = float("inf")
    for facts in sorted(notes, key=lambda facts: facts.spans[-1][1], reverse=True):
        if chosen and facts.spans[-1][1] < begins_s - _SAME_RUN_S:
            break
        begins_s = min(begins_s, facts.spans[0][0])
        chosen.append(facts)
    return tuple(reversed(chosen))


def _folder(layout: StoreLayout, corpus: str) -> StorePath:
    return layout.runs / "speed" / corpus


def _paths(folder: StorePath) -> list[StorePath]:
    return sorted(folder.glob("*.json")) if folder.is_dir() else []


def _parse(path: StorePath) -> SpeedFacts | None:
    try:
        facts = decode(SpeedFacts, path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return facts if facts.spans else None
