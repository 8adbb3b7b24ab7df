"""Arrays of numbers: what a file holds, on which clock, and the rows that belong to a clip.

An array of any rank is read as rows [T, D]: its first axis is time, the others are flattened. NaN is a missing number;
an infinite one is refused. Rows without times belong to every clip of their asset, as a still or a whole text does.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mmpipe.config import ArraysConfig, LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.media.npy import map_npy
from mmpipe.media.number_tables import no_numbers, read_csv_numbers, read_parquet_numbers
from mmpipe.media.refused import too_long
from mmpipe.types import NANOSECONDS_PER_SECOND, ArrayClip, Clip, Modality, RawFile, Stream, digest_of

ARRAY_SUFFIXES = (".npy", ".csv", ".parquet")
_CHUNK_VALUES = 1 << 20
_MAX_SECONDS = 1e9
_MAX_NAMES = 100_000  # columns of an npy file are called by their numbers


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayRows:
    """Rows of numbers [T, ...] as they are stored, perhaps mapped, with their times, where they have any."""

    rows: np.ndarray
    times_ns: np.ndarray | None = None  # int64 [T], never falling
    columns: tuple[str, ...] = ()  # names of the D, where the file has them
    picked: tuple[int, ...] | None = None  # which of the D count; None: all

    @cached_property
    def num_columns(self) -> int:
        """Return D."""
        return math.prod(self.rows.shape[1:]) if self.picked is None else len(self.picked)

    def read(self, first: int, last: int) -> np.ndarray:
        """Return rows [first, last) as float32 [n, D]; SampleError nonfinite where a number is infinite."""
        part = self._flat(first, last)
        with np.errstate(over="ignore"):
            values = part.astype(np.float32)
        if np.isinf(values).any():
            raise SampleError("nonfinite", f"an infinite number, or one beyond float32, in rows {first} to {last}")
        return values

    def digest(self) -> str:
        """Return the digest of what the rows say: type, shape, names, values and times, however they are stored."""
        hasher = hashlib.sha256()
        step = max(1, _CHUNK_VALUES // max(1, self.num_columns))
        for first in range(0, len(self.rows), step):
            self.read(first, min(first + step, len(self.rows)))  # for what it refuses
            part = np.ascontiguousarray(self._flat(first, first + step))
            if part.dtype.kind == "f":
                part = np.where(np.isnan(part), part.dtype.type(np.nan), part)  # there are many NaNs, and they mean one
            hasher.update(part.astype(part.dtype.newbyteorder("<")).tobytes())
        times = b"none" if self.times_ns is None else self.times_ns.astype("<i8").tobytes()
        shape = "x".join(map(str, self.rows.shape))
        kind = f"{self.rows.dtype.kind}{self.rows.dtype.itemsize}"
        picked = "all" if self.picked is None else ",".join(map(str, self.picked))
        return digest_of(
            "mmpipe-array-1", kind, shape, picked, len(self.columns), *self.columns, hasher.hexdigest(), times
        )

    def of(self, clip: Clip) -> ArrayClip | None:
        """Return the rows of a clip; None where it has none, or no number in them."""
        first, last = 0, len(self.rows)
        if self.times_ns is not None:
            first, last = (int(row) for row in np.searchsorted(self.times_ns, (clip.start_ns, clip.end_ns)))
        if first == last:
            return None
        values_TD = self.read(first, last)
        if np.isnan(values_TD).all():
            return None
        times_ns = _spread(clip, last - first) if self.times_ns is None else self.times_ns[first:last].copy()
        return ArrayClip(values_TD=values_TD, times_ns=times_ns, columns=self.columns)

    def _flat(self, first: int, last: int) -> np.ndarray:
        part = self.rows[first:last]
        part = part.reshape(len(part), -1)
        return part if self.picked is None else part[:, list(self.picked)]


def open_array(descriptor: int, suffix: str, config: ArraysConfig, limits: LimitsConfig) -> ArrayRows:
    """Read an array behind a descriptor as its suffix says.

    Raise SampleError not_media, format_not_allowed, decode_error, array_dtype, limit_array, limit_duration,
    empty_array, missing_column or bad_times.
    """
    if suffix == ".npy":
        rows = map_npy(descriptor, limits.array_values)
        asked = bool(config.time_column or config.columns)
        names = tuple(map(str, range(min(math.prod(rows.shape[1:]), _MAX_NAMES)))) if asked else ()
        return _on_clock(rows, names, config, limits, named=False)
    read = read_csv_numbers if suffix == ".csv" else read_parquet_numbers
    time = (config.time_column,) if config.time_column else ()
    wanted = tuple(dict.fromkeys((*time, *config.columns))) if config.columns else ()
    table = read(descriptor, wanted, limits.array_values)
    if config.time_column in table.others:
        raise no_numbers(config.time_column, table.others[config.time_column])
    return _on_clock(table.values_TD, table.columns, config, limits, named=True)


def probe_array(
    descriptor: int, file: RawFile, sha256: str, suffix: str, config: ArraysConfig, limits: LimitsConfig
) -> Stream:
    """Return the stream that a file of numbers is; raise SampleError as `open_array` does, or nonfinite."""
    rows = open_array(descriptor, suffix, config, limits)
    start_ns, end_ns = _span(rows.times_ns)
    return Stream(
        role=str(Modality.ARRAY),
        modality=Modality.ARRAY,
        digest=rows.digest(),
        file=file.name,
        file_sha256=sha256,
        file_nbytes=file.nbytes,
        track=0,
        start_ns=start_ns,
        duration_ns=end_ns - start_ns,
        codec=suffix.removeprefix("."),
        channels=rows.num_columns,
    )


def open_stream(descriptor: int, stream: Stream, config: ArraysConfig, limits: LimitsConfig) -> ArrayRows:
    """Open an array that was probed; SampleError changed_since_ingest where it says something else now."""
    if stream.values:
        return rows_of_values(stream.values)
    rows = open_array(descriptor, os.path.splitext(stream.file)[1].lower(), config, limits)
    if rows.digest() != stream.digest:
        raise SampleError("changed_since_ingest", f"{stream.file!r} is read with other settings now; ingest again")
    return rows


def rows_of_values(values: str) -> ArrayRows:
    """Return the one row that a JSON object from names to numbers is; null is a missing number."""
    named: dict[str, float | None] = json.loads(values)
    row = [math.nan if value is None else value for value in named.values()]
    return ArrayRows(rows=np.array([row], dtype=np.float64), columns=tuple(named))


# --------------------------------------------------------------------------- the clock


def _on_clock(
    rows: np.ndarray, names: Sequence[str], config: ArraysConfig, limits: LimitsConfig, *, named: bool
) -> ArrayRows:
    """Give rows their times, and keep the columns that are asked for."""
    times_ns, picked = None, None
    if config.rate_hz:
        _require_duration(len(rows) / config.rate_hz, limits)
        times_ns = np.round(np.arange(len(rows)) * (NANOSECONDS_PER_SECOND / config.rate_hz)).astype(np.int64)
    if config.time_column or config.columns:
        place = {name: number for number, name in enumerate(names)}
        for name in (*config.columns, *filter(None, (config.time_column,))):
            if name not in place:
                raise SampleError("missing_column", f"there is no column {name!r}; there are: {', '.join(names[:20])}")
        chosen = config.columns or tuple(name for name in names if name != config.time_column)
        picked = tuple(place[name] for name in chosen)
        names = chosen
        if config.time_column:
            times_ns = _times(rows.reshape(len(rows), -1)[:, place[config.time_column]], limits)
    if picked == ():
        raise SampleError("empty_array", "no column of numbers but the times")
    return ArrayRows(rows=rows, times_ns=times_ns, columns=tuple(names) if named else (), picked=picked)


def _times(seconds: np.ndarray, limits: LimitsConfig) -> np.ndarray:
    """Return times in seconds as nanoseconds of the asset's clock."""
    seconds = seconds.astype(np.float64)
    if not np.isfinite(seconds).all() or (np.diff(seconds) < 0).any() or seconds[0] < 0 or seconds[-1] > _MAX_SECONDS:
        raise SampleError("bad_times", "times must be seconds from the asset's start, 0 or more, that never fall")
    _require_duration(float(seconds[-1]), limits)
    return np.round(seconds * NANOSECONDS_PER_SECOND).astype(np.int64)


def _require_duration(seconds: float, limits: LimitsConfig) -> None:
    if seconds > limits.duration_s:
        raise too_long(limits, f"rows reach to {seconds:.0f} s from the asset's start")


def _span(times_ns: np.ndarray | None) -> tuple[int, int]:
    """Return from when to when rows speak: each for as long as the mean step, a single one for a second."""
    if times_ns is None:
        return 0, 0
    first, last = int(times_ns[0]), int(times_ns[-1])
    step = (last - first) // (len(times_ns) - 1) if last > first else NANOSECONDS_PER_SECOND
    return first, last + step


def _spread(clip: Clip, num_rows: int) -> np.ndarray:
    """Return times for rows that have none: evenly over the clip."""
    return clip.start_ns + (np.arange(num_rows) / num_rows * (clip.end_ns - clip.start_ns)).astype(np.int64)
