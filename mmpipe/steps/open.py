"""The reader's door: open the features of a store, aligned."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from mmpipe.batches.aligned import AlignedReader
from mmpipe.errors import ConfigError
from mmpipe.store.layout import open_store
from mmpipe.store.snapshot import load_snapshot, take_snapshot


def open_features(
    store: str | PathLike[str],
    corpus: str | None = None,
    features: Sequence[str] | None = None,
    snapshot: str | None = None,
    verify: bool = True,
) -> AlignedReader:
    """Open features of a corpus for reading: `reader.gather(rows)` returns a `Batch`, `reader.spine` the clips.

    Without `snapshot` the newest committed state is read, and stays the same for the life of the reader; with the
    digest of a kept one, exactly that. A clip without a modality has an all-False row in that feature's mask.
    Raise ConfigError for what is not there, StoreError for damaged bytes (checked once per file, if `verify`).
    """
    layout = open_store(Path(store))
    if snapshot is not None:
        pinned = load_snapshot(layout, snapshot)
        return AlignedReader(layout, pinned, tuple(features or pinned.features), verify=verify)
    known = layout.corpora()
    if corpus is None and len(known) != 1:
        raise ConfigError(f"the store {store} has the corpora {list(known)}; name one")
    name = corpus or known[0]
    if features is None:
        features = layout.feature_names(name)
    return AlignedReader(layout, take_snapshot(layout, name, tuple(features)), tuple(features), verify=verify)
