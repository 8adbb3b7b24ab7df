"""How fast are shuffled, aligned batches, against the memory itself and against the formats that others read?

Builds a temporary store of 10 shards with `8x512 float16 + 512 float16 + 384 float32` per clip, and the same numbers as
safetensors, Parquet and Lance. Every contestant reads whole shuffled epochs with the page cache warm, after a first
epoch that verifies and maps. Rounds are interleaved; figures are medians per second of CPU time, of this process and
its children, because a shared machine steals wall time. webdataset reads our very tars, so only the sequence, and only
a shard or two a round, because it is that much slower; Lance a tenth of the clips.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import mmpipe
from mmpipe.batches.feature_reader import FeatureReader
from mmpipe.batches.order import batches_of, epoch_order
from mmpipe.store.layout import StoreLayout
from mmpipe.store.sample import SampleFeature, make_sample_store
from mmpipe.store.shard import ShardSpec
from mmpipe.store.tarshard import TarShardWriter
from mmpipe.types import FeatureKind, FeatureSchema, FeatureValue, Modality

DAY = "2026-11-20"
BATCH_CLIPS = 256
SHARDS = 10
SEQUENCE, AUDIO, TEXT = "video-bench@1", "audio-bench@1", "text-bench@1"
GOALS = {
    "vs_memcpy": 0.35,
    "vs_webdataset": 50.0,
    "vs_parquet": 5.0,
    "vs_mmap": 0.8,
    "write_vs_tarwriter": 3.0,
    "torch_vs_webdataset_loader": 100.0,
    "torch_vs_parquet": 5.0,
    "torch_vs_lance": 5.0,
    "one_sample_us": 20.0,  # at most
    "sequence_disk_vs_raw": 1.15,  # at most
}
AT_MOST = {"one_sample_us", "sequence_disk_vs_raw"}
LEFT_OUT = {"litdata": "not measured: its format needs a conversion by worker processes"}

Visit = Callable[[int], int]  # round number -> clips seen


def main() -> None:
    """Run the benchmark and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller store, fewer rounds: under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    shard_clips, rounds = (600, 3) if arguments.quick else (5000, 5)
    with tempfile.TemporaryDirectory(prefix="mmpipe-bench-") as folder:
        log(f"building a store of {SHARDS} x {shard_clips} clips")
        layout = make_sample_store(Path(folder) / "store", features(), shards=SHARDS, shard_clips=shard_clips)
        result = measure(layout, Path(folder), rounds)
    print(json.dumps(result, indent=1)) if arguments.json else print_table(result)


def features() -> list[SampleFeature]:
    """Return a sequence of one length and two vectors: 10 752 bytes per clip."""
    video = FeatureSchema(
        feature=SEQUENCE, modality=Modality.VIDEO, kind=FeatureKind.SEQUENCE, dim=512, dtype="float16"
    )
    audio = FeatureSchema(feature=AUDIO, modality=Modality.AUDIO, kind=FeatureKind.VECTOR, dim=512, dtype="float16")
    text = FeatureSchema(feature=TEXT, modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=384)
    return [
        SampleFeature(schema=video, min_steps=8, max_steps=8),
        SampleFeature(schema=audio),
        SampleFeature(schema=text),
    ]


def measure(layout: StoreLayout, folder: Path, rounds: int) -> dict[str, object]:
    """Time every group of contestants, and return medians, ratios and what was aimed at."""
    cold = cold_epochs(layout)
    reader = mmpipe.open(layout.root, [SEQUENCE, AUDIO, TEXT])
    alone = mmpipe.open(layout.root, [SEQUENCE])
    arrays = [part.x_BTD.reshape(len(reader), -1) for part in gather_all(reader)]
    write_safetensors(folder, arrays)
    write_parquet_file(folder, arrays)
    # In the order of the dictionaries: what forks workers comes before what starts threads.
    torch_loader = race(
        {"ours_torch_sequence": torch_epoch(alone), "webdataset_loader": webdataset_loader(layout)}, rounds
    )
    numpy_epochs = race(
        {
            "ours": epoch_of(reader),
            "ours_sequence": epoch_of(alone),
            "memcpy": memcpy(arrays),
            "ram_gather": ram_gather(arrays),
            "mmap_takes": mmap_takes(folder, len(reader)),
            "mmap_rows": mmap_rows(folder, len(reader)),
            "parquet": parquet_epoch(folder),
            "webdataset": webdataset_epoch(layout),
        },
        rounds,
    )
    torch_epochs = race(
        {"ours_torch": torch_epoch(reader), "parquet_torch": parquet_epoch(folder, torch=True)}
        | lance_contestant(folder, arrays),
        rounds,
    )
    single = race({"one_sample": single_samples(reader)}, rounds)
    writing = race({"write": write_ours(arrays[0]), "tarwriter": write_theirs(arrays[0])}, rounds)
    rates = torch_loader | numpy_epochs | torch_epochs | single | writing
    medians = {name: statistics.median(values) for name, values in rates.items()}
    disk = disk_bytes(layout, SEQUENCE) / arrays[0].nbytes
    return {
        "benchmark": "reader",
        "goals": GOALS,
        "ratios": ratios(medians) | {"sequence_disk_vs_raw": disk},
        "samples_per_cpu_s": medians,
        "cold_samples_per_wall_s": cold,
        "raw_samples_per_cpu_s": rates,
        "left_out": LEFT_OUT,
        "setting": {
            "clips": len(reader),
            "clip_bytes": sum(array.nbytes for array in arrays) // len(reader),
            "batch_clips": BATCH_CLIPS,
            "rounds": rounds,
            "cpus": len(os.sched_getaffinity(0)),
            "machine": platform.machine(),
            "numpy": np.__version__,
        },
    }


def ratios(medians: dict[str, float]) -> dict[str, float]:
    """Return the comparisons that have goals; a ratio under 1.25 on a shared machine is a tie."""
    found = {
        "vs_memcpy": medians["ours"] / medians["memcpy"],
        "vs_webdataset": medians["ours_sequence"] / medians["webdataset"],
        "vs_parquet": medians["ours"] / medians["parquet"],
        "vs_mmap": medians["ours"] / max(medians["mmap_rows"], medians["mmap_takes"]),
        "write_vs_tarwriter": medians["write"] / medians["tarwriter"],
        "torch_vs_webdataset_loader": medians["ours_torch_sequence"] / medians["webdataset_loader"],
        "torch_vs_parquet": medians["ours_torch"] / medians["parquet_torch"],
        "one_sample_us": 1e6 / medians["one_sample"],
        "vs_ram_gather": medians["ours"] / medians["ram_gather"],
    }
    if "lance_torch" in medians:
        found["torch_vs_lance"] = medians["ours_torch"] / medians["lance_torch"]
    return found


def race(contestants: dict[str, Visit], rounds: int) -> dict[str, list[float]]:
    """Return clips per CPU second of every contestant, round by round; the first round warms and does not count."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, visit in contestants.items():
            start_s = cpu_seconds()
            clips = visit(number)
            if number:
                rates[name].append(clips / (cpu_seconds() - start_s))
    log(f"{', '.join(contestants)}: {rounds} rounds")
    return rates


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


# --------------------------------------------------------------------------- ours


def gather_all(reader: FeatureReader) -> Iterable[mmpipe.ModalityBatch]:
    return reader.gather(np.arange(len(reader))).features.values()


def epoch_of(reader: FeatureReader) -> Visit:
    def visit(number: int) -> int:
        return sum(len(batch.keys) for batch in reader.batches(BATCH_CLIPS, seed=1, epoch=number))

    return visit


def torch_epoch(reader: FeatureReader) -> Visit:
    def visit(number: int) -> int:
        return sum(len(batch.keys) for batch in reader.torch_batches(BATCH_CLIPS, seed=1, epoch=number))

    return visit


def single_samples(reader: FeatureReader) -> Visit:
    """Copy 2000 random clips, one at a time, found by key."""
    keys = reader.clips["key"].to_list()

    def visit(number: int) -> int:
        chosen = [keys[row] for row in epoch_order(len(keys), 2, number)[:2000]]
        for key in chosen:
            for value in reader.sample(key).values.values():
                assert value is not None
                value.array.copy()
        return len(chosen)

    return visit


def cold_epochs(layout: StoreLayout) -> dict[str, float]:
    """Read an epoch in order and one shuffled with nothing in the page cache, by wall time: it is the disk's."""
    found: dict[str, float] = {}
    for name, seed, verify in (("in_order", None, False), ("shuffled", 1, False), ("shuffled_verified", 1, True)):
        gc.collect()
        for path in layout.root.rglob("*"):
            if path.is_file():
                drop_from_cache(path)
        start_s = time.perf_counter()
        reader = mmpipe.open(layout.root, [SEQUENCE, AUDIO, TEXT], verify=verify)
        clips = sum(len(batch.keys) for batch in reader.batches(BATCH_CLIPS, seed=seed))
        found[name] = clips / (time.perf_counter() - start_s)
        del reader
    return found


def drop_from_cache(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def disk_bytes(layout: StoreLayout, feature: str) -> int:
    """Return the bytes of a feature's shards and indexes."""
    folder = layout.dataset("sample", feature).data(DAY)
    return sum(path.stat().st_size for path in folder.iterdir())


# --------------------------------------------------------------------------- the memory itself


def ram_gather(arrays: list[np.ndarray]) -> Visit:
    """Take the same shuffled batches from arrays in memory: what no file format can beat."""

    def visit(number: int) -> int:
        for rows in batches_of(epoch_order(len(arrays[0]), seed=1, epoch=number), BATCH_CLIPS):
            [np.take(array, rows, axis=0) for array in arrays]
        return len(arrays[0])

    return visit


def memcpy(arrays: list[np.ndarray]) -> Visit:
    """Copy the same bytes in order, to the same place again and again."""
    targets = [np.empty_like(array[:BATCH_CLIPS]) for array in arrays]

    def visit(number: int) -> int:
        for start in range(0, len(arrays[0]), BATCH_CLIPS):
            for array, target in zip(arrays, targets, strict=True):
                part = array[start : start + BATCH_CLIPS]
                np.copyto(target[: len(part)], part)
        return len(arrays[0])

    return visit


# --------------------------------------------------------------------------- other formats


def write_safetensors(folder: Path, arrays: list[np.ndarray]) -> None:
    from safetensors.numpy import save_file

    for number in range(SHARDS):
        parts = {str(place): np.array_split(array, SHARDS)[number] for place, array in enumerate(arrays)}
        save_file(parts, folder / f"{number}.safetensors")


def map_safetensors(folder: Path) -> list[list[np.ndarray]]:
    """Return the mapped arrays by place and shard."""
    found: list[list[np.ndarray]] = [[], [], []]
    for number in range(SHARDS):
        mapped = np.memmap(folder / f"{number}.safetensors", np.uint8, "r")
        size = int.from_bytes(mapped[:8].tobytes(), "little")
        header = json.loads(mapped[8 : 8 + size].tobytes())
        for place in range(3):
            start, end = (8 + size + offset for offset in header[str(place)]["data_offsets"])
            dtype = {"F16": np.float16, "F32": np.float32}[header[str(place)]["dtype"]]
            found[place].append(np.asarray(mapped)[start:end].view(dtype).reshape(header[str(place)]["shape"]))
    return found


def mmap_takes(folder: Path, clips: int) -> Visit:
    """Take every shard's part of a batch at once."""
    mapped = map_safetensors(folder)
    firsts = np.cumsum([0, *(len(part) for part in mapped[0])])

    def visit(number: int) -> int:
        for rows_B in batches_of(epoch_order(clips, seed=1, epoch=number), BATCH_CLIPS):
            shard_B = np.searchsorted(firsts, rows_B, side="right") - 1
            places = [np.flatnonzero(shard_B == shard) for shard in range(SHARDS)]
            for parts in mapped:
                out = np.empty((len(rows_B), parts[0].shape[1]), parts[0].dtype)
                for shard, place in enumerate(places):
                    out[place] = parts[shard][rows_B[place] - firsts[shard]]
        return clips

    return visit


def mmap_rows(folder: Path, clips: int) -> Visit:
    """Copy row by row, as our reader does with sequences."""
    mapped = map_safetensors(folder)
    views = [[part.reshape(-1).view(np.uint8).data for part in parts] for parts in mapped]
    widths = [parts[0].shape[1] * parts[0].itemsize for parts in mapped]
    firsts = np.cumsum([0, *(len(part) for part in mapped[0])])

    def visit(number: int) -> int:
        for rows_B in batches_of(epoch_order(clips, seed=1, epoch=number), BATCH_CLIPS):
            shard_B = np.searchsorted(firsts, rows_B, side="right") - 1
            shards, places = shard_B.tolist(), (rows_B - firsts[shard_B]).tolist()
            for parts, width in zip(views, widths, strict=True):
                out = np.empty(len(rows_B) * width, np.uint8).data
                for row, (shard, place) in enumerate(zip(shards, places, strict=True)):
                    out[row * width : (row + 1) * width] = parts[shard][place * width : (place + 1) * width]
        return clips

    return visit


def as_table(arrays: list[np.ndarray]) -> pa.Table:
    columns = [pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1]) for array in arrays]
    return pa.table(columns, names=["0", "1", "2"])


def write_parquet_file(folder: Path, arrays: list[np.ndarray]) -> None:
    table = as_table(arrays)
    pq.write_table(table, folder / "all.parquet", row_group_size=1024, compression="none", use_dictionary=False)


def parquet_epoch(folder: Path, torch: bool = False) -> Visit:
    """Read row groups of 1024 in a random order, and shuffle within each."""

    def visit(number: int) -> int:
        file, clips = pq.ParquetFile(folder / "all.parquet", memory_map=True), 0
        for group in epoch_order(file.num_row_groups, seed=1, epoch=number).tolist():
            table = file.read_row_group(group, use_threads=False)
            arrays = [column.combine_chunks().flatten().to_numpy() for column in table.columns]
            arrays = [array.reshape(table.num_rows, -1) for array in arrays]
            for rows in batches_of(epoch_order(table.num_rows, seed=group, epoch=number), BATCH_CLIPS):
                batch = [np.take(array, rows, axis=0) for array in arrays]
                as_tensors(batch) if torch else None
                clips += len(rows)
        return clips

    return visit


def lance_contestant(folder: Path, arrays: list[np.ndarray]) -> dict[str, Visit]:
    """Take a tenth of the clips in shuffled batches from a Lance data set, where Lance is installed."""
    try:
        import lance
    except ModuleNotFoundError:
        LEFT_OUT["lance"] = "not installed"
        return {}
    dataset = lance.write_dataset(as_table(arrays), str(folder / "all.lance"))

    def visit(number: int) -> int:
        order = epoch_order(len(arrays[0]), seed=1, epoch=number)[: len(arrays[0]) // 10]
        for rows in batches_of(order, BATCH_CLIPS):
            table = dataset.take(rows)
            columns = [column.combine_chunks().flatten().to_numpy() for column in table.columns]
            as_tensors([column.reshape(len(rows), -1).copy() for column in columns])
        return len(order)

    return {"lance_torch": visit}


def as_tensors(batch: list[np.ndarray]) -> None:
    import torch

    [torch.from_numpy(array) for array in batch]


def webdataset_epoch(layout: StoreLayout) -> Visit:
    import webdataset

    tars = tar_paths(layout)

    def visit(number: int) -> int:
        samples = webdataset.WebDataset([tars[number % len(tars)]], shardshuffle=False).shuffle(1000).decode()
        return sum(len(batch[0]) for batch in samples.to_tuple("npy").batched(BATCH_CLIPS))

    return visit


def webdataset_loader(layout: StoreLayout) -> Visit:
    """Read two shards with a DataLoader of two workers, shuffled in a buffer, into tensors."""
    import torch
    import webdataset
    from torch.utils.data import DataLoader

    tars = tar_paths(layout)

    def visit(number: int) -> int:
        chosen = [tars[(2 * number + place) % len(tars)] for place in range(2)]
        samples = webdataset.WebDataset(chosen, shardshuffle=False).shuffle(1000).decode().to_tuple("npy")
        batches = samples.map_tuple(torch.from_numpy).batched(BATCH_CLIPS)
        return sum(len(batch[0]) for batch in DataLoader(batches, num_workers=2, batch_size=None))

    return visit


def tar_paths(layout: StoreLayout) -> list[str]:
    return sorted(str(path) for path in layout.dataset("sample", SEQUENCE).data(DAY).glob("*.tar"))


# --------------------------------------------------------------------------- writing


def write_ours(x_ND: np.ndarray) -> Visit:
    """Write a shard with its index, hashed and checked."""
    schema = features()[0].schema
    spec = ShardSpec(corpus="sample", partition=DAY, number=0, schema=schema, fingerprint="")
    times_ns = np.arange(8, dtype=np.int64)

    def visit(number: int) -> int:
        with tempfile.TemporaryDirectory() as folder:
            writer = TarShardWriter(spec, Path(folder))
            for row, x_D in enumerate(x_ND[:3000]):
                value = FeatureValue(array=x_D.reshape(8, -1), times_ns=times_ns)
                writer.add(f"k{row:06d}", row, "", 0, 8, value)
            writer.close()
        return min(len(x_ND), 3000)

    return visit


def write_theirs(x_ND: np.ndarray) -> Visit:
    import webdataset

    def visit(number: int) -> int:
        with tempfile.TemporaryDirectory() as folder, webdataset.TarWriter(f"{folder}/0.tar") as writer:
            for row, x_D in enumerate(x_ND[:3000]):
                writer.write({"__key__": f"k{row:06d}", "npy": x_D.reshape(8, -1)})
        return min(len(x_ND), 3000)

    return visit


# --------------------------------------------------------------------------- saying it


def print_table(result: dict[str, object]) -> None:
    """Print the figures for a person."""
    for title in ("samples_per_cpu_s", "cold_samples_per_wall_s"):
        print(title)
        table = result[title]
        assert isinstance(table, dict)
        for name, figure in table.items():
            print(f"  {name:28s} {figure:14,.0f}")
    found = result["ratios"]
    assert isinstance(found, dict)
    print("ratios")
    for name, figure in found.items():
        aim = GOALS.get(name)
        sign = "<=" if name in AT_MOST else ">="
        met = "" if aim is None else f"goal {sign} {aim:g}: {'met' if meets(name, figure) else 'NOT MET'}"
        print(f"  {name:28s} {figure:14,.2f}  {met}")
    for name, why in LEFT_OUT.items():
        print(f"left out: {name}: {why}")


def meets(name: str, figure: float) -> bool:
    return figure <= GOALS[name] if name in AT_MOST else figure >= GOALS[name]


def log(line: str) -> None:
    """Say on stderr how far it is."""
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
