"""Look into a feature: what it promises, and the values of a few clips."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.steps.plan.deprecate import require_feature
from mmpipe.store.croissant import column_meanings
from mmpipe.store.deprecation import read_deprecation
from mmpipe.store.layout import open_store
from mmpipe.store.revisions import read_head
from mmpipe.store.rights import read_noted
from mmpipe.store.schema import read_schema, schema_digest, schema_to_json
from mmpipe.store.snapshot import take_snapshot


def describe_feature(config: Config, corpus: str, feature: str) -> dict[str, Any]:
    """Return a feature's frozen schema, columns and rights, and how far it reaches."""
    dataset = require_feature(open_store(config.store), corpus, feature, newest=True)
    schema = read_schema(dataset)
    partitions = dataset.partitions()
    head = read_head(dataset, partitions[-1]) if partitions else None
    notice, noted = read_deprecation(dataset), read_noted(dataset)
    return {
        **schema_to_json(schema),
        "schema_digest": schema_digest(schema),
        "fingerprint": head.fingerprint if head else "",
        "partitions": len(partitions),
        "newest": partitions[-1] if partitions else "",
        "folder": str(dataset.root),
        **asdict(noted.rights),
        "clips_of_the_corpus": noted.clips.sentence() if noted.clips else "",
        "deprecated": notice.sentence(dataset.name) if notice else "",
        "columns": [
            {"column": name, "type": kind, "meaning": meaning} for name, kind, meaning in column_meanings(schema)
        ],
    }


def full_name(config: Config, corpus: str, feature: str) -> str:
    """Return a feature's name with its version: that which was asked for, else the newest."""
    return require_feature(open_store(config.store), corpus, feature, newest=True).name


def sample_feature(
    config: Config, corpus: str, feature: str, count: int, partition: str | None
) -> list[dict[str, Any]]:
    """Return clips of one partition, by default the newest with any, evenly spread, with figures of their values."""
    layout = open_store(config.store)
    dataset = require_feature(layout, corpus, feature, newest=True)
    feature = dataset.name
    chosen = (partition,) if partition else tuple(reversed(dataset.partitions()))
    for one in chosen:
        head = read_head(dataset, one)
        if head is not None and head.samples:
            reader = AlignedReader(layout, take_snapshot(layout, corpus, (feature,), (one,)), (feature,))
            present = np.flatnonzero(reader.lengths(feature))
            places = np.linspace(0, len(present) - 1, min(count, len(present))).round().astype(np.int64)
            return [_row(reader, int(row), feature) for row in present[places]]
    raise ConfigError(f"{feature} of {corpus!r} has no value in {partition or 'any partition'}")


def _row(reader: AlignedReader, row: int, feature: str) -> dict[str, Any]:
    """Return one clip's facts and the figures of its value."""
    values = reader.gather(np.array([row])).features[feature]
    x_TD = values.x_BTD[0, values.mask_BT[0]].astype(np.float64)
    clip = reader.spine.row(row, named=True)
    return {
        "key": clip["key"],
        "source": clip["source_id"],
        "split": clip["split"],
        "labels": " ".join(f"{name}={label}" for name, label in json.loads(clip["labels"]).items()),
        "text": clip["text"],
        "steps": x_TD.shape[0],
        "dim": x_TD.shape[1],
        "min": float(x_TD.min()),
        "mean": float(x_TD.mean()),
        "max": float(x_TD.max()),
        "norm": float(np.linalg.norm(x_TD)),
    }
