"""The gate: a fused model is released only if it beats its best single modality, and honestly.

Validation chooses, the test measures: of the fused models and of the single modalities, the one with the best mean
validation score goes on; which of them the test likes best is never asked. The checks, all of which must hold:

no_leaks           no group, no track and no label crosses from what was learnt to what is tested.
gain               the lower end of the paired difference (judged - best single modality) in what the goal is
                   measured by, which is the accuracy of classes, resampled by group, is above `margin`. Where nothing
                   is fused, the reference is the best constant answer: of classes the most frequent.
gain_over_groups   only with fewer than `min_groups` groups, where such intervals are too narrow: flipping the signs of
                   the groups' gains, p <= 1 - `confidence`, two-sided. The evidence is then called weak.
control            a model trained on shuffled labels is no better than chance explains (see control.py).
calibration        the expected calibration error, after the temperature, is at most `max_calibration_error`.
class_recall       no class that occurs has a recall below `min_class_recall`.
production         on the clips that both answered, it is at most `regression_margin` less accurate than production.
reference          where a goal has a model without a network (linear CCA for retrieval), it is at most
                   `regression_margin` worse than that.
export_parity      the exported graph says the same, within its tolerance.
groups             with fewer than `enough_groups` nothing is evidence: the answer is "insufficient groups", and
                   `few_groups` says what may be published all the same.
holm               with `judge = "all"` every fused model is put to the gate, and validation chooses among those whose
                   gain is more than chance over groups after correction for all of them (Holm 1979). Else one is
                   judged, and there is nothing to correct.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mmpipe.config import FewGroups, GateConfig, Judged
from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.bootstrap import Measure, Resamples, resample
from mmpipe.evaluate.checks import (
    check_calibration,
    check_control,
    check_enough,
    check_gain,
    check_groups,
    check_holm,
    check_leaks,
    check_parity,
    check_production,
    check_recall,
    check_reference,
    signed,
)
from mmpipe.evaluate.leaks import Leak
from mmpipe.evaluate.metrics import calibration_error
from mmpipe.evaluate.significance import group_test, holm, mcnemar
from mmpipe.evaluate.temperature import apply_temperature, scaled
from mmpipe.evaluate.verdict import (
    NOTHING,
    Candidate,
    Evidence,
    Gain,
    GateCheck,
    Parity,
    Standing,
    Status,
    Tested,
    Verdict,
)

SPOILING = ("no_leaks", "control")  # where these fail, no number of this evaluation can be trusted


def decide(
    *,
    candidates: Sequence[Candidate],
    config: GateConfig,
    leaks: Sequence[Leak] = (),
    control: Answers | None = None,
    production: Answers | None = None,
    parities: Mapping[str, Parity] | None = None,
    seed: int = 0,
    unasked: Sequence[str] = (),
    notes: Sequence[str] = (),
    reference: Candidate | None = None,
) -> Verdict:
    """Judge the candidates, all measured on the same clips, and say what may be released.

    `parities` are of the candidates that were exported; `unasked` says what could not be looked for, and why. A
    `reference` is no candidate: a model without a network, below which nothing is released.
    """
    candidates = _on_the_same_clips(candidates)
    single = _best([candidate for candidate in candidates if not candidate.fused])
    fused = [candidate for candidate in candidates if candidate.fused]
    constant = single.predictions.constant_name
    models = {candidate.name: candidate.predictions for candidate in candidates}
    models[constant] = single.predictions.constant()
    resamples = resample(models, draws=config.draws, seed=seed)
    tested = _test_together(fused, single, resamples, config, seed) if config.judge is Judged.ALL else ()
    passing = {entry.name for entry in tested if entry.passed}
    judged = _best([each for each in fused if each.name in passing] or fused) if fused else single
    few = resamples.num_groups < config.enough_groups
    lets_pass = few and (config.few_groups is FewGroups.WARNED or (config.few_groups is FewGroups.SINGLE and not fused))
    gain = _gain(judged, single.name if fused else constant, models, resamples, config, seed)
    answers = scaled(judged.predictions, judged.temperature)
    asked = (
        check_leaks(leaks),
        check_enough(resamples.num_groups, config, lets_pass=lets_pass),
        check_gain(gain, config),
        check_groups(gain, config, lets_pass=lets_pass),
        check_holm(() if lets_pass else tested, judged.name, config),
        check_control(control, answers, config, seed),
        check_calibration(answers, config),
        check_recall(answers, config),
        check_production(judged.predictions, production, config, seed),
        check_parity((parities or {}).get(judged.name)),
        *([check_reference(judged.predictions, reference, config, seed)] if reference else []),
    )
    checks = tuple(check for check in asked if isinstance(check, GateCheck))
    above_chance = resamples.difference(single.name, constant, Measure.WORTH, config.confidence).low > 0
    if reference:
        above_chance &= check_reference(single.predictions, reference, config, seed).passed
    verdict = Verdict(
        status=_status(checks),
        judged=judged.name,
        best_single=single.name,
        offered=_offered(checks, judged, single, above_chance, config),
        evidence=_evidence(resamples.num_groups, config),
        sentence="",
        checks=checks,
        not_checked=(*(reason for reason in asked if isinstance(reason, str)), *unasked),
        gain=gain,
        standings=tuple(_standing(c, c in (judged, single), resamples, config) for c in candidates),
        leaks=tuple(leaks),
        tested=tested,
        notes=tuple(notes),
        measure=judged.predictions.measure,
    )
    return replace(verdict, sentence=_sentence(verdict, config))


# --------------------------------------------------------------------------- who is judged


def _on_the_same_clips(candidates: Sequence[Candidate]) -> list[Candidate]:
    names = [candidate.name for candidate in candidates]
    if all(candidate.fused for candidate in candidates):
        raise ValueError(f"a fusion is judged against single modalities, and none is among {names}")
    if len(set(names)) != len(names) or candidates[0].predictions.constant_name in names:
        raise ValueError(f"the candidates' names must differ: {names}")
    keys = candidates[0].predictions.keys
    for candidate in candidates:
        if len(candidate.predictions.keys) != len(keys):
            raise ValueError(f"{candidate.name} was tested on {len(candidate.predictions.keys)} clips, not {len(keys)}")
    return [replace(candidate, predictions=candidate.predictions.aligned_to(keys)) for candidate in candidates]


def _best(candidates: Sequence[Candidate]) -> Candidate:
    """Return the best by mean validation score; of equals, the first given, so list the simpler first."""
    return max(candidates, key=_validation_score)


def _validation_score(candidate: Candidate) -> float:
    score = float(np.mean(candidate.validation_scores)) if candidate.validation_scores else np.nan
    if not np.isfinite(score):
        raise ValueError(f"{candidate.name} has no finite validation scores: {candidate.validation_scores}")
    return score


def _test_together(
    fused: Sequence[Candidate], single: Candidate, resamples: Resamples, config: GateConfig, seed: int
) -> tuple[Tested, ...]:
    """Return every fused model's gain over the best single modality, corrected for all of them."""
    given = {"margin": config.margin, "draws": config.draws, "seed": seed}
    tests = [group_test(each.predictions, single.predictions, **given).permutation_p for each in fused]  # type: ignore[arg-type]
    found = []
    for each, p, corrected in zip(fused, tests, holm(tests), strict=True):
        gain = resamples.difference(each.name, single.name, Measure.WORTH, config.confidence)
        passed = corrected <= 1 - config.confidence and gain.low > config.margin
        found.append(Tested(name=each.name, gain=gain, p=p, corrected_p=corrected, passed=passed))
    return tuple(found)


def _gain(
    judged: Candidate,
    reference: str,
    models: dict[str, Answers],
    resamples: Resamples,
    config: GateConfig,
    seed: int,
) -> Gain:
    first, second = judged.predictions, models[reference]
    classes = (first, second) if isinstance(first, ClassAnswers) and isinstance(second, ClassAnswers) else None
    return Gain(
        reference=reference,
        worth=resamples.difference(judged.name, reference, Measure.WORTH, config.confidence),
        macro_f1=resamples.difference(judged.name, reference, Measure.MACRO_F1, config.confidence) if classes else None,
        groups=group_test(first, second, margin=config.margin, draws=config.draws, seed=seed),
        mcnemar=mcnemar(*classes) if classes else None,
    )


# --------------------------------------------------------------------------- what is said


def _status(checks: Sequence[GateCheck]) -> Status:
    failed = _failed(checks)
    if not failed:
        return Status.CANDIDATE
    return Status.INSUFFICIENT if "groups" in failed and not failed & set(SPOILING) else Status.REFUSED


def _evidence(num_groups: int, config: GateConfig) -> Evidence:
    if num_groups < config.enough_groups:
        return Evidence.INSUFFICIENT
    return Evidence.WEAK if num_groups < config.min_groups else Evidence.STRONG


def _offered(
    checks: Sequence[GateCheck], judged: Candidate, single: Candidate, above_chance: bool, config: GateConfig
) -> str:
    failed = _failed(checks)
    if not failed:
        return judged.name
    if failed & set(SPOILING) or judged is single or not above_chance:
        return NOTHING
    return NOTHING if "groups" in failed and config.few_groups is FewGroups.NOTHING else single.name


def _failed(checks: Sequence[GateCheck]) -> set[str]:
    return {check.name for check in checks if not check.passed}


def _standing(candidate: Candidate, chosen: bool, resamples: Resamples, config: GateConfig) -> Standing:
    classes = candidate.predictions if isinstance(candidate.predictions, ClassAnswers) else None
    return Standing(
        name=candidate.name,
        fused=candidate.fused,
        chosen=chosen,
        validation_score=_validation_score(candidate),
        measure=candidate.predictions.measure,
        worth=resamples.interval(candidate.name, Measure.WORTH, config.confidence),
        macro_f1=resamples.interval(candidate.name, Measure.MACRO_F1, config.confidence) if classes else None,
        calibration_before=calibration_error(classes) if classes else None,
        calibration_after=calibration_error(apply_temperature(classes, candidate.temperature)) if classes else None,
        temperature=candidate.temperature,
    )


def _sentence(verdict: Verdict, config: GateConfig) -> str:
    gain = verdict.gain.worth
    over = f"its {verdict.measure} over {verdict.gain.reference} is {signed(gain)} across {gain.num_groups} group(s)"
    doubt = _doubt(verdict.evidence, gain.num_groups, config)
    if verdict.status is Status.CANDIDATE:
        return f"{verdict.judged} earned its release: {over}, and every check holds.{doubt}"
    offer = (
        "Nothing is offered instead." if verdict.offered == NOTHING else f"Offered instead: {verdict.offered} alone."
    )
    failed = ", ".join(check.name for check in verdict.checks if not check.passed)
    if verdict.status is Status.INSUFFICIENT:
        return f"{verdict.judged} is not released: {over}.{doubt} {offer} Failed: {failed}."
    return f"{verdict.judged} is refused by {failed}: {over}.{doubt} {offer}"


def _doubt(evidence: Evidence, num_groups: int, config: GateConfig) -> str:
    match evidence:
        case Evidence.STRONG:
            return ""
        case Evidence.WEAK:
            return f" The evidence is weak, of low power: {num_groups} groups, fewer than {config.min_groups}."
        case _:
            return (
                f" Warning, insufficient groups: {num_groups}, where any evidence needs {config.enough_groups}; "
                f"gate.few_groups = {config.few_groups.value!r} says what may be published."
            )
