"""Make one shard of several features, inside a worker: each asset is decoded once for all of them.

The result is a pure function of the work: clips go to the extractors in one order whatever order the decoder gives
them, values are written in the order of ordinals, and a value that is committed already for the same stream, range and
fingerprint is copied. An asset is decoded as a whole or, where a worker before this one had done with it, not at all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.media.decode import NO_FILE, DecodedClip, MediaSource, decode_clips
from mmpipe.media.filters import FilterStep
from mmpipe.media.guard import open_regular
from mmpipe.media.lifted import lift_limits, lift_missing
from mmpipe.media.renditions import prepared_source
from mmpipe.steps.extract.begin_shard import begin_feature
from mmpipe.steps.extract.clip_taker import ClipTaker
from mmpipe.steps.extract.shard_meter import ShardMeter
from mmpipe.steps.extract.shard_parts import Parts
from mmpipe.steps.extract.staging import shard_staging
from mmpipe.steps.ground.text_origin import kept_words
from mmpipe.steps.ground.wire import encode
from mmpipe.steps.plan.shard_work import AssetWork, ClipWork, ShardDone, ShardWork
from mmpipe.steps.workers.picture_client import open_maker
from mmpipe.steps.workers.picture_pool import asks_for_nvdec
from mmpipe.store.layout import StoreLayout
from mmpipe.types import ClipMedia, Modality, Stream, TextClip

Checked = dict[
    tuple[str, str], tuple[int, ...]
]  # (file, sha256) -> what it was when its bytes were found to be those that were ingested
_WAY_BACK = (
    "put it back and run `mmpipe quarantine retry`, or leave it and run `mmpipe ingest`, which supersedes the recording"
)


def extract_shard(work: ShardWork, report: Callable[[str], None], poisoned: Mapping[str, str]) -> bytes:
    """Extract, stage and make durable every feature of a shard; leave a receipt for each. Return a ShardDone."""
    meter, parts = ShardMeter(), Parts(report, poisoned)
    checked: Checked = {}
    with shard_staging(StoreLayout(work.store).staging) as staging, ExitStack() as stack:
        shards = [begin_feature(work, feature, staging, stack, parts, meter, poisoned) for feature in work.features]
        for asset in sorted(work.assets, key=lambda asset: asset.clips[0].ordinal):
            extract_asset(work, asset, shards, parts, meter, checked)
        for shard in shards:
            shard.compute_rest()
        parts.enter("")
        done = tuple(shard.finish(work) for shard in shards)
    reused = sum(shard.num_reused for shard in shards)
    return encode(
        ShardDone,
        ShardDone(
            partition=work.partition,
            shard=work.shard,
            features=done,
            reused=reused,
            computed=sum(entry.entry.samples for entry in done) - reused,
            meter=meter.result(reused),
        ),
    )


def extract_asset(
    work: ShardWork,
    asset: AssetWork,
    shards: Sequence[ClipTaker],
    parts: Parts,
    meter: ShardMeter,
    checked: Checked,
) -> None:
    """Settle every clip of an asset for every feature, or gather its media with those of others."""
    reading = [(shard, tuple(clip for clip in asset.clips if shard.settle_known(asset, clip))) for shard in shards]
    for (file, _), group in _group_by_file(asset, reading).items():
        if all(shard.has_done(asset) for shard, _ in group):
            continue
        needed = {clip.ordinal for _, clips in group for clip in clips}
        wanted = sorted((clip for clip in asset.clips if clip.ordinal in needed), key=_order_of)
        waiting = [shard for shard, _ in group]
        if code := parts.why_deadly(asset.asset_id):
            fault: SampleError | None = SampleError(code, "extracting it ended its worker process, alone and twice")
        else:
            parts.enter(asset.asset_id)
            fault = _decode_file(work, asset, file, wanted, waiting, meter, checked)
        fault = fault or SampleError("decode_error", "the decoder ended before it gave this clip")
        for shard in waiting:
            for clip in wanted:
                shard.settle_fault(asset, clip, fault)
            shard.end_pass(asset)


def _order_of(clip: ClipWork) -> tuple[int, int, int]:
    """Return where a clip comes among those of its asset: as a decoder completes them, or nearly so."""
    return clip.clip.end_ns, clip.clip.start_ns, clip.ordinal


def _group_by_file(
    asset: AssetWork, reading: Iterable[tuple[ClipTaker, tuple[ClipWork, ...]]]
) -> dict[tuple[str, tuple[FilterStep, ...]], list[tuple[ClipTaker, tuple[ClipWork, ...]]]]:
    """Return the features that read media, with their clips, by the file that holds it and the filters it goes through.

    One broken file must not cost another. A feature that has its clips already counts too: what comes of the others
    must not depend on where a worker before this one was killed.
    """
    groups: dict[tuple[str, tuple[FilterStep, ...]], list[tuple[ClipTaker, tuple[ClipWork, ...]]]] = {}
    for shard, clips in reading:
        if clips:
            stream = asset.stream(shard.extractor.modality)
            assert stream is not None
            groups.setdefault((stream.file, shard.filters), []).append((shard, clips))
    return groups


def _decode_file(
    work: ShardWork,
    asset: AssetWork,
    file: str,
    wanted: Sequence[ClipWork],
    shards: Sequence[ClipTaker],
    meter: ShardMeter,
    checked: Checked,
) -> SampleError | None:
    """Decode one file of an asset once and hand its clips on in their order; return the fault that ended it early."""
    needs = tuple(dict.fromkeys(shard.extractor.needs for shard in shards))
    by_key = {clip.clip.key: clip for clip in wanted}

    wants_nvdec = any(asks_for_nvdec(shard.extractor) for shard in shards)
    reasons: list[str] = []  # why the CPU decodes what NVDEC was to

    def note_loss(stream: Stream, share: float) -> None:
        for shard in shards:
            if shard.extractor.modality is stream.modality:
                shard.note_damage(asset, stream, share)

    try:
        limits = lift_limits(work.limits, asset.released)
        max_missing = lift_missing(work.max_missing, asset.released)
        with ExitStack() as stack:
            with meter.decoding():
                modalities = {shard.extractor.modality for shard in shards}
                opened = stack.enter_context(_open_sources(work, asset, file, modalities, meter, checked))
                sources = stack.enter_context(_prepared(opened, shards[0], limits))
            clips = [clip.clip for clip in wanted]
            decoding = decode_clips(
                sources, clips, needs, asset.cues, limits, work.arrays, max_missing, note_loss, work.text,
                maker=open_maker(work.pictures, shards[0].batches.parts.go_on) if wants_nvdec else None,
                note_fallback=lambda _stream, reason: reasons.append(reason),
            )  # fmt: skip
            for decoded in _in_order(meter.decoded(decoding), [clip.key for clip in clips]):
                clip = by_key[decoded.clip.key]
                meter.count(decoded, any(shard.waits_for(clip) for shard in shards))
                for shard in shards:
                    media = _without_stop_words(decoded.media.get(shard.extractor.needs), asset)
                    shard.settle_media(asset, clip, media)
        if wants_nvdec:
            meter.count_track(reasons)
    except SampleError as error:
        return error
    return None


def _in_order(decoded: Iterator[DecodedClip], keys: Sequence[str]) -> Iterator[DecodedClip]:
    """Yield clips in the order of their keys: the decoder's own depends on which other tracks it reads.

    It is nearly the same, so few are held. Where the decoder fails, what it gave before comes first.
    """
    held: dict[str, DecodedClip] = {}
    turn = 0
    try:
        for clip in decoded:
            held[clip.clip.key] = clip
            while turn < len(keys) and keys[turn] in held:
                yield held.pop(keys[turn])
                turn += 1
    except SampleError:
        yield from [held.pop(key) for key in keys[turn:] if key in held]
        raise


def _without_stop_words(media: ClipMedia | None, asset: AssetWork) -> ClipMedia | None:
    """Return a text as its stream says that the clips' texts are; between cues that lose all words there is none."""
    if not isinstance(media, TextClip):
        return media
    text = kept_words(media.text, asset.stream(Modality.TEXT))
    return TextClip(text=text) if text or not asset.cues else None


@contextmanager
def _open_sources(
    work: ShardWork, asset: AssetWork, file: str, modalities: set[Modality], meter: ShardMeter, checked: Checked
) -> Iterator[Mapping[Modality, MediaSource]]:
    """Open a file of an asset, and prove that it holds the bytes that were ingested; "" opens nothing."""
    streams = [stream for modality in sorted(modalities) if (stream := asset.stream(modality))]
    if not file:  # words of a column, numbers of the labels: they come with the asset
        yield {stream.modality: MediaSource(descriptor=NO_FILE, stream=stream) for stream in streams}
        return
    try:
        descriptor = open_regular(work.root, file)
    except SampleError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise SampleError(error.code, f"{file!r} is gone: {_WAY_BACK}") from error
        raise
    try:
        meter.file_bytes += streams[0].file_nbytes
        _require_same_bytes(descriptor, streams[0], checked)
        yield {stream.modality: MediaSource(descriptor=descriptor, stream=stream) for stream in streams}
    finally:
        os.close(descriptor)


@contextmanager
def _prepared(
    sources: Mapping[Modality, MediaSource], shard: ClipTaker, limits: LimitsConfig
) -> Iterator[Mapping[Modality, MediaSource]]:
    """Put what filters make of a track in its place: features that share filters share the modality."""
    if not shard.filters:
        yield sources
        return
    modality = shard.extractor.modality
    with prepared_source(sources[modality], shard.filters, shard.staging, limits) as prepared:
        yield {modality: prepared}


def _require_same_bytes(descriptor: int, stream: Stream, checked: Checked) -> None:
    """Hold that a file is as it was ingested; read it whole for that, but once a shard, however many assets it serves.

    The decoder reads it after that, from the page cache.
    """
    status = os.fstat(descriptor)
    seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if checked.get((stream.file, stream.file_sha256)) == seen:
        return
    with open(os.dup(descriptor), "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    os.lseek(descriptor, 0, os.SEEK_SET)
    if found != stream.file_sha256:
        raise SampleError("changed_since_ingest", f"{stream.file!r} holds other bytes now; ingest again")
    checked[stream.file, stream.file_sha256] = seen
