"""Measure the embed stage alone: workers that make media instead of decoding them, and a device that computes.

What is reached here is the ceiling of shared memory, queues and the encoder process; a run with real media that stays
below it is bound by decoding.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import mean

import numpy as np

from mmpipe.engine.device.meter import DeviceMeter
from mmpipe.engine.device.sampler import sample_gpu
from mmpipe.engine.local import LocalEngine
from mmpipe.engine.work import WorkItem
from mmpipe.errors import TransientError
from mmpipe.features.extractor import Extractor, micro_batch_of
from mmpipe.steps.workers.device_client import Ticket, client_of, spec_of
from mmpipe.steps.workers.device_pool import DevicePool
from mmpipe.types import (
    ArrayClip,
    ArrayNeeds,
    AudioClip,
    AudioNeeds,
    ClipMedia,
    ImageClip,
    ImageNeeds,
    Needs,
    TextClip,
    TextNeeds,
    VideoClip,
    VideoNeeds,
)

FUNCTION = "mmpipe.steps.workers.device_bench:feed"
_IN_FLIGHT = 2
_SOURCE_RATE = 25.0  # frames per second of a video that is not sampled
_MEMORY_BYTES = 8 << 30
_TIMEOUT_S = 600.0
_WORDS = ("the", "of", "and", "to", "in", "is", "was", "for", "on", "that", "by", "this", "with", "you", "it", "not")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedWork:
    """What a worker is to feed the device with."""

    spec: str
    address: str
    needs: Needs
    clips: int  # of a micro-batch
    batches: int
    length_s: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceShare:
    """What one device did while the clock ran."""

    device: str
    name: str
    busy_share: float  # of the wall time: with a request in hand
    gpu_share: float | None  # of the wall time: kernels running, as the driver samples it; None: no driver to ask
    meter: DeviceMeter  # of the measured time


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedMeasure:
    """What the embed stage reached."""

    workers: int
    clips: int
    seconds: float
    devices: tuple[DeviceShare, ...]

    @property
    def clips_per_s(self) -> float:
        """Return the clips of all devices together."""
        return self.clips / self.seconds


def measure_embed_stage(
    extractor: Extractor,
    pool: DevicePool,
    num_workers: int,
    batches: int = 50,
    clips: int = 0,
    length_s: float = 4.0,
    seed: int = 0,
) -> EmbedMeasure:
    """Return what the devices of a pool reach with media of `length_s` that nobody decodes.

    `batches` micro-batches of `clips` (0: as many as the extractor wants) per worker are timed, after two that load
    the model and warm the device up. Raise ValueError for a pool without devices, TransientError where a worker fails.
    """
    if not pool.address:
        raise ValueError('the pool has no device: take "cuda", or MMPIPE_SERVE_CPU=1 to serve the CPU')
    work = FeedWork(
        spec=spec_of(extractor),
        address=pool.address,
        needs=extractor.needs,
        clips=clips or micro_batch_of(extractor).max_clips,
        batches=2,
        length_s=length_s,
        seed=seed,
    )
    with LocalEngine(num_workers, _MEMORY_BYTES, worker_setup="mmpipe.steps.workers.worker:set_up") as engine:
        _feed(engine, work, num_workers)
        before, started_s = pool.reports(), time.monotonic()
        with sample_gpu(len(before)) as sampled:
            _feed(engine, replace(work, batches=batches), num_workers)
            seconds = time.monotonic() - started_s
        after = pool.reports()
    shares = []
    for number, (earlier, later) in enumerate(zip(before, after, strict=True)):
        meter = later.meter - earlier.meter
        samples = sampled.get(number, [])
        shares.append(
            DeviceShare(
                device=later.device,
                name=later.name,
                busy_share=meter.busy_ns / 1e9 / seconds,
                gpu_share=mean(samples) / 100 if samples else None,
                meter=meter,
            )
        )
    made = sum(share.meter.clips for share in shares)
    return EmbedMeasure(workers=num_workers, clips=made, seconds=seconds, devices=tuple(shares))


def measure_bare_encoder(
    extractor: Extractor, device: str, batches: int = 50, clips: int = 0, length_s: float = 4.0, seed: int = 0
) -> float:
    """Return the clips per second of an extractor in this very process, on media that are there already."""
    extractor.setup(device)
    media = synthetic_media(extractor.needs, clips or micro_batch_of(extractor).max_clips, length_s, seed)
    for _ in range(2):
        extractor.extract(media)
    started_s = time.monotonic()
    for _ in range(batches):
        extractor.extract(media)
    return batches * len(media) / (time.monotonic() - started_s)


def feed(work: FeedWork, report: Callable[[str], None], _poisoned: Mapping[str, str]) -> bytes:
    """Send micro-batches, one computed while the next lies ready; what a worker does instead of decoding."""
    client = client_of(work.spec, work.address, lambda: report(""))
    batches = [synthetic_media(work.needs, work.clips, work.length_s, work.seed + number) for number in range(2)]
    flying: deque[Ticket] = deque()
    made = 0
    for number in range(work.batches):
        if len(flying) == _IN_FLIGHT:
            made += len(client.collect(flying.popleft()))
        flying.append(client.submit(batches[number % 2]))
    made += sum(len(client.collect(ticket)) for ticket in flying)
    return json.dumps({"clips": made}).encode()


def synthetic_media(needs: Needs, count: int, length_s: float, seed: int) -> list[ClipMedia]:
    """Return clips of noise in the form that an extractor asks for; texts are of skewed lengths, as real ones are."""
    rng = np.random.default_rng(seed)
    return [_synthetic(needs, length_s, rng) for _ in range(count)]


def _synthetic(needs: Needs, length_s: float, rng: np.random.Generator) -> ClipMedia:
    if isinstance(needs, VideoNeeds):
        rate = needs.frame_rate or (1.0 if needs.only_keyframes else _SOURCE_RATE)
        length = needs.num_frames or max(1, round(rate * length_s))
        times_ns = np.linspace(0, length_s * 1e9, length, endpoint=False).astype(np.int64)
        shape = (length, needs.height_px, needs.width_px, *(() if needs.gray else (3,)))
        return VideoClip(frames=rng.integers(0, 256, shape, np.uint8), times_ns=times_ns)
    if isinstance(needs, AudioNeeds):
        wave_N = rng.uniform(-0.5, 0.5, ceil(needs.sample_rate_hz * length_s)).astype(np.float32)
        return AudioClip(wave_N=wave_N, sample_rate_hz=needs.sample_rate_hz, start_ns=0)
    if isinstance(needs, ImageNeeds):
        shape = (needs.height_px, needs.width_px, *(() if needs.gray else (3,)))
        return ImageClip(image=rng.integers(0, 256, shape, np.uint8))
    if isinstance(needs, TextNeeds):
        count = 1 + int(rng.lognormal(2.2, 0.8))
        return TextClip(text=" ".join(rng.choice(_WORDS, count)))
    assert isinstance(needs, ArrayNeeds)
    length = ceil(100 * length_s)
    return ArrayClip(values_TD=rng.normal(size=(length, 8)).astype(np.float32), times_ns=np.arange(length) * 10_000_000)


def _feed(engine: LocalEngine, work: FeedWork, num_workers: int) -> None:
    items: Sequence[WorkItem] = [
        WorkItem(name=f"feed {number}", payload=replace(work, seed=work.seed + 10 * number), timeout_s=_TIMEOUT_S)
        for number in range(num_workers)
    ]
    for outcome in engine.run(FUNCTION, items):
        if outcome.failure is not None:
            raise TransientError(f"{outcome.name} failed: {outcome.failure.code}: {outcome.failure.detail}")
