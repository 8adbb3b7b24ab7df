"""What must be true of a store at every moment, and at the end."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from kill_corpus import CORPUS

from mmpipe.batches.aligned import AlignedReader
from mmpipe.store.commit import read_head
from mmpipe.store.layout import CLIPS, StoreLayout
from mmpipe.store.objects import read_object
from mmpipe.store.snapshot import take_snapshot
from mmpipe.store.verify import verify_store


def require_readable(store: Path) -> int:
    """Read everything that is committed, as a reader would that came now; return how many values there were."""
    layout = StoreLayout(store)
    with_head = []
    for name in layout.dataset_names(CORPUS) if (store / CORPUS).is_dir() else ():
        dataset = layout.dataset(CORPUS, name)
        for partition in dataset.partitions():
            head = read_head(dataset, partition)
            for shard in head.shards if head else ():
                for entry in shard.files:
                    assert read_object(dataset, entry)
            if head and "@" in name:
                with_head.append(name)
    names = [path.name for role in ("data", "index") for path in store.glob(f"*/*/{role}/*/*")]
    assert [name for name in names if not re.fullmatch(r"\d{6}\.(tar|parquet)", name)] == []
    found = 0
    for feature in sorted(set(with_head)):
        reader = AlignedReader(layout, take_snapshot(layout, CORPUS, (feature,)), (feature,))
        for row in np.flatnonzero(reader.lengths(feature) > 0):
            batch = reader.gather(np.array([row]))
            assert np.isfinite(batch.features[feature].x_BTD).all()
            found += 1
    return found


def require_whole(store: Path) -> None:
    """Hold that a store is as its manifests say, and that no commit waits to be finished."""
    assert verify_store(StoreLayout(store)) == ()
    assert list((store / "_staging" / "receipts").glob("*")) == []
    assert (store / CORPUS / CLIPS).is_dir()
