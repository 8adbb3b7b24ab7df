"""What every imputer must keep to, whatever its method: it fills in what is missing and touches nothing else."""

from __future__ import annotations

import pytest
import torch

from mmpipe.config import Imputation
from mmpipe.errors import ConfigError
from mmpipe.fusion.imputers.base import Imputer, known_sets, side_by_side
from mmpipe.fusion.imputers.registry import IMPUTERS, make_imputer
from mmpipe.fusion.imputers.spec import ImputerSpec
from mmpipe.fusion.preprocess import Prepared

TOKENS, DIMS = (2, 1, 1), (3, 4, 2)
WIDTHS = tuple(tokens * dim for tokens, dim in zip(TOKENS, DIMS, strict=True))
SIZES = {
    Imputation.MEAN: {},
    Imputation.RIDGE: {},
    Imputation.KNN: {"rows": 9, "neighbours": 2},
    Imputation.GAN: {"hidden": 8, "noise": 3, "draws": 2},
}
EACH = sorted(IMPUTERS)


def made(method: Imputation) -> Imputer:
    """An imputer whose numbers are drawn."""
    imputer = make_imputer(ImputerSpec(method=method, sizes=SIZES[method]), WIDTHS)
    generator = torch.Generator().manual_seed(1)
    for buffer in imputer.buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
    return imputer


def clips() -> dict[str, Prepared]:
    """Every set of three modalities that may be there: none, each alone, pairs, all; what is hidden is not zero."""
    generator = torch.Generator().manual_seed(2)
    present_BM = torch.tensor([(0, 0, 0), *known_sets(3), (1, 1, 1)], dtype=torch.bool)
    return {
        name: Prepared(
            x_BSK=torch.randn(len(present_BM), tokens, dim, generator=generator),
            present_B=present_BM[:, number],
            mask_BS=present_BM[:, number, None].expand(-1, tokens) if number != 1 else None,
        )
        for number, (name, tokens, dim) in enumerate(zip("abc", TOKENS, DIMS, strict=True))
    }


@pytest.mark.parametrize("method", EACH)
def test_only_what_is_missing_is_filled_in(method):
    before, after = clips(), made(method)(clips())
    _, present_BM = side_by_side(before)
    for name, part in after.items():
        here_B = before[name].present_B
        assert torch.equal(part.x_BSK[here_B], before[name].x_BSK[here_B])
        assert torch.equal(part.present_B, present_BM.any(1)), "what is filled in counts as present"
        assert torch.equal(part.real_BS, part.present_B[:, None].expand(part.x_BSK.shape[:2]))
        assert torch.isfinite(part.x_BSK).all()


@pytest.mark.parametrize("method", EACH)
def test_a_clip_without_anything_stays_as_it_is(method):
    before, after = clips(), made(method)(clips())
    for name, part in after.items():
        assert not part.present_B[0]
        assert torch.equal(part.x_BSK[0], before[name].x_BSK[0])


@pytest.mark.parametrize("method", EACH)
def test_what_a_missing_modality_holds_is_not_looked_at(method):
    imputer, one, other = made(method), clips(), clips()
    for part in other.values():
        part.x_BSK[~part.present_B] = 1e3
    first, second = imputer(one), imputer(other)
    for name in first:
        assert torch.equal(first[name].x_BSK[1:], second[name].x_BSK[1:])


@pytest.mark.parametrize("method", EACH)
def test_a_clip_does_not_depend_on_its_neighbours_in_the_batch(method):
    imputer, prepared = made(method), clips()
    rows = torch.tensor([5, 2])
    whole, part = imputer(prepared), imputer({name: entry.take(rows) for name, entry in prepared.items()})
    for name in whole:
        torch.testing.assert_close(part[name].x_BSK, whole[name].x_BSK[rows], rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", EACH)
def test_all_numbers_are_buffers_and_the_spec_makes_room_for_them(method):
    imputer = made(method)
    assert not list(imputer.parameters()) and list(imputer.buffers())
    spec = ImputerSpec.from_json(imputer.spec.to_json())
    assert spec == imputer.spec
    again = make_imputer(spec, WIDTHS)
    again.load_state_dict(imputer.state_dict())
    for name, part in again(clips()).items():
        assert torch.equal(part.x_BSK, imputer(clips())[name].x_BSK)


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="from the others of 2 to 4 inputs, got 5"):
        make_imputer(ImputerSpec(method=Imputation.MEAN), (1,) * 5)
    with pytest.raises(ConfigError, match="no imputer is called 'off'"):
        make_imputer(ImputerSpec(method=Imputation.OFF), WIDTHS)
    with pytest.raises(ConfigError, match="does not take"):
        make_imputer(ImputerSpec(method=Imputation.KNN), WIDTHS)
    for table in ({}, {"method": "magic", "sizes": {}}, {"method": "mean", "sizes": 3}, None):
        with pytest.raises(ConfigError, match="cannot be read"):
            ImputerSpec.from_json(table)
