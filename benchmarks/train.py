"""How much does our training loop add to a bare PyTorch loop, and does an epoch read at the speed of memory?

Step time: the same networks, losses, optimiser and clips in memory, through our loop (deterministic, with gradients
clipped, checked, counted and logged) and through the loop that one writes by hand. Reading: a shuffled epoch of whole
batches out of the mapped shards, as tensors checked for finite values, against the same batches taken out of plain
arrays in memory and turned into the same tensors. Rounds are interleaved and the first does not count; a ratio is the
median over rounds of CPU time, on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.readers.bench import AUDIO, SEQUENCE, TEXT, Bench, make_bench
from benchmarks.readers.figures import Figure, Ratio, ratio_figure
from benchmarks.readers.race import Contestant, Outcome, Visit, race
from mmpipe.config import TrainConfig
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.preprocess import Prepared
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.train.data import CHUNK_CLIPS, ClipSource, chunks, fit_preprocess, prepare_data, tensors_of
from mmpipe.train.deterministic import deterministic, epoch_order
from mmpipe.train.optimizer import make_optimizer
from mmpipe.train.ranks import ALONE
from mmpipe.train.run import Run
from mmpipe.types import Batch, FeatureKind, ModalityBatch

STEP_CLIPS = 6_400  # in memory, for the loops: 100 steps
NUM_CLASSES = 8
FUSIONS = ("concat", "transformer")
CONFIG = TrainConfig(epochs=1_000_000, patience_epochs=1_000_000)
FEATURES = (SEQUENCE, AUDIO, TEXT)
MOST_STEP_TIME, LEAST_READING = 1.1, 0.8


def main() -> None:
    """Run the benchmark and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="6000 clips and 3 rounds instead of 100000 and 7")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--samples", type=int, help="so many clips and one round: shows that it runs, no more")
    arguments = parser.parse_args()
    shards, shard_clips, rounds = (10, 600, 3) if arguments.quick else (10, 10_000, 7)
    if arguments.samples:
        shards, shard_clips, rounds = 2, max(1, arguments.samples // 2), 1
    with tempfile.TemporaryDirectory(prefix="mmpipe-bench-") as folder:
        os.environ["MMPIPE_CACHE"] = str(Path(folder) / "cache")  # nothing of an earlier run makes this one faster
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(folder) / "inductor")  # torch makes it, needed or not
        print(f"building a store of {shards} x {shard_clips} clips", file=sys.stderr)
        result = measure(make_bench(Path(folder), shards, shard_clips), rounds)
    print(json.dumps(result, indent=1)) if arguments.json else print_table(result)


def measure(bench: Bench, rounds: int) -> dict[str, Any]:
    """Time both questions, and return medians, ratios and what was aimed at."""
    with deterministic(1):
        outcome = race(readers(bench), rounds)
        for fusion in FUSIONS:
            outcome |= race(loops(bench, fusion), rounds)
    return report(bench, rounds, outcome)


def readers(bench: Bench) -> list[Contestant]:
    """Return who reads an epoch into tensors."""
    return [
        Contestant(name="epoch_from_shards", prepare=lambda: reading(bench.open(*FEATURES), bench.clips)),
        Contestant(name="epoch_from_memory", prepare=lambda: reading(Memory(bench), bench.clips)),
    ]


def loops(bench: Bench, fusion: str) -> list[Contestant]:
    """Return who trains an epoch."""
    return [
        Contestant(name=f"loop_{fusion}", prepare=lambda: our_loop(bench, fusion)),
        Contestant(name=f"bare_{fusion}", prepare=lambda: bare_loop(bench, fusion)),
    ]


class Memory:
    """The clips of the store as plain arrays."""

    def __init__(self, bench: Bench) -> None:
        self._arrays = {
            name: array.reshape(len(array), 8 if name == SEQUENCE else 1, -1)
            for name, array in zip(FEATURES, bench.arrays, strict=True)
        }

    def gather(self, rows: np.ndarray) -> Batch:
        """Return the clips of these rows."""
        features = {}
        for name, array_NTD in self._arrays.items():
            x_BTD = np.take(array_NTD, rows, axis=0)
            features[name] = ModalityBatch(x_BTD=x_BTD, mask_BT=np.ones(x_BTD.shape[:2], np.bool_))
        return Batch(keys=("",) * len(rows), features=features, labels_B=np.full(len(rows), -1))


def reading(source: ClipSource, num_clips: int) -> Visit:
    """Read shuffled epochs as training does."""

    def visit(number: int) -> int:
        batches = chunks(source, epoch_order(num_clips, 0, number))
        return sum(len(tensors_of(batch, FEATURES)[AUDIO][0]) for batch in batches)

    return visit


def prepared_clips(bench: Bench, fusion: str) -> tuple[FusionModel, Any, np.ndarray]:
    """Return a network, its preprocessed clips and their labels."""
    kinds = (FeatureKind.SEQUENCE, FeatureKind.VECTOR, FeatureKind.VECTOR)
    dims = (512, 512, 384)
    inputs = tuple(
        InputSpec(feature=name, kind=kind, dim=dim) for name, kind, dim in zip(FEATURES, kinds, dims, strict=True)
    )
    torch.manual_seed(0)
    model = FusionModel(
        ModelSpec(
            fusion=fusion,
            inputs=inputs,
            classes=tuple(map(str, range(NUM_CLASSES))),
            dropout=CONFIG.dropout,
            modality_dropout=CONFIG.modality_dropout,
        )
    )
    rows, source = np.arange(min(STEP_CLIPS, bench.clips)), bench.open(*FEATURES)
    fit_preprocess(model, source, rows)
    labels_N = np.random.default_rng(0).integers(0, NUM_CLASSES, len(rows))
    return model, prepare_data(model, source, rows), labels_N


def our_loop(bench: Bench, fusion: str) -> Visit:
    """Train epochs with the loop that `mmpipe train` runs."""
    model, data, labels_N = prepared_clips(bench, fusion)
    run = Run(model, data, labels_N, len(labels_N), CONFIG, 0, ALONE, torch.device("cpu"))

    def visit(number: int) -> int:
        run.train_epoch(lambda: None)
        return len(labels_N)

    return visit


def bare_loop(bench: Bench, fusion: str) -> Visit:
    """Train epochs with the loop that one writes by hand."""
    model, data, labels_N = prepared_clips(bench, fusion)
    clips: Mapping[str, Prepared] = data.take(np.arange(len(labels_N)))
    labels = torch.from_numpy(labels_N)
    optimizer = make_optimizer(model, CONFIG)
    model.train()

    def visit(number: int) -> int:
        for rows in torch.randperm(len(labels)).split(CONFIG.batch_clips):
            out = model.forward_prepared({name: part.take(rows) for name, part in clips.items()})
            assert out.logits_BK is not None
            loss = cross_entropy(out.logits_BK, labels[rows])
            for logits_BK in out.per_modality.values():
                loss = loss + CONFIG.unimodal_weight / len(clips) * cross_entropy(logits_BK, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CONFIG.clip_norm)
            optimizer.step()
        return len(labels)

    return visit


def figures(outcome: Outcome) -> list[Figure]:
    """Return the ratios with their goals; step times are ours over theirs, so less is better."""
    reads = Ratio(
        name="epoch_read_vs_memory", ours="epoch_from_shards", others=("epoch_from_memory",), goal=LEAST_READING
    )
    found = [ratio_figure(reads, outcome)]
    for fusion in FUSIONS:
        times = Ratio(name=f"step_time_vs_bare_{fusion}", ours=f"bare_{fusion}", others=(f"loop_{fusion}",))
        found.append(replace(ratio_figure(times, outcome), goal=MOST_STEP_TIME, at_most=True))
    return found


def report(bench: Bench, rounds: int, outcome: Outcome) -> dict[str, Any]:
    """Return all of it as plain JSON values; null where there is no figure, with the reason under `left_out`."""
    found = figures(outcome)
    read_per_s = outcome.per_wall_s.get("epoch_from_shards")
    return {
        "benchmark": "train",
        "goals": {figure.name: figure.goal for figure in found},
        "at_most": [figure.name for figure in found if figure.at_most],
        "ratios": {figure.name: figure.value for figure in found},
        "spread": {figure.name: [figure.low, figure.high] for figure in found if figure.low is not None},
        "met": {figure.name: figure.met for figure in found},
        "samples_per_cpu_s": {name: statistics.median(rates) for name, rates in outcome.per_cpu_s.items()},
        "samples_per_wall_s": {name: statistics.median(rates) for name, rates in outcome.per_wall_s.items()},
        "epoch_of_100000_s": 100_000 / statistics.median(read_per_s) if read_per_s else None,
        "raw_samples_per_cpu_s": outcome.per_cpu_s,
        "left_out": outcome.left_out,
        "setting": {
            "clips": bench.clips,
            "clip_bytes": bench.clip_bytes,
            "clips_in_memory": min(STEP_CLIPS, bench.clips),
            "batch_clips": CONFIG.batch_clips,
            "read_clips": CHUNK_CLIPS,
            "rounds": rounds,
            "cpus": len(os.sched_getaffinity(0)),
            "machine": platform.machine(),
            "torch": torch.__version__,
        },
    }


def print_table(result: dict[str, Any]) -> None:
    """Print the figures for a person."""
    print("samples_per_cpu_s")
    for name, figure in result["samples_per_cpu_s"].items():
        print(f"  {name:34s} {figure:>14,.0f}")
    print("ratios, with the lowest and highest round")
    for name, figure in result["ratios"].items():
        low, high = result["spread"].get(name, (None, None))
        spread = "" if low is None else f"[{low:,.2f} - {high:,.2f}]"
        sign = "<=" if name in result["at_most"] else ">="
        met = {True: "met", False: "NOT MET", None: "no figure"}[result["met"][name]]
        shown = "-" if figure is None else f"{figure:,.2f}"
        print(f"  {name:34s} {shown:>10s} {spread:22s} goal {sign} {result['goals'][name]:g}: {met}")
    if result["epoch_of_100000_s"]:
        print(f"an epoch of 100,000 clips reads in {result['epoch_of_100000_s']:.2f} s")
    for name, why in result["left_out"].items():
        print(f"left out: {name}: {why}")


if __name__ == "__main__":
    main()
