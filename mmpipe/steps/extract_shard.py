"""Make one shard of several features, inside a worker: each asset is decoded once for all of them.

The result is a pure function of the work: values are written in the order of ordinals whatever order the decoder
gives them, and a value that is committed already for the same stream, range and fingerprint is copied.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmpipe.errors import SampleError
from mmpipe.features.extractor import Extractor
from mmpipe.features.registry import make_extractor
from mmpipe.io import make_directory
from mmpipe.media.decode import MediaSource, decode_clips
from mmpipe.media.guard import open_regular
from mmpipe.steps.shard_work import AssetWork, ClipWork, FeatureDone, FeatureWork, ReusedValue, ShardDone, ShardWork
from mmpipe.steps.wire import encode
from mmpipe.store.commit import read_head
from mmpipe.store.layout import DatasetLayout, StoreLayout
from mmpipe.store.manifest import FileEntry, ShardEntry
from mmpipe.store.objects import put_object
from mmpipe.store.reader import ShardReader
from mmpipe.store.receipt import Receipt, put_receipt
from mmpipe.store.shard import RawValue, ShardSpec, StagedShard, check_value
from mmpipe.store.writer import ShardWriter, open_shard_writer
from mmpipe.types import ClipMedia, Drop, FeatureValue, Modality, Stream


def extract_shard(work: ShardWork, report: Callable[[str], None], poisoned: Mapping[str, str]) -> bytes:
    """Extract, stage and make durable every feature of a shard; leave a receipt for each. Return a ShardDone."""
    layout = StoreLayout(work.store)
    staging = make_directory(layout.staging / f"shard-{uuid.uuid4().hex}")
    try:
        with ExitStack() as stack:
            shards = [_FeatureShard.open(layout, work, feature, staging, stack) for feature in work.features]
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
    shards: Sequence[_FeatureShard],
    report: Callable[[str], None],
    poison: str | None,
) -> None:
    """Settle every clip of an asset for every feature."""
    for clip in asset.clips:
        for shard in shards:
            shard.settle_known(asset, clip)
    for file, waiting in _group_by_file(asset, shards).items():
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


def _group_by_file(asset: AssetWork, shards: Sequence[_FeatureShard]) -> dict[str, list[_FeatureShard]]:
    """Return the features that wait for media by the file that holds it: one broken file must not cost another."""
    groups: dict[str, list[_FeatureShard]] = {}
    for shard in shards:
        if any(shard.waits_for(clip) for clip in asset.clips):
            stream = _stream(asset, shard.extractor.modality)
            assert stream is not None
            groups.setdefault(stream.file, []).append(shard)
    return groups


def _decode_file(
    work: ShardWork, asset: AssetWork, file: str, wanted: Sequence[ClipWork], shards: Sequence[_FeatureShard]
) -> SampleError | None:
    """Decode one file of an asset once and settle its clips as they come; return the fault that ended it early."""
    needs = tuple(dict.fromkeys(shard.extractor.needs for shard in shards))
    by_key = {clip.clip.key: clip for clip in wanted}
    try:
        with _open_sources(work, asset, file, {shard.extractor.modality for shard in shards}) as sources:
            clips = [clip.clip for clip in wanted]
            for decoded in decode_clips(sources, clips, needs, asset.cues, work.limits):
                for shard in shards:
                    shard.settle_media(asset, by_key[decoded.clip.key], decoded.media.get(shard.extractor.needs))
    except SampleError as error:
        return error
    return None


@contextmanager
def _open_sources(
    work: ShardWork, asset: AssetWork, file: str, modalities: set[Modality]
) -> Iterator[Mapping[Modality, MediaSource]]:
    """Open a file of an asset, and prove that it holds the bytes that were ingested."""
    streams = [stream for modality in sorted(modalities) if (stream := _stream(asset, modality))]
    descriptor = open_regular(work.root, file)
    try:
        _require_same_bytes(descriptor, streams[0])
        yield {stream.modality: MediaSource(descriptor=descriptor, stream=stream) for stream in streams}
    finally:
        os.close(descriptor)


def _require_same_bytes(descriptor: int, stream: Stream) -> None:
    with open(os.dup(descriptor), "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    os.lseek(descriptor, 0, os.SEEK_SET)
    if found != stream.file_sha256:
        raise SampleError("changed_since_ingest", f"{stream.file!r} holds other bytes now; ingest again")


def _stream(asset: AssetWork, modality: Modality) -> Stream | None:
    return next((stream for stream in asset.streams if stream.modality is modality), None)


@dataclass(slots=True, kw_only=True)
class _FeatureShard:
    """One feature of the shard while it grows: every ordinal is settled once, and written in order."""

    dataset: DatasetLayout
    feature: FeatureWork
    extractor: Extractor
    writer: ShardWriter
    num_clips: int
    reused: Mapping[int, ReusedValue]
    twins: frozenset[tuple[str, int, int]]  # (stream, start, end) that more than one clip of the shard has
    drops: list[Drop] = field(default_factory=list)
    num_absent: int = 0
    num_reused: int = 0
    next_ordinal: int = 0
    settled: dict[int, _Row | None] = field(default_factory=dict)
    memory: dict[tuple[str, int, int], FeatureValue] = field(default_factory=dict)
    readers: dict[tuple[str, int], ShardReader] = field(default_factory=dict)

    @classmethod
    def open(
        cls, layout: StoreLayout, work: ShardWork, feature: FeatureWork, staging: Path, stack: ExitStack
    ) -> _FeatureShard:
        extractor = make_extractor(feature.extractor, json.loads(feature.params_json))
        extractor.setup("cpu")
        spec = ShardSpec(
            corpus=work.corpus,
            partition=work.partition,
            number=work.shard,
            schema=extractor.schema,
            fingerprint=feature.fingerprint,
        )
        folder = make_directory(staging / feature.feature)
        ranges = Counter(
            (stream.digest, clip.clip.start_ns, clip.clip.end_ns)
            for asset in work.assets
            if (stream := _stream(asset, extractor.modality))
            for clip in asset.clips
        )
        return cls(
            dataset=layout.dataset(work.corpus, feature.feature),
            feature=feature,
            extractor=extractor,
            writer=stack.enter_context(open_shard_writer(spec, folder)),
            num_clips=work.num_clips,
            reused={entry.ordinal: entry for entry in work.reused if entry.feature == feature.feature},
            twins=frozenset(place for place, count in ranges.items() if count > 1),
        )

    def waits_for(self, clip: ClipWork) -> bool:
        """Say whether a clip is not settled yet."""
        return clip.ordinal >= self.next_ordinal and clip.ordinal not in self.settled

    def settle_known(self, asset: AssetWork, clip: ClipWork) -> None:
        """Settle a clip that needs no decoding: nothing to read, or a value that is there already."""
        stream = _stream(asset, self.extractor.modality)
        if stream is None:
            self.num_absent += 1
            self._settle(clip, None)
        elif clip.ordinal in self.reused:
            self.num_reused += 1
            self._settle(clip, _Row(stream=stream.digest, raw=self._read(self.reused[clip.ordinal])))
        elif (place := _place(stream, clip)) in self.memory:
            self.num_reused += 1
            self._settle(clip, _Row(stream=stream.digest, value=self.memory[place]))

    def settle_media(self, asset: AssetWork, clip: ClipWork, media: ClipMedia | None) -> None:
        """Settle a clip with what the decoder gave for it."""
        if not self.waits_for(clip):
            return
        stream = _stream(asset, self.extractor.modality)
        assert stream is not None
        if media is None:
            self.settle_fault(asset, clip, SampleError("no_media", f"the {stream.modality} does not reach this clip"))
            return
        try:
            value = self._compute(media)
        except SampleError as error:
            self.settle_fault(asset, clip, error)
            return
        place = _place(stream, clip)
        if place in self.twins:
            self.memory[place] = value
        self._settle(clip, _Row(stream=stream.digest, value=value))

    def _compute(self, media: ClipMedia) -> FeatureValue:
        try:
            (value,) = self.extractor.extract([media])
            check_value(self.extractor.schema, value)
        except (SampleError, MemoryError):  # the engine knows what to do about memory
            raise
        except Exception as error:  # from anybody's code: one clip is dropped with the reason, not a shard
            detail = f"{self.feature.feature} failed on this clip: {type(error).__name__}: {error}"
            raise SampleError("extractor_error", detail) from error
        return value

    def settle_fault(self, asset: AssetWork, clip: ClipWork, fault: SampleError) -> None:
        """Settle a clip that cannot be used, with the reason."""
        if not self.waits_for(clip):
            return
        stream = _stream(asset, self.extractor.modality)
        self.drops.append(
            Drop(
                stage="extract",
                code=fault.code,
                detail=fault.detail,
                file=stream.file if stream else "",
                file_sha256=stream.file_sha256 if stream else "",
                source_id=asset.source_id,
                asset_id=asset.asset_id,
                clip_key=clip.clip.key,
                feature=self.feature.feature,
            )
        )
        self._settle(clip, None)

    def finish(self, work: ShardWork) -> FeatureDone:
        """Make the shard's files durable and leave the receipt."""
        assert self.next_ordinal == self.num_clips, f"{self.num_clips - self.next_ordinal} clips were never settled"
        staged = self.writer.close()
        drops = tuple(sorted(self.drops, key=lambda drop: drop.clip_key))
        entry = ShardEntry(
            number=work.shard,
            files=tuple(self._put(staged)),
            samples=staged.samples,
            inputs=self.feature.inputs,
            spine=self.num_clips,
            absent=self.num_absent,
            quarantined=len(drops),
            statistics=staged.statistics,
        )
        receipt = Receipt(entry=entry, drops=drops)
        put_receipt(self.dataset, work.partition, self.feature.fingerprint, receipt)
        return FeatureDone(feature=self.feature.feature, entry=entry, drops=drops)

    def _put(self, staged: StagedShard) -> Iterator[FileEntry]:
        for file in staged.files:
            sha256, nbytes = put_object(self.dataset, file.path)
            assert (sha256, nbytes) == (file.entry.sha256, file.entry.nbytes), f"{file.path} changed while staged"
            yield file.entry

    def _settle(self, clip: ClipWork, row: _Row | None) -> None:
        self.settled[clip.ordinal] = replace(row, clip=clip) if row else None
        while self.next_ordinal in self.settled:
            ready = self.settled.pop(self.next_ordinal)
            if ready is not None:
                ready.write(self.writer)
            self.next_ordinal += 1

    def _read(self, place: ReusedValue) -> RawValue:
        where = place.partition, place.shard
        if where not in self.readers:
            head = read_head(self.dataset, place.partition)
            entry = head.shard(place.shard) if head else None
            reader = entry and ShardReader.open(self.dataset, entry, self.extractor.schema)
            assert reader, f"{self.feature.feature} dt={place.partition} shard {place.shard} was planned for reuse"
            self.readers[where] = reader
        return self.readers[where].raw(place.row)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A value that waits for its turn."""

    stream: str
    value: FeatureValue | None = None
    raw: RawValue | None = None
    clip: ClipWork | None = None

    def write(self, writer: ShardWriter) -> None:
        """Append to the shard."""
        assert self.clip is not None
        clip = self.clip.clip
        place = clip.key, self.clip.ordinal, self.stream, clip.start_ns, clip.end_ns
        if self.raw is not None:
            writer.add_raw(*place, self.raw)
        elif self.value is not None:
            writer.add(*place, self.value)


def _place(stream: Stream, clip: ClipWork) -> tuple[str, int, int]:
    return stream.digest, clip.clip.start_ns, clip.clip.end_ns
