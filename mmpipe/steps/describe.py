"""Say what an evaluation found, for the card of a version and for the page of a night."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmpipe.evaluate.bootstrap import Interval
from mmpipe.evaluate.checks import signed
from mmpipe.evaluate.metrics import Metrics
from mmpipe.evaluate.verdict import Tested, Verdict
from mmpipe.registry.card import CardCheck, CardContribution, CardMetric, CardSource, ModelCard
from mmpipe.report.values import (
    CandidateScore,
    CheckShown,
    ClassResults,
    ClassScore,
    GainShown,
    ModelResults,
    Range,
)
from mmpipe.steps.candidates import UNIMODAL
from mmpipe.steps.describe_examined import examined_limits, weak_sentence
from mmpipe.steps.evaluate import Evaluation
from mmpipe.steps.examine import Examination
from mmpipe.store.rights import RightsCount
from mmpipe.types import Modality


def describe_model(
    evaluation: Evaluation,
    contender: str,
    verdict: Verdict,
    lineage: Mapping[str, Any],
    files: tuple[str, ...],
    examination: Examination | None = None,
) -> ModelCard:
    """Return what the card of a version says; of the judged one also what it was examined for."""
    standing = next(entry for entry in evaluation.verdict.standings if entry.name == contender)
    candidate = evaluation.candidates[contender]
    metrics = evaluation.metrics[contender]
    features = [contender] if not candidate.fused else [schema.feature for schema in evaluation.data.schemas]
    limits = [f"No labelled clip has {feature}: it was left out." for feature in evaluation.absent_inputs]
    if any(schema.modality is Modality.TEXT and schema.feature in features for schema in evaluation.data.schemas):
        limits += [
            f"The text of {found['assets']} recordings is from {found['origin']}." for found in lineage.get("texts", ())
        ]
    if examination:
        limits += [*verdict.notes, *examined_limits(examination)]
    return ModelCard(
        name=evaluation.model,
        corpus=evaluation.settings.corpus,
        target=evaluation.settings.target,
        classes=evaluation.data.classes,
        inputs=tuple(feature for feature in features if feature not in evaluation.absent_inputs),
        architecture=contender if candidate.fused else UNIMODAL,
        status=str(verdict.status),
        sentence=verdict.sentence,
        evaluation=evaluation_words(evaluation),
        num_clips=metrics.num_clips,
        num_groups=metrics.num_groups,
        confidence=standing.accuracy.confidence,
        metrics=(
            _metric("accuracy", "accuracy", standing.accuracy),
            _metric("f1", "macro F1", standing.macro_f1),
            _plain_metric("weighted_f1", "weighted F1", metrics.weighted.f1),
            _plain_metric("ece", "calibration error", metrics.calibration_error),
        ),
        contributions=_contributions(evaluation),
        checks=tuple(
            CardCheck(name=c.name, passed=c.passed, value=c.value, limit=c.limit, detail=c.detail)
            for c in verdict.checks
        ),
        not_checked=verdict.not_checked,
        limits=tuple(limits),
        weak=weak_sentence(examination) if examination else "",
        rights=RightsCount(**lineage["rights"]).sentence(),
        sources=(
            CardSource(name=f"snapshot of {evaluation.settings.corpus}", digest=str(lineage["snapshot"])),
            CardSource(name="recipe", digest=evaluation.recipe),
            *(CardSource(name=f"extractor {name}", digest=digest) for name, digest in lineage["fingerprints"].items()),
        ),
        files=files,
    )


def evaluation_words(evaluation: Evaluation) -> str:
    """Say how the clips were tested."""
    folds = evaluation.settings.folds
    return f"{folds} folds by group, every clip tested once" if folds else "held-out test split by group"


def describe_results(evaluation: Evaluation) -> ModelResults:
    """Return what the page of a night shows of an evaluation."""
    verdict = evaluation.verdict
    metrics = evaluation.metrics[verdict.judged]
    return ModelResults(
        name=evaluation.model,
        target=evaluation.settings.target,
        evaluation=f"{evaluation_words(evaluation)}; {metrics.num_clips} clips of {metrics.num_groups} groups",
        confidence=verdict.gain.accuracy.confidence,
        candidates=tuple(
            CandidateScore(
                name=s.name,
                fused=s.fused,
                chosen=s.chosen,
                validation_score=s.validation_score,
                accuracy=_range(s.accuracy),
                macro_f1=_range(s.macro_f1),
                calibration_error=s.calibration_after,
            )
            for s in verdict.standings
        ),
        checks=tuple(
            CheckShown(name=c.name, passed=c.passed, value=c.value, limit=c.limit, detail=c.detail)
            for c in verdict.checks
        ),
        not_checked=verdict.not_checked,
        notes=(*verdict.notes, *(_tested(entry) for entry in verdict.tested)),
        gain=GainShown(
            judged=verdict.judged,
            reference=verdict.gain.reference,
            accuracy=_range(verdict.gain.accuracy),
            margin=next((c.limit for c in verdict.checks if c.name == "gain"), 0.0),
            note=f"{verdict.gain.accuracy.num_groups} groups, {verdict.evidence} evidence",
        ),
        classes=class_results(metrics),
    )


def class_results(metrics: Metrics) -> ClassResults:
    """Return how a model treats each class."""
    return ClassResults(
        scores=tuple(
            ClassScore(label=c.label, precision=c.precision, recall=c.recall, f1=c.f1, support=c.support)
            for c in metrics.per_class
        ),
        confusion=metrics.confusion,
    )


def _tested(entry: Tested) -> str:
    said = "passes" if entry.passed else "does not pass"
    return (
        f"{entry.name} {said} among all that were judged together: {signed(entry.gain)} over the best single modality, "
        f"p = {entry.p:.3g}, corrected {entry.corrected_p:.3g}"
    )


def _contributions(evaluation: Evaluation) -> tuple[CardContribution, ...]:
    rows = [
        CardContribution(
            name=s.name,
            kind="fused" if s.fused else "single modality",
            accuracy=s.accuracy.estimate,
            low=s.accuracy.low,
            high=s.accuracy.high,
            chosen=s.chosen,
        )
        for s in evaluation.verdict.standings
    ]
    hidden = evaluation.without.get(evaluation.verdict.judged, {})
    rows += [
        CardContribution(
            name=f"{evaluation.verdict.judged} without {feature}",
            kind="one modality hidden",
            accuracy=accuracy,
            low=accuracy,
            high=accuracy,
        )
        for feature, accuracy in hidden.items()
    ]
    return tuple(rows)


def _metric(name: str, label: str, found: Interval) -> CardMetric:
    return CardMetric(name=name, label=label, value=found.estimate, low=found.low, high=found.high)


def _plain_metric(name: str, label: str, value: float) -> CardMetric:
    return CardMetric(name=name, label=label, value=value, low=value, high=value)


def _range(found: Interval) -> Range:
    return Range(value=found.estimate, low=found.low, high=found.high)
