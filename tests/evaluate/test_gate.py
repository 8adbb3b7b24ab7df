from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmpipe.config import FewGroups, GateConfig, Judged
from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.gate import decide
from mmpipe.evaluate.leaks import Leak
from mmpipe.evaluate.verdict import Candidate, Evidence, Parity, Status, Verdict
from mmpipe.io import canonical_json

CLASSES = tuple("abcde")
CONFIG = GateConfig(draws=2000)


def model(accuracy: float, *, groups: int = 30, spread: float = 0.0, seed: int = 0, size: int = 40) -> ClassAnswers:
    """Return five-class predictions of about this accuracy, which varies by group as far as asked."""
    rng = np.random.default_rng(seed)
    num_clips = groups * size
    labels_N = np.arange(num_clips) % 5
    skill_N = np.repeat(np.clip(accuracy + spread * rng.normal(size=groups), 0, 1), size)
    wrong_N = (labels_N + rng.integers(1, 5, size=num_clips)) % 5
    said_N = np.where(rng.random(num_clips) < skill_N, labels_N, wrong_N)
    confidence = 0.2 + 0.8 * max(accuracy - 0.2, 0.01) / 0.8
    return ClassAnswers(
        keys=tuple(f"k{n:05}" for n in range(num_clips)),
        groups=tuple(f"g{n // size:03}" for n in range(num_clips)),
        labels_N=labels_N,
        probabilities_NK=np.full((num_clips, 5), (1 - confidence) / 4)
        + np.eye(5)[said_N] * (confidence - (1 - confidence) / 4),
        classes=CLASSES,
    )


def candidate(name: str, predictions: ClassAnswers, validation: float = 0.5, fused: bool = True) -> Candidate:
    return Candidate(name=name, fused=fused, validation_scores=(validation, validation), predictions=predictions)


def judge(fused: float, single: float, *, groups: int = 30, spread: float = 0.0, **given: object) -> Verdict:
    arguments: dict = {"control": model(0.2, groups=groups, seed=9), "config": CONFIG}
    arguments |= given
    return decide(
        candidates=[
            candidate("audio", model(single, groups=groups, spread=spread, seed=1), 0.6, fused=False),
            candidate("image", model(single - 0.1, groups=groups, seed=2), 0.5, fused=False),
            candidate("concat", model(fused, groups=groups, spread=spread, seed=3), 0.7),
        ],
        **arguments,
    )


def failed(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.checks if not check.passed}


def test_a_clear_win_is_released() -> None:
    verdict = judge(0.85, 0.7)
    assert verdict.status is Status.CANDIDATE and verdict.offered == "concat"
    assert failed(verdict) == set() and verdict.evidence is Evidence.STRONG
    assert verdict.gain.worth.low > 0.1 and "earned its release" in verdict.sentence
    assert [standing.chosen for standing in verdict.standings] == [True, False, True]


@pytest.mark.parametrize("fused", [0.7, 0.6, 0.4])
def test_a_tie_and_a_loss_are_refused_and_the_single_modality_offered(fused: float) -> None:
    verdict = judge(fused, 0.7)
    assert verdict.status is Status.REFUSED and failed(verdict) == {"gain"}
    assert verdict.offered == "audio" and "Offered instead: audio" in verdict.sentence


def test_a_gain_below_the_margin_is_refused() -> None:
    assert failed(judge(0.85, 0.7, config=GateConfig(draws=2000, margin=0.2))) == {"gain"}


def test_a_gain_that_two_groups_of_twelve_make_is_refused() -> None:
    audio = model(0.6, groups=12, seed=1)
    first_two_N = (np.arange(len(audio.keys)) < 80)[:, None]
    concat = replace(audio, probabilities_NK=np.where(first_two_N, np.eye(5)[audio.labels_N], audio.probabilities_NK))
    single, fused = candidate("audio", audio, fused=False), candidate("concat", concat)
    verdict = decide(candidates=[single, fused], config=CONFIG, control=model(0.2, groups=12, seed=9))
    assert verdict.gain.worth.estimate > 0.05 and verdict.gain.mcnemar.p < 1e-6
    assert failed(verdict) == {"gain"} and verdict.gain.worth.low == 0


def test_few_groups_are_weak_evidence_and_tested_by_signs() -> None:
    verdict = judge(0.9, 0.6, groups=6)
    assert verdict.status is Status.CANDIDATE and verdict.evidence is Evidence.WEAK and "weak" in verdict.sentence
    assert verdict.gain.groups.permutation_p == pytest.approx(1 / 32)
    with_five = judge(0.9, 0.6, groups=5)
    assert failed(with_five) == {"gain_over_groups"} and with_five.gain.worth.low > 0
    assert "no outcome can pass" in next(c.detail for c in with_five.checks if not c.passed)


@pytest.mark.parametrize("groups", [1, 4])
def test_below_five_groups_the_answer_is_insufficient_whatever_the_numbers(groups: int) -> None:
    for fused in (0.95, 0.3):
        verdict = judge(fused, 0.5, groups=groups)
        assert verdict.status is Status.INSUFFICIENT == "insufficient groups" and verdict.offered == "nothing"
        assert "groups" in failed(verdict) and verdict.evidence is Evidence.INSUFFICIENT
        assert "insufficient groups" in verdict.sentence and "gate.few_groups = 'nothing'" in verdict.sentence
    assert judge(0.95, 0.5, groups=5).status is Status.REFUSED


def test_what_insufficient_groups_may_publish_is_a_policy_and_is_said() -> None:
    single = judge(0.95, 0.6, groups=4, config=GateConfig(draws=500, few_groups=FewGroups.SINGLE))
    assert (single.status, single.offered) == (Status.INSUFFICIENT, "audio")
    assert "few_groups = 'single'" in single.sentence and "Offered instead: audio" in single.sentence
    warned = GateConfig(draws=500, few_groups=FewGroups.WARNED)
    verdict = judge(0.95, 0.6, groups=4, config=warned)
    assert (verdict.status, verdict.offered) == (Status.CANDIDATE, "concat")
    assert "Warning, insufficient groups: 4" in verdict.sentence and verdict.evidence is Evidence.INSUFFICIENT
    assert any("p = 0.125" in reason for reason in verdict.not_checked)
    worse = judge(0.3, 0.6, groups=4, config=warned)
    assert (worse.status, worse.offered) == (Status.REFUSED, "audio") and failed(worse) == {"gain"}


def test_a_leak_is_worse_than_too_few_groups() -> None:
    leak = Leak(code="group_overlap", count=1, detail="a speaker on both sides", examples=("a",))
    for policy in FewGroups:
        verdict = judge(0.95, 0.6, groups=4, leaks=(leak,), config=GateConfig(draws=500, few_groups=policy))
        assert (verdict.status, verdict.offered) == (Status.REFUSED, "nothing")


def test_a_single_modality_of_few_groups_is_published_where_the_policy_allows_one() -> None:
    alone = candidate("audio", model(0.9, groups=4), fused=False)
    control = model(0.2, groups=4, seed=9)
    statuses = {
        policy: decide(candidates=[alone], config=GateConfig(draws=500, few_groups=policy), control=control).status
        for policy in FewGroups
    }
    assert statuses == {
        FewGroups.NOTHING: Status.INSUFFICIENT,
        FewGroups.SINGLE: Status.CANDIDATE,
        FewGroups.WARNED: Status.CANDIDATE,
    }


ALL = GateConfig(draws=2000, judge=Judged.ALL)


def test_where_all_are_judged_validation_chooses_among_those_that_pass() -> None:
    """The one that validation likes best gains nothing; alone it is refused, together the next one is released."""
    single = candidate("audio", model(0.7, seed=1), 0.6, fused=False)
    liked, second = candidate("liked", model(0.7, seed=4), 0.9), candidate("second", model(0.85, seed=5), 0.8)
    third = candidate("third", model(0.95, seed=6), 0.7)
    given: dict = {"candidates": [single, liked, second, third], "control": model(0.2, seed=9)}
    alone, together = decide(config=CONFIG, **given), decide(config=ALL, **given)
    assert (alone.judged, alone.status) == ("liked", Status.REFUSED) and alone.tested == ()
    assert (together.judged, together.status, together.offered) == ("second", Status.CANDIDATE, "second")
    assert [(entry.name, entry.passed) for entry in together.tested] == [
        ("liked", False),
        ("second", True),
        ("third", True),
    ]
    check = next(check for check in together.checks if check.name == "holm")
    assert check.value == together.tested[1].corrected_p and "3 fused models" in check.detail


def test_a_gain_that_only_luck_among_many_explains_is_refused_together() -> None:
    """Seven groups, all better: p = 1/64 passes alone, and four times that does not."""
    single = candidate("audio", model(0.5, groups=7, seed=1), 0.6, fused=False)
    good = candidate("good", model(0.9, groups=7, seed=2), 0.9)
    others = [candidate(f"idle{n}", model(0.5, groups=7, seed=3 + n), 0.5) for n in range(3)]
    control = model(0.2, groups=7, seed=9)
    assert decide(candidates=[single, good], config=CONFIG, control=control).status is Status.CANDIDATE
    verdict = decide(candidates=[single, good, *others], config=ALL, control=control)
    assert verdict.status is Status.REFUSED and failed(verdict) == {"holm"} and verdict.offered == "audio"
    assert verdict.tested[0].p == pytest.approx(1 / 64) and verdict.tested[0].corrected_p == pytest.approx(4 / 64)


def test_what_could_not_be_looked_for_and_what_decides_nothing_are_kept() -> None:
    verdict = judge(0.85, 0.7, unasked=("near_duplicates: off",), notes=("names hold labels",))
    assert verdict.not_checked[-1] == "near_duplicates: off" and verdict.notes == ("names hold labels",)
    assert verdict.status is Status.CANDIDATE


def test_a_leak_spoils_everything() -> None:
    leak = Leak(code="group_overlap", count=2, detail="two speakers on both sides", examples=("a", "b"))
    verdict = judge(0.85, 0.7, leaks=(leak,))
    assert failed(verdict) == {"no_leaks"} and verdict.offered == "nothing" and verdict.leaks == (leak,)


def test_a_control_above_chance_spoils_everything() -> None:
    verdict = judge(0.85, 0.7, control=model(0.6, seed=9))
    assert failed(verdict) == {"control"} and verdict.offered == "nothing"


def test_a_control_that_was_asked_for_and_not_trained() -> None:
    assert failed(judge(0.85, 0.7, control=None)) == {"control"}
    verdict = judge(0.85, 0.7, control=None, config=GateConfig(draws=500, shuffled_control=False))
    assert verdict.status is Status.CANDIDATE and any("shuffled_control" in reason for reason in verdict.not_checked)


def test_validation_chooses_even_where_the_test_likes_another() -> None:
    lucky, chosen = candidate("lucky", model(0.95, seed=4), 0.5), candidate("chosen", model(0.7, seed=5), 0.8)
    single = candidate("audio", model(0.7, seed=1), 0.6, fused=False)
    verdict = decide(candidates=[single, lucky, chosen], config=CONFIG, control=model(0.2, seed=9))
    assert verdict.judged == "chosen" and verdict.status is Status.REFUSED
    better = candidate("image", model(0.4, seed=6), 0.9, fused=False)
    verdict = decide(candidates=[single, better, chosen], config=CONFIG, control=model(0.2, seed=9))
    assert verdict.best_single == "image" and verdict.gain.reference == "image"


def test_overconfidence_and_a_forgotten_class_are_refused() -> None:
    config = GateConfig(draws=500, max_calibration_error=0.05, min_class_recall=0.5)
    honest = model(0.85, seed=3)
    sure = replace(honest, probabilities_NK=np.eye(5)[honest.predicted_N])
    blind_NK = np.where((honest.labels_N == 4)[:, None], np.eye(5)[0], honest.probabilities_NK)
    single = candidate("audio", model(0.5, seed=1), 0.6, fused=False)
    for predictions, name in ((sure, "calibration"), (replace(honest, probabilities_NK=blind_NK), "class_recall")):
        verdict = decide(candidates=[single, candidate("c", predictions)], config=config, control=model(0.2, seed=9))
        assert name in failed(verdict) and verdict.offered == "audio"
    warm = replace(candidate("c", sure), temperature=12.0)
    verdict = decide(candidates=[single, warm], config=CONFIG, control=model(0.2, seed=9))
    assert verdict.standings[1].calibration_after != verdict.standings[1].calibration_before


def test_production_is_not_to_be_made_worse() -> None:
    assert failed(judge(0.85, 0.7, production=model(0.95, seed=7))) == {"production"}
    assert failed(judge(0.85, 0.7, production=model(0.85, seed=3))) == set()
    some = model(0.95, seed=7).take(np.arange(100))
    assert "on 100 of 1200 clips" in next(
        c.detail for c in judge(0.85, 0.7, production=some).checks if c.name == "production"
    )
    elsewhere = replace(some, keys=tuple(f"x{n}" for n in range(100)))
    assert any("none of these clips" in reason for reason in judge(0.85, 0.7, production=elsewhere).not_checked)


def test_an_export_that_says_otherwise_is_refused() -> None:
    assert failed(judge(0.85, 0.7, parities={"concat": Parity(max_difference=0.1, tolerance=1e-5)})) == {
        "export_parity"
    }
    assert failed(judge(0.85, 0.7, parities={"concat": Parity(max_difference=1e-7, tolerance=1e-5)})) == set()


def test_a_single_modality_alone_is_judged_against_the_most_frequent_class() -> None:
    good, bad = candidate("audio", model(0.7), 0.6, fused=False), candidate("audio", model(0.2), 0.6, fused=False)
    verdict = decide(candidates=[good], config=CONFIG, control=model(0.2, seed=9))
    assert verdict.status is Status.CANDIDATE and verdict.gain.reference == "the most frequent class"
    verdict = decide(candidates=[bad], config=CONFIG, control=model(0.2, seed=9))
    assert verdict.status is Status.REFUSED and verdict.offered == "nothing"


def test_a_single_modality_at_chance_is_not_offered() -> None:
    assert judge(0.2, 0.2).offered == "nothing"


def test_what_cannot_be_judged_is_said() -> None:
    with pytest.raises(ValueError, match="single modalities"):
        decide(candidates=[candidate("concat", model(0.8))], config=CONFIG)
    few = candidate("audio", model(0.7).take(np.arange(10)), fused=False)
    with pytest.raises(ValueError, match="1200 clips"):
        decide(candidates=[few, candidate("concat", model(0.8))], config=CONFIG)
    with pytest.raises(ValueError, match="validation scores"):
        decide(candidates=[replace(few, validation_scores=())], config=CONFIG)


def test_the_verdict_is_canonical_and_depends_on_the_seed_alone() -> None:
    first, second = judge(0.85, 0.7, seed=4), judge(0.85, 0.7, seed=4)
    assert canonical_json(first.as_json()) == canonical_json(second.as_json())
    assert b'"status": "candidate"' in canonical_json(first.as_json())
