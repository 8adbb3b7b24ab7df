"""What other teams open: the clips of one corpus with the values of chosen features, by row, by key and by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from mmpipe.batches.aligned import AlignedReader
from mmpipe.batches.order import batches_of, bucketed, epoch_order
from mmpipe.errors import ConfigError
from mmpipe.store.layout import StoreLayout
from mmpipe.store.snapshot import Snapshot, read_pinned_spine
from mmpipe.types import NANOSECONDS_PER_SECOND, Batch, FeatureValue, Split

if TYPE_CHECKING:
    from mmpipe.batches.torch_batches import TorchBatches

Missing = Literal["mask", "drop", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One clip: its row and key, and a value per feature, None where the clip lacks it."""

    row: int
    key: str
    values: Mapping[str, FeatureValue | None]


class FeatureReader(AlignedReader):
    """The live clips of a snapshot and the values of some features; it stays the same for as long as it lives."""

    def __init__(
        self,
        layout: StoreLayout,
        snapshot: Snapshot,
        features: Sequence[str],
        *,
        split: str | None = None,
        missing: Missing = "mask",
        verify: bool = True,
    ) -> None:
        """Read spine and manifests; with `missing` other than "mask" also the indexes, but no values of sequences."""
        self._arguments = (layout, snapshot, tuple(features), split, missing, verify)
        spine = _of_split(read_pinned_spine(layout, snapshot), split)
        super().__init__(layout, snapshot, features, spine, verify)
        self.snapshot = snapshot
        if missing == "mask":
            return
        whole_N = np.all([self.lengths(name) > 0 for name in features], axis=0)
        if missing == "error" and not whole_N.all():
            lacking = self.spine["key"].filter(pl.Series(~whole_N))
            raise ConfigError(
                f"{len(lacking)} of {len(self)} clips lack one of {list(features)}, such as {lacking[:3].to_list()}. "
                'Leave them out with missing="drop", or take them as masked with missing="mask".'
            )
        if not whole_N.all():
            super().__init__(layout, snapshot, features, self.spine.filter(pl.Series(whole_N)), verify)

    @property
    def clips(self) -> pl.DataFrame:
        """Return one row per clip: key, asset, times, group, split, labels; row numbers are those of `gather`."""
        return self.spine

    def __getitem__(self, row: int) -> Sample:
        """Return the clip at a row; its values are read-only views."""
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of a reader of {len(self)} clips")
        at = row % len(self)
        return Sample(row=at, key=self._keys_N[at], values={name: self.value(at, name) for name in self.features})

    def sample(self, key: str) -> Sample:
        """Return the clip with this key."""
        return self[self.row(key)]

    def row(self, key: str) -> int:
        """Return the row of a clip."""
        try:
            return self._rows[key]
        except KeyError:
            raise ConfigError(f"no clip {key!r} among the {len(self)} of this reader; keys are in `clips`") from None

    def slice(self, key: str, start_s: float, end_s: float) -> Sample:
        """Return a clip cut to the time steps in `[start_s, end_s)`, in seconds on its asset's clock; vectors stay."""
        if not start_s < end_s:
            raise ConfigError(f"a time range needs start_s < end_s, got [{start_s}, {end_s})")
        whole = self.sample(key)
        start_ns, end_ns = (round(seconds * NANOSECONDS_PER_SECOND) for seconds in (start_s, end_s))
        values = {name: value and _cut(value, start_ns, end_ns) for name, value in whole.values.items()}
        return Sample(row=whole.row, key=key, values=values)

    def batches(
        self,
        batch_clips: int,
        *,
        seed: int | None = None,
        epoch: int = 0,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
        bucket: int = 0,
    ) -> Iterator[Batch]:
        """Yield an epoch's batches: in order, or with a seed exactly shuffled.

        Batch `n` of the epoch goes to rank `n % world`, whoever asks; `start` skips the first ones of the epoch. With
        `bucket`, clips of like length meet: they are sorted within every run of that many batches.
        """
        planned = self.plan_batches(batch_clips, seed=seed, epoch=epoch, bucket=bucket)
        for number in dealt(len(planned), rank=rank, world=world, start=start):
            yield self.gather(planned[number])

    def plan_batches(
        self, batch_clips: int, *, seed: int | None = None, epoch: int = 0, bucket: int = 0
    ) -> tuple[np.ndarray, ...]:
        """Return the rows of every batch of an epoch, for all ranks."""
        order = np.arange(len(self)) if seed is None else epoch_order(len(self), seed, epoch)
        if not bucket:
            return batches_of(order, batch_clips)
        longest_N = np.max([self.lengths(name) for name in self.features], axis=0)
        return bucketed(order, longest_N, batch_clips, bucket, shuffle=(seed, epoch) if seed is not None else None)

    def torch_batches(self, batch_clips: int, **choices: Any) -> TorchBatches:
        """Return the batches as a torch IterableDataset: see `TorchBatches` for the choices."""
        from mmpipe.batches.torch_batches import torch_dataset

        return torch_dataset(self, batch_clips, choices)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self._keys_N.tolist())}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as what was opened; it maps the files anew."""
        return _reopen, (type(self), *self._arguments)


def dealt(batches: int, *, rank: int = 0, world: int = 1, start: int = 0) -> range:
    """Return the numbers of the batches from `start` on that are a rank's."""
    if not 0 <= rank < world or start < 0:
        raise ConfigError(f"needs 0 <= rank < world and start >= 0, got rank {rank} of {world}, start {start}")
    return range(start + (rank - start) % world, batches, world)


def _reopen(
    kind: type[FeatureReader],
    layout: StoreLayout,
    snapshot: Snapshot,
    features: tuple[str, ...],
    split: str | None,
    missing: Missing,
    verify: bool,
) -> FeatureReader:
    return kind(layout, snapshot, features, split=split, missing=missing, verify=verify)


def _of_split(spine: pl.DataFrame, split: str | None) -> pl.DataFrame:
    if split is None:
        return spine
    known = [part.value for part in Split]
    if split not in known:
        raise ConfigError(f"no split {split!r}; there are {known}")
    return spine.filter(pl.col("split") == split)


def _cut(value: FeatureValue, start_ns: int, end_ns: int) -> FeatureValue:
    if value.times_ns is None:
        return value
    first, last = np.searchsorted(value.times_ns, [start_ns, end_ns])
    return FeatureValue(array=value.array[first:last], times_ns=value.times_ns[first:last])
