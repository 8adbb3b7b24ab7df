"""The gate: a fused model is released only if it beats its best single modality, and honestly.

Validation chooses, the test measures: of the fused models and of the single modalities, the one with the best mean
validation score goes on; which of them the test likes best is never asked. The checks, all of which must hold:

no_leaks           no group, no track and no label crosses from what was learnt to what is tested.
gain               the lower end of the paired difference in accuracy (judged - best single modality), resampled by
                   group, is above `margin`. Where nothing is fused, the reference is the most frequent class.
gain_over_groups   only with fewer than `min_groups` groups, where such intervals are too narrow: flipping the signs of
                   the groups' gains, p <= 1 - `confidence`, two-sided. The evidence is then called weak.
control            a model trained on shuffled labels is no better than chance explains (see control.py).
calibration        the expected calibration error, after the temperature, is at most `max_calibration_error`.
class_recall       no class that occurs has a recall below `min_class_recall`.
production         on the clips that both answered, it is at most `regression_margin` less accurate than production.
export_parity      the exported graph says the same, within its tolerance.

One fused model is judged, so there is nothing to correct for multiple comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mmpipe.config import GateConfig
from mmpipe.evaluate.bootstrap import Interval, Measure, Resamples, resample
from mmpipe.evaluate.control import bound_control
from mmpipe.evaluate.leaks import Leak
from mmpipe.evaluate.metrics import Metrics, calibration_error, measure
from mmpipe.evaluate.predictions import Predictions
from mmpipe.evaluate.significance import group_test, mcnemar
from mmpipe.evaluate.temperature import apply_temperature
from mmpipe.evaluate.verdict import NOTHING, Candidate, Evidence, Gain, GateCheck, Parity, Standing, Status, Verdict

MAJORITY = "the most frequent class"
SPOILING = ("no_leaks", "control")  # where these fail, no number of this evaluation can be trusted


def decide(
    *,
    candidates: Sequence[Candidate],
    config: GateConfig,
    leaks: Sequence[Leak] = (),
    control: Predictions | None = None,
    production: Predictions | None = None,
    parity: Parity | None = None,
    seed: int = 0,
) -> Verdict:
    """Judge the candidates, all measured on the same clips, and say what may be released."""
    candidates = _on_the_same_clips(candidates)
    single = _best([candidate for candidate in candidates if not candidate.fused])
    fused = [candidate for candidate in candidates if candidate.fused]
    judged = _best(fused) if fused else single
    majority = _majority(single.predictions)
    models = {candidate.name: candidate.predictions for candidate in candidates} | {MAJORITY: majority}
    resamples = resample(models, draws=config.draws, seed=seed)
    gain = _gain(judged, single.name if fused else MAJORITY, models, resamples, config, seed)
    metrics = measure(apply_temperature(judged.predictions, judged.temperature))
    asked = (
        _check_leaks(leaks),
        _check_gain(gain, config),
        _check_groups(gain, config),
        _check_control(control, metrics, config, seed),
        _check_calibration(metrics, config),
        _check_recall(metrics, config),
        _check_production(judged.predictions, production, config, seed),
        _check_parity(parity),
    )
    checks = tuple(check for check in asked if isinstance(check, GateCheck))
    above_chance = resamples.difference(single.name, MAJORITY, Measure.ACCURACY, config.confidence).low > 0
    verdict = Verdict(
        status=Status.CANDIDATE if all(check.passed for check in checks) else Status.REFUSED,
        judged=judged.name,
        best_single=single.name,
        offered=_offered(checks, judged, single, above_chance),
        evidence=Evidence.WEAK if resamples.num_groups < config.min_groups else Evidence.STRONG,
        sentence="",
        checks=checks,
        not_checked=tuple(reason for reason in asked if isinstance(reason, str)),
        gain=gain,
        standings=tuple(_standing(c, c in (judged, single), resamples, config) for c in candidates),
        leaks=tuple(leaks),
    )
    return replace(verdict, sentence=_sentence(verdict))


# --------------------------------------------------------------------------- who is judged


def _on_the_same_clips(candidates: Sequence[Candidate]) -> list[Candidate]:
    names = [candidate.name for candidate in candidates]
    if all(candidate.fused for candidate in candidates):
        raise ValueError(f"a fusion is judged against single modalities, and none is among {names}")
    if len(set(names)) != len(names) or MAJORITY in names:
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


def _majority(predictions: Predictions) -> Predictions:
    """Return the answers of one who always names the most frequent class of this very evaluation."""
    answer = np.bincount(predictions.labels_N, minlength=len(predictions.classes)).argmax()
    probabilities_NK = np.zeros_like(predictions.probabilities_NK)
    probabilities_NK[:, answer] = 1
    return replace(predictions, probabilities_NK=probabilities_NK)


def _gain(
    judged: Candidate,
    reference: str,
    models: dict[str, Predictions],
    resamples: Resamples,
    config: GateConfig,
    seed: int,
) -> Gain:
    pair = judged.predictions, models[reference]
    return Gain(
        reference=reference,
        accuracy=resamples.difference(judged.name, reference, Measure.ACCURACY, config.confidence),
        macro_f1=resamples.difference(judged.name, reference, Measure.MACRO_F1, config.confidence),
        groups=group_test(*pair, margin=config.margin, draws=config.draws, seed=seed),
        mcnemar=mcnemar(*pair),
    )


# --------------------------------------------------------------------------- the checks


def _check_leaks(leaks: Sequence[Leak]) -> GateCheck:
    detail = "; ".join(leak.detail for leak in leaks) or "no group, track or label crosses the split"
    return GateCheck(name="no_leaks", passed=not leaks, value=float(len(leaks)), limit=0.0, detail=detail)


def _check_gain(gain: Gain, config: GateConfig) -> GateCheck:
    low = gain.accuracy.low
    return GateCheck(
        name="gain",
        passed=low > config.margin,
        value=low,
        limit=config.margin,
        detail=f"accuracy over {gain.reference}: {_signed(gain.accuracy)}; the lower end must be above the limit",
    )


def _check_groups(gain: Gain, config: GateConfig) -> GateCheck | str:
    groups = gain.groups
    if groups.num_groups >= config.min_groups:
        return f"gain_over_groups: not needed, {groups.num_groups} groups are enough for the interval"
    alpha = 1 - config.confidence
    return GateCheck(
        name="gain_over_groups",
        passed=groups.permutation_p <= alpha and gain.accuracy.estimate > config.margin,
        value=groups.permutation_p,
        limit=round(alpha, 12),
        detail=f"weak evidence: {groups.num_groups} group(s), {groups.num_better} better and {groups.num_worse} worse; "
        f"p = {groups.permutation_p:.3g} by sign flips, {groups.sign_p:.3g} by signs"
        + (
            f"; no outcome can pass with so few (at best p = {2 ** (1 - groups.num_groups):.3g})"
            if 2.0 ** (1 - groups.num_groups) > alpha
            else ""
        ),
    )


def _check_control(control: Predictions | None, metrics: Metrics, config: GateConfig, seed: int) -> GateCheck | str:
    if not config.shuffled_control:
        return "control: gate.shuffled_control is off"
    if control is None:
        detail = "no model was trained on shuffled labels, and gate.shuffled_control asks for one"
        return GateCheck(name="control", passed=False, value=0.0, limit=0.0, detail=detail)
    bound = bound_control(
        control, judged_accuracy=metrics.accuracy, confidence=config.confidence, draws=config.draws, seed=seed
    )
    return GateCheck(
        name="control",
        passed=bound.accuracy <= bound.limit,
        value=bound.accuracy,
        limit=bound.limit,
        detail=f"trained on shuffled labels: accuracy {bound.accuracy:.3f}, chance is {bound.chance:.3f}; "
        "above the limit, the labels reach the model by another way than learning",
    )


def _check_calibration(metrics: Metrics, config: GateConfig) -> GateCheck:
    return GateCheck(
        name="calibration",
        passed=metrics.calibration_error <= config.max_calibration_error,
        value=metrics.calibration_error,
        limit=config.max_calibration_error,
        detail="expected calibration error after the temperature; at most the limit",
    )


def _check_recall(metrics: Metrics, config: GateConfig) -> GateCheck:
    worst = min((row for row in metrics.per_class if row.support), key=lambda row: row.recall)
    return GateCheck(
        name="class_recall",
        passed=worst.recall >= config.min_class_recall,
        value=worst.recall,
        limit=config.min_class_recall,
        detail=f"the lowest recall is that of {worst.label!r}, {worst.support} clips; at least the limit",
    )


def _check_production(
    judged: Predictions, production: Predictions | None, config: GateConfig, seed: int
) -> GateCheck | str:
    if production is None:
        return "production: there is none to compare with"
    known = set(production.keys)
    shared = np.array([row for row, key in enumerate(judged.keys) if key in known], dtype=np.int64)
    if not len(shared):
        return "production: it was measured on none of these clips"
    if production.classes != judged.classes:
        return "production: it knows other classes"
    mine = judged.take(shared)
    theirs = replace(production.aligned_to(mine.keys), labels_N=mine.labels_N)  # a corrected label holds for both
    change = resample({"new": mine, "old": theirs}, draws=config.draws, seed=seed).difference(
        "new", "old", Measure.ACCURACY, config.confidence
    )
    return GateCheck(
        name="production",
        passed=change.estimate >= -config.regression_margin,
        value=change.estimate,
        limit=-config.regression_margin,
        detail=f"accuracy over production on {len(shared)} of {len(judged.keys)} clips: {_signed(change)}; "
        "the estimate must not be below the limit",
    )


def _check_parity(parity: Parity | None) -> GateCheck | str:
    if parity is None:
        return "export_parity: nothing was exported"
    return GateCheck(
        name="export_parity",
        passed=parity.max_difference <= parity.tolerance,
        value=parity.max_difference,
        limit=parity.tolerance,
        detail="largest difference between a probability of the exported graph and of the network; at most the limit",
    )


# --------------------------------------------------------------------------- what is said


def _offered(checks: Sequence[GateCheck], judged: Candidate, single: Candidate, above_chance: bool) -> str:
    failed = {check.name for check in checks if not check.passed}
    if not failed:
        return judged.name
    if failed & set(SPOILING) or judged is single or not above_chance:
        return NOTHING
    return single.name


def _standing(candidate: Candidate, chosen: bool, resamples: Resamples, config: GateConfig) -> Standing:
    scaled = apply_temperature(candidate.predictions, candidate.temperature)
    return Standing(
        name=candidate.name,
        fused=candidate.fused,
        chosen=chosen,
        validation_score=_validation_score(candidate),
        accuracy=resamples.interval(candidate.name, Measure.ACCURACY, config.confidence),
        macro_f1=resamples.interval(candidate.name, Measure.MACRO_F1, config.confidence),
        calibration_before=calibration_error(candidate.predictions),
        calibration_after=calibration_error(scaled),
        temperature=candidate.temperature,
    )


def _sentence(verdict: Verdict) -> str:
    gain = verdict.gain.accuracy
    over = f"its accuracy over {verdict.gain.reference} is {_signed(gain)} across {gain.num_groups} group(s)"
    weak = " The evidence is weak: so few groups." if verdict.evidence is Evidence.WEAK else ""
    if verdict.status is Status.CANDIDATE:
        return f"{verdict.judged} earned its release: {over}, and every check holds.{weak}"
    failed = ", ".join(check.name for check in verdict.checks if not check.passed)
    offer = (
        "Nothing is offered instead." if verdict.offered == NOTHING else f"Offered instead: {verdict.offered} alone."
    )
    return f"{verdict.judged} is refused by {failed}: {over}.{weak} {offer}"


def _signed(interval: Interval) -> str:
    return f"{interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
