"""Choose clips of a run for the timing of bare stages: a seeded few, spread over its assets, none that fell out."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from mmpipe.steps.plan.shard_work import AssetWork, ShardWork
from mmpipe.types import digest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleWork:
    """What one worker times: parts of shards, with a few of their assets and clips each."""

    shards: tuple[ShardWork, ...]
    most_s: float  # of decoding; what is left then is left out


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRule:
    """When the ceilings of a run are measured, and how long that may take.

    A run that took half a minute or more is measured, for 2 % of the time that it took and no longer than ten seconds.
    """

    share: float = 0.02
    from_s: float = 30.0
    most_s: float = 10.0

    def budget_s(self, run_s: float) -> float:
        """Return how long the measuring may take; 0: the run was too short."""
        return min(self.share * run_s, self.most_s) if run_s >= self.from_s else 0.0


def clips_within(budget_s: float, workers: int, clips: int, busy_s: float) -> int:
    """Return how many clips workers decode and extract in a time, at the rate at which they made a run's; at least 1.

    A tenth is kept for what no rate tells.
    """
    return max(1, math.floor(0.9 * budget_s * workers * clips / busy_s)) if busy_s > 0 else 1


def choose_sample(
    works: Sequence[ShardWork], num_clips: int, parts: int, spoilt: Collection[str] = (), most_s: float = 60.0
) -> list[SampleWork]:
    """Return work for at most `parts` workers: about `num_clips` clips, of assets that are not `spoilt` (ids).

    The draw depends on the works alone. Of an asset no more than a part's share of neighbouring clips is taken.
    """
    seed = digest_of("speed", *(f"{work.partition} {work.shard}" for work in works))
    draw = random.Random(seed)
    pool = [(number, asset) for number, work in enumerate(works) for asset in work.assets if _fits(asset, spoilt)]
    draw.shuffle(pool)
    share = max(1, math.ceil(num_clips / max(1, parts)))
    bins: list[list[tuple[int, AssetWork]]] = [[] for _ in range(max(1, parts))]
    taken = 0
    for turn, (number, asset) in enumerate(pool):
        if taken >= num_clips:
            break
        few = _few(asset, min(share, num_clips - taken), draw)
        bins[turn % len(bins)].append((number, few))
        taken += len(few.clips)
    return [SampleWork(shards=_shards(works, chosen), most_s=most_s) for chosen in bins if chosen]


def part_of(work: ShardWork, assets: Sequence[AssetWork]) -> ShardWork:
    """Return the part of a shard that has these assets alone, with nothing to copy and nothing to take over."""
    return replace(work, assets=tuple(assets), reused=(), num_clips=sum(len(asset.clips) for asset in assets))


def _fits(asset: AssetWork, spoilt: Collection[str]) -> bool:
    return asset.asset_id not in spoilt and bool(asset.clips) and bool(asset.streams)


def _few(asset: AssetWork, most: int, draw: random.Random) -> AssetWork:
    first = draw.randrange(max(1, len(asset.clips) - most + 1))
    return replace(asset, clips=asset.clips[first : first + most])


def _shards(works: Sequence[ShardWork], chosen: Sequence[tuple[int, AssetWork]]) -> tuple[ShardWork, ...]:
    numbers = dict.fromkeys(number for number, _ in chosen)
    return tuple(part_of(works[number], [asset for where, asset in chosen if where == number]) for number in numbers)
