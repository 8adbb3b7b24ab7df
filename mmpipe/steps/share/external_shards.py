"""Fill the shards of external features: rows of the pinned files, copied in process into shards like any others."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from mmpipe.errors import SampleError
from mmpipe.external.dataset import read_rows
from mmpipe.external.match import ClipName, name_clips, name_of
from mmpipe.external.pin import Pin
from mmpipe.external.source import ExternalSource
from mmpipe.external.values import to_value
from mmpipe.io import make_directory
from mmpipe.steps.plan.external_pins import newest_pin, schema_of
from mmpipe.steps.plan.inputs import STREAM_COLUMNS, inputs_digest
from mmpipe.steps.plan.plan import ShardDue
from mmpipe.steps.plan.shard_work import FeatureDone, ShardDone
from mmpipe.store.layout import StoreLayout
from mmpipe.store.receipt import Receipt, put_receipt, read_receipt
from mmpipe.store.schema import freeze_schema
from mmpipe.store.shard import ShardSpec
from mmpipe.store.spine import read_spine
from mmpipe.store.writer import open_shard_writer, put_shard
from mmpipe.types import Drop

CLIPS_AT_ONCE = 20_000  # whose values are held in memory while their files are read once
_Rows = Mapping[str, np.ndarray | SampleError]


def fill_external(
    layout: StoreLayout, corpus: str, shards: Sequence[ShardDue]
) -> tuple[list[ShardDone], list[ShardDue]]:
    """Make the external features of due shards durable, a receipt each; return what was made, and what is left to
    compute. TransientError: their files are not the pinned ones any more, which the ledger says from then on."""
    names = sorted({name for due in shards for name in due.features})
    pins = {name: pin for name in names if (pin := _pin_of(layout, corpus, name))}
    if not pins:
        return [], list(shards)
    filled: list[ShardDone] = []
    for name, pin in pins.items():
        freeze_schema(layout.dataset(corpus, name), schema_of(pin))
        filled += _fill_feature(layout, corpus, pin, [due for due in shards if name in due.features])
    return filled, [left for due in shards if (left := _without(due, pins)).features]


def clip_names(layout: StoreLayout, corpus: str) -> list[ClipName]:
    """Return what every clip of a corpus can be called by."""
    rows = read_spine(layout, corpus).select("key", "asset_id", "source_id", "superseded")
    return [
        ClipName(key=key, asset_id=asset_id, source_id=source_id, superseded=superseded)
        for key, asset_id, source_id, superseded in rows.iter_rows()
    ]


def _pin_of(layout: StoreLayout, corpus: str, feature: str) -> Pin | None:
    stored = newest_pin(layout, corpus, feature.rpartition("@")[0])
    return stored.pin if stored and stored.pin.feature == feature else None


def _without(due: ShardDue, pins: Mapping[str, Pin]) -> ShardDue:
    """Return a due shard without the features that are filled here."""
    kept = [(name, reason) for name, reason in zip(due.features, due.reasons, strict=True) if name not in pins]
    return replace(due, features=tuple(name for name, _ in kept), reasons=tuple(reason for _, reason in kept))


def _fill_feature(layout: StoreLayout, corpus: str, pin: Pin, shards: Sequence[ShardDue]) -> Iterator[ShardDone]:
    names = _names_of_clips(layout, corpus, pin)
    for group in _groups(_shard_rows(layout, corpus, pin, shards)):
        wanted = {names[key] for shard in group for key in shard.rows["key"] if key in names}
        found = _read(layout, pin, wanted) if wanted else {}
        for shard in group:
            yield _write(layout, corpus, pin, shard, names, found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shard:
    """A shard to fill: its clips in order."""

    partition: str
    number: int
    rows: pl.DataFrame
    inputs: str


def _shard_rows(layout: StoreLayout, corpus: str, pin: Pin, shards: Sequence[ShardDue]) -> Iterator[_Shard]:
    """Yield the shards that have no receipt yet."""
    dataset = layout.dataset(corpus, pin.feature)
    for partition in sorted({due.partition for due in shards}):
        spine = read_spine(layout, corpus, (partition,))
        for number in sorted(due.shard for due in shards if due.partition == partition):
            rows = spine.filter(pl.col("shard") == number).sort("ordinal")
            inputs = inputs_digest(rows, pin.modality)
            if rows.height and not read_receipt(dataset, partition, pin.digest, number, inputs):
                yield _Shard(partition=partition, number=number, rows=rows, inputs=inputs)


def _groups(shards: Iterator[_Shard]) -> Iterator[list[_Shard]]:
    group: list[_Shard] = []
    for shard in shards:
        if group and sum(member.rows.height for member in group) + shard.rows.height > CLIPS_AT_ONCE:
            yield group
            group = []
        group.append(shard)
    if group:
        yield group


def _names_of_clips(layout: StoreLayout, corpus: str, pin: Pin) -> dict[str, str]:
    """Return the name under which each clip finds its row."""
    named = name_clips(clip_names(layout, corpus), pin.match.by, pin.shape.kind)
    return {key: name for name, keys in named.items() for key in keys}


class _Wanted:
    """Says of one of their keys whether its row is asked for."""

    def __init__(self, pin: Pin, names: set[str]) -> None:
        self._pin, self._names = pin, names

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and name_of(key, self._pin.match) in self._names


def _read(layout: StoreLayout, pin: Pin, names: set[str]) -> dict[str, np.ndarray | SampleError]:
    """Return the rows by name; where a pattern makes two of their keys one, none of the two."""
    found: dict[str, np.ndarray | SampleError] = {}
    twice: set[str] = set()
    with tempfile.TemporaryDirectory(dir=make_directory(layout.staging), prefix="external-") as folder:
        for key, row in read_rows(ExternalSource(pin.uri), pin, _Wanted(pin, names), Path(folder)):
            name = name_of(key, pin.match)
            assert name is not None, f"{key} was not asked for"
            if name in found:
                twice.add(name)
            found[name] = row
    return {name: row for name, row in found.items() if name not in twice}


def _write(
    layout: StoreLayout, corpus: str, pin: Pin, shard: _Shard, names: Mapping[str, str], found: _Rows
) -> ShardDone:
    """Write one shard, and leave the receipt."""
    dataset = layout.dataset(corpus, pin.feature)
    spec = ShardSpec(
        corpus=corpus, partition=shard.partition, number=shard.number, schema=schema_of(pin), fingerprint=pin.digest
    )
    drops: list[Drop] = []
    with tempfile.TemporaryDirectory(dir=make_directory(layout.staging), prefix="external-") as folder:
        with open_shard_writer(spec, Path(folder)) as writer:
            for clip in shard.rows.iter_rows(named=True):
                row = found.get(names.get(clip["key"], ""))
                try:
                    if isinstance(row, SampleError):
                        raise row
                    if row is not None:
                        start_ns, end_ns = clip["start_ns"], clip["end_ns"]
                        stream = clip[STREAM_COLUMNS[pin.modality]] or clip["asset_id"]
                        value = to_value(row, pin.shape, start_ns, end_ns)
                        writer.add(clip["key"], clip["ordinal"], stream, start_ns, end_ns, value)
                except SampleError as fault:
                    drops.append(_drop(pin, clip, fault))
            staged = writer.close()
        entry = put_shard(
            dataset,
            spec,
            staged,
            inputs=shard.inputs,
            spine=shard.rows.height,
            absent=shard.rows.height - staged.samples - len(drops),
            quarantined=len(drops),
        )
    ordered = tuple(sorted(drops, key=lambda drop: drop.clip_key))
    put_receipt(dataset, shard.partition, pin.digest, Receipt(entry=entry, drops=ordered))
    return ShardDone(
        partition=shard.partition,
        shard=shard.number,
        features=(FeatureDone(feature=pin.feature, entry=entry, drops=ordered),),
        reused=0,
        computed=entry.samples,
    )


def _drop(pin: Pin, clip: Mapping[str, str], fault: SampleError) -> Drop:
    return Drop(
        stage="extract",
        code=fault.code,
        detail=f"{fault.detail}; it is theirs to mend, at {pin.uri}",
        source_id=clip["source_id"],
        asset_id=clip["asset_id"],
        clip_key=clip["key"],
        feature=pin.feature,
    )
