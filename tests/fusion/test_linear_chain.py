"""The linear chain against every path there is, one by one, in float64."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
import torch
from torch import Tensor

from mmpipe.fusion.linear_chain import LinearChain, forbidden_pairs

ENTITIES = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")
PLAIN = ("DET", "NOUN", "VERB")
LENGTHS = (4, 1, 3)


def chain_of(tags: tuple[str, ...], seed: int = 0) -> LinearChain:
    torch.manual_seed(seed)
    chain = LinearChain(tags).double()
    for parameter in chain.parameters():
        torch.nn.init.normal_(parameter)
    return chain


def scores_of(tags: tuple[str, ...], seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(LENGTHS), max(LENGTHS), len(tags), generator=generator, dtype=torch.float64)


def mask() -> Tensor:
    return torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]


def is_allowed(path: tuple[int, ...], tags: tuple[str, ...]) -> bool:
    names = ["O", *[tags[number] for number in path]]
    return all(after[:2] != "I-" or before in (f"B-{after[2:]}", after) for before, after in pairwise(names))


def path_score(chain: LinearChain, scores_TK: Tensor, path: tuple[int, ...]) -> Tensor:
    total = chain.begin_K[path[0]] + chain.end_K[path[-1]] + sum(scores_TK[t, tag] for t, tag in enumerate(path))
    return total + sum(chain.transition_KK[a, b] for a, b in pairwise(path))


def every_path(chain: LinearChain, scores_TK: Tensor, tags: tuple[str, ...]) -> dict[tuple[int, ...], Tensor]:
    paths = product(range(len(tags)), repeat=len(scores_TK))
    return {path: path_score(chain, scores_TK, path) for path in paths if is_allowed(path, tags)}


@pytest.mark.parametrize("tags", [ENTITIES, PLAIN])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_partition_and_best_path_are_those_of_all_paths(tags: tuple[str, ...], seed: int) -> None:
    chain, scores_BTK = chain_of(tags, seed), scores_of(tags, seed + 10)
    log_z_B, best_BT = chain.log_partition(scores_BTK, mask()), chain.best_tags(scores_BTK, mask())
    for b, length in enumerate(LENGTHS):
        paths = every_path(chain, scores_BTK[b, :length], tags)
        torch.testing.assert_close(log_z_B[b], torch.stack(list(paths.values())).logsumexp(0), rtol=0, atol=1e-10)
        best = max(paths, key=lambda path: paths[path].item())
        assert best_BT[b].tolist() == [*best, *[-1] * (max(LENGTHS) - length)]


@pytest.mark.parametrize("tags", [ENTITIES, PLAIN])
def test_chances_of_all_allowed_paths_add_up_to_one(tags: tuple[str, ...]) -> None:
    chain, scores_BTK = chain_of(tags), scores_of(tags)
    for b, length in enumerate(LENGTHS):
        paths = list(every_path(chain, scores_BTK[b, :length], tags))
        said_PT = torch.full((len(paths), max(LENGTHS)), -1)
        said_PT[:, :length] = torch.tensor(paths)
        losses_P = chain.losses(scores_BTK[b].expand(len(paths), -1, -1), said_PT)
        torch.testing.assert_close((-losses_P).exp().sum(), torch.ones((), dtype=torch.float64), rtol=0, atol=1e-9)


def test_gradients_are_those_of_differences_and_what_lies_behind_the_end_has_none() -> None:
    chain, scores_BTK = chain_of(PLAIN), scores_of(PLAIN).requires_grad_()
    tags_BT = torch.where(mask(), torch.tensor([[0, 1, 2, 1]] * 3), -1)
    assert torch.autograd.gradcheck(lambda scores: chain.losses(scores, tags_BT), (scores_BTK,))
    chain.losses(scores_BTK, tags_BT).sum().backward()
    assert scores_BTK.grad is not None and not scores_BTK.grad[~mask()].any()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in chain.parameters())


def test_padding_changes_nothing() -> None:
    chain, scores_BTK = chain_of(ENTITIES), scores_of(ENTITIES)
    tags_BT = torch.where(mask(), torch.tensor([[1, 3, 4, 0]] * 3), -1)
    other_BTK = torch.where(mask()[:, :, None], scores_BTK, 100.0)
    assert torch.equal(chain.losses(scores_BTK, tags_BT), chain.losses(other_BTK, tags_BT))
    assert torch.equal(chain.best_tags(scores_BTK, mask()), chain.best_tags(other_BTK, mask()))


def test_an_i_never_begins_an_entity_however_much_speaks_for_it() -> None:
    chain, scores_BTK = LinearChain(ENTITIES), torch.zeros(1, 3, 5)
    scores_BTK[0, :, ENTITIES.index("I-PER")] = 50.0
    said = [ENTITIES[tag] for tag in chain.best_tags(scores_BTK, torch.ones(1, 3, dtype=torch.bool))[0].tolist()]
    assert said == ["B-PER", "I-PER", "I-PER"]


def test_what_is_forbidden() -> None:
    wrong = forbidden_pairs(ENTITIES)
    names = [(a, b) for i, a in enumerate(ENTITIES) for j, b in enumerate(ENTITIES) if wrong[i, j]]
    assert sorted(names) == sorted(
        [("O", "I-LOC"), ("O", "I-PER"), ("B-LOC", "I-PER"), ("I-LOC", "I-PER"), ("B-PER", "I-LOC"), ("I-PER", "I-LOC")]
    )
    assert not forbidden_pairs(PLAIN).any()
    assert forbidden_pairs(("B", "I", "O")).tolist() == [[False] * 3, [False] * 3, [False, True, False]]


def test_half_precision_scores_are_summed_in_float32() -> None:
    chain = LinearChain(PLAIN)
    losses_B = chain.losses(scores_of(PLAIN).bfloat16(), torch.where(mask(), 1, -1))
    assert losses_B.dtype is torch.float32 and torch.isfinite(losses_B).all()
