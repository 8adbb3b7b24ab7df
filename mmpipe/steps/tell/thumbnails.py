"""A few clips to look at on the page of a night: rendered in a worker, as all that touches raw bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import polars as pl

from mmpipe.config import Config
from mmpipe.engine.work import WorkItem
from mmpipe.report.values import Thumbnail
from mmpipe.steps.ground.mirror import media_root
from mmpipe.steps.ground.wire import decode
from mmpipe.steps.workers.worker import Strip, StripWork
from mmpipe.steps.workers.workers import shared_engine
from mmpipe.store.assets import assets_of, read_assets
from mmpipe.store.layout import StoreLayout
from mmpipe.types import Clip, Modality, Stream

MAX_THUMBNAILS = 6
FUNCTION = "mmpipe.steps.workers.worker:render_strips"


def render_thumbnails(config: Config, layout: StoreLayout, corpus: str, live: pl.DataFrame) -> tuple[Thumbnail, ...]:
    """Return strips of stills of a few clips with a picture, as different in what is said of them as can be."""
    _, source = config.corpus(corpus)
    chosen = choose_clips(live)
    clips = tuple(_with_streams(layout, corpus, chosen))
    if not clips:
        return ()
    work = StripWork(root=media_root(layout, corpus, source), clips=clips, timeout_s=source.limits.seconds_per_asset)
    item = WorkItem(name="thumbnails", payload=work, timeout_s=source.limits.seconds_per_asset)
    with shared_engine(config) as engine:
        (outcome,) = engine.run(FUNCTION, [item])
    strips = decode(tuple[Strip, ...], outcome.result) if outcome.result else ()
    said = {row["key"]: _caption(row) for row in chosen.iter_rows(named=True)}
    return tuple(Thumbnail(caption=said[strip.clip_key], image=base64.b64decode(strip.png_base64)) for strip in strips)


def choose_clips(live: pl.DataFrame) -> pl.DataFrame:
    """Return the first clips with a picture, of different assets that differ in labels or words, at most six."""
    seen = live.filter(pl.col("video") != "").sort("partition", "shard", "ordinal")
    first = seen.unique("asset_id", keep="first", maintain_order=True)
    return first.unique(["labels", "text"], keep="first", maintain_order=True).head(MAX_THUMBNAILS)


def _with_streams(layout: StoreLayout, corpus: str, chosen: pl.DataFrame) -> Iterator[tuple[Clip, Stream]]:
    wanted = chosen["partition"].unique().to_list()
    assets = {asset.asset_id: asset for asset in assets_of(read_assets(layout, corpus, wanted))}
    for row in chosen.iter_rows(named=True):
        stream = assets[row["asset_id"]].stream(Modality.VIDEO)
        if stream:
            place = {name: row[name] for name in ("key", "asset_id", "start_ns", "end_ns")}
            yield Clip(**place), stream


def _caption(row: dict[str, object]) -> str:
    labels = ", ".join(f"{name} {value}" for name, value in sorted(json.loads(str(row["labels"])).items()))
    return " | ".join(part for part in (str(row["source_id"]), str(row["text"])[:80], labels[:120]) if part)
