from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmpipe.config import GateConfig
from mmpipe.evaluate.gate import decide
from mmpipe.evaluate.leaks import Leak
from mmpipe.evaluate.predictions import Predictions
from mmpipe.evaluate.verdict import Candidate, Evidence, Parity, Status, Verdict
from mmpipe.io import canonical_json

CLASSES = tuple("abcde")
CONFIG = GateConfig(draws=2000)


def model(accuracy: float, *, groups: int = 30, spread: float = 0.0, seed: int = 0, size: int = 40) -> Predictions:
    """Return five-class predictions of about this accuracy, which varies by group as far as asked."""
    rng = np.random.default_rng(seed)
    num_clips = groups * size
    labels_N = np.arange(num_clips) % 5
    skill_N = np.repeat(np.clip(accuracy + spread * rng.normal(size=groups), 0, 1), size)
    wrong_N = (labels_N + rng.integers(1, 5, size=num_clips)) % 5
    said_N = np.where(rng.random(num_clips) < skill_N, labels_N, wrong_N)
    confidence = 0.2 + 0.8 * max(accuracy - 0.2, 0.01) / 0.8
    return Predictions(
        keys=tuple(f"k{n:05}" for n in range(num_clips)),
        groups=tuple(f"g{n // size:03}" for n in range(num_clips)),
        labels_N=labels_N,
        probabilities_NK=np.full((num_clips, 5), (1 - confidence) / 4)
        + np.eye(5)[said_N] * (confidence - (1 - confidence) / 4),
        classes=CLASSES,
    )


def candidate(name: str, predictions: Predictions, validation: float = 0.5, fused: bool = True) -> Candidate:
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
    assert verdict.gain.accuracy.low > 0.1 and "earned its release" in verdict.sentence
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
    assert verdict.gain.accuracy.estimate > 0.05 and verdict.gain.mcnemar.p < 1e-6
    assert failed(verdict) == {"gain"} and verdict.gain.accuracy.low == 0


def test_few_groups_are_weak_evidence_and_tested_by_signs() -> None:
    verdict = judge(0.9, 0.6, groups=6)
    assert verdict.status is Status.CANDIDATE and verdict.evidence is Evidence.WEAK and "weak" in verdict.sentence
    assert verdict.gain.groups.permutation_p == pytest.approx(1 / 32)
    with_five = judge(0.9, 0.6, groups=5)
    assert failed(with_five) == {"gain_over_groups"} and with_five.gain.accuracy.low > 0
    assert "no outcome can pass" in next(c.detail for c in with_five.checks if not c.passed)


def test_one_group_is_never_enough() -> None:
    assert "gain_over_groups" in failed(judge(0.9, 0.5, groups=1))


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
    assert failed(judge(0.85, 0.7, parity=Parity(max_difference=0.1, tolerance=1e-5))) == {"export_parity"}
    assert failed(judge(0.85, 0.7, parity=Parity(max_difference=1e-7, tolerance=1e-5))) == set()


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
