"""The jobs of `crash_child.py` and one on tables: apart, because a fork of a process with polars in it costs more."""

from __future__ import annotations

from pathlib import Path

import pyarrow.dataset  # noqa: F401  pyarrow loads it late, in every fork anew
from crash_child import JOBS, PARTITION, main, make_drop

from mmpipe.store.assets import write_assets
from mmpipe.store.commit import read_head
from mmpipe.store.layout import ASSETS, CLIPS, QUARANTINE, create_store
from mmpipe.store.quarantine import EXTRACTION, INGEST, write_quarantine
from mmpipe.store.spine import IngestTotals, SpineRow, plan_spine, read_spine, write_spine
from mmpipe.types import Asset, Cue, Modality, Split, Stream, clip_key_of


def ingest(root: Path) -> None:
    """Write the spine in three shards, the assets and the quarantine; then correct labels and append."""
    layout = create_store(root)
    spine = layout.dataset("talk", CLIPS)
    for rows, files in ((_rows(5, "yes"), 7), (_rows(6, "no"), 8)):
        plan = plan_spine(read_spine(layout, "talk", [PARTITION]), rows, shard_clips=2)
        done = read_head(spine, PARTITION)
        if done is None or len(plan.frame) > done.samples or files == 8:
            write_spine(spine, PARTITION, plan, IngestTotals(files=files, used=files - 2, quarantined=2))
    write_assets(layout.dataset("talk", ASSETS), PARTITION, [_asset(number) for number in range(4)])
    quarantine = layout.dataset("talk", QUARANTINE)
    write_quarantine(
        quarantine, PARTITION, INGEST, [make_drop(1), make_drop(2)], replay=lambda drop: f"again {drop.file}"
    )
    write_quarantine(quarantine, PARTITION, EXTRACTION, [make_drop(3)], replay=lambda drop: f"again {drop.file}")


def _rows(count: int, label: str) -> list[SpineRow]:
    return [
        SpineRow(
            key=clip_key_of(f"asset {number}", 0, 1000),
            asset_id=f"asset {number}",
            source_id=f"source {number}",
            start_ns=0,
            end_ns=1000,
            group=f"speaker {number % 2}",
            split=Split.TRAIN,
            labels={"answer": label},
        )
        for number in range(count)
    ]


def _asset(number: int) -> Asset:
    stream = Stream(
        role="text",
        modality=Modality.TEXT,
        digest=f"digest {number}",
        file=f"{number}.vtt",
        file_sha256="f" * 64,
        file_nbytes=number,
        track=0,
        start_ns=0,
        duration_ns=5,
        codec="vtt",
    )
    cues = (Cue(start_ns=0, end_ns=5, text="hello"),)
    return Asset(asset_id=f"asset {number}", source_id=f"source {number}", streams=(stream,), cues=cues)


if __name__ == "__main__":
    JOBS["ingest"] = ingest
    main()
