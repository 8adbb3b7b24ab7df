"""How fast are shuffled, aligned batches, against webdataset on the same tars and against the memory itself?

Builds a temporary store of 10 shards with two sequences and a vector of about 10 KB per clip, one of them of many
lengths, and reads whole shuffled epochs with the page cache warm. Rounds are interleaved; figures are medians, per
second of CPU time, because a shared machine steals wall time; every contestant works in one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmpipe.batches.aligned import AlignedReader
from mmpipe.batches.order import batches_of, epoch_order
from mmpipe.store.layout import StoreLayout
from mmpipe.store.sample import SampleFeature, make_sample_store
from mmpipe.store.snapshot import take_snapshot
from mmpipe.store.spine import read_spine
from mmpipe.types import FeatureKind, FeatureSchema, Modality

DAY = "2026-11-20"
BATCH_CLIPS = 256
SHARDS = 10
GOALS = {"one_feature_samples_per_cpu_s": 150_000.0, "one_feature_over_webdataset": 50.0}


def main() -> None:
    """Run the benchmark and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller store, five rounds: under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    shard_clips, rounds = (600, 5) if arguments.quick else (3000, 7)
    with tempfile.TemporaryDirectory(prefix="mmpipe-bench-") as folder:
        log(f"building a store of {SHARDS} x {shard_clips} clips")
        layout = make_sample_store(Path(folder) / "store", features(), shards=SHARDS, shard_clips=shard_clips)
        result = measure(layout, rounds)
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        print_table(result)


def features() -> list[SampleFeature]:
    """Return three modalities of about 10 KB each: one length, many lengths, a vector."""
    video = FeatureSchema(feature="video-bench@1", modality=Modality.VIDEO, kind=FeatureKind.SEQUENCE, dim=320)
    audio = FeatureSchema(feature="audio-bench@1", modality=Modality.AUDIO, kind=FeatureKind.SEQUENCE, dim=64)
    text = FeatureSchema(feature="text-bench@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=2560)
    return [
        SampleFeature(schema=video, min_steps=8, max_steps=8),
        SampleFeature(schema=audio, min_steps=30, max_steps=50),
        SampleFeature(schema=text),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Something that visits every clip of the store once, in its own way, and says how many it saw."""

    name: str
    visit: Callable[[int], int]  # round number -> clips seen


def measure(layout: StoreLayout, rounds: int) -> dict[str, object]:
    """Time every contestant once per round, and return medians, ratios and what was aimed at."""
    contestants = list(make_contestants(layout))
    for contestant in contestants[:-1]:
        contestant.visit(0)  # maps, verifies and warms; webdataset has nothing to warm
    rates: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    wall_rates: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for number in range(1, rounds + 1):
        for contestant in contestants:
            start_s, cpu_start_s = time.perf_counter(), time.process_time()
            clips = contestant.visit(number)
            rates[contestant.name].append(clips / (time.process_time() - cpu_start_s))
            wall_rates[contestant.name].append(clips / (time.perf_counter() - start_s))
        log(f"round {number} of {rounds}")
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "benchmark": "reader",
        "goals": GOALS,
        "ratios": ratios(medians),
        "samples_per_cpu_s": medians,
        "raw_samples_per_cpu_s": rates,
        "raw_samples_per_s": wall_rates,
        "setting": {
            "clips": read_spine(layout, "sample").height,
            "batch_clips": BATCH_CLIPS,
            "rounds": rounds,
            "cpus": len(os.sched_getaffinity(0)),
            "machine": platform.machine(),
            "numpy": np.__version__,
        },
    }


def ratios(medians: dict[str, float]) -> dict[str, float]:
    """Return the comparisons that matter; a ratio under 1.25 on a shared machine is a tie."""
    one = medians["ours_one"]
    return {
        "one_feature_over_webdataset": one / medians["webdataset_one"],
        "one_feature_over_ram_gather": one / medians["ram_gather_one"],
        "one_feature_over_memcpy": one / medians["memcpy_one"],
        "three_features_over_one": medians["ours_three"] / one,
        "ragged_over_one_length": medians["ours_ragged"] / one,
    }


def make_contestants(layout: StoreLayout) -> Iterator[Contestant]:
    """Yield our reader over several choices of features, the memory itself, and last webdataset."""
    names = [feature.schema.feature for feature in features()]
    snapshot = take_snapshot(layout, "sample", names)
    choices = {"ours_one": names[:1], "ours_ragged": names[1:2], "ours_vector": names[2:], "ours_three": names}
    for name, chosen in choices.items():
        yield Contestant(name=name, visit=epoch_of(AlignedReader(layout, snapshot, chosen)))
    reader = AlignedReader(layout, snapshot, names[:1])
    everything_ND = reader.gather(np.arange(len(reader))).features[names[0]].x_BTD.reshape(len(reader), -1)
    yield Contestant(name="ram_gather_one", visit=ram_gather(everything_ND))
    yield Contestant(name="memcpy_one", visit=memcpy(everything_ND))
    yield Contestant(name="webdataset_one", visit=webdataset_epoch(layout, names[0]))


def epoch_of(reader: AlignedReader) -> Callable[[int], int]:
    """Read a shuffled epoch through our reader."""

    def visit(number: int) -> int:
        for rows in batches_of(epoch_order(len(reader), seed=1, epoch=number), BATCH_CLIPS):
            reader.gather(rows)
        return len(reader)

    return visit


def ram_gather(x_ND: np.ndarray) -> Callable[[int], int]:
    """Take the same shuffled batches from one array in memory: what no file format can beat."""

    def visit(number: int) -> int:
        for rows in batches_of(epoch_order(len(x_ND), seed=1, epoch=number), BATCH_CLIPS):
            np.take(x_ND, rows, axis=0)
        return len(x_ND)

    return visit


def memcpy(x_ND: np.ndarray) -> Callable[[int], int]:
    """Copy the same bytes in order."""
    target_ND = np.empty_like(x_ND[:BATCH_CLIPS])

    def visit(number: int) -> int:
        for start in range(0, len(x_ND), BATCH_CLIPS):
            part = x_ND[start : start + BATCH_CLIPS]
            np.copyto(target_ND[: len(part)], part)
        return len(x_ND)

    return visit


def webdataset_epoch(layout: StoreLayout, feature: str) -> Callable[[int], int]:
    """Read a tenth of the clips through webdataset's own reader with its shuffle buffer: it is that much slower."""
    import webdataset

    shard = sorted(str(path) for path in layout.dataset("sample", feature).data(DAY).glob("*.tar"))

    def visit(number: int) -> int:
        samples = webdataset.WebDataset([shard[number % len(shard)]], shardshuffle=False).shuffle(1000).decode()
        clips = 0
        for batch in samples.to_tuple("npy").batched(BATCH_CLIPS):
            clips += len(batch[0])
        return clips

    return visit


def print_table(result: dict[str, object]) -> None:
    """Print the figures for a person."""
    for title in ("samples_per_cpu_s", "ratios", "goals"):
        print(title)
        table = result[title]
        assert isinstance(table, dict)
        for name, figure in table.items():
            print(f"  {name:32s} {figure:14,.2f}")


def log(line: str) -> None:
    """Say on stderr how far it is."""
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
