"""How close a run came to what its machine can do: facts that add up, and the arithmetic that judges them.

A ceiling is what the workers reach with one stage alone, on clips of the run. On a CPU both stages share the cores, so
no run can reach the lower ceiling; what it can reach is the shared ceiling, and both efficiencies are told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

from mmpipe.steps.plan.shard_work import WorkMeter
from mmpipe.steps.speed.speed_report import SpeedReport as SpeedReport
from mmpipe.steps.speed.speed_report import rate_text
from mmpipe.words import counted

NANOSECONDS_PER_HOUR = 3_600_000_000_000
_POOR = 0.5  # of the shared ceiling: below that it is neither decoder nor encoder that holds the run up
_START = "starting and waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSample:
    """What bare stages took for some clips of the run."""

    clips: int = 0
    decode_s: float = 0.0  # of workers
    encode_s: float = 0.0  # of workers, for what they compute themselves
    device_s: float = 0.0  # that devices were busy
    wall_s: float = 0.0  # of the measuring itself

    def __add__(self, other: StageSample) -> StageSample:
        """Return both."""
        return StageSample(
            clips=self.clips + other.clips,
            decode_s=self.decode_s + other.decode_s,
            encode_s=self.encode_s + other.encode_s,
            device_s=self.device_s + other.device_s,
            wall_s=self.wall_s + other.wall_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What a device did since its process was asked for the first time."""

    device: str  # "cuda:0"
    name: str
    busy_s: float
    idle_s: float
    load_s: float  # of weights


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedFacts:
    """What a batch of shards took, or several batches; times of workers are sums over them."""

    spans: tuple[tuple[float, float], ...] = ()  # from, to: seconds since 1970
    workers: int = 0
    shards: int = 0
    clips: int = 0  # whose media were decoded for a value that was not there yet
    clip_ns: int = 0  # of these, each once however many modalities it has
    reused: int = 0  # values that were there before: no rate and no cost counts them
    busy_s: float = 0.0  # with a shard in hand
    decode_s: float = 0.0
    encode_s: float = 0.0
    write_s: float = 0.0
    file_bytes: int = 0
    media_bytes: int = 0
    frames: int = 0
    samples: int = 0
    used_units: int = 0
    padded_units: int = 0
    gpu_tracks: int = 0  # whose pictures NVDEC made
    cpu_tracks: tuple[tuple[str, int], ...] = ()  # whose pictures it was to make, and the CPU did, by reason
    devices: tuple[DeviceFacts, ...] = ()
    sample: StageSample = StageSample()
    no_sample: str = ""  # why there is none
    price_per_hour: float | None = None

    @property
    def wall_s(self) -> float:
        """Return how long at least one batch ran."""
        return sum(last - first for first, last in _union(self.spans))


def facts_of_meters(
    meters: Sequence[WorkMeter],
    *,
    span: tuple[float, float],
    workers: int,
    devices: tuple[DeviceFacts, ...] = (),
    price_per_hour: float | None = None,
) -> SpeedFacts:
    """Return what the meters of a batch's shards come to."""
    return SpeedFacts(
        spans=(span,),
        workers=workers,
        shards=len(meters),
        clips=sum(meter.clips for meter in meters),
        clip_ns=sum(meter.clip_ns for meter in meters),
        reused=sum(meter.reused for meter in meters),
        busy_s=sum(meter.ended_s - meter.started_s for meter in meters),
        decode_s=sum(meter.decode_s for meter in meters),
        encode_s=sum(meter.encode_s for meter in meters),
        write_s=sum(meter.write_s for meter in meters),
        file_bytes=sum(meter.file_bytes for meter in meters),
        media_bytes=sum(meter.media_bytes for meter in meters),
        frames=sum(meter.frames for meter in meters),
        samples=sum(meter.samples for meter in meters),
        used_units=sum(meter.used_units for meter in meters),
        padded_units=sum(meter.padded_units for meter in meters),
        gpu_tracks=sum(meter.gpu_tracks for meter in meters),
        cpu_tracks=_add_up(pair for meter in meters for pair in meter.cpu_tracks),
        devices=devices,
        price_per_hour=price_per_hour,
    )


def join_facts(facts: Iterable[SpeedFacts]) -> SpeedFacts:
    """Return the facts of batches as of one run: their workers and devices are the same ones."""
    return reduce(_join, facts, SpeedFacts())


def judge_speed(facts: SpeedFacts) -> SpeedReport:
    """Return the report on a run."""
    wall_s, hours = facts.wall_s, facts.clip_ns / NANOSECONDS_PER_HOUR
    time_s = max(wall_s * facts.workers, 1e-9)
    achieved = facts.clips / max(wall_s, 1e-9)
    decoder, encoder, shared = ceilings(facts)
    lower = min((rate for rate in (decoder, encoder) if rate), default=None)
    disturbed = _disturbed(achieved, shared)
    shared_efficiency = achieved / shared if shared and not disturbed else None
    shares = {
        "decoding": facts.decode_s / time_s,
        "encoding": facts.encode_s / time_s,
        "writing": facts.write_s / time_s,
        "loading and checking": max(0.0, facts.busy_s - facts.decode_s - facts.encode_s - facts.write_s) / time_s,
        _START: max(0.0, 1 - facts.busy_s / time_s),
    }
    units = facts.used_units + facts.padded_units
    known_s = sum(device.busy_s + device.idle_s + device.load_s for device in facts.devices)
    return SpeedReport(
        workers=facts.workers,
        shards=facts.shards,
        clips=facts.clips,
        reused=facts.reused,
        wall_s=wall_s,
        media_hours=hours,
        clips_per_s=achieved,
        times_real_time=hours * 3600 / max(wall_s, 1e-9),
        decoder_ceiling=decoder,
        encoder_ceiling=encoder,
        shared_ceiling=shared,
        efficiency=achieved / lower if lower and not disturbed else None,
        shared_efficiency=shared_efficiency,
        bottleneck=_bottleneck(facts, shares, decoder, encoder, shared_efficiency),
        decode_share=shares["decoding"],
        encode_share=shares["encoding"],
        write_share=shares["writing"],
        other_share=shares["loading and checking"],
        worker_idle_share=shares[_START],
        device_idle_share=sum(device.idle_s for device in facts.devices) / known_s if known_s else None,
        padding_waste=facts.padded_units / units if units else None,
        file_bytes=facts.file_bytes,
        media_bytes=facts.media_bytes,
        frames=facts.frames,
        samples=facts.samples,
        gpu_tracks=facts.gpu_tracks,
        cpu_tracks=facts.cpu_tracks,
        price_per_hour=facts.price_per_hour,
        cost_per_1000_media_hours=facts.price_per_hour * (wall_s / 3600) / hours * 1000
        if facts.price_per_hour and hours
        else None,
        sampled_clips=facts.sample.clips,
        sampling_s=facts.sample.wall_s,
        no_ceiling="" if facts.sample.clips else facts.no_sample or "not measured",
        disturbed=disturbed,
    )


def ceilings(facts: SpeedFacts) -> tuple[float | None, float | None, float | None]:
    """Return the rates of the bare decoder, the bare encoder, and both together on these workers and devices.

    What workers compute themselves they compute on the cores that decode; a device computes beside them.
    """
    sample = facts.sample
    if not sample.clips:
        return None, None, None
    decode_s, encode_s = sample.decode_s / sample.clips, sample.encode_s / sample.clips
    device_s = sample.device_s / sample.clips / max(1, len(facts.devices))
    decoder = facts.workers / decode_s if decode_s else None
    slowest_s = max(encode_s / facts.workers, device_s)
    both_s = max((decode_s + encode_s) / facts.workers, device_s)
    return decoder, 1 / slowest_s if slowest_s else None, 1 / both_s if both_s else None


def _disturbed(achieved: float, ceiling: float | None) -> str:
    """Say why a ceiling is none, "" where it can be one: the shared one is never above either of the others."""
    if not ceiling or achieved <= ceiling:
        return ""
    return (
        f"not told: {rate_text(achieved)} were achieved, above the ceiling of {rate_text(ceiling)} that was measured. "
        "Something else used this machine meanwhile, or the few clips of the sample are slower than the others. "
        "Measure again on a quiet machine: mmpipe bench extract"
    )


def _bottleneck(
    facts: SpeedFacts,
    shares: dict[str, float],
    decoder: float | None,
    encoder: float | None,
    shared_efficiency: float | None,
) -> str:
    """Name the lower ceiling; the greatest use of the workers' time where ceilings are unknown, or far away."""
    most = max(shares, key=lambda name: shares[name])
    if most == _START and facts.shards < facts.workers:
        most = f"waiting: {counted(facts.shards, 'shard')} for {facts.workers} workers (`shard_clips` says how large)"
    if not decoder or not encoder or shared_efficiency is None:
        return most
    if shared_efficiency < _POOR and most not in ("decoding", "encoding"):
        return most
    return "decoding" if decoder <= encoder else "encoding"


def _join(one: SpeedFacts, other: SpeedFacts) -> SpeedFacts:
    devices = {device.device: device for device in one.devices}
    for device in other.devices:  # each tells all since its start: the later one knows more
        before = devices.get(device.device)
        if before is None or device.busy_s >= before.busy_s:
            devices[device.device] = device
    return SpeedFacts(
        spans=(*one.spans, *other.spans),
        workers=max(one.workers, other.workers),
        shards=one.shards + other.shards,
        clips=one.clips + other.clips,
        clip_ns=one.clip_ns + other.clip_ns,
        reused=one.reused + other.reused,
        busy_s=one.busy_s + other.busy_s,
        decode_s=one.decode_s + other.decode_s,
        encode_s=one.encode_s + other.encode_s,
        write_s=one.write_s + other.write_s,
        file_bytes=one.file_bytes + other.file_bytes,
        media_bytes=one.media_bytes + other.media_bytes,
        frames=one.frames + other.frames,
        samples=one.samples + other.samples,
        used_units=one.used_units + other.used_units,
        padded_units=one.padded_units + other.padded_units,
        gpu_tracks=one.gpu_tracks + other.gpu_tracks,
        cpu_tracks=_add_up((*one.cpu_tracks, *other.cpu_tracks)),
        devices=tuple(devices[name] for name in sorted(devices)),
        sample=one.sample + other.sample,
        no_sample=one.no_sample or other.no_sample,
        price_per_hour=one.price_per_hour if other.price_per_hour is None else other.price_per_hour,
    )


def _add_up(pairs: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Return every name once, sorted, with the sum of its counts."""
    sums: Counter[str] = Counter()
    for name, count in pairs:
        sums[name] += count
    return tuple(sorted(sums.items()))


def _union(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return spans that do not overlap and cover the same."""
    joined: list[tuple[float, float]] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], last)
        else:
            joined.append((first, last))
    return joined
