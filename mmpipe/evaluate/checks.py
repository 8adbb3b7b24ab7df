"""The checks of the gate, one function each: a check that holds or fails, or a sentence why it could not be asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmpipe.config import GateConfig
from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.bootstrap import Measure, paired_difference, resample
from mmpipe.evaluate.control import bound_control
from mmpipe.evaluate.interval import Interval
from mmpipe.evaluate.leaks import Leak
from mmpipe.evaluate.metrics import calibration_error, measure
from mmpipe.evaluate.verdict import Candidate, Gain, GateCheck, Parity, Tested


def check_leaks(leaks: Sequence[Leak]) -> GateCheck:
    """Check that nothing crosses from what was learnt to what is tested."""
    detail = "; ".join(leak.detail for leak in leaks) or "no group, track or label crosses the split"
    return GateCheck(name="no_leaks", passed=not leaks, value=float(len(leaks)), limit=0.0, detail=detail)


def check_gain(gain: Gain, config: GateConfig) -> GateCheck:
    """Check that the lower end of the gain is above the margin."""
    low = gain.worth.low
    return GateCheck(
        name="gain",
        passed=low > config.margin,
        value=low,
        limit=config.margin,
        detail=f"over {gain.reference}: {signed(gain.worth)}; the lower end must be above the limit",
    )


def check_enough(num_groups: int, config: GateConfig, *, lets_pass: bool) -> GateCheck | str:
    """Check that there are groups enough for any evidence; a policy may let a version pass without."""
    if num_groups >= config.enough_groups:
        return f"groups: {num_groups} are enough to be tested"
    detail = f"insufficient groups: {num_groups}, where evidence needs at least the limit"
    if lets_pass:
        return f"groups: {detail} ({config.enough_groups}); gate.few_groups = {config.few_groups.value!r} lets it pass"
    return GateCheck(
        name="groups", passed=False, value=float(num_groups), limit=float(config.enough_groups), detail=detail
    )


def check_groups(gain: Gain, config: GateConfig, *, lets_pass: bool) -> GateCheck | str:
    """Check by signs that the gain is more than chance over groups, where they are few."""
    groups = gain.groups
    if groups.num_groups >= config.min_groups:
        return f"gain_over_groups: not needed, {groups.num_groups} groups are enough for the interval"
    if lets_pass:
        return f"gain_over_groups: p = {groups.permutation_p:.3g} by sign flips, which so few groups cannot bring lower"
    alpha = 1 - config.confidence
    return GateCheck(
        name="gain_over_groups",
        passed=groups.permutation_p <= alpha and gain.worth.estimate > config.margin,
        value=groups.permutation_p,
        limit=round(alpha, 12),
        detail=f"weak evidence of low power: {groups.num_groups} group(s), {groups.num_better} better and "
        f"{groups.num_worse} worse; "
        f"p = {groups.permutation_p:.3g} by sign flips, {groups.sign_p:.3g} by signs"
        + (
            f"; no outcome can pass with so few (at best p = {2 ** (1 - groups.num_groups):.3g})"
            if 2.0 ** (1 - groups.num_groups) > alpha
            else ""
        ),
    )


def check_holm(tested: Sequence[Tested], judged: str, config: GateConfig) -> GateCheck | str:
    """Check the judged model's gain, corrected for the others that were put to the gate with it."""
    mine = next((entry for entry in tested if entry.name == judged), None)
    if mine is None:
        return "holm: one model is judged, so there is nothing to correct for"
    return GateCheck(
        name="holm",
        passed=mine.passed,
        value=mine.corrected_p,
        limit=round(1 - config.confidence, 12),
        detail=f"p = {mine.p:.3g} over groups, corrected for {len(tested)} fused models that are judged together; "
        "at most the limit, and the interval above the margin",
    )


def check_control(control: Answers | None, judged: Answers, config: GateConfig, seed: int) -> GateCheck | str:
    """Check that labels that were shuffled could not be learnt."""
    if not config.shuffled_control:
        return "control: gate.shuffled_control is off"
    if control is None:
        detail = "no model was trained on shuffled labels, and gate.shuffled_control asks for one"
        return GateCheck(name="control", passed=False, value=0.0, limit=0.0, detail=detail)
    if not (isinstance(control, ClassAnswers) and isinstance(judged, ClassAnswers)):
        return _check_constant(control, judged, config, seed)
    bound = bound_control(
        control, judged_accuracy=judged.worth, confidence=config.confidence, draws=config.draws, seed=seed
    )
    return GateCheck(
        name="control",
        passed=bound.accuracy <= bound.limit,
        value=bound.accuracy,
        limit=bound.limit,
        detail=f"trained on shuffled labels: accuracy {bound.accuracy:.3f}, chance is {bound.chance:.3f}; "
        "above the limit, the labels reach the model by another way than learning",
    )


def _check_constant(control: Answers, judged: Answers, config: GateConfig, seed: int) -> GateCheck:
    """Check that what learnt shuffled answers has less than half of what the judged model has over a constant answer.

    A network that learnt nothing may by accident go the right way on a few kinds of clips; a leak keeps nearly all.
    """
    over = paired_difference(control, control.constant(), confidence=config.confidence, draws=config.draws, seed=seed)
    limit = max(0.0, (judged.worth - judged.constant().worth) / 2)
    return GateCheck(
        name="control",
        passed=over.low <= limit,
        value=over.low,
        limit=limit,
        detail=f"trained on shuffled answers: {control.measure} over {control.constant_name} {signed(over)}; "
        "a lower end above the limit means that the answers reach the model by another way than learning",
    )


def check_calibration(judged: Answers, config: GateConfig) -> GateCheck | str:
    """Check the expected calibration error."""
    if not isinstance(judged, ClassAnswers):
        return f"calibration: answers of the goal {judged.goal.value!r} are no probabilities of classes"
    error = calibration_error(judged)
    return GateCheck(
        name="calibration",
        passed=error <= config.max_calibration_error,
        value=error,
        limit=config.max_calibration_error,
        detail="expected calibration error after the temperature; at most the limit",
    )


def check_recall(judged: Answers, config: GateConfig) -> GateCheck | str:
    """Check the recall of the class that is found least."""
    if not isinstance(judged, ClassAnswers):
        return f"class_recall: answers of the goal {judged.goal.value!r} are no classes"
    worst = min((row for row in measure(judged).per_class if row.support), key=lambda row: row.recall)
    return GateCheck(
        name="class_recall",
        passed=worst.recall >= config.min_class_recall,
        value=worst.recall,
        limit=config.min_class_recall,
        detail=f"the lowest recall is that of {worst.label!r}, {worst.support} clips; at least the limit",
    )


def check_production(judged: Answers, production: Answers | None, config: GateConfig, seed: int) -> GateCheck | str:
    """Check that it is not inferior to what is in production."""
    if production is None:
        return "production: there is none to compare with"
    known = set(production.keys)
    shared = np.array([row for row, key in enumerate(judged.keys) if key in known], dtype=np.int64)
    if not len(shared):
        return "production: it was measured on none of these clips"
    if production.goal is not judged.goal or production.classes != judged.classes:
        return "production: it answers with other classes, or has another goal"
    mine = judged.take(shared)
    theirs = production.aligned_to(mine.keys).with_truth_of(mine)  # a corrected label holds for both
    change = resample({"new": mine, "old": theirs}, draws=config.draws, seed=seed).difference(
        "new", "old", Measure.WORTH, config.confidence
    )
    return GateCheck(
        name="production",
        passed=change.estimate >= -config.regression_margin,
        value=change.estimate,
        limit=-config.regression_margin,
        detail=f"{judged.measure} over production on {len(shared)} of {len(judged.keys)} clips: {signed(change)}; "
        "the estimate must not be below the limit",
    )


def check_reference(judged: Answers, reference: Candidate, config: GateConfig, seed: int) -> GateCheck:
    """Check that it is not inferior to a model without a network."""
    theirs = reference.predictions.aligned_to(judged.keys)
    change = resample({"new": judged, "old": theirs}, draws=config.draws, seed=seed).difference(
        "new", "old", Measure.WORTH, config.confidence
    )
    return GateCheck(
        name="reference",
        passed=change.estimate >= -config.regression_margin,
        value=change.estimate,
        limit=-config.regression_margin,
        detail=f"{judged.measure} over {reference.name}, a model without a network: {signed(change)}; "
        "the estimate must not be below the limit",
    )


def check_parity(parity: Parity | None) -> GateCheck | str:
    """Check that the exported graph says the same."""
    if parity is None:
        return "export_parity: nothing was exported"
    return GateCheck(
        name="export_parity",
        passed=parity.max_difference <= parity.tolerance,
        value=parity.max_difference,
        limit=parity.tolerance,
        detail="largest difference between an answer of the exported graph and of the network; at most the limit",
    )


def signed(interval: Interval) -> str:
    """Return a difference with its interval, as people read it."""
    return f"{interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
