"""A small real store with made-up values: for tests, benchmarks, and other teams' own checks."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from mmpipe.io import make_directory
from mmpipe.store.card import write_card
from mmpipe.store.commit import commit_partition
from mmpipe.store.layout import CLIPS, StoreLayout, create_store
from mmpipe.store.manifest import ShardEntry
from mmpipe.store.schema import freeze_schema, schema_digest
from mmpipe.store.shard import ShardSpec
from mmpipe.store.spine import IngestTotals, SpineRow, plan_spine, write_spine
from mmpipe.store.writer import open_shard_writer, put_shard
from mmpipe.types import FeatureKind, FeatureSchema, FeatureValue, Split, clip_key_of, digest_of, fraction_of

CLIP_NS = 2_000_000_000
FINGERPRINT = digest_of("sample")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFeature:
    """A feature to make up: its time steps per clip, and the share of clips that lack it."""

    schema: FeatureSchema
    min_steps: int = 1
    max_steps: int = 1
    missing: float = 0.0


def make_sample_store(
    root: Path,
    features: Sequence[SampleFeature],
    *,
    partitions: Sequence[str] = ("2026-11-20",),
    shards: int = 2,
    shard_clips: int = 4,
    corpus: str = "sample",
) -> StoreLayout:
    """Make a whole store: spine, features and cards; the same arguments give the same bytes."""
    layout = create_store(root)
    for partition in partitions:
        spine = write_sample_spine(layout, corpus, partition, shards * shard_clips, shard_clips)
        for feature in features:
            write_sample_feature(layout, corpus, partition, spine, feature)
    return layout


def write_sample_spine(layout: StoreLayout, corpus: str, partition: str, clips: int, shard_clips: int) -> pl.DataFrame:
    """Commit clips to a partition's spine, each of its own asset, and return them."""
    rows = [_spine_row(partition, number) for number in range(clips)]
    plan = plan_spine(None, rows, shard_clips=shard_clips)
    write_spine(layout.dataset(corpus, CLIPS), partition, plan, IngestTotals(files=clips, used=clips))
    return plan.frame


def write_sample_feature(
    layout: StoreLayout, corpus: str, partition: str, spine: pl.DataFrame, feature: SampleFeature
) -> None:
    """Compute, commit and describe one feature of a partition."""
    dataset = layout.dataset(corpus, feature.schema.feature)
    freeze_schema(dataset, feature.schema)
    entries: dict[int, ShardEntry] = {}
    for (number,), rows in spine.partition_by("shard", as_dict=True, maintain_order=True).items():
        spec = ShardSpec(
            corpus=corpus, partition=partition, number=int(number), schema=feature.schema, fingerprint=FINGERPRINT
        )
        with tempfile.TemporaryDirectory(dir=make_directory(layout.staging)) as staging:
            with open_shard_writer(spec, Path(staging)) as writer:
                for key, ordinal, start_ns, end_ns in rows.select("key", "ordinal", "start_ns", "end_ns").iter_rows():
                    value = sample_value(feature, key)
                    if value is not None:
                        writer.add(key, ordinal, digest_of("stream", key), start_ns, end_ns, value)
                staged = writer.close()
            absent = rows.height - staged.samples
            inputs = digest_of(*rows["key"])
            entries[spec.number] = put_shard(
                dataset, spec, staged, inputs=inputs, spine=rows.height, absent=absent, quarantined=0
            )
    commit_partition(dataset, partition, schema=schema_digest(feature.schema), fingerprint=FINGERPRINT, shards=entries)
    write_card(dataset, feature.schema, touched=(partition,))


def sample_value(feature: SampleFeature, key: str) -> FeatureValue | None:
    """Return the made-up value of a clip, or None where the clip lacks it: a function of the names alone."""
    schema = feature.schema
    if fraction_of("missing", schema.feature, key) < feature.missing:
        return None
    generator = np.random.default_rng(int(digest_of("value", schema.feature, key)[:16], 16))
    if schema.kind is FeatureKind.VECTOR:
        return FeatureValue(array=_numbers(generator, (schema.dim,), schema.dtype))
    steps = int(generator.integers(feature.min_steps, feature.max_steps + 1))
    times_ns = np.arange(steps, dtype=np.int64) * (CLIP_NS // steps)
    return FeatureValue(array=_numbers(generator, (steps, schema.dim), schema.dtype), times_ns=times_ns)


def _numbers(generator: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return numbers in [0, 1), or in [0, 200) where they are whole."""
    scale = 1 if np.dtype(dtype).kind == "f" else 200
    return (generator.random(shape, np.float32) * np.float32(scale)).astype(dtype)


def _spine_row(partition: str, number: int) -> SpineRow:
    asset_id = digest_of("sample", partition, number)
    share = fraction_of("split", asset_id)
    return SpineRow(
        key=clip_key_of(asset_id, 0, CLIP_NS),
        asset_id=asset_id,
        source_id=f"{partition}/{number:06d}",
        start_ns=0,
        end_ns=CLIP_NS,
        group=f"group-{number % 5}",
        split=Split.TRAIN if share < 0.6 else Split.VAL if share < 0.8 else Split.TEST,
        labels={"class": f"class-{number % 3}"},
        video=digest_of("stream", "video", asset_id),
    )
