"""Read one committed shard at memory speed: a mapped tar with its index, or a Parquet file of vectors.

Both kinds look the same from outside: `numbers()` is one flat array of the schema's dtype, and row `r` is the
`lengths_T[r] * dim` numbers from `starts[r]`. What a manifest names is checked against its sha256 once per process
and file.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmpipe.errors import StoreError
from mmpipe.io import local_file
from mmpipe.store.addresses import AddressRun
from mmpipe.store.decoded import find_decoded, keep_decoded
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.manifest import FileEntry, ShardEntry
from mmpipe.store.parquet import parse_parquet
from mmpipe.store.schema import schema_digest
from mmpipe.store.shard import RawValue
from mmpipe.store.tarshard import ALIGNMENT, INDEX_SCHEMA
from mmpipe.store.vectorshard import vector_schema
from mmpipe.types import FeatureKind, FeatureSchema, FeatureValue

_verified: set[tuple[str, int, int, int]] = set()


class ShardReader:
    """The rows of one shard, by position; get one from `ShardReader.open`."""

    def __init__(
        self, *, schema: FeatureSchema, table: pa.Table, facts: dict[str, Any], tar: _MappedFile | None, where: Path
    ) -> None:
        """Take a parsed index (with its tar) or a parsed table of vectors, and what the file says of itself."""
        self.schema = schema
        self.dtype = np.dtype(schema.dtype)
        self.facts = facts
        self.fingerprint = str(facts.get("fingerprint"))
        self.where = where
        self.keys: tuple[str, ...] = tuple(table["key"].to_pylist())
        self.ordinals = _int64(table, "ordinal")
        self.starts_ns = _int64(table, "start_ns")
        self.ends_ns = _int64(table, "end_ns")
        self._table = table
        self._tar = tar
        if tar is None:
            self.lengths_T = np.ones(len(self), np.int64)
            self.offsets = np.arange(len(self), dtype=np.int64) * schema.dim * self.dtype.itemsize
        else:
            self.lengths_T = _lengths(table, schema, where)
            self.offsets = _int64(table, "offset")
        self.starts = self.offsets // self.dtype.itemsize
        self._check()

    @classmethod
    def open(
        cls, dataset: DatasetLayout, shard: ShardEntry, schema: FeatureSchema, verify: bool = True
    ) -> ShardReader | None:
        """Open a shard that a manifest names; None where it has no values. Raise StoreError on damage."""
        data = shard.file("data")
        if data is None:
            return None
        entry = shard.file("index") if schema.kind is FeatureKind.SEQUENCE else data
        if entry is None:
            raise StoreError(f"shard {shard.number} of {dataset.root} has no index. Run `mmpipe verify`.")
        path = dataset.object(entry.sha256)
        columns = INDEX_SCHEMA if schema.kind is FeatureKind.SEQUENCE else vector_schema(schema.dim, schema.dtype)
        vectors = None
        if schema.kind is FeatureKind.VECTOR:
            vectors = find_decoded(entry.sha256, np.dtype(schema.dtype), shard.samples * schema.dim, verify)
        wanted = None if vectors is None else [name for name in columns.names if name != "value"]
        table, facts = parse_parquet(_read_object(path, entry, verify), columns, path, wanted)
        _check_facts(facts, schema, shard.number, path)
        tar = None
        if schema.kind is FeatureKind.SEQUENCE:
            if facts.get("tar_sha256") != data.sha256:
                raise StoreError(f"{path} is the index of another tar than {data.sha256}. Run `mmpipe verify`.")
            tar = _MappedFile(dataset.object(data.sha256), data, verify)
        if table.num_rows != shard.samples:
            raise StoreError(
                f"{path} has {table.num_rows} rows, its manifest says {shard.samples}. Run `mmpipe verify`."
            )
        reader = cls(schema=schema, table=table, facts=facts, tar=tar, where=path)
        if vectors is not None:
            reader.__dict__["_numbers"] = vectors
        elif tar is None:
            keep_decoded(entry.sha256, reader.numbers())
        return reader

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.keys)

    @cached_property
    def streams(self) -> tuple[str, ...]:
        """Return for every row the digest of the stream that it came from."""
        return tuple(self._table["stream"].to_pylist())

    def place_in(self, run: AddressRun, number: int) -> None:
        """Map the tar at its place in a stretch of addresses, not just anywhere; before its first numbers are read."""
        if self._tar is not None:
            self._tar.place = (run, number)

    def numbers(self) -> np.ndarray:
        """Return all numbers of the shard's file as one flat read-only array, mapped and verified."""
        return self._numbers

    def drop_vectors(self) -> None:
        """Let go of the numbers of a vector shard, where the caller has copied them."""
        if self._tar is None:
            self.__dict__.pop("_numbers", None)
            self._table = self._table.drop_columns([name for name in self._table.column_names if name == "value"])

    def value(self, row: int) -> FeatureValue:
        """Return a row's value: read-only views of the mapped file."""
        start, length = int(self.starts[row]), int(self.lengths_T[row])
        flat = self._numbers[start : start + length * self.schema.dim]
        if self.schema.kind is FeatureKind.VECTOR:
            return FeatureValue(array=flat)
        return FeatureValue(array=flat.reshape(length, self.schema.dim), times_ns=self.times(row))

    def times(self, row: int) -> np.ndarray:
        """Return a row's int64 times [T]; a vector's one time is its clip's start."""
        if self.schema.kind is FeatureKind.VECTOR:
            return self.starts_ns[row : row + 1]
        ends = self._times_ends
        return self._times_ns[ends[row] : ends[row + 1]]

    def sha256(self, row: int) -> str:
        """Return the digest that the index keeps of a row's numbers; "" for vectors."""
        return "" if self._tar is None else self._table["sha256"][row].as_py()

    def raw(self, row: int) -> RawValue:
        """Return a row for another shard to reuse."""
        return RawValue(value=self.value(row), fingerprint=self.fingerprint, sha256=self.sha256(row))

    @cached_property
    def _numbers(self) -> np.ndarray:
        if self._tar is None:
            return _flat(self._table["value"], self.dtype)
        return self._tar.map(self.dtype)

    @cached_property
    def _times_ns(self) -> np.ndarray:
        return _flat(self._table["times_ns"], np.int64)

    @cached_property
    def _times_ends(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.lengths_T)])

    def _check(self) -> None:
        """Refuse an index that points outside its file, also where nothing is verified."""
        if len(set(self.keys)) != len(self) or (np.diff(self.ordinals) <= 0).any():
            raise StoreError(f"{self.where}: keys repeat or ordinals do not rise. Run `mmpipe verify`.")
        if self._tar is None:
            return
        ends = self.offsets + self.lengths_T * self.schema.dim * self.dtype.itemsize
        inside = (self.offsets >= 0) & (self.offsets % ALIGNMENT == 0) & (ends <= self._tar.entry.nbytes)
        if not inside.all() or len(self._times_ns) != self._times_ends[-1]:
            raise StoreError(f"{self.where}: offsets or times do not fit its tar. Run `mmpipe verify`.")


class _MappedFile:
    """A committed file, mapped when first needed."""

    def __init__(self, path: Path, entry: FileEntry, verify: bool) -> None:
        self.path = path
        self.entry = entry
        self.place: tuple[AddressRun, int] | None = None
        self._verify = verify

    def map(self, dtype: np.dtype[Any]) -> np.ndarray:
        """Return the file as flat numbers; hashing the mapping itself also brings its pages in."""
        try:
            with open(local_file(self.path), "rb") as file:
                identity = _identity(file.fileno(), self.entry, self.path)
                mapped = self._mapped(file.fileno())
        except FileNotFoundError as error:
            raise StoreError(f"{self.path} is missing. Run `mmpipe verify`.") from error
        if self._verify:
            _verify(mapped, identity, self.path)
        return np.frombuffer(mapped, dtype, count=len(mapped) // dtype.itemsize)

    def _mapped(self, descriptor: int) -> memoryview:
        if self.place is None:
            return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
        run, number = self.place
        return run.map(number, descriptor, self.entry.nbytes)


def _read_object(path: Path, entry: FileEntry, verify: bool) -> bytes:
    """Return a committed file's bytes."""
    try:
        with open(local_file(path), "rb") as file:
            identity = _identity(file.fileno(), entry, path)
            data = file.read()
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing. Run `mmpipe verify`.") from error
    if verify:
        _verify(memoryview(data), identity, path)
    return data


def _identity(descriptor: int, entry: FileEntry, path: Path) -> tuple[str, int, int, int]:
    """Return what says that an open file is still the one that was verified; its size must be the manifest's."""
    status = os.fstat(descriptor)
    if status.st_size != entry.nbytes:
        raise StoreError(f"{path} has {status.st_size} bytes, its manifest says {entry.nbytes}. Run `mmpipe verify`.")
    return entry.sha256, status.st_dev, status.st_ino, status.st_mtime_ns


def _verify(data: memoryview, identity: tuple[str, int, int, int], path: Path) -> None:
    if identity in _verified:
        return
    found = hashlib.sha256(data).hexdigest()
    if found != identity[0]:
        raise StoreError(f"{path} is damaged: its sha256 is {found}, not {identity[0]}. Run `mmpipe verify`.")
    _verified.add(identity)


def _check_facts(facts: dict[str, Any], schema: FeatureSchema, number: int, path: Path) -> None:
    if facts.get("schema_digest") != schema_digest(schema) or facts.get("shard") != number:
        raise StoreError(
            f"{path} says it is shard {facts.get('shard')} of {facts.get('schema', {}).get('feature')!r}, "
            f"the manifest that names it is of shard {number} of {schema.feature!r}. Run `mmpipe verify`."
        )


def _lengths(table: pa.Table, schema: FeatureSchema, where: Path) -> np.ndarray:
    """Return T of every row; every shape must be [T, dim] of the schema's dtype."""
    dim, itemsize = schema.dim, np.dtype(schema.dtype).itemsize
    shapes = _flat(table["shape"], np.int32)
    if shapes.size != 2 * table.num_rows or (shapes[1::2] != dim).any() or (shapes[::2] < 1).any():
        raise StoreError(f"{where}: not every shape is [T, {dim}] with T >= 1. Run `mmpipe verify`.")
    lengths_T = shapes[::2].astype(np.int64)
    if (lengths_T * dim * itemsize != _int64(table, "nbytes")).any() or set(table["dtype"].to_pylist()) - {
        schema.dtype
    }:
        raise StoreError(f"{where}: shapes, bytes and dtypes disagree. Run `mmpipe verify`.")
    return lengths_T


def _flat(column: pa.ChunkedArray, dtype: Any) -> np.ndarray:
    """Return the numbers of a list column, one row after the other."""
    chunks = [np.asarray(chunk.flatten(), dtype) for chunk in column.chunks]
    return chunks[0] if len(chunks) == 1 else np.concatenate([np.empty(0, dtype), *chunks])


def _int64(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy()
