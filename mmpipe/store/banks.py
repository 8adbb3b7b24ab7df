"""The noise banks: one row per train clip of a bank, with its sound; what they sound like together is made when read.

A bank is frozen when it is first made. `forget` takes its clips out like any other row, and then it is another bank:
its digest is over the clips that it has.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import polars as pl

from mmpipe.errors import StoreError
from mmpipe.store.bankscard import write_banks_card
from mmpipe.store.commit import commit_partition, retry_lost_race
from mmpipe.store.layout import BANKS, DatasetLayout, StoreLayout
from mmpipe.store.manifest import FileEntry, Manifest, ShardEntry
from mmpipe.store.revisions import read_head
from mmpipe.store.table import TableKind, put_table, read_manifest_table, read_shard_table
from mmpipe.types import digest_of

BANK_CLIPS = TableKind(
    name="banks",
    columns=(
        ("bank", pl.String),  # its name in the config
        ("settings", pl.String),  # digest of all by which its clips were chosen
        ("place", pl.Int32),  # of the clip in the bank
        ("key", pl.String),
        ("asset_id", pl.String),
        ("voices", pl.Int32),  # how the clips are mixed
        ("length_s", pl.Float64),
        ("seed", pl.Int64),
        ("sample_rate_hz", pl.Int32),
        ("sha256", pl.String),  # of the sound
        ("wave", pl.Binary),  # float32, mono, little-endian
    ),
    dictionary=("bank", "settings", "asset_id"),
)
_SHARD = 0  # a partition's banks are one file
_KEPT_BANKS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class BankClip:
    """A train clip of a bank."""

    key: str
    asset_id: str
    wave: bytes  # float32, mono, little-endian


@dataclass(frozen=True, slots=True, kw_only=True)
class BankMix:
    """A bank as it is asked for."""

    name: str
    settings: str
    voices: int
    length_s: float
    seed: int
    sample_rate_hz: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """A bank as it is: how its clips are mixed, and their sound."""

    name: str
    voices: int
    length_s: float
    seed: int
    sample_rate_hz: int
    keys: tuple[str, ...]
    waves: tuple[np.ndarray, ...]


def write_bank(
    layout: StoreLayout,
    corpus: str,
    mix: BankMix,
    clips: Sequence[BankClip],
    partition: str,
    *,
    again: bool = False,
) -> Manifest:
    """Commit a bank, in the partition of all banks or else in the given one; it takes the place of what had its name.

    One of the same settings that somebody made meanwhile stays, unless it is to be made `again`.
    """
    dataset, rows = layout.dataset(corpus, BANKS), bank_rows(mix, clips)
    home = next(iter(dataset.partitions()), partition)
    return retry_lost_race(lambda: _commit_joined(dataset, home, rows, mix, again))


def bank_rows(mix: BankMix, clips: Sequence[BankClip]) -> pl.DataFrame:
    """Return the rows of a bank."""
    how = (mix.voices, mix.length_s, mix.seed, mix.sample_rate_hz)
    return BANK_CLIPS.frame(
        (mix.name, mix.settings, place, clip.key, clip.asset_id, *how, digest_of(clip.wave), clip.wave)
        for place, clip in enumerate(clips)
    )


def bank_digest(layout: StoreLayout, corpus: str, name: str, settings: str) -> str:
    """Return what a bank of these settings is, by its clips and their sound; "" where there is none yet."""
    for dataset, shard in _shards(layout, corpus):
        if found := dict(_digests(dataset, shard)).get((name, settings)):
            return found
    return ""


def bank_keys(layout: StoreLayout, corpus: str, name: str | None = None) -> tuple[str, ...]:
    """Return the clips of the bank that has a name now, in order; or those of all banks."""
    rows = [_read(dataset, shard).select("bank", "place", "key") for dataset, shard in _shards(layout, corpus)]
    wanted = pl.lit(True) if name is None else pl.col("bank") == name
    return tuple(pl.concat(rows).filter(wanted).sort("bank", "place")["key"]) if rows else ()


def read_bank(layout: StoreLayout, corpus: str, name: str, digest: str) -> Bank:
    """Return a bank by its digest; StoreError where the store has another one now."""
    for dataset, shard in _shards(layout, corpus):
        for (bank, settings), found in _digests(dataset, shard):
            if (bank, found) == (name, digest):
                rows = _read(dataset, shard).filter((pl.col("bank") == name) & (pl.col("settings") == settings))
                return _to_bank(name, rows.sort("place"))
    raise StoreError(f"the noise bank {name!r} of {corpus!r} is another one now. Run the same again.")


def drop_from_banks(layout: StoreLayout, corpus: str, keys: Collection[str]) -> None:
    """Take clips out of all banks; each that had one is another bank from then on."""
    dataset = layout.dataset(corpus, BANKS)
    for partition in dataset.partitions() if keys else ():
        retry_lost_race(partial(_commit_without, dataset, partition, keys))


def _commit_without(dataset: DatasetLayout, partition: str, keys: Collection[str]) -> None:
    head = read_head(dataset, partition)
    current = read_manifest_table(dataset, BANK_CLIPS, head)
    frame = current.filter(~pl.col("key").is_in(sorted(keys)))
    if head and frame.height < current.height:
        _commit(dataset, partition, frame, head.revision)


def _to_bank(name: str, rows: pl.DataFrame) -> Bank:
    return Bank(
        name=name,
        voices=rows["voices"][0],
        length_s=rows["length_s"][0],
        seed=rows["seed"][0],
        sample_rate_hz=rows["sample_rate_hz"][0],
        keys=tuple(rows["key"]),
        waves=tuple(np.frombuffer(wave, dtype="<f4") for wave in rows["wave"]),
    )


def _shards(layout: StoreLayout, corpus: str) -> list[tuple[DatasetLayout, ShardEntry]]:
    dataset = layout.dataset(corpus, BANKS)
    heads = [head for partition in dataset.partitions() if (head := read_head(dataset, partition))]
    return [(dataset, shard) for head in heads for shard in head.shards if shard.files]


def _read(dataset: DatasetLayout, shard: ShardEntry) -> pl.DataFrame:
    return read_shard_table(dataset, BANK_CLIPS, shard)


def _digests(dataset: DatasetLayout, shard: ShardEntry) -> tuple[tuple[tuple[str, str], str], ...]:
    """Return the digest of each (bank, settings) of a shard."""
    return _digests_in(dataset, shard.files, shard.samples)


@lru_cache(maxsize=_KEPT_BANKS)
def _digests_in(
    dataset: DatasetLayout, files: tuple[FileEntry, ...], samples: int
) -> tuple[tuple[tuple[str, str], str], ...]:
    """Read once what files hold: an entry names their bytes."""
    shard = ShardEntry(number=_SHARD, files=files, samples=samples, inputs="", spine=samples)
    groups = _read(dataset, shard).sort("place").group_by("bank", "settings", maintain_order=True)
    return tuple(
        ((str(bank), str(settings)), digest_of("bank", settings, *_parts(rows))) for (bank, settings), rows in groups
    )


def _parts(rows: pl.DataFrame) -> list[str]:
    return [str(part) for row in rows.select("key", "sha256").iter_rows() for part in row]


def _commit_joined(dataset: DatasetLayout, partition: str, rows: pl.DataFrame, mix: BankMix, again: bool) -> Manifest:
    head = read_head(dataset, partition)
    current = read_manifest_table(dataset, BANK_CLIPS, head)
    is_there = not current.filter((pl.col("bank") == mix.name) & (pl.col("settings") == mix.settings)).is_empty()
    if head and is_there and not again:
        return head
    frame = pl.concat([current.filter(pl.col("bank") != mix.name), rows], rechunk=True).sort("bank", "place")
    if head and frame.equals(current):
        return head
    return _commit(dataset, partition, frame, head.revision if head else 0)


def _commit(dataset: DatasetLayout, partition: str, frame: pl.DataFrame, base_revision: int) -> Manifest:
    return commit_partition(
        dataset,
        partition,
        schema=BANK_CLIPS.digest,
        fingerprint="",
        shards={_SHARD: put_table(dataset, partition, BANK_CLIPS, _SHARD, frame)},
        base_revision=base_revision,
        then=lambda: write_banks_card(dataset),
    )
