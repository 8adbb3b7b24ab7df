"""First epochs with nothing in the page cache, opening included, by wall time: the disk decides."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.readers.bench import drop_from_cache
from benchmarks.readers.race import Visit, reason_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdContestant:
    """A way to open and read once; `files` writes what is not there and returns what is dropped from the cache."""

    name: str
    files: Callable[[], Sequence[Path]]
    prepare: Callable[[], Visit]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdOutcome:
    """Clips per second by the clock, the share of the files that came from the disk, and who has no figure."""

    per_wall_s: dict[str, float] = field(default_factory=dict)
    from_disk: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def cold_epochs(contestants: Sequence[ColdContestant], rounds: int) -> ColdOutcome:
    """Take the median of some rounds; a share from the disk far from 1 says that the cache was not dropped."""
    outcome = ColdOutcome()
    for contestant in contestants:
        try:
            runs = [_once(contestant) for _ in range(rounds)]
        except Exception as error:  # noqa: BLE001  a peer that fails is a result, and is listed with its reason
            outcome.left_out[f"cold_{contestant.name}"] = reason_of(error)
            continue
        outcome.per_wall_s[contestant.name] = statistics.median(rate for rate, _ in runs)
        outcome.from_disk[contestant.name] = statistics.median(share for _, share in runs)
    print(f"cold: {', '.join(outcome.per_wall_s)}", file=sys.stderr)
    return outcome


def _once(contestant: ColdContestant) -> tuple[float, float]:
    files = contestant.files()
    nbytes = sum(path.stat().st_size for path in files)
    contestant.prepare()  # whatever it imports is not the disk's doing
    gc.collect()  # a page that is still mapped stays
    drop_from_cache(files)
    before, start_s = _bytes_from_disk(), time.perf_counter()
    clips = contestant.prepare()(0)
    wall_s = time.perf_counter() - start_s
    return clips / wall_s, (_bytes_from_disk() - before) / nbytes


def _bytes_from_disk() -> int:
    """Return what this process has made the disk read."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("read_bytes")).split()[1])
