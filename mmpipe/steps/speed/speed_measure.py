"""Measure a run's ceilings on its own clips, with its own workers still warm; nothing of it can fail the run."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from mmpipe.engine.engine import Engine
from mmpipe.engine.work import WorkItem
from mmpipe.errors import TransientError
from mmpipe.steps.ground.wire import decode
from mmpipe.steps.plan.shard_work import ShardDone, ShardWork, WorkMeter
from mmpipe.steps.speed.speed import DeviceFacts, SpeedFacts, StageSample, facts_of_meters
from mmpipe.steps.speed.speed_choice import SampleRule, choose_sample, clips_within
from mmpipe.steps.workers.device_pool import DevicePool, DeviceReport

FUNCTION = "mmpipe.steps.speed.speed_sample:time_stages"
_SLOWEST = 4  # so many times longer than thought, a sample may decode


def measure_speed(
    engine: Engine,
    devices: DevicePool,
    works: Sequence[ShardWork],
    done: Sequence[ShardDone],
    *,
    run_s: float,
    workers: int,
    price_per_hour: float | None,
    rule: SampleRule | None = None,
) -> SpeedFacts | None:
    """Return what a batch took that ended just now after `run_s` seconds, with its ceilings where the rule lets.

    None where no worker decoded anything. TransientError: the engine was cancelled.
    """
    rule = rule or SampleRule()
    meters = [shard.meter for shard in done if shard.meter.worker]
    ended_s = time.time()
    facts = facts_of_meters(
        meters,
        span=(ended_s - run_s, ended_s),
        workers=max(workers, len({meter.worker for meter in meters})),  # a cluster may have more
        devices=tuple(map(_facts_of, devices.reports())),
        price_per_hour=price_per_hour,
    )
    if not facts.clips:
        return None
    budget_s = rule.budget_s(run_s)
    if not budget_s:
        return replace(facts, no_sample=f"measured in runs of {rule.from_s:.0f} s and more")
    sample, fault = sample_stages(engine, devices, works, done, budget_s)
    return replace(facts, sample=sample, no_sample=fault)


def sample_stages(
    engine: Engine, devices: DevicePool, works: Sequence[ShardWork], done: Sequence[ShardDone], budget_s: float
) -> tuple[StageSample, str]:
    """Time bare stages on clips of `works` within a budget; return what they took, or why there is nothing.

    `done` says which workers are warm, and at which rate they went. TransientError: the engine was cancelled.
    """
    meters = [shard.meter for shard in done if shard.meter.worker]
    warm = len({meter.worker for meter in meters})  # another one would have to start first
    num_clips = clips_within(budget_s, warm, sum(meter.clips for meter in meters), _steady_s(meters))
    sampled = choose_sample(works, num_clips, warm, _spoilt(works, done), most_s=_SLOWEST * budget_s)
    items = [
        WorkItem(name=f"speed sample {number}", payload=part, timeout_s=works[0].limits.seconds_per_asset)
        for number, part in enumerate(sampled)
    ]
    return _time(engine, devices, items)


def _time(engine: Engine, devices: DevicePool, items: Sequence[WorkItem]) -> tuple[StageSample, str]:
    began_s, busy_before_s = time.monotonic(), sum(device.busy_s for device in map(_facts_of, devices.reports()))
    found, fault = StageSample(), "" if items else "no clip of the run can be sampled"
    for outcome in engine.run(FUNCTION, items):
        if outcome.result is not None:
            found += decode(StageSample, outcome.result)
        elif outcome.failure:
            if outcome.failure.code == TransientError.__name__:
                raise TransientError(outcome.failure.detail)
            fault = f"the sample failed: {outcome.failure.code}"
    busy_s = sum(device.busy_s for device in map(_facts_of, devices.reports())) - busy_before_s
    found = replace(found, device_s=busy_s, wall_s=time.monotonic() - began_s)
    if not found.clips and not fault:
        fault = "no clip of the sample could be decoded"
    return found, "" if found.clips else fault


def _steady_s(meters: Sequence[WorkMeter]) -> float:
    """Return the workers' time that clips cost: what was spent on loading models will not be spent again."""
    return sum(meter.decode_s + meter.encode_s for meter in meters)


def _spoilt(works: Sequence[ShardWork], done: Sequence[ShardDone]) -> Collection[str]:
    """Return the assets of clips that fell out: one of them may have ended a worker."""
    keys = {drop.clip_key for shard in done for feature in shard.features for drop in feature.drops}
    return {asset.asset_id for work in works for asset in work.assets for clip in asset.clips if clip.clip.key in keys}


def _facts_of(report: DeviceReport) -> DeviceFacts:
    meter = report.meter
    return DeviceFacts(
        device=report.device,
        name=report.name,
        busy_s=meter.busy_ns / 1e9,
        idle_s=meter.idle_ns / 1e9,
        load_s=meter.load_ns / 1e9,
    )
