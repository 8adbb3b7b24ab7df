"""Make one shard of several features, inside a worker: each asset is decoded once for all of them.

The result is a pure function of the work: values are written in the order of ordinals whatever order the decoder
gives them, and a value that is committed already for the same stream, range and fingerprint is copied.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.io import make_directory
from mmpipe.media.decode import NO_FILE, MediaSource, decode_clips
from mmpipe.media.filters import FilterStep
from mmpipe.media.guard import open_regular
from mmpipe.media.lifted import lift_limits, lift_missing
from mmpipe.media.renditions import prepared_source
from mmpipe.steps.growing_shard import GrowingShard
from mmpipe.steps.shard_work import AssetWork, ClipWork, ShardDone, ShardWork
from mmpipe.steps.text_origin import kept_words
from mmpipe.steps.wire import encode
from mmpipe.store.layout import StoreLayout
from mmpipe.types import ClipMedia, Modality, Stream, TextClip


def extract_shard(work: ShardWork, report: Callable[[str], None], poisoned: Mapping[str, str]) -> bytes:
    """Extract, stage and make durable every feature of a shard; leave a receipt for each. Return a ShardDone."""
    layout = StoreLayout(work.store)
    staging = make_directory(layout.staging / f"shard-{uuid.uuid4().hex}")
    try:
        with ExitStack() as stack:
            shards = [GrowingShard.open(layout, work, feature, staging, stack) for feature in work.features]
            for asset in sorted(work.assets, key=lambda asset: asset.clips[0].ordinal):
                _extract_asset(work, asset, shards, report, poisoned.get(asset.asset_id))
            report("")
            done = tuple(shard.finish(work) for shard in shards)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    reused = sum(shard.num_reused for shard in shards)
    return encode(
        ShardDone,
        ShardDone(
            partition=work.partition,
            shard=work.shard,
            features=done,
            reused=reused,
            computed=sum(entry.entry.samples for entry in done) - reused,
        ),
    )


def _extract_asset(
    work: ShardWork,
    asset: AssetWork,
    shards: Sequence[GrowingShard],
    report: Callable[[str], None],
    poison: str | None,
) -> None:
    """Settle every clip of an asset for every feature."""
    for clip in asset.clips:
        for shard in shards:
            shard.settle_known(asset, clip)
    for (file, _), waiting in _group_by_file(asset, shards).items():
        wanted = [clip for clip in asset.clips if any(shard.waits_for(clip) for shard in waiting)]
        if poison:
            fault: SampleError | None = SampleError(poison, "extracting it ended its worker process, alone and twice")
        else:
            report(asset.asset_id)
            fault = _decode_file(work, asset, file, wanted, waiting)
        fault = fault or SampleError("decode_error", "the decoder ended before it gave this clip")
        for clip in wanted:
            for shard in waiting:
                shard.settle_fault(asset, clip, fault)


def _group_by_file(
    asset: AssetWork, shards: Sequence[GrowingShard]
) -> dict[tuple[str, tuple[FilterStep, ...]], list[GrowingShard]]:
    """Return the features that wait for media by the file that holds it, and the filters that it must go through.

    One broken file must not cost another.
    """
    groups: dict[tuple[str, tuple[FilterStep, ...]], list[GrowingShard]] = {}
    for shard in shards:
        if any(shard.waits_for(clip) for clip in asset.clips):
            stream = asset.stream(shard.extractor.modality)
            assert stream is not None
            groups.setdefault((stream.file, shard.filters), []).append(shard)
    return groups


def _decode_file(
    work: ShardWork, asset: AssetWork, file: str, wanted: Sequence[ClipWork], shards: Sequence[GrowingShard]
) -> SampleError | None:
    """Decode one file of an asset once and settle its clips as they come; return the fault that ended it early."""
    needs = tuple(dict.fromkeys(shard.extractor.needs for shard in shards))
    by_key = {clip.clip.key: clip for clip in wanted}

    def note_loss(stream: Stream, share: float) -> None:
        for shard in shards:
            if shard.extractor.modality is stream.modality:
                shard.note_damage(asset, stream, wanted[0], share)

    try:
        limits = lift_limits(work.limits, asset.released)
        max_missing = lift_missing(work.max_missing, asset.released)
        with (
            _open_sources(work, asset, file, {shard.extractor.modality for shard in shards}) as opened,
            _prepared(opened, shards[0], limits) as sources,
        ):
            clips = [clip.clip for clip in wanted]
            decoding = decode_clips(
                sources, clips, needs, asset.cues, limits, work.arrays, max_missing, note_loss, work.text
            )
            for decoded in decoding:
                for shard in shards:
                    media = _without_stop_words(decoded.media.get(shard.extractor.needs), asset)
                    shard.settle_media(asset, by_key[decoded.clip.key], media)
    except SampleError as error:
        return error
    return None


def _without_stop_words(media: ClipMedia | None, asset: AssetWork) -> ClipMedia | None:
    """Return a text as its stream says that the clips' texts are; between cues that lose all words there is none."""
    if not isinstance(media, TextClip):
        return media
    text = kept_words(media.text, asset.stream(Modality.TEXT))
    return TextClip(text=text) if text or not asset.cues else None


@contextmanager
def _open_sources(
    work: ShardWork, asset: AssetWork, file: str, modalities: set[Modality]
) -> Iterator[Mapping[Modality, MediaSource]]:
    """Open a file of an asset, and prove that it holds the bytes that were ingested; "" opens nothing."""
    streams = [stream for modality in sorted(modalities) if (stream := asset.stream(modality))]
    if not file:  # words of a column, numbers of the labels: they come with the asset
        yield {stream.modality: MediaSource(descriptor=NO_FILE, stream=stream) for stream in streams}
        return
    descriptor = open_regular(work.root, file)
    try:
        _require_same_bytes(descriptor, streams[0])
        yield {stream.modality: MediaSource(descriptor=descriptor, stream=stream) for stream in streams}
    finally:
        os.close(descriptor)


@contextmanager
def _prepared(
    sources: Mapping[Modality, MediaSource], shard: GrowingShard, limits: LimitsConfig
) -> Iterator[Mapping[Modality, MediaSource]]:
    """Put what filters make of a track in its place: features that share filters share the modality."""
    if not shard.filters:
        yield sources
        return
    modality = shard.extractor.modality
    with prepared_source(sources[modality], shard.filters, shard.staging, limits) as prepared:
        yield {modality: prepared}


def _require_same_bytes(descriptor: int, stream: Stream) -> None:
    with open(os.dup(descriptor), "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    os.lseek(descriptor, 0, os.SEEK_SET)
    if found != stream.file_sha256:
        raise SampleError("changed_since_ingest", f"{stream.file!r} holds other bytes now; ingest again")
