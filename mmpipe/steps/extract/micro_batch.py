"""Gather the media of several clips, over assets, and compute one feature of all of them at once.

Where a batch ends depends on the clips that the feature itself reads, and on nothing else: not on other features, nor
on kills. A clip that cannot be computed costs itself alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from mmpipe.errors import SampleError, ShardError, TransientError
from mmpipe.features.extractor import MicroBatch
from mmpipe.steps.extract.shard_meter import ShardMeter, media_bytes
from mmpipe.steps.extract.shard_parts import Parts
from mmpipe.steps.plan.shard_work import AssetWork, ClipWork
from mmpipe.steps.workers.compute import AheadComputer, Computer
from mmpipe.store.shard import check_value
from mmpipe.types import ClipMedia, FeatureSchema, FeatureValue, digest_of

Wait = Callable[[], list[FeatureValue]]
# The engine knows what to do about memory; the others say that the moment or the device is to blame.
_NOT_OF_THE_CLIP = (MemoryError, TransientError, ShardError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """A clip that waits for others, with its media."""

    asset: AssetWork
    clip: ClipWork
    media: ClipMedia


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """What became of a clip: exactly one of value and fault."""

    clip: Gathered
    value: FeatureValue | None = None
    fault: SampleError | None = None


@dataclass(slots=True, kw_only=True)
class BatchComputer:
    """The clips of one feature that wait, and the computer that takes them."""

    bounds: MicroBatch
    schema: FeatureSchema
    computer: Computer
    parts: Parts
    meter: ShardMeter
    waiting: list[Gathered] = field(default_factory=list)
    waiting_bytes: int = 0
    flying: tuple[list[Gathered], object] | None = None  # computed elsewhere, while the next batch is decoded

    def add(self, clip: Gathered) -> Iterator[list[Computed]]:
        """Take a clip; yield the batches that it closes: one that it does not fit into, and one that it fills."""
        nbytes, most_bytes = media_bytes(clip.media), self.bounds.max_bytes
        if self.waiting and most_bytes and self.waiting_bytes + nbytes > most_bytes:
            yield self._advance()
        self.waiting.append(clip)
        self.waiting_bytes += nbytes
        if len(self.waiting) >= self.bounds.max_clips or (most_bytes and self.waiting_bytes >= most_bytes):
            yield self._advance()

    def rest(self) -> Iterator[list[Computed]]:
        """Yield the batches that are left, in order."""
        yield self._advance()
        yield self._land()

    def _advance(self) -> list[Computed]:
        """Compute the clips that wait, in their order; or have that begun elsewhere, and return the batch before."""
        batch, self.waiting, self.waiting_bytes = self.waiting, [], 0
        if not batch:
            return []
        if not isinstance(self.computer, AheadComputer):
            return self._compute(batch)
        ticket = self._send(self.computer, batch)
        before = self._land()
        self.flying = batch, ticket
        return before

    def _send(self, computer: AheadComputer, batch: Sequence[Gathered]) -> object:
        """Have a batch computed while others are decoded; None: it is to be computed when its turn comes."""
        if self._is_deadly(batch):
            return None
        try:
            with self.meter.encoding():
                return computer.submit([clip.media for clip in batch])
        except SampleError:  # a clip of it is known to be deadly
            return None

    def _land(self) -> list[Computed]:
        """Wait for the batch that is computed elsewhere; there may be none."""
        flying, self.flying = self.flying, None
        if flying is None:
            return []
        batch, ticket = flying
        assert isinstance(self.computer, AheadComputer)
        return self._compute(batch, partial(self.computer.collect, ticket) if ticket else None)

    def _compute(self, batch: list[Gathered], wait: Wait | None = None) -> list[Computed]:
        if wait is None and self._is_deadly(batch):
            return self._one_by_one(batch)
        with self.parts.inside(self._part(batch)):
            try:
                values = self._extract(batch, wait)
            except Exception as error:  # noqa: BLE001 - from anybody's code: one clip is dropped with the reason
                fault = fault_of(self.schema.feature, error)
                if len(batch) == 1:
                    return [Computed(clip=batch[0], fault=fault)]
                values = None
        return self._one_by_one(batch) if values is None else [*map(self._checked, batch, values)]

    def _is_deadly(self, batch: Sequence[Gathered]) -> bool:
        """Say whether a batch of several assets ended a worker before."""
        part = self._part(batch)
        return len(batch) > 1 and part != batch[0].asset.asset_id and bool(self.parts.why_deadly(part))

    def _one_by_one(self, batch: Sequence[Gathered]) -> list[Computed]:
        """Compute each clip as its asset's part: so one is found that fails, or ends the worker."""
        return [self._alone(clip) for clip in batch]

    def _alone(self, clip: Gathered) -> Computed:
        with self.parts.inside(clip.asset.asset_id):
            try:
                (value,) = self._extract([clip])
            except Exception as error:  # noqa: BLE001 - as above
                return Computed(clip=clip, fault=fault_of(self.schema.feature, error))
        return self._checked(clip, value)

    def _extract(self, batch: Sequence[Gathered], wait: Wait | None = None) -> list[FeatureValue]:
        before = self.computer.units
        with self.meter.encoding():
            values = wait() if wait else self.computer.extract([clip.media for clip in batch])
        self.meter.count_units(before, self.computer.units)
        if len(values) != len(batch):
            raise ValueError(f"{len(values)} values for {len(batch)} clips")
        return values

    def _checked(self, clip: Gathered, value: FeatureValue) -> Computed:
        try:
            check_value(self.schema, value)
        except SampleError as error:
            return Computed(clip=clip, fault=error)
        except Exception as error:  # noqa: BLE001 - not even an array
            return Computed(clip=clip, fault=fault_of(self.schema.feature, error))
        return Computed(clip=clip, value=value)

    def _part(self, batch: Sequence[Gathered]) -> str:
        """Return who is to blame where a batch ends the worker: its asset, or all of it where it has several."""
        assets = {clip.asset.asset_id for clip in batch}
        if len(assets) == 1:
            return batch[0].asset.asset_id
        return f"{self.schema.feature} batch {digest_of(*(clip.clip.ordinal for clip in batch))[:16]}"


def fault_of(feature: str, error: Exception) -> SampleError:
    """Return why a clip has no value, whatever was raised; raise it again where the clip is not to blame."""
    if isinstance(error, _NOT_OF_THE_CLIP):
        raise error
    if isinstance(error, SampleError):
        return error
    return SampleError("extractor_error", f"{feature} failed on this clip: {type(error).__name__}: {error}")
