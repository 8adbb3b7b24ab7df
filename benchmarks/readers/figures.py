"""The ratios that have goals, with their spread over the rounds; a gap under 1.25 on a shared machine is a tie."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.readers.race import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Ours over the best of some others, round by round; by the CPU, or by the clock."""

    name: str
    ours: str
    others: tuple[str, ...]
    goal: float | None = None
    wall: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number with its lowest and highest round, or None with the reason; and what was aimed at."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    goal: float | None = None
    at_most: bool = False
    why: str = ""

    @property
    def met(self) -> bool | None:
        """Say whether the goal is met; None where there is no goal or no number."""
        if self.value is None or self.goal is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal


RATIOS = (
    Ratio(name="vs_memcpy", ours="ours", others=("memcpy",), goal=0.35),
    Ratio(name="vs_mmap", ours="ours", others=("mmap_rows", "mmap_takes"), goal=0.8),
    Ratio(name="vs_ram_gather", ours="ours", others=("ram_gather",)),
    Ratio(name="vs_parquet", ours="ours", others=("parquet",), goal=5.0),
    Ratio(name="vs_webdataset", ours="ours_sequence", others=("webdataset",), goal=50.0),
    Ratio(name="vs_webdataset_export", ours="ours", others=("webdataset_export",)),
    # A whole sample is three values, and only a joined export gives webdataset all of them.
    Ratio(name="torch_vs_webdataset_loader", ours="ours_torch_all", others=("webdataset_export_loader",), goal=100.0),
    Ratio(name="torch_sequence_vs_webdataset_loader", ours="ours_torch_sequence", others=("webdataset_loader",)),
    Ratio(name="torch_sequence_limit", ours="memcpy_sequence", others=("webdataset_loader",)),
    Ratio(name="torch_vs_parquet", ours="ours_torch", others=("parquet_torch",), goal=5.0),
    Ratio(name="torch_vs_lance", ours="ours_torch", others=("lance_torch",), goal=5.0),
    Ratio(name="torch_vs_litdata", ours="ours_torch", others=("litdata_torch",), goal=5.0),
    Ratio(name="write_vs_tarwriter", ours="write", others=("tarwriter",), goal=3.0),
    Ratio(name="write_wall_vs_tarwriter", ours="write", others=("tarwriter",), wall=True),
    Ratio(name="write_sequence_vs_tarwriter", ours="write_sequence", others=("tarwriter_sequence",)),
    Ratio(name="write_sequence_vs_floor", ours="write_sequence", others=("write_floor_digests",)),
    Ratio(name="write_floor", ours="write_floor", others=("tarwriter_sequence",)),
    Ratio(name="write_floor_digests", ours="write_floor_digests", others=("tarwriter_sequence",)),
)


def figures(outcome: Outcome, disk_vs_raw: float) -> list[Figure]:
    """Return every ratio, and the two figures that are none."""
    return [
        *(ratio_figure(ratio, outcome) for ratio in RATIOS),
        _one_sample(outcome),
        Figure(name="sequence_disk_vs_raw", value=disk_vs_raw, goal=1.15, at_most=True),
    ]


def ratio_figure(ratio: Ratio, outcome: Outcome) -> Figure:
    """Compare rounds that ran side by side, so that what else the machine does hits both."""
    rates = outcome.per_wall_s if ratio.wall else outcome.per_cpu_s
    missing = [name for name in (ratio.ours, *ratio.others) if name not in rates]
    if missing:
        return Figure(name=ratio.name, value=None, goal=ratio.goal, why=_reasons(missing, outcome.left_out))
    others = zip(*(rates[name] for name in ratio.others), strict=True)
    found = [ours / max(round_) for ours, round_ in zip(rates[ratio.ours], others, strict=True)]
    return Figure(name=ratio.name, value=statistics.median(found), low=min(found), high=max(found), goal=ratio.goal)


def _one_sample(outcome: Outcome) -> Figure:
    """Return the microseconds of CPU for one clip by key."""
    rates: Sequence[float] = outcome.per_cpu_s.get("one_sample", ())
    if not rates:
        why = _reasons(["one_sample"], outcome.left_out)
        return Figure(name="one_sample_us", value=None, goal=20.0, at_most=True, why=why)
    times_us = [1e6 / rate for rate in rates]
    return Figure(
        name="one_sample_us",
        value=statistics.median(times_us),
        low=min(times_us),
        high=max(times_us),
        goal=20.0,
        at_most=True,
    )


def _reasons(names: Sequence[str], left_out: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {left_out.get(name, 'not measured')}" for name in names)
