"""Clips of a store: a page of a date, and one with all that is known of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from mmpipe.app.site import NotHereError
from mmpipe.app.values.clips import (
    CLIPS_PER_PAGE,
    ClipCard,
    ClipPage,
    PreviewKind,
    Samples,
    SamplesAsk,
    StreamCard,
)
from mmpipe.app.values.paging import paging_of
from mmpipe.config import Config
from mmpipe.steps.app.clip_values import describe_values
from mmpipe.steps.tell.inspect import find_clips
from mmpipe.store.assets import assets_of, read_assets
from mmpipe.store.layout import CLIPS, SIGNALS, StoreLayout
from mmpipe.store.signals import SIGNAL_COLUMNS, read_signals
from mmpipe.store.spine import read_spine
from mmpipe.types import NANOSECONDS_PER_SECOND, Asset, Modality, Stream

_SEARCHED = ("text", "labels", "source_id", "key")
_TRACKS = {
    PreviewKind.FILM: Modality.VIDEO,
    PreviewKind.STILL: Modality.VIDEO,
    PreviewKind.PICTURE: Modality.IMAGE,
    PreviewKind.SOUND: Modality.AUDIO,
    PreviewKind.SPECTRUM: Modality.AUDIO,
}


def read_samples(layout: StoreLayout, corpus: str, ask: SamplesAsk) -> Samples:
    """Return a page of the live clips of a date, by default the newest."""
    dates = tuple(reversed(layout.dataset(corpus, CLIPS).partitions()))
    if ask.dt and ask.dt not in dates:
        raise NotHereError(f"{corpus} has no clips of {ask.dt!r}; its newest dates are: {', '.join(dates[:5])}.")
    dt = ask.dt or next(iter(dates), "")
    if not dt:
        return Samples(
            corpus=corpus, ask=ask, dt="", dates=(), splits={}, clips=(), paging=paging_of(0, 1, CLIPS_PER_PAGE)
        )
    live = read_spine(layout, corpus, (dt,)).filter(~pl.col("superseded"))
    fitting = live.filter(_fits(ask))
    paging = paging_of(fitting.height, ask.page, CLIPS_PER_PAGE)
    shown = fitting.slice((paging.page - 1) * CLIPS_PER_PAGE, CLIPS_PER_PAGE)
    assets = find_assets(layout, corpus, dt, shown["asset_id"].unique().to_list())
    return Samples(
        corpus=corpus,
        ask=ask,
        dt=dt,
        dates=dates,
        splits=dict(live.group_by("split").agg(pl.len()).sort("split").iter_rows()),
        clips=tuple(_card(row, assets.get(row["asset_id"])) for row in shown.iter_rows(named=True)),
        paging=paging,
    )


def read_clip(config: Config, layout: StoreLayout, corpus: str, key: str, dt: str) -> ClipPage:
    """Return all that is known of a clip."""
    row = find_row(config, layout, corpus, key, dt)
    asset = find_assets(layout, corpus, row["partition"], [row["asset_id"]]).get(row["asset_id"])
    before, after = _neighbours(layout, corpus, row)
    text = asset.stream(Modality.TEXT) if asset else None
    return ClipPage(
        corpus=corpus,
        clip=_card(row, asset),
        asset_id=row["asset_id"],
        place=f"shard {row['shard']}, ordinal {row['ordinal']}",
        streams=tuple(_stream_card(stream) for stream in (asset.streams if asset else ())),
        values=describe_values(layout, corpus, row),
        signals=_signals(layout, corpus, row),
        text_origin=text.origin if text else "",
        before=before,
        after=after,
    )


def find_row(config: Config, layout: StoreLayout, corpus: str, key: str, dt: str) -> dict[str, Any]:
    """Return the spine's row of a clip: of the date that is named, else wherever it is; NotHereError: nowhere.

    An asset or a source stands for its first clip.
    """
    if dt and dt in layout.dataset(corpus, CLIPS).partitions():
        rows = read_spine(layout, corpus, (dt,)).filter(pl.col("key") == key)
        if rows.height:
            return rows.row(0, named=True)
    if corpus in config.corpora:
        for found in find_clips(config, corpus, key):
            rows = read_spine(layout, corpus, (found["partition"],)).filter(pl.col("key") == found["key"])
            if rows.height:
                return rows.row(0, named=True)
    raise NotHereError(f"{corpus} has no clip, recording or source {key!r}. The samples and the quarantine name all.")


def find_assets(layout: StoreLayout, corpus: str, dt: str, ids: list[str]) -> Mapping[str, Asset]:
    """Return recordings of a date by their ids."""
    rows = read_assets(layout, corpus, (dt,)).filter(pl.col("asset_id").is_in(ids))
    return {asset.asset_id: asset for asset in assets_of(rows)}


def stream_of(asset: Asset, kind: PreviewKind) -> Stream | None:
    """Return the track that a preview is made from."""
    stream = asset.stream(_TRACKS[kind])
    return stream if stream and stream.file else None


def _fits(ask: SamplesAsk) -> pl.Expr:
    fits = pl.lit(True)
    if ask.split:
        fits = fits & (pl.col("split") == ask.split)
    if ask.text:
        word = ask.text.lower()
        holds = [pl.col(name).str.to_lowercase().str.contains(word, literal=True) for name in _SEARCHED]
        fits = fits & pl.any_horizontal(holds)
    return fits


def _card(row: Mapping[str, Any], asset: Asset | None) -> ClipCard:
    return ClipCard(
        key=row["key"],
        dt=row["partition"],
        source_id=row["source_id"],
        start_s=row["start_ns"] / NANOSECONDS_PER_SECOND,
        end_s=row["end_ns"] / NANOSECONDS_PER_SECOND,
        split=row["split"],
        group=row["group"],
        text=row["text"],
        labels={str(name): str(value) for name, value in sorted(json.loads(row["labels"]).items())},
        superseded=row["superseded"],
        previews=_previews(asset) if asset else (),
    )


def _previews(asset: Asset) -> tuple[PreviewKind, ...]:
    """Return what there is to see and hear; a film's own sound plays with it."""
    there = {kind: stream for kind in PreviewKind if (stream := stream_of(asset, kind))}
    film, sound = there.get(PreviewKind.FILM), there.get(PreviewKind.SOUND)
    if film and sound and film.file == sound.file:
        del there[PreviewKind.SOUND]
    if PreviewKind.SOUND not in there or film or PreviewKind.PICTURE in there:
        there.pop(PreviewKind.SPECTRUM, None)
    return tuple(there)


def _stream_card(stream: Stream) -> StreamCard:
    facts = (
        f"{stream.width_px} x {stream.height_px}" if stream.width_px else "",
        f"{stream.frame_rate:g} frames/s" if stream.frame_rate else "",
        f"{stream.sample_rate_hz:,} Hz, {stream.channels} ch" if stream.sample_rate_hz else "",
        f"{stream.duration_ns / NANOSECONDS_PER_SECOND:.2f} s" if stream.duration_ns else "",
        f"{stream.lost_share:.1%} lost" if stream.lost_share else "",
    )
    return StreamCard(
        role=stream.role,
        file=stream.file,
        codec=stream.codec,
        facts=", ".join(fact for fact in facts if fact),
        digest=stream.digest,
        file_sha256=stream.file_sha256,
    )


def _neighbours(layout: StoreLayout, corpus: str, row: Mapping[str, Any]) -> tuple[str, str]:
    """Return the keys of the live clips before and after in the same recording."""
    same = read_spine(layout, corpus, (row["partition"],)).filter(
        (pl.col("asset_id") == row["asset_id"]) & (~pl.col("superseded") | (pl.col("key") == row["key"]))
    )
    keys = same.sort("start_ns", "end_ns")["key"].to_list()
    at = keys.index(row["key"])
    return keys[at - 1] if at else "", keys[at + 1] if at + 1 < len(keys) else ""


def _signals(layout: StoreLayout, corpus: str, row: Mapping[str, Any]) -> dict[str, str]:
    if SIGNALS not in layout.dataset_names(corpus):
        return {}
    found = read_signals(layout, corpus, (row["partition"],)).filter(pl.col("key") == row["key"])
    if found.is_empty():
        return {}
    values = found.row(0, named=True)
    return {name: _told(values[name]) for name in SIGNAL_COLUMNS if values[name] is not None}


def _told(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
