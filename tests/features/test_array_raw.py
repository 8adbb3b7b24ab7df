"""`array-raw`: the rows themselves, averaged, with nothing missing and a column that says what was."""

from __future__ import annotations

import numpy as np
import pytest

from mmpipe.errors import SampleError
from mmpipe.features.extractor import fingerprint
from mmpipe.features.registry import make_extractor
from mmpipe.types import ArrayClip, FeatureValue

SECOND = 1_000_000_000
NAN = np.nan


def extract(values, seconds=None, **params) -> FeatureValue:
    values_TD = np.asarray(values, dtype=np.float32).reshape(len(values), -1)
    times = np.arange(len(values_TD)) / 10 if seconds is None else np.asarray(seconds)
    extractor = make_extractor("array-raw", params)
    (value,) = extractor.extract([ArrayClip(values_TD=values_TD, times_ns=np.round(times * SECOND).astype(np.int64))])
    assert value.array.shape == (len(value.times_ns), extractor.schema.dim)
    assert value.array.dtype == np.float32
    assert np.isfinite(value.array).all()
    assert (np.diff(value.times_ns) >= 0).all()
    return value


def test_few_rows_come_as_they_are():
    value = extract([[1, 2], [3, 4]], columns=2)
    assert value.array.tolist() == [[1, 2, 0], [3, 4, 0]]
    assert value.times_ns.tolist() == [0, SECOND // 10]


def test_many_rows_are_averaged_over_even_runs():
    value = extract(np.arange(10.0), columns=1, max_rows=3)
    assert value.array[:, 0].tolist() == [1, 4, 7.5]
    assert (value.times_ns / SECOND).tolist() == pytest.approx([0.1, 0.4, 0.75])


def test_a_rate_averages_what_lies_in_each_span_of_the_assets_clock():
    value = extract([1, 2, 3, 9], seconds=[10.1, 10.4, 10.5, 13.0], columns=1, rate_hz=2)
    assert value.array[:, 0].tolist() == [1.5, 3, 9]
    assert (value.times_ns / SECOND).tolist() == pytest.approx([10.25, 10.5, 13])
    # So two halves of a recording give what the whole gives.
    late = extract([3, 9], seconds=[10.5, 13.0], columns=1, rate_hz=2)
    np.testing.assert_array_equal(late.array, value.array[1:])


def test_an_arrays_own_rate_keeps_every_row():
    value = extract(
        list(range(300)), seconds=[number / 100 for number in range(300)], columns=1, rate_hz=100, max_rows=999
    )
    assert value.array[:, 0].tolist() == list(range(300))


def test_a_missing_number_is_the_mean_of_its_column_and_is_told():
    value = extract([[1, NAN, NAN], [NAN, 4, NAN], [3, 6, NAN], [NAN, NAN, NAN]], columns=4)
    np.testing.assert_allclose(
        value.array,
        [[1, 5, 0, 0, 2 / 3], [2, 4, 0, 0, 2 / 3], [3, 6, 0, 0, 1 / 3], [2, 5, 0, 0, 1]],
        rtol=1e-6,
    )


def test_more_columns_are_refused_or_folded():
    with pytest.raises(SampleError, match="too_many_columns: the array has 3 columns, array-raw takes 2"):
        extract([[1, 2, 3]], columns=2)
    assert extract([[1, 2, 3, 6]], columns=2, fold=True).array.tolist() == [[1.5, 4.5, 0]]


def test_every_parameter_is_in_the_fingerprint():
    made = {
        fingerprint(make_extractor("array-raw", params))
        for params in ({}, {"columns": 2}, {"max_rows": 9}, {"rate_hz": 5}, {"fold": True})
    }
    assert len(made) == 5
