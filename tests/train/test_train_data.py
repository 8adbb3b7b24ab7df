from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from toy_clips import AUDIO, IMAGE, NOISE, ToySource, spec_of

from mmpipe.errors import StoreError
from mmpipe.fusion.model import FusionModel
from mmpipe.train.data import InMemory, OnDemand, PooledSource, fit_preprocess, pool_source, prepare_data, tensors_of

INPUTS = (AUDIO, IMAGE, NOISE)
ROWS = np.array([7, 0, 3, 50, 51, 88, 11, 10, 20, 22])


def fitted_model(source, fusion="transformer", rows=None) -> FusionModel:
    model = FusionModel(spec_of(fusion))
    fit_preprocess(model, source, np.arange(60) if rows is None else rows)
    return model


def same(one, other) -> bool:
    return all(
        torch.equal(one[name].x_BSK, other[name].x_BSK) and torch.equal(one[name].present_B, other[name].present_B)
        for name in one.keys() | other.keys()
    )


@pytest.mark.parametrize("fusion", ["concat", "transformer"])
def test_in_memory_and_on_demand_give_the_same(fusion):
    source = ToySource()
    model = fitted_model(source, fusion)
    positions = np.array([9, 0, 4])
    memory, demand = InMemory(model, source, ROWS), OnDemand(model, source, ROWS)
    assert same(memory.take(positions), demand.take(positions))
    assert memory.keys(positions) == demand.keys(positions) == ["clip022", "clip007", "clip051"]


def test_the_budget_decides():
    source = ToySource()
    model = fitted_model(source)
    assert isinstance(prepare_data(model, source, ROWS), InMemory)
    assert isinstance(prepare_data(model, source, ROWS, memory_bytes=100), OnDemand)
    assert pool_source(source, spec_of("concat"), ROWS, memory_bytes=100) is source


@pytest.mark.parametrize("fusion", ["concat", "transformer"])
def test_a_pooled_source_changes_nothing_and_reads_once(fusion):
    source = ToySource()
    pooled = pool_source(source, spec_of(fusion), np.arange(90))
    assert isinstance(pooled, PooledSource)
    assert source.num_gathered == 90
    one, other = fitted_model(source, fusion), fitted_model(pooled, fusion)
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), other.buffers(), strict=True))
    assert same(InMemory(one, source, ROWS).take(np.arange(10)), InMemory(other, pooled, ROWS).take(np.arange(10)))


def test_a_pooled_source_has_only_its_rows():
    pooled = PooledSource(ToySource(), spec_of("concat"), ROWS)
    assert pooled.gather(np.array([50, 3])).keys == ("clip050", "clip003")
    for row in (4, 89):
        with pytest.raises(ValueError, match="only has the rows"):
            pooled.gather(np.array([row]))


def test_the_fit_sees_training_rows_only():
    source = ToySource()
    before = [buffer.clone() for buffer in fitted_model(source).buffers()]
    source.image[60:] *= 100
    for row in range(60, 90):
        source.audio[row] += 50
    assert all(torch.equal(a, b) for a, b in zip(before, fitted_model(source).buffers(), strict=True))
    source.image[5] *= 100
    assert not all(torch.equal(a, b) for a, b in zip(before, fitted_model(source).buffers(), strict=True))


def test_values_that_are_not_finite_name_the_feature_and_the_clip():
    source = ToySource()
    source.image[7, 3] = np.nan
    with pytest.raises(StoreError, match=r"image-toy@1 .* 1 clip\(s\), among them \['clip007'\]"):
        fitted_model(source)


def test_what_lies_under_the_mask_may_be_anything():
    batch = ToySource().gather(np.arange(1, 5))
    part = batch.features[AUDIO.feature]
    part.x_BTD[~part.mask_BT] = np.nan
    tensors_of(batch, (AUDIO.feature,))


def test_read_only_arrays_are_fine():
    batch = ToySource().gather(np.arange(1, 5))
    part = batch.features[AUDIO.feature]
    part.x_BTD.flags.writeable = False
    assert torch.isfinite(tensors_of(dataclasses.replace(batch), (AUDIO.feature,))[AUDIO.feature][0]).all()
