"""Time bare stages in a worker: only decode some clips of a run, then only extract from what was decoded."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmpipe.errors import SampleError
from mmpipe.features.extractor import MicroBatch, micro_batch_of, uses_device
from mmpipe.features.naming import make_feature
from mmpipe.features.prepared import Rendition
from mmpipe.media.decode import NO_FILE, MediaSource, decode_clips
from mmpipe.media.filters import FilterStep
from mmpipe.media.guard import open_regular
from mmpipe.media.lifted import lift_limits
from mmpipe.media.picture_maker import PictureMaker
from mmpipe.media.renditions import prepared_source
from mmpipe.steps.extract.clip_rows import place_of
from mmpipe.steps.extract.shard_meter import media_bytes
from mmpipe.steps.ground.wire import encode
from mmpipe.steps.plan.renditions import Preparation, filter_steps
from mmpipe.steps.plan.shard_work import AssetWork, FeatureWork, ShardWork
from mmpipe.steps.speed.speed import StageSample
from mmpipe.steps.speed.speed_choice import SampleWork
from mmpipe.steps.workers.compute import Computer, open_computer
from mmpipe.steps.workers.picture_client import open_maker
from mmpipe.store.layout import StoreLayout
from mmpipe.types import ClipMedia, Modality, Needs

_PART = "sample"  # what the engine is told to be in hand
MOST_BYTES = 128 << 20  # of media that are held between the stages; the rest of the sample is left out


@dataclass(slots=True, kw_only=True)
class _Sampled:
    """A feature that is set up, and what was decoded for it."""

    modality: Modality
    needs: Needs
    bounds: MicroBatch
    computer: Computer
    on_device: bool
    filters: tuple[FilterStep, ...]
    preparation: Preparation | None
    media: list[ClipMedia]


def time_stages(work: SampleWork, report: Callable[[str], None], poisoned: Mapping[str, str]) -> bytes:
    """Return a StageSample; the time that a device computes is its parent's to ask for."""
    found = StageSample()
    for shard in work.shards:
        if found.decode_s < work.most_s and _PART not in poisoned:  # what ended two workers is not tried again
            found += _time_shard(shard, work.most_s - found.decode_s, lambda: report(_PART))
    return encode(StageSample, found)


def _time_shard(work: ShardWork, most_s: float, go_on: Callable[[], None]) -> StageSample:
    go_on()
    features = [_open(work, feature) for feature in work.features]
    maker = open_maker(work.pictures, go_on)
    clips, decode_s = 0, 0.0
    for asset in work.assets:
        if decode_s > most_s or sum(media_bytes(one) for each in features for one in each.media) > MOST_BYTES:
            break
        go_on()
        began_s = time.monotonic()
        clips += _decode(work, asset, features, maker)
        decode_s += time.monotonic() - began_s
    began_s = time.monotonic()
    _extract([each for each in features if not each.on_device], go_on)
    encode_s = time.monotonic() - began_s
    _extract([each for each in features if each.on_device], go_on)
    return StageSample(clips=clips, decode_s=decode_s, encode_s=encode_s)


def _open(work: ShardWork, feature: FeatureWork) -> _Sampled:
    rendition = Rendition.model_validate_json(feature.rendition_json) if feature.rendition_json else None
    extractor = make_feature(feature.name, json.loads(feature.table_json), rendition)
    layout = StoreLayout(work.store)
    return _Sampled(
        modality=extractor.modality,
        needs=extractor.needs,
        bounds=micro_batch_of(extractor),
        computer=open_computer(extractor, work.device, work.encoders),
        on_device=bool(work.encoders) and uses_device(extractor),
        filters=filter_steps(rendition) if rendition else (),
        preparation=Preparation(layout=layout, corpus=work.corpus, rendition=rendition, needs=extractor.needs)
        if rendition
        else None,
        media=[],
    )


def _decode(work: ShardWork, asset: AssetWork, features: Sequence[_Sampled], maker: PictureMaker | None) -> int:
    """Decode an asset's clips as a shard does, each file once, and keep them; return their number, 0 if one fails."""
    groups: dict[tuple[str, tuple[FilterStep, ...]], list[_Sampled]] = {}
    for feature in features:
        if stream := asset.stream(feature.modality):
            groups.setdefault((stream.file, feature.filters), []).append(feature)
    marks = [len(feature.media) for feature in features]
    try:
        for (file, filters), group in groups.items():
            _decode_file(work, asset, file, filters, group, maker)
    except SampleError:  # it is in quarantine for that, or will be
        for feature, mark in zip(features, marks, strict=True):
            del feature.media[mark:]
        return 0
    return len(asset.clips)


def _decode_file(
    work: ShardWork,
    asset: AssetWork,
    file: str,
    filters: tuple[FilterStep, ...],
    group: Sequence[_Sampled],
    maker: PictureMaker | None,
) -> None:
    limits = lift_limits(work.limits, asset.released)
    needs = tuple(dict.fromkeys(feature.needs for feature in group))
    clips = {clip.clip.key: clip for clip in asset.clips}
    with ExitStack() as stack:
        sources = stack.enter_context(_sources(work, asset, file, {feature.modality for feature in group}))
        if filters:
            modality = group[0].modality
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            sources = {modality: stack.enter_context(prepared_source(sources[modality], filters, folder, limits))}
        for decoded in decode_clips(
            sources,
            [clip.clip for clip in asset.clips],
            needs,
            asset.cues,
            limits,
            work.arrays,
            work.max_missing,
            text=work.text,
            maker=maker,
        ):
            for feature in group:
                stream, media = asset.stream(feature.modality), decoded.media.get(feature.needs)
                if stream is None or media is None:
                    continue
                if feature.preparation:
                    place = place_of(stream, clips[decoded.clip.key])
                    media = feature.preparation.apply(media, " ".join(map(str, place)))
                feature.media.append(media)


@contextmanager
def _sources(
    work: ShardWork, asset: AssetWork, file: str, modalities: set[Modality]
) -> Iterator[Mapping[Modality, MediaSource]]:
    streams = [stream for modality in sorted(modalities) if (stream := asset.stream(modality))]
    descriptor = open_regular(work.root, file) if file else NO_FILE
    try:
        yield {stream.modality: MediaSource(descriptor=descriptor, stream=stream) for stream in streams}
    finally:
        if descriptor != NO_FILE:
            os.close(descriptor)


def _extract(features: Sequence[_Sampled], go_on: Callable[[], None]) -> None:
    """Extract from all that was decoded, in micro-batches as of a shard; a clip that has no value costs no other."""
    for feature in features:
        for batch in micro_batches(feature.media, feature.bounds):
            go_on()
            try:
                feature.computer.extract(batch)
            except SampleError:
                continue
        feature.media.clear()


def micro_batches(media: Sequence[ClipMedia], bounds: MicroBatch) -> Iterator[list[ClipMedia]]:
    """Yield media in their order, as many at once as the bounds let."""
    batch: list[ClipMedia] = []
    nbytes = 0
    for one in media:
        if batch and (
            len(batch) >= bounds.max_clips or (bounds.max_bytes and nbytes + media_bytes(one) > bounds.max_bytes)
        ):
            yield batch
            batch, nbytes = [], 0
        batch.append(one)
        nbytes += media_bytes(one)
    if batch:
        yield batch
