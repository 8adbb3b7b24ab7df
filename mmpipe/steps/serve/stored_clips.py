"""Find a clip of the store by its key, with the values that a model reads: from mapped shards, of the newest heads."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl

from mmpipe.batches.aligned import AlignedReader
from mmpipe.errors import ConfigError, StoreError
from mmpipe.serve.predictor import NotFound
from mmpipe.steps.ask.ask_work import AskedClip
from mmpipe.store.layout import StoreLayout
from mmpipe.store.schema import read_schema
from mmpipe.store.snapshot import Snapshot, pinned_manifest, read_pinned_spine, take_snapshot
from mmpipe.types import FeatureSchema
from mmpipe.words import counted

_LOOK_EVERY_S = 5.0  # so long a clip may be answered after it was superseded or forgotten


@dataclass(slots=True, kw_only=True)
class _Opened:
    reader: AlignedReader
    rows: dict[str, int]  # by key
    digest: str
    looked_s: float
    left_out: str  # why some partitions are not read, "" where all are


class StoredClips:
    """The clips of some corpora; may be asked by several threads."""

    def __init__(
        self,
        layout: StoreLayout,
        corpora: Collection[str],
        schemas: Mapping[str, FeatureSchema],
        fingerprints: Mapping[str, str],
        usual: str,
    ) -> None:
        """Open nothing yet. `fingerprints` are those that the model learnt from; `usual` is the corpus of no name."""
        self._layout, self._schemas, self._fingerprints, self._usual = layout, schemas, fingerprints, usual
        self._corpora = frozenset((*corpora, usual))
        self._opened: dict[str, _Opened] = {}
        self._lock = threading.Lock()

    def find(self, key: str, corpus: str | None) -> AskedClip:
        """Return a clip with the values that there are. Raise NotFound."""
        name = corpus or self._usual
        if name not in self._corpora:
            raise NotFound(f"there is no corpus {name!r}")
        with self._lock:
            opened = self._open(name)
            row = opened.rows.get(key)
            if row is None:
                raise NotFound(f"{name!r} has no clip {key!r}{opened.left_out}")
            about = opened.reader.spine.row(row, named=True)
            found = {feature: opened.reader.value(row, feature) for feature in opened.reader.features}
            return AskedClip(
                source=about["source_id"],
                key=key,
                start_ns=about["start_ns"],
                end_ns=about["end_ns"],
                values={feature: value.array.copy() for feature, value in found.items() if value is not None},
            )

    def _open(self, corpus: str) -> _Opened:
        """Return the reader of a corpus, anew where something was committed since the last look."""
        opened, now_s = self._opened.get(corpus), time.monotonic()
        if opened and now_s - opened.looked_s < _LOOK_EVERY_S:
            return opened
        try:
            features = self._features_of(corpus)
            snapshot = take_snapshot(self._layout, corpus, features)
            if opened and opened.digest == snapshot.digest:
                opened.looked_s = now_s
                return opened
            wrong = self._wrong(corpus, snapshot)
            spine = read_pinned_spine(self._layout, snapshot).filter(~pl.col("partition").is_in(list(wrong)))
            reader = AlignedReader(self._layout, snapshot, features, spine)
        except (ConfigError, StoreError) as error:
            self._opened.pop(corpus, None)
            raise NotFound(f"the clips of {corpus!r} cannot be read now") from error
        rows = {key: row for row, key in enumerate(reader.spine["key"].to_list())}
        opened = _Opened(reader=reader, rows=rows, digest=snapshot.digest, looked_s=now_s, left_out=_told(wrong))
        self._opened[corpus] = opened
        return opened

    def _features_of(self, corpus: str) -> list[str]:
        """Return what the corpus has of the features. Raise NotFound where one has another dimension."""
        datasets = {name: self._layout.dataset(corpus, name) for name in self._schemas}
        features = [name for name, dataset in datasets.items() if dataset.partitions()]
        for name in features:
            if (dim := read_schema(datasets[name]).dim) != (wanted := self._schemas[name].dim):
                raise NotFound(f"{corpus!r} has {name} with {dim} numbers, and the model reads {wanted}")
        return features

    def _wrong(self, corpus: str, snapshot: Snapshot) -> dict[str, str]:
        """Return the partitions of which a feature was made otherwise than the model learnt it, with that feature."""
        return {
            entry.partition: name
            for name in snapshot.features
            for entry in snapshot.of(name)
            if pinned_manifest(self._layout.dataset(corpus, name), entry).fingerprint != self._fingerprints[name]
        }


def _told(wrong: Mapping[str, str]) -> str:
    if not wrong:
        return ""
    first, feature = min(wrong.items())
    left_out = f"{counted(len(wrong), 'date')} left out, first {first}"
    return (
        f" among those that can be asked about: {left_out}, where {feature} was made otherwise than the model learnt it"
    )
