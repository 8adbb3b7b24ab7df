"""Show clips of a feature one by one: the value, what is known of the clip, and what there is to see and hear."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.io import make_directory, replace_bytes
from mmpipe.report.cards import SamplePage, SampleShown, render_sample
from mmpipe.report.heat import heat_png
from mmpipe.report.values import Fact
from mmpipe.steps.plan.deprecate import require_feature
from mmpipe.steps.shown.pictures import ClipShown, show_clips
from mmpipe.steps.shown.values import choose_evenly
from mmpipe.steps.workers.shower import Showing
from mmpipe.store.layout import StoreLayout, open_store
from mmpipe.store.revisions import read_head
from mmpipe.store.schema import read_schema
from mmpipe.store.snapshot import take_snapshot
from mmpipe.store.spine import read_spine

MOST_SHOWN = 200  # clips of a page
_NO_MEDIA = "Nothing to play: it is text or numbers, or the raw file is not there or cannot be decoded."


def write_sample_page(config: Config, corpus: str, feature: str, count: int, partition: str | None, path: Path) -> None:
    """Write a page of clips that can be played, wherever the caller wants it; `mmpipe forget` does not know of it."""
    page = render_sample(sample_page(config, corpus, feature, count, partition))
    make_directory(path.resolve().parent)
    replace_bytes(path, page.encode())


def sample_page(config: Config, corpus: str, feature: str, count: int, partition: str | None = None) -> SamplePage:
    """Return clips of one date, by default the newest with any, evenly spread, with what can be played of them."""
    layout = open_store(config.store)
    name = require_feature(layout, corpus, feature, newest=True).name
    schema = read_schema(layout.dataset(corpus, name))
    date, clips = clips_with_values(layout, corpus, name, count, partition)
    media = show_clips(config, layout, corpus, clips, Showing.CUT)
    samples = tuple(show_samples(layout, corpus, name, clips, media))
    return SamplePage(
        title=f"{name} of {corpus}",
        subtitle=f"{len(samples)} clips of {date}, evenly spread",
        facts=(
            Fact(label="modality", value=str(schema.modality)),
            Fact(label="a value is", value=f"{schema.kind}, {schema.dim} wide, {schema.dtype}"),
            Fact(label="to play", value=f"{len(media)} of {len(samples)}"),
        ),
        samples=samples,
    )


def clips_with_values(
    layout: StoreLayout, corpus: str, feature: str, count: int, partition: str | None = None
) -> tuple[str, pl.DataFrame]:
    """Return a date and rows of its spine that have a value: of one date, or the newest with any."""
    dataset = layout.dataset(corpus, feature)
    for date in (partition,) if partition else reversed(dataset.partitions()):
        head = read_head(dataset, date) if date in dataset.partitions() else None
        if head is None or not head.samples:
            continue
        snapshot = take_snapshot(layout, corpus, (feature,), (date,))
        live = read_spine(layout, corpus, (date,)).filter(~pl.col("superseded"))
        reader = AlignedReader(layout, snapshot, (feature,), spine=live)
        return date, choose_evenly(reader.spine.filter(pl.Series(reader.lengths(feature) > 0)), count)
    raise ConfigError(f"{feature} of {corpus!r} has no value in {partition or 'any partition'}")


def show_samples(
    layout: StoreLayout, corpus: str, feature: str, clips: pl.DataFrame, media: Mapping[str, ClipShown]
) -> Iterator[SampleShown]:
    """Yield rows of the spine with their values."""
    snapshot = take_snapshot(layout, corpus, (feature,), sorted(set(clips["partition"])))
    reader = AlignedReader(layout, snapshot, (feature,), spine=clips)
    for row, clip in enumerate(reader.spine.iter_rows(named=True)):
        value, seen = reader.value(row, feature), media.get(clip["key"])
        yield SampleShown(
            key=clip["key"],
            caption=clip["source_id"],
            text=clip["text"],
            facts=tuple(_facts(clip, None if value is None else value.array)),
            heat=b"" if value is None else heat_png(value.array),
            shape="" if value is None else _shape(value.array),
            kind=seen.kind if seen else "",
            media=seen.data if seen else b"",
            note="" if seen else _NO_MEDIA,
        )


def _facts(clip: Mapping[str, object], array: np.ndarray | None) -> Iterator[Fact]:
    yield Fact(label="key", value=str(clip["key"]))
    start_ns, end_ns = int(str(clip["start_ns"])), int(str(clip["end_ns"]))
    yield Fact(label="time", value=f"{start_ns / 1e9:.2f} to {end_ns / 1e9:.2f} s")
    yield Fact(label="split", value=str(clip["split"]))
    for name, label in sorted(json.loads(str(clip["labels"])).items()):
        yield Fact(label=name, value=str(label))
    if array is not None and array.size:
        x = array.astype(np.float64)
        yield Fact(label="shape", value=_shape(array))
        yield Fact(label="values", value=f"{x.min():.4g} to {x.max():.4g}, mean {x.mean():.4g}, spread {x.std():.4g}")
        yield Fact(label="norm", value=f"{np.linalg.norm(x):.4g}")


def _shape(array: np.ndarray) -> str:
    return " x ".join(map(str, array.shape))
