"""What the values of a clip look like: figures, a line, and a heat map.

Axes: T time steps, D numbers of a step.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from mmpipe.app.site import NotHereError
from mmpipe.app.values.clips import ValueCard
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.reader import ShardReader
from mmpipe.store.revisions import read_head
from mmpipe.store.schema import read_schema
from mmpipe.types import FeatureValue

_LINE_POINTS = 240
_MOST_COLUMNS, _MOST_ROWS = 400, 128  # of a heat map
# Dark blue to yellow by way of green: in order of lightness, for every colour vision.
_SHADES = np.array([(38, 34, 98), (42, 88, 140), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float64)


def describe_values(layout: StoreLayout, corpus: str, row: Mapping[str, Any]) -> tuple[ValueCard, ...]:
    """Return a card for each feature of the corpus."""
    return tuple(_card(layout, corpus, row, name) for name in layout.feature_names(corpus))


def draw_value(layout: StoreLayout, corpus: str, row: Mapping[str, Any], feature: str) -> bytes:
    """Return a PNG of a clip's value of a feature. NotHereError: it has none."""
    found = _read(layout, corpus, row, feature) if feature in layout.feature_names(corpus) else None
    if found is None:
        raise NotHereError(f"clip {row['key']} has no value of {feature!r}.")
    return heat_png(np.atleast_2d(found[0].array))


def heat_png(x_TD: np.ndarray) -> bytes:
    """Return numbers as a picture: time from left to right, numbers from bottom to top, dark is low."""
    from PIL import Image

    small_TD = _shrunk(_shrunk(x_TD.astype(np.float64), _MOST_COLUMNS).T, _MOST_ROWS).T
    finite = np.isfinite(small_TD)
    low, high = np.percentile(small_TD[finite], (1, 99)) if finite.any() else (0.0, 1.0)
    share_TD = np.clip((np.where(finite, small_TD, low) - low) / ((high - low) or 1.0), 0, 1)
    places = np.linspace(0, 1, len(_SHADES))
    colours = np.stack([np.interp(share_TD.T[::-1], places, _SHADES[:, channel]) for channel in range(3)], axis=-1)
    out = io.BytesIO()
    Image.fromarray(colours.round().astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def _card(layout: StoreLayout, corpus: str, row: Mapping[str, Any], feature: str) -> ValueCard:
    found = _read(layout, corpus, row, feature)
    if found is None:
        return ValueCard(feature=feature, why_none=_why_none(layout, corpus, row, feature))
    value, reader, revision = found
    x = value.array.astype(np.float64)
    is_sequence = x.ndim == 2 and x.shape[0] > 1
    line = np.linalg.norm(x, axis=1) if is_sequence else x.reshape(-1)
    return ValueCard(
        feature=feature,
        shape=str(list(value.array.shape)),
        dtype=str(value.array.dtype),
        low=float(x.min()),
        mean=float(x.mean()),
        high=float(x.max()),
        norm=float(np.linalg.norm(x)),
        line=tuple(round(float(number), 6) for number in _shrunk(line[:, None], _LINE_POINTS)[:, 0]),
        line_of="norm of each step over time" if is_sequence else f"its {x.size:,} numbers",
        has_picture=is_sequence,
        shard=f"revision {revision}, shard {row['shard']}",
        fingerprint=reader.fingerprint,
    )


def _read(
    layout: StoreLayout, corpus: str, row: Mapping[str, Any], feature: str
) -> tuple[FeatureValue, ShardReader, int] | None:
    """Return a clip's value with its shard and revision.

    Not hashed: a page is no proof of a store, and a shard of gigabytes would take seconds. `mmpipe verify` is.
    """
    dataset = layout.dataset(corpus, feature)
    head = read_head(dataset, row["partition"])
    entry = head.shard(row["shard"]) if head else None
    if head is None or entry is None:
        return None
    reader = ShardReader.open(dataset, entry, read_schema(dataset), verify=False)
    if reader is None or row["key"] not in reader.keys:
        return None
    return reader.value(reader.keys.index(row["key"])), reader, head.revision


def _why_none(layout: StoreLayout, corpus: str, row: Mapping[str, Any], feature: str) -> str:
    drops = read_quarantine(layout, corpus, (row["partition"],))
    said = drops.filter((pl.col("clip_key") == row["key"]) & (pl.col("feature") == feature))
    if said.is_empty():
        return "No value: its recording has no such track, or it was not made yet."
    return "In quarantine: " + "; ".join(f"{drop['code']}, {drop['detail']}" for drop in said.to_dicts())


def _shrunk(x_ND: np.ndarray, most: int) -> np.ndarray:
    """Return at most so many rows: means of equal parts."""
    if len(x_ND) <= most:
        return x_ND
    bounds = np.linspace(0, len(x_ND), most + 1).round().astype(np.int64)
    sums = np.add.reduceat(x_ND, bounds[:-1], axis=0)
    return np.asarray(sums / np.diff(bounds)[:, None])
