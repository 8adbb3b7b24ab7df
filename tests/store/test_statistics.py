from __future__ import annotations

import math

import numpy as np
import pytest

from mmpipe.store.manifest import ShardStatistics
from mmpipe.store.statistics import StatisticsCounter


def one_by_one(values: list[np.ndarray]) -> ShardStatistics:
    """Say the same with one plain value at a time."""
    flat = [value.astype(np.float64).ravel() for value in values]
    norms = [math.sqrt(float(np.add.reduce(one * one))) if np.isfinite(one).all() else 0.0 for one in flat]
    return ShardStatistics(
        num_nan=sum(bool(np.isnan(one).any()) for one in flat),
        num_zero=sum(bool((one == 0).all()) for one in flat),
        num_constant=sum(bool((one == one[0]).all()) for one in flat),
        norm_mean=float(f"{math.fsum(norms) / len(norms):.9g}"),
        norm_min=float(f"{min(norms):.9g}"),
        norm_max=float(f"{max(norms):.9g}"),
    )


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int32"])
@pytest.mark.parametrize("sizes", [(7,), (1, 3000), (4096, 4096, 5), (90_000, 2)])
def test_counter_says_what_plain_sums_say(dtype: str, sizes: tuple[int, ...]) -> None:
    generator = np.random.default_rng(3)
    values = [(generator.standard_normal(sizes[place % len(sizes)]) * 50).astype(dtype) for place in range(60)]
    values[4][...] = 0
    values[5][...] = 7
    values[6][-1] = values[6][0]  # ends as it starts, and is no constant
    if np.dtype(dtype).kind == "f":
        values[7][...], values[7][0] = -0.0, 0.0
        values[8][...] = np.finfo(dtype).max
        values[9][-1] = np.nan
        values[10][0] = -np.inf
    counter = StatisticsCounter()
    for value in values:
        counter.add(value)
    assert counter.result() == counter.result() == one_by_one(values)


def test_nothing_seen_says_nothing() -> None:
    assert StatisticsCounter().result() == ShardStatistics()


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_left(number: float) -> None:
    one, bad = np.full((2, 3), 4.0, np.float16), np.full((2, 3), np.finfo(np.float16).max)
    bad[0, 1] = number
    counter = StatisticsCounter()
    assert [counter.add_finite(value) for value in (one, bad, one)] == [True, False, True]
    assert counter.result() == one_by_one([one, one])


@pytest.mark.parametrize("dtype", ["float16", "float32", "int32"])
@pytest.mark.parametrize(("rows", "dim"), [(1, 1), (3, 384), (257, 17), (600, 1000), (2, 20_000)])
def test_rows_at_once_count_as_one_by_one(dtype: str, rows: int, dim: int) -> None:
    x_ND = (np.random.default_rng(rows).standard_normal((rows, dim)) * 50).astype(dtype)
    x_ND[-1] = 0
    x_ND[rows // 2] = 7
    counter = StatisticsCounter()
    counter.add_rows(x_ND)
    assert counter.result() == one_by_one(list(x_ND))
