"""What a plan will take: clips, time from what was measured, bytes from what is committed, and whether they fit."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.io import StorePath
from mmpipe.steps.plan.external_pins import VERSION, registered_names
from mmpipe.steps.plan.plan import Plan, ShardDue
from mmpipe.store.heads import read_heads
from mmpipe.store.layout import StoreLayout
from mmpipe.store.throughput import read_throughput, values_per_second

ROOM = 1.2  # so much more than the estimate must be free
COPIED = "copied, nothing to compute"
_NOTHING_TO_COMPUTE = (COPIED, "its commit was cut short: nothing is left to compute")
FreeBytes = Callable[[StorePath], int | None]  # None: nobody can say, as of an object store


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a plan will take; None is unknown, because nothing like it was made before."""

    clips: int  # distinct clips of the shards
    shards: int
    values_to_compute: int  # clips x features
    values_to_copy: int
    seconds: float | None
    nbytes: int | None
    free_bytes: int | None
    unmeasured: tuple[str, ...]  # features without a measured time or size

    def table(self) -> dict[str, Any]:
        """Return plain values, "unknown" where nothing was measured."""
        return {name: "unknown" if value is None else value for name, value in asdict(self).items()}


def free_bytes(path: StorePath) -> int | None:
    """Return the free room of the disk that a store lies on, or will lie on; None where it is no disk."""
    if "://" in str(path):
        return None
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def forecast_plan(config: Config, plan: Plan, free: FreeBytes = free_bytes) -> Forecast:
    """Estimate what a plan takes from the notes of past runs and the sizes of committed shards."""
    layout = StoreLayout(config.store)
    theirs = frozenset(f"{name}@{VERSION}" for name in registered_names(layout, plan.corpus))
    compute, copy = _count_values(plan.shards, theirs)
    features = sorted({*compute, *copy})
    rates = values_per_second(read_throughput(layout, plan.corpus), features)
    sizes = {name: size for name in features if (size := _bytes_per_value(layout, plan.corpus, name)) is not None}
    known_time, known_size = compute.keys() <= rates.keys(), set(features) <= sizes.keys()
    return Forecast(
        clips=sum(due.clips for due in plan.shards),
        shards=len(plan.shards),
        values_to_compute=sum(compute.values()),
        values_to_copy=sum(copy.values()),
        seconds=sum(count / rates[name] for name, count in compute.items()) if known_time else None,
        nbytes=round(sum((compute.get(name, 0) + copy.get(name, 0)) * sizes[name] for name in features))
        if known_size
        else None,
        free_bytes=free(layout.root),
        unmeasured=tuple(name for name in features if name not in sizes or (name in compute and name not in rates)),
    )


def require_room(config: Config, corpus: str, shards: Sequence[ShardDue], free: FreeBytes = free_bytes) -> None:
    """Refuse work whose values will not fit on the disk, before any of it is done."""
    made = forecast_plan(config, Plan(corpus=corpus, shards=tuple(shards)), free)
    if made.nbytes is not None and made.free_bytes is not None and made.free_bytes < ROOM * made.nbytes:
        raise ConfigError(
            f"{made.shards} shards of {corpus!r} need about {_mib(made.nbytes)}, and {config.store} has "
            f"{_mib(made.free_bytes)} free; {ROOM} times the need must be free. "
            "Free some space, choose another `store`, or take fewer dates (--from, --to) or features (--feature)."
        )


def _count_values(shards: Sequence[ShardDue], theirs: frozenset[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the values to compute and those to copy, by feature; another team's are copied."""
    compute: dict[str, int] = {}
    copy: dict[str, int] = {}
    for due in shards:
        for feature, reason in due.named_reasons():
            counts = copy if feature in theirs or reason.endswith(_NOTHING_TO_COMPUTE) else compute
            counts[feature] = counts.get(feature, 0) + due.clips
    return compute, copy


def _bytes_per_value(layout: StoreLayout, corpus: str, feature: str) -> float | None:
    """Return the mean size of a feature's values, with their index; None before the first."""
    heads = read_heads(layout.dataset(corpus, feature))
    samples, nbytes = heads.select(pl.col("samples").sum(), (pl.col("data_nbytes") + pl.col("index_nbytes")).sum()).row(
        0
    )
    return nbytes / samples if samples else None


def _mib(nbytes: float) -> str:
    return f"{nbytes / 2**20:,.1f} MiB"


def totals_of(made: Forecast) -> Mapping[str, str]:
    """Return the totals for a person."""
    time = "unknown" if made.seconds is None else f"about {made.seconds:,.0f} s"
    size = "unknown" if made.nbytes is None else f"about {_mib(made.nbytes)}"
    room = "unknown" if made.free_bytes is None else _mib(made.free_bytes)
    why = f" (not measured yet: {', '.join(made.unmeasured)})" if made.unmeasured else ""
    return {
        "clips": f"{made.clips:,} in {made.shards:,} shards",
        "values": f"{made.values_to_compute:,} to compute, {made.values_to_copy:,} to copy",
        "time": time + (why if made.seconds is None else ""),
        "size": size + (why if made.nbytes is None else ""),
        "free": room,
    }
