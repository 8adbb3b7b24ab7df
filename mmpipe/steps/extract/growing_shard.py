"""One feature of a shard while it grows: every clip is settled once, and values are written in order.

A value is computed with others, or comes from a shard that is committed already, or from a clip with the same bytes.
What is computed goes to the spool first: a worker that takes over finds it there, and goes on after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmpipe.errors import SampleError
from mmpipe.features.extractor import Extractor
from mmpipe.media.filters import FilterStep
from mmpipe.steps.extract.clip_rows import ClipRow, Place, make_drop, place_of
from mmpipe.steps.extract.micro_batch import BatchComputer, Computed, Gathered, fault_of
from mmpipe.steps.extract.shard_meter import ShardMeter
from mmpipe.steps.extract.spool import Settled, Spool, SpooledDrop, SpooledValue
from mmpipe.steps.plan.renditions import Preparation, filter_steps
from mmpipe.steps.plan.shard_work import AssetWork, ClipWork, FeatureDone, FeatureWork, ReusedValue, ShardWork
from mmpipe.store.commit import read_head
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.manifest import FileEntry, ShardEntry
from mmpipe.store.objects import put_object
from mmpipe.store.reader import ShardReader
from mmpipe.store.receipt import Receipt, put_receipt
from mmpipe.store.shard import RawValue, StagedShard
from mmpipe.store.writer import ShardWriter
from mmpipe.types import ClipMedia, Drop, Modality, Stream


@dataclass(slots=True, kw_only=True)
class GrowingShard:
    """What is settled of a shard's clips, what waits for its turn, and what fell out; `open_shards` makes it."""

    dataset: DatasetLayout
    feature: FeatureWork
    extractor: Extractor  # what it reads and gives; not set up
    batches: BatchComputer
    spool: Spool
    meter: ShardMeter
    writer: ShardWriter
    ordinals: tuple[int, ...]  # of its clips, rising; what was forgotten or superseded leaves gaps
    reused: Mapping[int, ReusedValue]
    twins: frozenset[Place]  # (stream, start, end) that more than one clip of the shard has
    preparation: Preparation | None = None  # where the feature reads a rendition
    staging: Path = Path()  # of the whole shard
    run: str = ""
    drops: dict[int, Drop] = field(default_factory=dict)  # by ordinal
    notes: list[Drop] = field(default_factory=list)  # of what is in use all the same
    passed: set[str] = field(default_factory=set)  # assets that the decoder has come through
    num_absent: int = 0
    num_reused: int = 0
    num_settled: int = 0  # whose turn has come
    settled: dict[int, ClipRow | None] = field(default_factory=dict)  # places, not values: memory stays flat
    taken: set[int] = field(default_factory=set)  # that wait for their batch, or for a twin's
    memory: dict[Place, tuple[int, SpooledValue]] = field(default_factory=dict)  # of twins: whose it was, and where
    parked: dict[Place, list[tuple[AssetWork, ClipWork]]] = field(default_factory=dict)  # behind a twin that waits
    passing: Settled = field(default_factory=Settled)  # of the asset that the decoder is in
    readers: dict[tuple[str, int], ShardReader] = field(default_factory=dict)

    @property
    def filters(self) -> tuple[FilterStep, ...]:
        """Return the filters that the media must go through before they are decoded."""
        return filter_steps(self.preparation.rendition) if self.preparation else ()

    def waits_for(self, clip: ClipWork) -> bool:
        """Say whether nothing is known of a clip yet."""
        return clip.ordinal not in self.taken and not self.is_settled(clip)

    def is_settled(self, clip: ClipWork) -> bool:
        """Say whether it is known what becomes of a clip."""
        behind = self.num_settled == len(self.ordinals) or clip.ordinal < self.ordinals[self.num_settled]
        return behind or clip.ordinal in self.settled

    def has_done(self, asset: AssetWork) -> bool:
        """Say whether an asset needs no decoding any more, because of what was done before this worker began."""
        return asset.asset_id in self.passed and not any(self.waits_for(clip) for clip in asset.clips)

    # ----------------------------------------------------------------------- what becomes of a clip

    def settle_known(self, asset: AssetWork, clip: ClipWork) -> bool:
        """Settle a clip that needs no decoding; say whether it is one that does, be it settled from the spool."""
        stream = asset.stream(self.extractor.modality)
        if stream is None:
            self.num_absent += 1
            self._settle(clip, None)
            return False
        if clip.ordinal in self.reused:
            self.num_reused += 1
            self._settle(clip, ClipRow(clip=clip, stream=stream.digest, reused=self.reused[clip.ordinal]))
            return False
        return not self._settle_twin(asset, clip, stream)

    def settle_media(self, asset: AssetWork, clip: ClipWork, media: ClipMedia | None) -> None:
        """Take what the decoder gave for a clip; it is settled when its micro-batch is."""
        if not self.waits_for(clip):
            return
        stream = asset.stream(self.extractor.modality)
        assert stream is not None
        if media is None:
            self._settle_without(asset, stream, clip)
        elif not self._settle_twin(asset, clip, stream):
            self._gather(asset, clip, media, place_of(stream, clip))

    def settle_fault(self, asset: AssetWork, clip: ClipWork, fault: SampleError) -> None:
        """Settle a clip that cannot be used, with the reason."""
        if not self.waits_for(clip):
            return
        drop = self._drop(asset, clip, fault)
        self.passing = self.passing.with_drop(clip.ordinal, drop)
        self.drops[clip.ordinal] = drop
        self._settle(clip, None)

    def note_damage(self, asset: AssetWork, stream: Stream, share: float) -> None:
        """Note, beside the first clip that is made of it here, that values come from media with holes."""
        if asset.asset_id in self.passed:
            return
        first = next(clip for clip in asset.clips if clip.ordinal not in self.reused)
        detail = f"{share:.2%} of the {stream.modality} cannot be decoded; it is used all the same"
        note = make_drop(asset, stream, first, self.feature.feature, "damaged", detail, kept=True)
        self.passing = self.passing.with_note(note)
        self.notes.append(note)

    def end_pass(self, asset: AssetWork) -> None:
        """Keep what was found in an asset, now that the decoder is through: it will not be decoded for this again."""
        if self.passing != Settled() or asset.asset_id not in self.passed:
            with self.meter.writing():
                self.spool.add(replace(self.passing, passed=asset.asset_id, run=self.run), ())
            self.passed.add(asset.asset_id)
        self.passing = Settled()

    def compute_rest(self) -> None:
        """Compute the clips that still wait."""
        for batch in self.batches.rest():
            self._settle_batch(batch)

    # ----------------------------------------------------------------------- before and after

    def recover(self, assets: Mapping[int, AssetWork], clips: Mapping[int, ClipWork], poisoned: set[str]) -> None:
        """Take over what a worker before this one has settled, but for assets that ended it; both by ordinal."""
        values: dict[int, SpooledValue] = {}
        absent: set[int] = set()
        before: set[int] = set()  # whose values a run before this one has computed
        for record in self.spool.recover():
            before |= {value.ordinal for value in record.values if record.run != self.run}
            values.update({value.ordinal: value for value in record.values})
            self.drops.update({dropped.ordinal: dropped.drop for dropped in record.drops})
            absent.update(record.absent)
            self.notes += record.notes
            if record.passed:
                self.passed.add(record.passed)
        values = {n: value for n, value in values.items() if n not in self.drops}  # what fell out later, stays out
        values = {n: value for n, value in values.items() if assets[n].asset_id not in poisoned}
        self.num_absent += len(absent)
        for ordinal in sorted({*values, *self.drops, *absent}):
            value = values.get(ordinal)
            if value and ordinal in before:
                self.num_reused += 1
            elif value:  # by a worker of this run, whose own account went with it
                self.meter.count_made(clips[ordinal].clip)
            self._settle(clips[ordinal], self._row_of(assets[ordinal], clips[ordinal], value) if value else None)

    def finish(self, work: ShardWork) -> FeatureDone:
        """Make the shard's files durable, leave the receipt, and remove the spool."""
        missing = len(self.ordinals) - self.num_settled
        assert not missing, f"{missing} of {len(self.ordinals)} clips were never settled"
        with self.meter.writing():
            staged = self.writer.close()
            files = tuple(self._put(staged))
        found = (*self.drops.values(), *self.notes)
        drops = tuple(sorted(found, key=lambda drop: (drop.clip_key, drop.kept, drop.detail)))
        entry = ShardEntry(
            number=work.shard,
            files=files,
            samples=staged.samples,
            inputs=self.feature.inputs,
            spine=len(self.ordinals) + work.num_superseded,
            absent=self.num_absent + work.num_superseded,
            quarantined=len(self.drops),
            statistics=staged.statistics,
        )
        with self.meter.writing():
            put_receipt(self.dataset, work.partition, self.feature.fingerprint, Receipt(entry=entry, drops=drops))
            self.spool.remove()
        return FeatureDone(feature=self.feature.feature, entry=entry, drops=drops)

    def _put(self, staged: StagedShard) -> Iterator[FileEntry]:
        for file in staged.files:
            sha256, nbytes = put_object(self.dataset, file.path)
            assert (sha256, nbytes) == (file.entry.sha256, file.entry.nbytes), f"{file.path} changed while staged"
            yield file.entry

    # ----------------------------------------------------------------------- micro-batches and twins

    def _gather(self, asset: AssetWork, clip: ClipWork, media: ClipMedia, place: Place) -> None:
        if self.preparation:
            try:
                with self.meter.decoding():
                    media = self.preparation.apply(media, " ".join(map(str, place)))
            except Exception as error:  # noqa: BLE001 - as of an extractor: one clip is dropped with the reason
                self.settle_fault(asset, clip, fault_of(self.feature.feature, error))
                return
        self.taken.add(clip.ordinal)
        if place in self.twins:
            self.parked.setdefault(place, [])
        for batch in self.batches.add(Gathered(asset=asset, clip=clip, media=media)):
            self._settle_batch(batch)

    def _settle_batch(self, batch: list[Computed]) -> None:
        """Keep what a batch came to, as one record, and settle its clips and the twins that are parked behind them."""
        if not batch:
            return
        values = [(each.clip, each.value) for each in batch if each.value is not None]
        drops = {
            clip.ordinal: (clip, self._drop(asset, clip, each.fault))
            for each in batch
            if each.fault is not None
            for asset, clip in self._same_as(each.clip)
        }
        record = Settled(
            values=tuple(SpooledValue.of(each.clip.ordinal, each.clip.clip.key, value) for each, value in values),
            drops=tuple(SpooledDrop(ordinal=ordinal, drop=drop) for ordinal, (_, drop) in drops.items()),
            run=self.run,
        )
        with self.meter.writing():
            placed = self.spool.add(record, [value for _, value in values])
        for (each, _), spooled in zip(values, placed.values, strict=True):
            same = self._same_as(each)
            self.num_reused += len(same) - 1
            for asset, clip in same:
                self._settle(clip, self._row_of(asset, clip, spooled))
        for clip, drop in drops.values():
            self.drops[clip.ordinal] = drop
            self._settle(clip, None)
        for computed in batch:
            self.parked.pop(self._place(computed.clip), None)

    def _same_as(self, clip: Gathered) -> list[tuple[AssetWork, ClipWork]]:
        """Return a clip, and the twins that are parked behind it."""
        return [(clip.asset, clip.clip), *self.parked.get(self._place(clip), ())]

    def _place(self, clip: Gathered) -> Place:
        stream = clip.asset.stream(self.extractor.modality)
        assert stream is not None
        return place_of(stream, clip.clip)

    def _settle_twin(self, asset: AssetWork, clip: ClipWork, stream: Stream) -> bool:
        """Settle a clip with the value of another one that has the same bytes, or park it until there is one."""
        place = place_of(stream, clip)
        if place in self.memory and self.memory[place][0] != clip.ordinal:
            if self.waits_for(clip):
                self.num_reused += 1
                self._settle(clip, ClipRow(clip=clip, stream=stream.digest, spooled=self.memory[place][1]))
            return True
        if place in self.parked and self.waits_for(clip):
            self.taken.add(clip.ordinal)
            self.parked[place].append((asset, clip))
            return True
        return False

    def _row_of(self, asset: AssetWork, clip: ClipWork, value: SpooledValue) -> ClipRow:
        stream = asset.stream(self.extractor.modality)
        assert stream is not None
        place = place_of(stream, clip)
        if place in self.twins:
            self.memory.setdefault(place, (clip.ordinal, value))
        return ClipRow(clip=clip, stream=stream.digest, spooled=value)

    def _settle_without(self, asset: AssetWork, stream: Stream, clip: ClipWork) -> None:
        """Settle a clip for which the decoder found nothing: absent, but where the stream should have had something."""
        if should_reach(asset, stream, clip):
            self.settle_fault(asset, clip, SampleError("no_media", f"the {stream.modality} does not reach this clip"))
        else:
            self.num_absent += 1
            self.passing = self.passing.with_absent(clip.ordinal)
            self._settle(clip, None)

    def _drop(self, asset: AssetWork, clip: ClipWork, fault: SampleError) -> Drop:
        stream = asset.stream(self.extractor.modality)
        return make_drop(asset, stream, clip, self.feature.feature, fault.code, fault.detail)

    # ----------------------------------------------------------------------- writing in order

    def _settle(self, clip: ClipWork, row: ClipRow | None) -> None:
        self.settled[clip.ordinal] = row
        self.taken.discard(clip.ordinal)
        while self.num_settled < len(self.ordinals) and self.ordinals[self.num_settled] in self.settled:
            ready = self.settled.pop(self.ordinals[self.num_settled])
            if ready is not None:
                with self.meter.writing():
                    self._write(ready)
            self.num_settled += 1

    def _write(self, row: ClipRow) -> None:
        if row.reused is not None:
            self.writer.add_raw(*row.place, self._read(row.reused))
        elif row.spooled is not None:
            self.writer.add(*row.place, self.spool.read(row.spooled))

    def _read(self, place: ReusedValue) -> RawValue:
        where = place.partition, place.shard
        if where not in self.readers:
            head = read_head(self.dataset, place.partition)
            entry = head.shard(place.shard) if head else None
            reader = entry and ShardReader.open(self.dataset, entry, self.extractor.schema)
            assert reader, f"{self.feature.feature} dt={place.partition} shard {place.shard} was planned for reuse"
            self.readers[where] = reader
        return self.readers[where].raw(place.row)


def should_reach(asset: AssetWork, stream: Stream, clip: ClipWork) -> bool:
    """Say whether a stream, as it was probed, has something in a clip: text between two cues has not, nor has a track
    that ended before, nor need an array."""
    if stream.modality is Modality.ARRAY:
        return False  # a sensor may be silent for a while, or have no number to give
    if stream.modality is Modality.TEXT:
        return not (asset.cues or stream.duration_ns)
    ends_ns = stream.start_ns + stream.duration_ns
    return stream.duration_ns <= 0 or (clip.clip.start_ns < ends_ns and stream.start_ns < clip.clip.end_ns)
