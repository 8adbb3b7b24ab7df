"""What every contestant reads: a store of three features, and the same numbers as plain arrays."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import mmpipe
from mmpipe.batches.feature_reader import FeatureReader
from mmpipe.store.layout import StoreLayout
from mmpipe.store.sample import SampleFeature, make_sample_store
from mmpipe.types import FeatureKind, FeatureSchema, Modality

DAY = "2026-11-20"
CORPUS = "sample"
BATCH_CLIPS = 256
STEPS = 8
SEQUENCE, AUDIO, TEXT = "video-bench@1", "audio-bench@1", "text-bench@1"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bench:
    """A store, the numbers of its features with one row a clip, and an empty folder for other formats."""

    layout: StoreLayout
    arrays: tuple[np.ndarray, ...]
    shards: int
    folder: Path

    @property
    def clips(self) -> int:
        return len(self.arrays[0])

    @property
    def clip_bytes(self) -> int:
        return sum(array.nbytes for array in self.arrays) // self.clips

    def open(self, *features: str, verify: bool = True) -> FeatureReader:
        return mmpipe.open(self.layout.root, list(features or (SEQUENCE, AUDIO, TEXT)), verify=verify)

    def tars(self) -> list[Path]:
        """Return the very tars that the store published."""
        return sorted(self.layout.dataset(CORPUS, SEQUENCE).data(DAY).glob("*.tar"))

    def files(self) -> list[Path]:
        """Return the store's files, each once: the view's names are links to the objects."""
        return list({path.stat().st_ino: path for path in self.layout.root.rglob("*") if path.is_file()}.values())


def make_bench(folder: Path, shards: int, shard_clips: int) -> Bench:
    """Build the store, of clips of 10 752 bytes."""
    layout = make_sample_store(folder / "store", sample_features(), shards=shards, shard_clips=shard_clips)
    reader = mmpipe.open(layout.root, [SEQUENCE, AUDIO, TEXT])
    parts = reader.gather(np.arange(len(reader))).features.values()
    others = folder / "others"
    others.mkdir()
    arrays = tuple(part.x_BTD.reshape(len(reader), -1) for part in parts)
    return Bench(layout=layout, arrays=arrays, shards=shards, folder=others)


def sample_features() -> list[SampleFeature]:
    """Return a sequence of one length and two vectors."""
    video = FeatureSchema(
        feature=SEQUENCE, modality=Modality.VIDEO, kind=FeatureKind.SEQUENCE, dim=512, dtype="float16"
    )
    audio = FeatureSchema(feature=AUDIO, modality=Modality.AUDIO, kind=FeatureKind.VECTOR, dim=512, dtype="float16")
    text = FeatureSchema(feature=TEXT, modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=384)
    return [
        SampleFeature(schema=video, min_steps=STEPS, max_steps=STEPS),
        SampleFeature(schema=audio),
        SampleFeature(schema=text),
    ]


def sequence_disk_vs_raw(bench: Bench) -> float:
    """Return the bytes of the sequence's shards and indexes over those of its numbers."""
    folder = bench.layout.dataset(CORPUS, SEQUENCE).data(DAY)
    return sum(path.stat().st_size for path in folder.iterdir()) / bench.arrays[0].nbytes


def drop_from_cache(paths: Iterable[Path]) -> None:
    """Ask the kernel to forget the pages of some files, which needs no rights; unwritten ones would stay."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
