"""The spool: whatever a kill leaves of it, what is read back is whole records, in their order."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmpipe.steps.extract.spool import Settled, Spool, SpooledDrop, SpooledValue, open_spool
from mmpipe.types import Drop, FeatureValue

NAME = "spool-1"


def drop(detail: str) -> Drop:
    return Drop(stage="extract", code="bad", detail=detail, clip_key="k" * 24, asset_id="a" * 64)


def values(dtype: str, seed: int) -> list[FeatureValue]:
    draw = np.random.default_rng(seed)
    sequence = (draw.random((3 + seed, 4)) * 200).astype(dtype)
    vector = (draw.random(5) * 200).astype(dtype)
    return [
        FeatureValue(array=sequence, times_ns=np.arange(3 + seed, dtype=np.int64)),
        FeatureValue(array=vector),
        FeatureValue(array=(draw.random((6, 8)) * 200).astype(dtype)[::2, ::2], times_ns=np.arange(3, dtype=np.int64)),
    ]


def record(seed: int, found: list[FeatureValue]) -> Settled:
    return Settled(
        values=tuple(SpooledValue.of(10 * seed + n, f"key-{n}", value) for n, value in enumerate(found)),
        drops=(SpooledDrop(ordinal=10 * seed + 9, drop=drop(f"of {seed}")),),
        absent=(10 * seed + 8,),
        notes=(drop("a note"),),
        passed=f"asset-{seed}",
    )


def fill(folder: Path, dtype: str = "float32", count: int = 3) -> list[Settled]:
    """Spool some records and let go of the file, as a killed worker would."""
    with open_spool(folder, NAME) as spool:
        assert list(spool.recover()) == []
        return [spool.add(record(seed, values(dtype, seed)), values(dtype, seed)) for seed in range(count)]


def recovered(folder: Path) -> tuple[Spool, list[Settled]]:
    spool = open_spool(folder, NAME)
    return spool, list(spool.recover())


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int64"])
def test_what_was_added_comes_back_with_its_numbers(tmp_path: Path, dtype: str) -> None:
    added = fill(tmp_path, dtype)
    spool, found = recovered(tmp_path)
    assert found == added
    for seed, settled in enumerate(found):
        for place, value in zip(settled.values, values(dtype, seed), strict=True):
            read = spool.read(place)
            assert read.array.dtype == value.array.dtype and np.array_equal(read.array, value.array)
            assert (read.times_ns is None) == (value.times_ns is None)
            assert value.times_ns is None or np.array_equal(read.times_ns, value.times_ns)
    spool.close()


def test_cut_off_at_any_byte_the_whole_records_are_there_and_the_work_goes_on(tmp_path: Path) -> None:
    added = fill(tmp_path)
    whole = (tmp_path / NAME).read_bytes()
    ends = []
    for size in range(0, len(whole) + 1, 7):
        (tmp_path / NAME).write_bytes(whole[:size])
        spool, found = recovered(tmp_path)
        assert found == added[: len(found)]
        ends.append(len(found))
        with spool:
            again = spool.add(record(7, values("float32", 7)), values("float32", 7))
        spool, after = recovered(tmp_path)
        assert after == [*found, again]
        assert np.array_equal(spool.read(again.values[0]).array, values("float32", 7)[0].array)
        spool.close()
    assert ends == sorted(ends) and set(ends) == {0, 1, 2, 3} - ({3} if len(whole) % 7 else set())


def test_a_flipped_byte_ends_what_counts(tmp_path: Path) -> None:
    added = fill(tmp_path)
    whole = (tmp_path / NAME).read_bytes()
    for position in range(0, len(whole), 11):
        broken = bytearray(whole)
        broken[position] ^= 0x40
        (tmp_path / NAME).write_bytes(broken)
        spool, found = recovered(tmp_path)
        spool.close()
        assert len(found) < 3 and found == added[: len(found)]


def test_a_spool_that_somebody_holds_is_left_alone(tmp_path: Path) -> None:
    held = open_spool(tmp_path, NAME)
    list(held.recover())
    held.add(record(1, values("float32", 1)), values("float32", 1))
    before = (tmp_path / NAME).read_bytes()
    with open_spool(tmp_path, NAME, patience_s=0) as other:
        assert list(other.recover()) == []
        added = other.add(record(2, values("float32", 2)), values("float32", 2))
        assert np.array_equal(other.read(added.values[1]).array, values("float32", 2)[1].array)
        other.remove()
    assert (tmp_path / NAME).read_bytes() == before and os.listdir(tmp_path) == [NAME]
    held.remove()
    held.close()
    assert os.listdir(tmp_path) == []


def test_what_a_dying_process_still_holds_is_waited_for(tmp_path: Path, monkeypatch) -> None:
    added = fill(tmp_path)
    held = open_spool(tmp_path, NAME)
    monkeypatch.setattr("mmpipe.steps.extract.spool.time.sleep", lambda _: held.close())
    spool, found = recovered(tmp_path)
    spool.close()
    assert found == added


def test_a_file_whose_name_was_taken_away_before_the_lock_is_not_used(tmp_path: Path, monkeypatch) -> None:
    fill(tmp_path)
    before = fcntl.flock

    def take_away(descriptor: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", before)
        (tmp_path / NAME).unlink()  # its holder was done in this moment
        before(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", take_away)
    spool, found = recovered(tmp_path)
    spool.close()
    assert found == [] and (tmp_path / NAME).exists()


def test_the_lock_of_a_dead_process_is_free(tmp_path: Path) -> None:
    fill(tmp_path)
    code = f"import os, signal, pathlib; from mmpipe.steps.extract.spool import open_spool; held = open_spool(pathlib.Path({str(tmp_path)!r}), {NAME!r}); print('held', flush=True); os.kill(os.getpid(), signal.SIGKILL)"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "held\n", done.stderr
    spool, found = recovered(tmp_path)
    spool.close()
    assert len(found) == 3
