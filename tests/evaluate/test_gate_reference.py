"""A model without a network, below which nothing is released."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mmpipe.config import GateConfig
from mmpipe.evaluate.answers.matches import MatchAnswers
from mmpipe.evaluate.gate import decide
from mmpipe.evaluate.verdict import Candidate, GateCheck, Verdict

CONFIG = GateConfig(draws=500, shuffled_control=False)
CLIPS = 60


def candidate(name: str, noise: float, *, fused: bool = False) -> Candidate:
    random = np.random.default_rng(len(name))
    items_ND = random.normal(size=(CLIPS, 12))
    keys = [f"k{n:02}" for n in range(CLIPS)]
    answers = MatchAnswers.found(
        keys, keys, np.arange(CLIPS), items_ND + noise * random.normal(size=items_ND.shape), items_ND
    )
    return Candidate(name=name, fused=fused, validation_scores=(answers.worth,), predictions=answers)


def decided(*candidates: Candidate, reference: Candidate | None = None) -> Verdict:
    return decide(candidates=candidates, config=CONFIG, reference=reference)


def check_of(verdict: Verdict) -> GateCheck | None:
    return next((check for check in verdict.checks if check.name == "reference"), None)


def test_a_network_that_a_line_beats_is_not_released() -> None:
    network = candidate("sound", 0.8)
    assert check_of(decided(network)) is None
    passed = decided(network, reference=candidate("linear-cca", 3.0))
    assert passed.gain.reference == "chance" and passed.status == "candidate" and passed.offered == "sound"
    refused = decided(network, reference=candidate("linear-cca", 0.2))
    check = check_of(refused)
    assert refused.status == "refused" and refused.offered == "nothing" and "refused by reference" in refused.sentence
    assert check and not check.passed and check.limit == -0.02 and "over linear-cca" in check.detail
    assert [standing.name for standing in refused.standings] == ["sound"]


def test_a_network_that_is_as_good_as_a_line_may_be_released() -> None:
    network = candidate("sound", 0.8)
    same = replace(network, name="linear-cca")
    assert decided(network, reference=same).status == "candidate"


def test_what_is_offered_instead_of_a_fusion_is_held_to_it_too() -> None:
    one, fused = candidate("sound", 2.0), candidate("concat", 0.5, fused=True)
    assert decided(one, fused, reference=candidate("linear-cca", 3.0)).status == "candidate"
    worse = decided(one, fused, reference=candidate("linear-cca", 0.1))
    assert worse.gain.reference == "sound" and worse.status == "refused" and worse.offered == "nothing"
