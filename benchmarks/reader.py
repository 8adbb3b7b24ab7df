"""How fast are shuffled, aligned batches, against the memory itself and against the formats that others read?

Builds a temporary store of 10 shards with `8x512 float16 + 512 float16 + 384 float32` per clip, and the same numbers in
the formats of its peers. Every contestant reads whole shuffled epochs with the page cache warm, after a first epoch
that opens and verifies; cold epochs are their own figures. Rounds are interleaved; a ratio is the median over rounds
of CPU time, of this process and its children, because a shared machine steals wall time. webdataset reads our very
tars, so only the sequence, and an export that joins all three; in this process one tar a round, because it is that
much slower; Lance a tenth of the clips. Who cannot run is listed with the reason, and its ratios are null.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.readers import lance_table, litdata_folder, memory, ours, parquet_file, safetensors_mmap
from benchmarks.readers import webdataset_tars as tars
from benchmarks.readers.bench import (
    BATCH_CLIPS,
    SEQUENCE,
    Bench,
    make_bench,
    sequence_disk_vs_raw,
)
from benchmarks.readers.cold import ColdContestant, ColdOutcome, cold_epochs
from benchmarks.readers.figures import Figure, figures
from benchmarks.readers.race import Contestant, Outcome, race
from benchmarks.readers.writing import contestants as writers


def main() -> None:
    """Run the benchmark and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="6000 clips and 3 rounds instead of 50000 and 5")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--samples", type=int, help="so many clips and one round: shows that it runs, no more")
    arguments = parser.parse_args()
    shards, shard_clips, rounds = (10, 600, 3) if arguments.quick else (10, 5000, 5)
    if arguments.samples:
        shards, shard_clips, rounds = 2, max(1, arguments.samples // 2), 1
    with tempfile.TemporaryDirectory(prefix="mmpipe-bench-") as folder:
        os.environ["MMPIPE_CACHE"] = str(Path(folder) / "cache")  # nothing of an earlier run makes this one faster
        print(f"building a store of {shards} x {shard_clips} clips", file=sys.stderr)
        result = measure(make_bench(Path(folder), shards, shard_clips), rounds)
    print(json.dumps(result, indent=1)) if arguments.json else print_table(result)


def measure(bench: Bench, rounds: int) -> dict[str, Any]:
    """Time every group of contestants, and return medians, ratios and what was aimed at."""
    cold = cold_epochs(cold_contestants(bench), min(rounds, 3))
    outcome = Outcome()
    for group in groups(bench):
        outcome |= race(group, rounds)
    return report(bench, rounds, outcome, cold, figures(outcome, sequence_disk_vs_raw(bench)))


def groups(bench: Bench) -> list[list[Contestant]]:
    """Return who runs side by side; what forks workers comes before what starts threads."""
    exported = partial(tars.exported_tars, bench)
    return [
        [
            Contestant(name="ours_torch_sequence", prepare=lambda: ours.torch_epoch(bench, SEQUENCE)),
            Contestant(name="memcpy_sequence", prepare=lambda: memory.memcpy(bench, 1)),
            Contestant(name="ours_torch_all", prepare=lambda: ours.torch_epoch(bench)),
            Contestant(name="ours_torch_two_workers", prepare=lambda: ours.torch_loader(bench)),
            Contestant(name="webdataset_loader", prepare=lambda: tars.loader(bench.tars(), tars.FIELDS)),
            Contestant(name="webdataset_export_loader", prepare=lambda: tars.loader(exported(), tars.EXPORTED)),
        ],
        [
            Contestant(name="ours", prepare=lambda: ours.epoch(bench)),
            Contestant(name="ours_sequence", prepare=lambda: ours.epoch(bench, SEQUENCE)),
            Contestant(name="memcpy", prepare=lambda: memory.memcpy(bench)),
            Contestant(name="ram_gather", prepare=lambda: memory.ram_gather(bench)),
            Contestant(name="mmap_takes", prepare=lambda: safetensors_mmap.takes(bench)),
            Contestant(name="mmap_rows", prepare=lambda: safetensors_mmap.rows(bench)),
            Contestant(name="parquet", prepare=lambda: parquet_file.epoch(bench)),
            Contestant(name="webdataset", prepare=lambda: tars.epoch(bench.tars(), tars.FIELDS)),
            Contestant(name="webdataset_export", prepare=lambda: tars.epoch(exported(), tars.EXPORTED)),
        ],
        [
            Contestant(name="ours_torch", prepare=lambda: ours.torch_epoch(bench)),
            Contestant(name="parquet_torch", prepare=lambda: parquet_file.epoch(bench, torch=True)),
            Contestant(name="lance_torch", prepare=lambda: lance_table.torch_takes(bench)),
            Contestant(name="litdata_torch", prepare=lambda: litdata_folder.torch_epoch(bench)),
        ],
        [Contestant(name="one_sample", prepare=lambda: ours.single_clips(bench))],
        writers(bench),
    ]


def cold_contestants(bench: Bench) -> list[ColdContestant]:
    """Return who reads with a cold cache; webdataset one tar."""
    store = bench.files
    first = bench.tars()[:1]
    return [
        ColdContestant(name="in_order", files=store, prepare=lambda: ours.cold_epoch(bench, seed=None, verify=False)),
        ColdContestant(name="shuffled", files=store, prepare=lambda: ours.cold_epoch(bench, seed=1, verify=False)),
        ColdContestant(
            name="shuffled_verified", files=store, prepare=lambda: ours.cold_epoch(bench, seed=1, verify=True)
        ),
        ColdContestant(
            name="mmap_rows",
            files=lambda: safetensors_mmap.written(bench),
            prepare=lambda: safetensors_mmap.rows(bench),
        ),
        ColdContestant(
            name="parquet", files=lambda: [parquet_file.written(bench)], prepare=lambda: parquet_file.epoch(bench)
        ),
        ColdContestant(name="webdataset", files=lambda: first, prepare=lambda: tars.epoch(first, tars.FIELDS)),
    ]


def report(bench: Bench, rounds: int, outcome: Outcome, cold: ColdOutcome, found: list[Figure]) -> dict[str, Any]:
    """Return all of it as plain JSON values; null where there is no figure, with the reason under `left_out`."""
    goals = [figure for figure in found if figure.goal is not None]
    names = [contestant.name for group in groups(bench) for contestant in group]
    return {
        "benchmark": "reader",
        "goals": {figure.name: figure.goal for figure in goals},
        "at_most": [figure.name for figure in found if figure.at_most],
        "ratios": {figure.name: figure.value for figure in found},
        "spread": {figure.name: [figure.low, figure.high] for figure in found if figure.low is not None},
        "met": {figure.name: figure.met for figure in goals},
        "samples_per_cpu_s": {name: _median(outcome.per_cpu_s.get(name)) for name in names},
        "samples_per_wall_s": {name: _median(outcome.per_wall_s.get(name)) for name in names},
        "cold_samples_per_wall_s": cold.per_wall_s | {name.removeprefix("cold_"): None for name in cold.left_out},
        "cold_share_from_disk": cold.from_disk,
        "raw_samples_per_cpu_s": outcome.per_cpu_s,
        "left_out": outcome.left_out | cold.left_out,
        "setting": {
            "clips": bench.clips,
            "clip_bytes": bench.clip_bytes,
            "batch_clips": BATCH_CLIPS,
            "rounds": rounds,
            "cpus": len(os.sched_getaffinity(0)),
            "machine": platform.machine(),
            "numpy": np.__version__,
        },
    }


def print_table(result: dict[str, Any]) -> None:
    """Print the figures for a person."""
    for title in ("samples_per_cpu_s", "cold_samples_per_wall_s"):
        print(title)
        for name, figure in result[title].items():
            print(f"  {name:34s} {'-' if figure is None else f'{figure:,.0f}':>14s}")
    print("ratios, with the lowest and highest round")
    for name, figure in result["ratios"].items():
        low, high = result["spread"].get(name, (None, None))
        spread = "" if low is None else f"[{low:,.2f} - {high:,.2f}]"
        print(
            f"  {name:34s} {'-' if figure is None else f'{figure:,.2f}':>10s} {spread:22s} {_judgement(result, name)}"
        )
    for name, why in result["left_out"].items():
        print(f"left out: {name}: {why}")


def _judgement(result: dict[str, Any], name: str) -> str:
    if name not in result["goals"]:
        return ""
    sign = "<=" if name in result["at_most"] else ">="
    met = {True: "met", False: "NOT MET", None: "no figure"}[result["met"][name]]
    return f"goal {sign} {result['goals'][name]:g}: {met}"


def _median(rates: list[float] | None) -> float | None:
    return statistics.median(rates) if rates else None


if __name__ == "__main__":
    main()
