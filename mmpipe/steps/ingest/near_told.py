"""What became of near twins, as rows for a person: every file of one that is dropped, and who shares a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl

from mmpipe.steps.ingest.acceptance import Acceptance
from mmpipe.store.prints import STREAM_PRINTS
from mmpipe.types import Drop, Modality

STAGE = "dedup"
NEAR = "near_duplicate"
SHARED = "shared_stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class NearTwins:
    """What is dropped of a corpus as near twins, by asset id; nothing where none are looked for."""

    rows: pl.DataFrame = field(default_factory=STREAM_PRINTS.frame)  # of every asset of this run
    details: Mapping[str, tuple[str, float]] = field(default_factory=dict)  # whose twin it is, and how far apart
    notes: Mapping[str, str] = field(default_factory=dict)  # what an asset that is kept shares with another
    groups: Mapping[str, str] = field(default_factory=dict)  # of the assets with notes

    def drops_of(self, entry: Acceptance) -> Iterator[Drop]:
        """Yield a row for every file of a dropped asset."""
        assert entry.asset is not None, f"{entry.source_id} has no asset that is a twin"
        digests = {stream.file: stream.file_sha256 for stream in entry.asset.streams}
        media = {stream.file for stream in entry.asset.streams if stream.modality is not Modality.TEXT} - {""}
        twin, distance = self.details[entry.asset.asset_id]
        told = f"a near twin of {twin}: {distance:.3f} apart; `mmpipe quarantine release` lets it in"
        beside = told
        if media:
            beside = f"goes with {min(media)!r}, a near twin of {twin}; `mmpipe quarantine release` lets both in"
        for file in sorted(set(entry.files) - entry.dropped_files):
            yield Drop(
                stage=STAGE,
                code=NEAR,
                detail=told if file in media else beside,
                file=file,
                file_sha256=digests.get(file, ""),
                source_id=entry.source_id,
                asset_id=entry.asset.asset_id,
            )

    def notes_of(self, entries: Iterable[Acceptance]) -> Iterator[Drop]:
        """Yield a note for every asset that shares a stream with another."""
        for entry in entries:
            if entry.asset and entry.asset.asset_id in self.notes:
                yield Drop(
                    stage=STAGE,
                    code=SHARED,
                    detail=self.notes[entry.asset.asset_id],
                    source_id=entry.source_id,
                    asset_id=entry.asset.asset_id,
                    kept=True,
                )


NO_TWINS = NearTwins()
