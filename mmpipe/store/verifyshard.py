"""Check the shards of a feature beyond their bytes: against their index, their statistics and the spine."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from mmpipe.errors import StoreError
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.manifest import Manifest, ShardEntry, ShardStatistics
from mmpipe.store.reader import ShardReader
from mmpipe.store.revisions import read_head
from mmpipe.store.schema import schema_digest
from mmpipe.store.shard import array_sha256
from mmpipe.store.spine import next_shard, read_spine_manifest
from mmpipe.store.statistics import StatisticsCounter
from mmpipe.types import FeatureSchema

Fault = tuple[str, Path, str]  # code, path, detail


def verify_shards(
    dataset: DatasetLayout, spine: DatasetLayout, schema: FeatureSchema, head: Manifest, whole: Collection[str]
) -> Iterator[Fault]:
    """Yield what is wrong with the shards of a head whose objects, named in `whole`, have the right bytes."""
    where = dataset.meta(head.partition)
    if head.schema != schema_digest(schema):
        yield "schema_mismatch", where, "the head was made under another schema than schema.json"
        return
    try:
        spine_head = read_head(spine, head.partition)
        keys = spine_keys(spine, spine_head) if spine_head else {}
    except StoreError:
        return  # a finding of the spine's own
    given_up = range(next_shard(spine_head)) if spine_head else range(0)
    for shard in head.shards:
        if shard.number not in keys and shard.number in given_up:
            yield "compaction_unfinished", where, f"the spine has no clips in shard {shard.number} (yet, or any more)"
        elif shard.number not in keys or shard.spine != len(keys[shard.number]):
            clips = len(keys.get(shard.number, ()))
            yield "spine_mismatch", where, f"shard {shard.number} knows {shard.spine} clips, the spine has {clips}"
        elif all(file.sha256 in whole for file in shard.files):
            yield from _verify_shard(dataset, schema, head, shard, keys[shard.number])


def spine_keys(spine: DatasetLayout, head: Manifest) -> dict[int, dict[int, str]]:
    """Return the keys of every shard of the spine, by ordinal; what was forgotten leaves gaps."""
    frame = read_spine_manifest(spine, head)
    parts = frame.partition_by("shard", as_dict=True, maintain_order=True)
    keys = {int(number): dict(part.select("ordinal", "key").iter_rows()) for (number,), part in parts.items()}
    counts = {shard.number: shard.samples for shard in head.shards if shard.samples}
    if counts != {number: len(found) for number, found in keys.items()}:
        raise StoreError(f"the spine of {head.partition} has rows in other shards than its manifest says")
    return keys


def _verify_shard(
    dataset: DatasetLayout, schema: FeatureSchema, head: Manifest, shard: ShardEntry, keys: Mapping[int, str]
) -> Iterator[Fault]:
    try:
        reader = ShardReader.open(dataset, shard, schema, verify=False)
    except StoreError as error:
        yield "shard_damaged", dataset.meta(head.partition), str(error)
        return
    if reader is None:
        return
    said = [reader.facts.get(name) for name in ("corpus", "partition", "fingerprint")]
    if said != [head.corpus, head.partition, head.fingerprint]:
        yield "shard_misplaced", reader.where, f"it says that it belongs to {said}"
    places = [(ordinal, keys.get(ordinal, "")) for ordinal in reader.ordinals.tolist()]
    wrong = [ordinal for (ordinal, key), found in zip(places, reader.keys, strict=True) if key != found]
    if wrong:
        yield "key_mismatch", reader.where, f"{len(wrong)} keys are not the spine's, first at ordinal {wrong[0]}"
    yield from _verify_values(reader, shard)


def count_values(reader: ShardReader) -> ShardStatistics:
    """Return the statistics that a shard's values give."""
    counter = StatisticsCounter()
    for row in range(len(reader)):
        counter.add(reader.value(row).array)
    return counter.result()


def _verify_values(reader: ShardReader, shard: ShardEntry) -> Iterator[Fault]:
    for row, key in enumerate(reader.keys):
        array = reader.value(row).array
        if reader.sha256(row) not in ("", array_sha256(array)):
            yield "value_damaged", reader.where, f"the index has another sha256 for {key} than its tar"
    if (found := count_values(reader)) != shard.statistics:
        yield "statistics_mismatch", reader.where, f"the values give {found}, not {shard.statistics}"
