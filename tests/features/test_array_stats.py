"""`array-stats`: statistics per column that agree with numpy, over what is there."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from mmpipe.errors import ConfigError, SampleError
from mmpipe.features.registry import default_features, make_extractor
from mmpipe.types import ArrayClip, ArrayNeeds

SECOND = 1_000_000_000
NAN = np.nan


def clip(values, rate_hz: float = 10.0) -> ArrayClip:
    values_TD = np.asarray(values, dtype=np.float32).reshape(len(values), -1)
    times_ns = (np.arange(len(values_TD)) / rate_hz * SECOND).astype(np.int64) + 5 * SECOND
    return ArrayClip(values_TD=values_TD, times_ns=times_ns)


def describe(values, **params) -> np.ndarray:
    extractor = make_extractor("array-stats", params)
    assert extractor.needs == ArrayNeeds()
    (value,) = extractor.extract([clip(values)])
    assert value.array.dtype == np.float32
    assert value.array.shape == (extractor.schema.dim,)
    assert value.times_ns is None
    return value.array.reshape(-1, 9)


def test_a_column_is_described_as_numpy_does():
    values = np.random.default_rng(0).normal(3, 2, (40, 3)).astype(np.float32)
    found = describe(values, columns=3)
    quantiles = np.quantile(values, [0, 0.25, 0.5, 0.75, 1], axis=0)
    slope = np.polyfit(np.arange(40) / 10, values.astype(float), 1)[0]
    expected = np.stack([values.mean(0), values.std(0), *quantiles, slope, np.zeros(3)], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_what_is_missing_does_not_count_and_is_counted():
    found = describe([[1, NAN], [NAN, NAN], [3, NAN], [NAN, NAN]], columns=2)
    np.testing.assert_allclose(found[0], [2, 1, 1, 1.5, 2, 2.5, 3, 10, 0.5])
    np.testing.assert_array_equal(found[1], [0] * 8 + [1])


def test_fewer_columns_are_filled_up_and_one_row_has_no_slope():
    found = describe([[7.0]])
    assert found.shape == (16, 9)
    np.testing.assert_array_equal(found[0], [7, 0, 7, 7, 7, 7, 7, 0, 0])
    assert (found[1:] == [0] * 8 + [1]).all()


def test_more_columns_are_refused_with_what_to_set_or_folded():
    values = np.arange(12.0).reshape(2, 6)
    with pytest.raises(SampleError, match=r"6 columns, array-stats takes 4\. Set features\.array-stats\.columns = 6"):
        describe(values, columns=4)
    found = describe(values, columns=3, fold=True)
    np.testing.assert_allclose(found[:, 0], [3.5, 5.5, 7.5])
    assert describe([[1, NAN, NAN, NAN]], columns=2, fold=True)[:, 8].tolist() == [0, 1]


def test_rows_at_one_time_and_great_numbers_give_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        extractor = make_extractor("array-stats", {"columns": 1})
        still = ArrayClip(values_TD=np.float32([[1], [2]]), times_ns=np.zeros(2, dtype=np.int64))
        assert extractor.extract([still])[0].array[7] == 0
        assert np.isfinite(describe([[3e38], [3e38]], columns=1)[:, :7]).all()


def test_arrays_are_no_default_where_a_corpus_has_none():
    assert not any(name.startswith("array") for name in default_features())
    assert {"array-raw", "array-stats"} <= set(default_features(arrays=True))
    with pytest.raises(ConfigError, match="columns = 0"):
        make_extractor("array-stats", {"columns": 0})
