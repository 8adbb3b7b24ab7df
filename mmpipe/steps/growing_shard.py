"""One feature of a shard while it grows: every clip is settled once, and values are written in order.

A value comes from the decoder, from a shard that is committed already, or from a clip with the same bytes before it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmpipe.errors import SampleError
from mmpipe.features.extractor import Extractor
from mmpipe.features.naming import make_feature
from mmpipe.features.prepared import Rendition
from mmpipe.io import make_directory
from mmpipe.media.facts import stream_facts
from mmpipe.media.filters import FilterStep
from mmpipe.steps.renditions import Preparation, filter_steps
from mmpipe.steps.shard_work import AssetWork, ClipWork, FeatureDone, FeatureWork, ReusedValue, ShardWork
from mmpipe.store.commit import read_head
from mmpipe.store.layout import DatasetLayout, StoreLayout
from mmpipe.store.manifest import FileEntry, ShardEntry
from mmpipe.store.objects import put_object
from mmpipe.store.reader import ShardReader
from mmpipe.store.receipt import Receipt, put_receipt
from mmpipe.store.shard import RawValue, ShardSpec, StagedShard, check_value
from mmpipe.store.writer import ShardWriter, open_shard_writer
from mmpipe.types import ClipMedia, Drop, FeatureValue, Modality, Stream


@dataclass(slots=True, kw_only=True)
class GrowingShard:
    """What is settled of a shard's clips, what waits for its turn, and what fell out."""

    dataset: DatasetLayout
    feature: FeatureWork
    extractor: Extractor
    writer: ShardWriter
    ordinals: tuple[int, ...]  # of its clips, rising; what was forgotten leaves gaps
    reused: Mapping[int, ReusedValue]
    twins: frozenset[tuple[str, int, int]]  # (stream, start, end) that more than one clip of the shard has
    drops: list[Drop] = field(default_factory=list)
    notes: list[Drop] = field(default_factory=list)  # of what is in use all the same
    num_absent: int = 0
    num_reused: int = 0
    num_settled: int = 0  # whose turn has come
    settled: dict[int, _Row | None] = field(default_factory=dict)
    memory: dict[tuple[str, int, int], FeatureValue] = field(default_factory=dict)
    readers: dict[tuple[str, int], ShardReader] = field(default_factory=dict)
    preparation: Preparation | None = None  # where the feature reads a rendition
    staging: Path = Path()  # of the whole shard

    @classmethod
    def open(
        cls, layout: StoreLayout, work: ShardWork, feature: FeatureWork, staging: Path, stack: ExitStack
    ) -> GrowingShard:
        """Set the extractor up, and begin a file in a staging folder."""
        rendition = Rendition.model_validate_json(feature.rendition_json) if feature.rendition_json else None
        extractor = make_feature(feature.name, json.loads(feature.table_json), rendition)
        extractor.setup("cpu")
        preparation = None
        if rendition:
            preparation = Preparation(layout=layout, corpus=work.corpus, rendition=rendition, needs=extractor.needs)
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
            if (stream := asset.stream(extractor.modality))
            for clip in asset.clips
        )
        return cls(
            dataset=layout.dataset(work.corpus, feature.feature),
            feature=feature,
            extractor=extractor,
            writer=stack.enter_context(open_shard_writer(spec, folder)),
            ordinals=tuple(sorted(clip.ordinal for asset in work.assets for clip in asset.clips)),
            reused={entry.ordinal: entry for entry in work.reused if entry.feature == feature.feature},
            twins=frozenset(place for place, count in ranges.items() if count > 1),
            preparation=preparation,
            staging=staging,
        )

    @property
    def filters(self) -> tuple[FilterStep, ...]:
        """Return the filters that the media must go through before they are decoded."""
        return filter_steps(self.preparation.rendition) if self.preparation else ()

    def waits_for(self, clip: ClipWork) -> bool:
        """Say whether a clip is not settled yet."""
        waiting = self.num_settled < len(self.ordinals) and clip.ordinal >= self.ordinals[self.num_settled]
        return waiting and clip.ordinal not in self.settled

    def settle_known(self, asset: AssetWork, clip: ClipWork) -> None:
        """Settle a clip that needs no decoding: nothing to read, or a value that is there already."""
        stream = asset.stream(self.extractor.modality)
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
        stream = asset.stream(self.extractor.modality)
        assert stream is not None
        if media is None:
            self._settle_without(asset, stream, clip)
            return
        try:
            value = self._compute(media, _place(stream, clip))
        except SampleError as error:
            self.settle_fault(asset, clip, error)
            return
        place = _place(stream, clip)
        if place in self.twins:
            self.memory[place] = value
        self._settle(clip, _Row(stream=stream.digest, value=value))

    def _settle_without(self, asset: AssetWork, stream: Stream, clip: ClipWork) -> None:
        """Settle a clip for which the decoder found nothing: absent, but where the stream should have had something."""
        if _should_reach(asset, stream, clip):
            self.settle_fault(asset, clip, SampleError("no_media", f"the {stream.modality} does not reach this clip"))
        else:
            self.num_absent += 1
            self._settle(clip, None)

    def _compute(self, media: ClipMedia, place: tuple[str, int, int]) -> FeatureValue:
        try:
            if self.preparation:
                media = self.preparation.apply(media, " ".join(map(str, place)))
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
        stream = asset.stream(self.extractor.modality)
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
                facts=stream_facts(stream),
            )
        )
        self._settle(clip, None)

    def note_damage(self, asset: AssetWork, stream: Stream, clip: ClipWork, share: float) -> None:
        """Note, beside the asset's first clip here, that values come from media with holes."""
        self.notes.append(
            Drop(
                stage="extract",
                code="damaged",
                detail=f"{share:.2%} of the {stream.modality} cannot be decoded; it is used all the same",
                file=stream.file,
                file_sha256=stream.file_sha256,
                source_id=asset.source_id,
                asset_id=asset.asset_id,
                clip_key=clip.clip.key,
                feature=self.feature.feature,
                facts=stream_facts(stream),
                kept=True,
            )
        )

    def finish(self, work: ShardWork) -> FeatureDone:
        """Make the shard's files durable and leave the receipt."""
        missing = len(self.ordinals) - self.num_settled
        assert not missing, f"{missing} of {len(self.ordinals)} clips were never settled"
        staged = self.writer.close()
        drops = tuple(sorted((*self.drops, *self.notes), key=lambda drop: (drop.clip_key, drop.kept, drop.detail)))
        entry = ShardEntry(
            number=work.shard,
            files=tuple(self._put(staged)),
            samples=staged.samples,
            inputs=self.feature.inputs,
            spine=len(self.ordinals),
            absent=self.num_absent,
            quarantined=len(self.drops),
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
        for ordinal in self.ordinals[self.num_settled :]:
            if ordinal not in self.settled:
                return
            ready = self.settled.pop(ordinal)
            if ready is not None:
                ready.write(self.writer)
            self.num_settled += 1

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


def _should_reach(asset: AssetWork, stream: Stream, clip: ClipWork) -> bool:
    """Say whether a stream, as it was probed, has something in a clip: text between two cues has not, nor has a track
    that ended before, nor need an array."""
    if stream.modality is Modality.ARRAY:
        return False  # a sensor may be silent for a while, or have no number to give
    if stream.modality is Modality.TEXT:
        return not (asset.cues or stream.duration_ns)
    ends_ns = stream.start_ns + stream.duration_ns
    return stream.duration_ns <= 0 or (clip.clip.start_ns < ends_ns and stream.start_ns < clip.clip.end_ns)


def _place(stream: Stream, clip: ClipWork) -> tuple[str, int, int]:
    return stream.digest, clip.clip.start_ns, clip.clip.end_ns
