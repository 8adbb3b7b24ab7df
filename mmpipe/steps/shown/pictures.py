"""Pictures of clips and of refused files for pages: rendered in workers, as all that touches raw bytes."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import polars as pl

from mmpipe.config import Config, CorpusConfig, LimitsConfig
from mmpipe.engine.work import WorkItem
from mmpipe.steps.ground.mirror import media_root
from mmpipe.steps.ground.wire import decode
from mmpipe.steps.workers.shower import Evidence, EvidenceWork, Showing, Shown, ShowWork
from mmpipe.steps.workers.workers import shared_engine
from mmpipe.store.assets import assets_of, read_assets
from mmpipe.store.layout import StoreLayout
from mmpipe.types import Asset, Clip, Modality, Stream

_AT_ONCE = 8  # clips in one unit of work
_PATIENCE_S = {Showing.STILL: 10.0, Showing.CUT: 30.0}  # with one clip or file: what is beside a page is not worth more
_END_S = 5.0  # for its worker to say so itself
_SHOW_CLIPS = "mmpipe.steps.workers.shower:show_clips"
_SHOW_FILES = "mmpipe.steps.workers.shower:show_files"
_Thing = TypeVar("_Thing")
_SEEN_FIRST = (Modality.VIDEO, Modality.IMAGE, Modality.AUDIO)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipShown:
    """A clip's picture, film or sound."""

    kind: str  # "picture", "video", "audio"
    data: bytes


def show_clips(
    config: Config, layout: StoreLayout, corpus: str, clips: pl.DataFrame, showing: Showing
) -> dict[str, ClipShown]:
    """Return what there is to see or hear of rows of the spine, by key; what cannot be shown is left out."""
    _, source = config.corpus(corpus)
    wanted = tuple(_with_streams(layout, corpus, clips.unique("key", keep="first", maintain_order=True)))
    root, limits = media_root(layout, corpus, source), _limits(source, showing)

    def work(part: Sequence[tuple[Clip, Stream]]) -> ShowWork:
        return ShowWork(root=root, clips=tuple(part), showing=showing, limits=limits)

    found = _run(config, _SHOW_CLIPS, limits, wanted, work)
    shown = (one for result in found for one in decode(tuple[Shown, ...], result))
    return {one.clip_key: ClipShown(kind=one.kind, data=base64.b64decode(one.data_base64)) for one in shown}


def show_files(config: Config, layout: StoreLayout, corpus: str, files: Sequence[str]) -> dict[str, Evidence]:
    """Return what can be seen of files that were refused, by name."""
    _, source = config.corpus(corpus)
    root, limits = media_root(layout, corpus, source), _limits(source, Showing.STILL)

    def work(part: Sequence[str]) -> EvidenceWork:
        return EvidenceWork(root=root, files=tuple(part), limits=limits, arrays=source.arrays, text=source.text)

    found = _run(config, _SHOW_FILES, limits, tuple(dict.fromkeys(files)), work)
    return {one.file: one for result in found for one in decode(tuple[Evidence, ...], result)}


def _run(
    config: Config,
    function: str,
    limits: LimitsConfig,
    things: Sequence[_Thing],
    work: Callable[[Sequence[_Thing]], object],
) -> list[bytes]:
    timeout_s = limits.seconds_per_asset + _END_S
    items = [
        WorkItem(name=f"shown {at}", payload=work(things[at : at + _AT_ONCE]), timeout_s=timeout_s)
        for at in range(0, len(things), _AT_ONCE)
    ]
    if not items:
        return []
    with shared_engine(config) as engine:
        return [outcome.result for outcome in engine.run(function, items) if outcome.result]


def _limits(source: CorpusConfig, showing: Showing) -> LimitsConfig:
    seconds = min(source.limits.seconds_per_asset, _PATIENCE_S[showing])
    return source.limits.model_copy(update={"seconds_per_asset": seconds})


def _with_streams(layout: StoreLayout, corpus: str, clips: pl.DataFrame) -> Iterator[tuple[Clip, Stream]]:
    assets = _assets(layout, corpus, clips["partition"].unique().to_list()) if clips.height else {}
    for row in clips.iter_rows(named=True):
        asset = assets.get(row["asset_id"])
        stream = next((found for kind in _SEEN_FIRST if asset and (found := asset.stream(kind)) and found.file), None)
        if stream:
            yield Clip(**{name: row[name] for name in ("key", "asset_id", "start_ns", "end_ns")}), stream


def _assets(layout: StoreLayout, corpus: str, partitions: Sequence[str]) -> Mapping[str, Asset]:
    return {asset.asset_id: asset for asset in assets_of(read_assets(layout, corpus, partitions))}
