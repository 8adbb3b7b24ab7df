from __future__ import annotations

from dataclasses import replace
from itertools import chain, combinations, permutations

import numpy as np
import pytest

from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.contribution import Ablation, Subset, measure_contribution, shapley_values
from mmpipe.io import canonical_json

SIZE, GROUPS = 400, 40


def right_where(right_N: np.ndarray) -> ClassAnswers:
    """Return answers that are right where asked."""
    labels_N = np.arange(SIZE) % 2
    return ClassAnswers(
        keys=tuple(f"k{n:04}" for n in range(SIZE)),
        groups=tuple(f"g{n * GROUPS // SIZE}" for n in range(SIZE)),
        labels_N=labels_N,
        probabilities_NK=np.eye(2)[np.where(right_N, labels_N, 1 - labels_N)],
        classes=("a", "b"),
    )


def subsets(names: tuple[str, ...]) -> list[Subset]:
    return [frozenset(s) for s in chain.from_iterable(combinations(names, k) for k in range(len(names) + 1))]


def random_answers(names: tuple[str, ...], seed: int = 0) -> dict[Subset, ClassAnswers]:
    """Return answers of a model that is right more often the more it is given, the first modality most."""
    rng = np.random.default_rng(seed)
    worth = {name: 0.4 / 2**place for place, name in enumerate(names)}
    return {kept: right_where(rng.random(SIZE) < 0.2 + sum(worth[n] for n in kept)) for kept in subsets(names)}


def contribution(answers: dict[Subset, ClassAnswers], **given: object) -> Ablation:
    arguments: dict = {"permuted": {}, "alone": {}, "draws": 400} | given
    return measure_contribution("concat", answers, **arguments)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_shapley_values_are_means_over_all_orders_and_sum_to_the_whole(size: int) -> None:
    names = tuple("abcd"[:size])
    answers = random_answers(names)
    worth = {kept: float(found.correct_N.mean()) for kept, found in answers.items()}
    right = {kept: found.correct_N.astype(float) for kept, found in answers.items()}
    mine = {name: value_N.mean() for name, value_N in shapley_values(right, list(names)).items()}
    for name in names:
        orders = [order[: order.index(name)] for order in permutations(names)]
        added = [worth[frozenset(before) | {name}] - worth[frozenset(before)] for before in orders]
        assert mine[name] == pytest.approx(np.mean(added))
    assert sum(mine.values()) == pytest.approx(worth[frozenset(names)] - worth[frozenset()])


def test_a_subset_that_was_not_asked_is_an_error() -> None:
    right = {kept: found.correct_N.astype(float) for kept, found in random_answers(("a", "b")).items()}
    del right[frozenset()]
    with pytest.raises(ValueError, match="needs all 4 subsets"):
        shapley_values(right, ["a", "b"])


def test_the_weak_modality_is_named_with_its_interval() -> None:
    found = contribution(random_answers(("audio", "image")))
    assert found.weak and found.weak.modality == "image" and found.weak.is_clear and not found.weak.is_idle
    assert found.weak.sentence.startswith("image is the weak modality: it brings +0.")
    assert 0 < found.weak.behind.low <= found.weak.behind.estimate <= found.weak.behind.high
    assert [share.modality for share in found.shares] == ["audio", "image"]
    assert [score.kept for score in found.subsets] == [(), ("audio",), ("image",), ("audio", "image")]
    assert found.num_groups == GROUPS
    canonical_json(found.as_json())


def test_equal_modalities_are_not_called_weak() -> None:
    right_N = np.arange(SIZE) % 10 < 6
    one, other = right_where(right_N), right_where(np.roll(right_N, 1))
    none, both = right_where(np.arange(SIZE) % 10 < 3), right_where(np.arange(SIZE) % 10 < 9)
    pair = frozenset({"a", "b"})
    found = contribution({pair: both, frozenset({"a"}): one, frozenset({"b"}): other, frozenset(): none})
    assert found.weak and not found.weak.is_clear and "No modality is clearly the weakest" in found.weak.sentence


def test_a_modality_that_the_model_ignores_is_idle() -> None:
    sound = right_where(np.arange(SIZE) % 10 < 7)
    none = right_where(np.arange(SIZE) % 10 < 2)
    pair = frozenset({"image", "sound"})
    found = contribution({pair: sound, frozenset({"sound"}): sound, frozenset({"image"}): none, frozenset(): none})
    assert found.weak and found.weak.modality == "image" and found.weak.is_idle and found.weak.is_clear
    assert "which may be nothing" in found.weak.sentence
    image = found.shares[0]
    assert image.shapley and image.shapley.estimate == 0 and image.loss_without.estimate == 0


def test_permuted_and_separately_trained_answers_are_told_apart() -> None:
    answers = random_answers(("audio", "image"))
    whole = answers[frozenset({"audio", "image"})]
    shuffled, alone = right_where(np.zeros(SIZE, bool)), right_where(np.ones(SIZE, bool))
    found = contribution(answers, permuted={"audio": shuffled}, alone={"image": alone})
    audio, image = found.shares
    assert audio.loss_permuted and audio.loss_permuted.estimate == pytest.approx(whole.correct_N.mean())
    assert audio.alone is None and image.loss_permuted is None
    assert image.alone and image.alone.estimate == 1


def test_five_modalities_are_judged_by_what_hiding_them_costs() -> None:
    names = tuple("abcde")
    whole = frozenset(names)
    answers = {kept: found for kept, found in random_answers(names).items() if len(kept) >= 4}
    found = contribution(answers)
    assert all(share.shapley is None and share.only is None for share in found.shares)
    assert found.weak and "cost of hiding it" in found.weak.sentence and len(answers) == 6
    assert found.subsets[-1].worth.estimate == pytest.approx(answers[whole].correct_N.mean())


def test_clips_in_another_order_give_the_same(size: int = SIZE) -> None:
    answers = random_answers(("audio", "image"))
    order = np.random.default_rng(0).permutation(size)
    turned = {kept: found.take(order) if kept else found for kept, found in answers.items()}
    assert [s.shapley.estimate for s in contribution(turned).shares if s.shapley] == pytest.approx(
        [s.shapley.estimate for s in contribution(answers).shares if s.shapley]
    )
    lonely = {kept: replace(found, groups=("one",) * SIZE) for kept, found in answers.items()}
    shares = contribution(lonely).shares
    assert shares[0].shapley and shares[0].shapley.low == shares[0].shapley.high  # one group: no spread is known
