"""Take apart a micro-batch that failed as a whole, until every clip has its value or the reason why it has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmpipe.engine.device.link import STRIKES, DeviceLink, Encoded, Killed, Outcome
from mmpipe.engine.device.wire import Fault, FaultKind
from mmpipe.errors import SampleError, ShardError, TransientError
from mmpipe.types import DeviceMedia, FeatureValue


class RemoteError(Exception):
    """An exception of an extractor in the device's process; its class has the name of the original."""


@dataclass(slots=True, kw_only=True)
class Settled:
    """What became of the clips of a request, and what the encoder was given for them."""

    clips: list[FeatureValue | SampleError]
    used_units: int = 0
    padded_units: int = 0

    def __iadd__(self, other: Settled) -> Settled:
        """Append what became of the next clips."""
        self.clips += other.clips
        self.used_units += other.used_units
        self.padded_units += other.padded_units
        return self


def settle(link: DeviceLink, feature: int, media: Sequence[DeviceMedia], outcome: Outcome) -> Settled:
    """Return what a request came to, clip by clip; raise what is nobody's fault, or no clip's alone.

    A request that ended the process twice, or that memory does not suffice for, is done in halves.
    """
    if isinstance(outcome, Encoded):
        return Settled(clips=list(outcome.values), used_units=outcome.used_units, padded_units=outcome.padded_units)
    if isinstance(outcome, Fault) and outcome.kind is not FaultKind.MEMORY:
        raise error_of(outcome)
    if len(media) == 1:
        return Settled(clips=[_guilt(outcome)])
    found = Settled(clips=[])
    middle = (len(media) + 1) // 2
    for part in (media[:middle], media[middle:]):
        found += _settle_part(link, feature, part)
    if isinstance(outcome, Killed) and not any(isinstance(clip, SampleError) for clip in found.clips):
        # Nobody is guilty: the process was killed from outside. The values must be those of the whole micro-batch.
        again = link.collect(link.submit(feature, media, strikes=1))
        return settle(link, feature, media, again) if isinstance(again, Encoded) else found
    return found


def _settle_part(link: DeviceLink, feature: int, media: Sequence[DeviceMedia]) -> Settled:
    """Settle a half of what died twice: it may die once, but for a clip alone, which is not blamed by chance."""
    strikes = STRIKES if len(media) == 1 else 1
    outcome = link.collect(link.submit(feature, media, strikes))
    if isinstance(outcome, Fault) and outcome.kind in (FaultKind.SAMPLE, FaultKind.CRASHED):
        if len(media) == 1:
            return Settled(clips=[_guilt(outcome)])
        found = Settled(clips=[])
        for clip in media:
            found += _settle_part(link, feature, [clip])
        return found
    return settle(link, feature, media, outcome)


def error_of(fault: Fault) -> Exception:
    """Return the exception that a request ended in, as near as it can be made here."""
    if fault.kind is FaultKind.SAMPLE:
        return SampleError(fault.code, fault.detail)
    if fault.kind is FaultKind.CONFIG:
        return ShardError(fault.detail)  # no clip is to blame, and no other of the shard can be computed
    if fault.kind is FaultKind.TRANSIENT:
        return TransientError(fault.detail)
    if fault.kind is FaultKind.MEMORY:
        return MemoryError(fault.detail)
    name = fault.code if fault.code.isidentifier() else "RemoteError"
    return type(name, (RemoteError,), {})(fault.detail)  # the quarantine names the class, wherever it was raised


def _guilt(outcome: Fault | Killed) -> SampleError:
    """Return why a clip alone has no value."""
    if isinstance(outcome, Killed):
        return SampleError("device_killed", f"{outcome.detail}, alone and twice")
    if outcome.kind is FaultKind.MEMORY:
        return SampleError("device_memory", f"alone it does not fit into the memory of its device: {outcome.detail}")
    error = error_of(outcome)
    if isinstance(error, SampleError):
        return error
    return SampleError("extractor_error", f"{type(error).__name__}: {error}")
