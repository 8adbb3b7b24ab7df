"""Find a clip of the store by its key, with the values that a model reads: from mapped shards, of the newest heads."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mmpipe.batches.aligned import AlignedReader
from mmpipe.errors import ConfigError, StoreError
from mmpipe.serve.predictor import NotFound
from mmpipe.steps.ask.ask_work import AskedClip
from mmpipe.store.layout import StoreLayout
from mmpipe.store.snapshot import take_snapshot

_LOOK_EVERY_S = 5.0  # so long a clip may be answered after it was superseded or forgotten


@dataclass(slots=True, kw_only=True)
class _Opened:
    reader: AlignedReader
    rows: dict[str, int]  # by key
    digest: str
    looked_s: float


class StoredClips:
    """The clips of some corpora; may be asked by several threads."""

    def __init__(self, layout: StoreLayout, corpora: Collection[str], features: Sequence[str], usual: str) -> None:
        """Open nothing yet. `usual` is the corpus where none is named."""
        self._layout, self._features, self._usual = layout, tuple(features), usual
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
                raise NotFound(f"{name!r} has no clip {key!r}")
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
        features = [name for name in self._features if self._layout.dataset(corpus, name).partitions()]
        try:
            snapshot = take_snapshot(self._layout, corpus, features)
            if opened and opened.digest == snapshot.digest:
                opened.looked_s = now_s
                return opened
            reader = AlignedReader(self._layout, snapshot, features)
        except (ConfigError, StoreError) as error:
            self._opened.pop(corpus, None)
            raise NotFound(f"the clips of {corpus!r} cannot be read now") from error
        rows = {key: row for row, key in enumerate(reader.spine["key"].to_list())}
        opened = _Opened(reader=reader, rows=rows, digest=snapshot.digest, looked_s=now_s)
        self._opened[corpus] = opened
        return opened
