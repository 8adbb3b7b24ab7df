"""Whole batches of aligned clips, gathered from mapped shards.

Per clip and feature the reader knows where its bytes start and how many time steps there are. All tars of a feature lie
in one stretch of addresses, so that a batch of sequences of one length is one take; of many lengths it is one memory
copy per clip. Vectors lie in one matrix in memory. Indexes are read when a clip is first asked about, tars when it is
read.
Axes: N clips of the spine, B clips of a batch, T time steps, D feature dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from mmpipe.batches.late import GatheredBatch
from mmpipe.errors import ConfigError, StoreError
from mmpipe.store.addresses import AddressRun
from mmpipe.store.layout import DatasetLayout, StoreLayout
from mmpipe.store.manifest import ShardEntry
from mmpipe.store.reader import ShardReader
from mmpipe.store.schema import read_schema, schema_digest
from mmpipe.store.snapshot import Snapshot, pinned_manifest, read_pinned_spine
from mmpipe.store.tarshard import ALIGNMENT
from mmpipe.types import Batch, FeatureKind, FeatureSchema, FeatureValue, ModalityBatch


class AlignedReader:
    """The live clips of a snapshot, in the order (partition, shard, ordinal), with the values of some features."""

    def __init__(
        self,
        layout: StoreLayout,
        snapshot: Snapshot,
        features: Sequence[str],
        spine: pl.DataFrame | None = None,
        verify: bool = True,
    ) -> None:
        """Read the spine and the manifests; shards are opened when first asked for."""
        frame = read_pinned_spine(layout, snapshot) if spine is None else spine
        self.spine = frame.filter(~pl.col("superseded")).sort("partition", "shard", "ordinal")
        self._keys_N = np.array(self.spine["key"].to_list(), object)
        self.names = {"keys": self._keys_N, "groups": np.array(self.spine["group"].to_list(), object)}
        shards, shard_N = _runs_of_shards(self.spine)
        self._shards = shards
        self._shard_N = shard_N
        self._columns = {name: self._column(layout, snapshot, name, verify) for name in features}

    def __len__(self) -> int:
        """Return the number of live clips, N."""
        return self.spine.height

    @property
    def features(self) -> tuple[str, ...]:
        """Return the features by name, as asked for."""
        return tuple(self._columns)

    def schema(self, feature: str) -> FeatureSchema:
        """Return the frozen schema of a feature."""
        return self._named(feature).schema

    def gather(self, rows: np.ndarray, labels_N: np.ndarray | None = None) -> Batch:
        """Return the clips at `rows` in that order; `labels_N` holds a class index for every clip of the spine."""
        rows_B = np.array(rows, np.int64)  # its own: names are looked up later
        features = {name: self._gather_one(column, rows_B) for name, column in self._columns.items()}
        labels_B = np.full(len(rows_B), -1, np.int64) if labels_N is None else labels_N[rows_B].astype(np.int64)
        return GatheredBatch.make(rows_B, self.names, features=features, labels_B=labels_B)

    def lengths(self, feature: str) -> np.ndarray:
        """Return T of every clip of the spine, int64 [N]; 0 where the modality is missing. Opens every shard."""
        column = self._named(feature)
        for number in range(len(self._shards)):
            self._open(column, number)
        return column.lengths_N.copy()

    def times(self, row: int, feature: str) -> np.ndarray:
        """Return the int64 times [T] of a clip's value on its asset's clock; [0] where it is missing."""
        column = self._named(feature)
        number = int(self._shard_N[row])
        self._open(column, number)
        reader = column.readers[number]
        if reader is None or not column.lengths_N[row]:
            return np.empty(0, np.int64)
        return reader.times(int(column.places_N[row]))

    def value(self, row: int, feature: str) -> FeatureValue | None:
        """Return one clip's value, or None where it is missing: a read-only view of the mapped file, or of memory."""
        column = self._named(feature)
        number = int(self._shard_N[row])
        if number not in column.mapped:
            self._map(column, number)
        if not column.lengths_N[row]:
            return None
        if column.matrix_ND is not None:
            vector_D = column.matrix_ND[row]
            vector_D.flags.writeable = False
            return FeatureValue(array=vector_D)
        reader = column.readers[number]
        assert reader is not None
        return reader.value(int(column.places_N[row]))

    def _gather_one(self, column: _Column, rows_B: np.ndarray) -> ModalityBatch:
        if column.alike is not None:
            x_BTD = _taken(column, column.alike, column.starts_N[rows_B])
            return ModalityBatch(x_BTD=x_BTD, mask_BT=np.ones(x_BTD.shape[:2], np.bool_))
        if len(column.mapped) < len(self._shards):
            for number in np.unique(self._shard_N[rows_B]).tolist():
                self._map(column, number)
        lengths_B = column.lengths_N[rows_B]
        if column.matrix_ND is not None:
            x_BD = np.take(column.matrix_ND, rows_B, axis=0)
            return ModalityBatch(x_BTD=x_BD[:, None, :], mask_BT=lengths_B[:, None] > 0)
        num_steps = int(lengths_B.max(initial=1))
        missing_B = lengths_B == 0
        if column.run is not None and (missing_B | (lengths_B == num_steps)).all():
            return _take_rows(column, column.starts_N[rows_B], num_steps, missing_B)
        x_BTD = np.zeros((len(rows_B), num_steps, column.schema.dim), column.dtype)
        _copy_rows(
            x_BTD,
            column.memories,
            self._shard_N[rows_B].tolist(),
            column.starts_N[rows_B].tolist(),
            (lengths_B * column.step_bytes).tolist(),
        )
        mask_BT = np.arange(num_steps) < lengths_B[:, None]
        return ModalityBatch(x_BTD=x_BTD, mask_BT=mask_BT)

    def _open(self, column: _Column, number: int) -> None:
        """Open one shard of a feature and note where the bytes of its live clips are."""
        if number in column.readers:
            return
        shard = self._shards[number]
        entry = column.entries.get((shard.partition, shard.number))
        reader = entry and ShardReader.open(column.dataset, entry, column.schema, column.verify)
        if reader and column.run:
            reader.place_in(column.run, number)
        if reader:
            self._place(column, number, reader)
        column.readers[number] = reader or None

    def _map(self, column: _Column, number: int) -> None:
        """Bring the bytes of one shard within reach, verified."""
        if number in column.mapped:
            return
        self._open(column, number)
        reader = column.readers[number]
        if reader and column.matrix_ND is None:
            memory = reader.numbers().view(np.uint8).data
            column.memories[number] = column.run.memory if column.run else memory
        column.mapped.add(number)
        if len(column.mapped) == len(self._shards) and column.run is not None:
            column.alike = _alike(column, column.run)

    def _place(self, column: _Column, number: int, reader: ShardReader) -> None:
        shard = self._shards[number]
        clips = slice(shard.first, shard.end)
        places = np.searchsorted(reader.ordinals, shard.ordinals)
        found = places < len(reader)
        found[found] = reader.ordinals[places[found]] == shard.ordinals[found]
        if self._keys_N[clips][found].tolist() != [reader.keys[place] for place in places[found].tolist()]:
            raise StoreError(
                f"{reader.where} and the spine of {shard.partition} name other clips at the same ordinals of shard "
                f"{shard.number}. Run `mmpipe verify`."
            )
        column.starts_N[clips][found] = reader.offsets[places[found]] + (column.run.starts[number] if column.run else 0)
        column.places_N[clips][found] = places[found]
        column.lengths_N[clips][found] = reader.lengths_T[places[found]]
        if column.matrix_ND is not None:
            vectors_RD = reader.numbers().reshape(len(reader), -1)
            column.matrix_ND[clips][found] = vectors_RD[places[found]]
            reader.drop_vectors()

    def _column(self, layout: StoreLayout, snapshot: Snapshot, feature: str, verify: bool) -> _Column:
        entries = snapshot.of(feature)
        if not entries:
            raise ConfigError(f"the snapshot {snapshot.digest} has no {feature!r}; it has {list(snapshot.features)}")
        dataset = layout.dataset(snapshot.corpus, feature)
        schema = read_schema(dataset)
        shards: dict[tuple[str, int], ShardEntry] = {}
        for entry in entries:
            manifest = pinned_manifest(dataset, entry)
            if manifest.schema != schema_digest(schema):
                raise StoreError(
                    f"{dataset.root}: schema.json is not the one of {entry.partition}. Run `mmpipe verify`."
                )
            shards.update({(entry.partition, shard.number): shard for shard in manifest.shards})
        vectors = schema.kind is FeatureKind.VECTOR
        return _Column(
            dataset=dataset,
            schema=schema,
            entries=shards,
            verify=verify,
            dtype=np.dtype(schema.dtype),
            step_bytes=schema.dim * np.dtype(schema.dtype).itemsize,
            starts_N=np.zeros(len(self), np.int64),
            places_N=np.zeros(len(self), np.int64),
            lengths_N=np.zeros(len(self), np.int64),
            matrix_ND=np.zeros((len(self), schema.dim), schema.dtype) if vectors else None,
            run=None if vectors else AddressRun.reserve([_tar_bytes(shards, shard) for shard in self._shards]),
            memories=[memoryview(b"")] * len(self._shards),
            readers={},
            mapped=set(),
            alike=None,
        )

    def _named(self, feature: str) -> _Column:
        try:
            return self._columns[feature]
        except KeyError:
            raise ConfigError(f"no feature {feature!r} in this reader; it has {list(self._columns)}") from None


@dataclass(slots=True, kw_only=True)
class _Column:
    """One feature over the whole spine; filled shard by shard as they are opened."""

    dataset: DatasetLayout
    schema: FeatureSchema
    entries: dict[tuple[str, int], ShardEntry]
    verify: bool
    dtype: np.dtype[Any]
    step_bytes: int  # of one time step
    starts_N: np.ndarray  # the byte where a clip's numbers start in its shard's file, or in the run of all of them
    places_N: np.ndarray  # a clip's row in its shard
    lengths_N: np.ndarray  # T; 0 where the modality is missing
    matrix_ND: np.ndarray | None  # vectors; zeros where the modality is missing or its shard is not open yet
    run: AddressRun | None  # of all tars; None where each is mapped by itself
    memories: list[memoryview]  # bytes, by position of the shard; with a run, all of it
    readers: dict[int, ShardReader | None]
    mapped: set[int]
    alike: np.ndarray | None  # windows of T * D numbers' bytes, where every clip is mapped and has one length


@dataclass(frozen=True, slots=True, kw_only=True)
class _SpineShard:
    """A run of live clips of the spine, rows `first` to `end`."""

    partition: str
    number: int
    first: int
    end: int
    ordinals: np.ndarray


def _tar_bytes(entries: dict[tuple[str, int], ShardEntry], shard: _SpineShard) -> int:
    entry = entries.get((shard.partition, shard.number))
    data = entry and entry.file("data")
    return data.nbytes if data else 0


def _alike(column: _Column, run: AddressRun) -> np.ndarray | None:
    steps = int(column.lengths_N[0]) if len(column.lengths_N) else 0
    if not steps or (column.lengths_N != steps).any():
        return None
    return run.windows(steps * column.step_bytes, ALIGNMENT)


def _taken(column: _Column, windows: np.ndarray, starts_B: np.ndarray) -> np.ndarray:
    """Return the numbers, [B, T, D], of the windows that begin at these bytes."""
    num_steps = windows.itemsize // column.step_bytes
    return windows[starts_B // ALIGNMENT].view(column.dtype).reshape(len(starts_B), num_steps, column.schema.dim)


def _take_rows(column: _Column, starts_B: np.ndarray, num_steps: int, missing_B: np.ndarray) -> ModalityBatch:
    """Return rows of one length with one take; a missing one is taken from anywhere, and set to zeros."""
    assert column.run is not None
    x_BTD = _taken(column, column.run.windows(num_steps * column.step_bytes, ALIGNMENT), starts_B)
    mask_BT = np.ones((len(starts_B), num_steps), np.bool_)
    if missing_B.any():
        x_BTD[missing_B], mask_BT[missing_B] = 0, False
    return ModalityBatch(x_BTD=x_BTD, mask_BT=mask_BT)


def _copy_rows(
    x_BTD: np.ndarray, memories: list[memoryview], shards: list[int], starts: list[int], counts: list[int]
) -> None:
    """Copy every row's bytes to the front of its place.

    A slice of a memoryview costs half of an array's, and at 10 KB a row this loop runs as fast as one take from RAM.
    """
    target = x_BTD.reshape(-1).view(np.uint8).data
    width = x_BTD.shape[1] * x_BTD.shape[2] * x_BTD.itemsize
    place = 0
    for shard, start, count in zip(shards, starts, counts, strict=True):
        target[place : place + count] = memories[shard][start : start + count]
        place += width


def _runs_of_shards(spine: pl.DataFrame) -> tuple[tuple[_SpineShard, ...], np.ndarray]:
    """Return the spine's shards in order, and for every row the position of its shard."""
    runs = spine.group_by("partition", "shard", maintain_order=True).len()
    ends = np.cumsum(runs["len"].to_numpy()).astype(np.int64)
    ordinals_N = spine["ordinal"].to_numpy().astype(np.int64)
    shards = tuple(
        _SpineShard(
            partition=partition, number=number, first=end - count, end=end, ordinals=ordinals_N[end - count : end]
        )
        for (partition, number, count), end in zip(runs.iter_rows(), ends.tolist(), strict=True)
    )
    return shards, np.repeat(np.arange(len(shards), dtype=np.int64), runs["len"].to_numpy())
