"""Say what an evaluation found, for the card of a version and for the page of a night."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.answers.tags import TagAnswers
from mmpipe.evaluate.bootstrap import worth_interval
from mmpipe.evaluate.checks import signed
from mmpipe.evaluate.interval import Interval
from mmpipe.evaluate.metrics import Metrics
from mmpipe.evaluate.verdict import Standing, Tested, Verdict
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
from mmpipe.steps.goals.registry import steps_of
from mmpipe.steps.release.describe_examined import examined_limits, weak_sentence
from mmpipe.steps.release.describe_tags import tag_results, type_metrics
from mmpipe.steps.release.evaluate import Evaluation
from mmpipe.steps.release.examine import Examination
from mmpipe.steps.release.graphs import told_graphs
from mmpipe.steps.train.candidates import UNIMODAL, list_contenders
from mmpipe.steps.train.finetune import finetuned_limits, finetuned_source
from mmpipe.steps.train.imputing import imputation_limits
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
    answers = candidate.predictions
    words = steps_of(answers.goal).words(evaluation.settings.target, answers.classes)
    contenders = list_contenders(evaluation.settings, evaluation.data.present_schemas())
    features = [schema.feature for one in contenders if one.name == contender for schema in one.inputs]
    limits = [f"No labelled clip has {feature}: it was left out." for feature in evaluation.absent_inputs]
    if any(schema.modality is Modality.TEXT and schema.feature in features for schema in evaluation.data.schemas):
        limits += [
            f"The text of {found['assets']} recordings is from {found['origin']}." for found in lineage.get("texts", ())
        ]
    limits += finetuned_limits(lineage)
    limits += imputation_limits(evaluation.checkpoint / "release" / contender)
    if examination:
        limits += [*verdict.notes, *examined_limits(examination)]
    return ModelCard(
        name=evaluation.model,
        corpus=evaluation.settings.corpus,
        aim=words.aim,
        says=words.says,
        named=words.named,
        always=words.always,
        classes=evaluation.data.classes,
        inputs=tuple(features),
        architecture=contender if candidate.fused else UNIMODAL,
        status=str(verdict.status),
        sentence=verdict.sentence,
        evaluation=evaluation_words(evaluation),
        num_clips=len(answers.keys),
        num_groups=len(set(answers.groups)),
        confidence=standing.worth.confidence,
        measure=answers.measure,
        metrics=(
            *_metrics(standing, evaluation.metrics.get(contender), examination),
            *(type_metrics(answers, examination.figures) if examination else ()),
            *_also_metrics(evaluation.also[contender], standing.worth.confidence),
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
            *(CardSource(name=name, digest=digest) for name, digest in finetuned_source(lineage).items()),
            *(CardSource(name=f"extractor {name}", digest=digest) for name, digest in lineage["fingerprints"].items()),
        ),
        files=files,
        graphs=told_graphs(evaluation.checkpoint / "release" / contender),
    )


def evaluation_words(evaluation: Evaluation) -> str:
    """Say how the clips were tested."""
    folds = evaluation.settings.folds
    return f"{folds} folds by group, every clip tested once" if folds else "held-out test split by group"


def describe_results(evaluation: Evaluation) -> ModelResults:
    """Return what the page of a night shows of an evaluation."""
    verdict = evaluation.verdict
    answers = evaluation.candidates[verdict.judged].predictions
    return ModelResults(
        name=evaluation.model,
        target=evaluation.settings.target,
        evaluation=f"{evaluation_words(evaluation)}; {len(answers.keys)} clips of {len(set(answers.groups))} groups",
        confidence=verdict.gain.worth.confidence,
        measure=verdict.measure,
        candidates=tuple(
            CandidateScore(
                name=s.name,
                fused=s.fused,
                chosen=s.chosen,
                validation_score=s.validation_score,
                worth=_range(s.worth),
                macro_f1=_range(s.macro_f1) if s.macro_f1 else None,
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
            worth=_range(verdict.gain.worth),
            margin=next((c.limit for c in verdict.checks if c.name == "gain"), 0.0),
            note=f"{verdict.gain.worth.num_groups} groups, {verdict.evidence} evidence",
        ),
        classes=shown_classes(evaluation, verdict.judged),
    )


def shown_classes(evaluation: Evaluation, contender: str) -> ClassResults | None:
    """Return how a model treats each class or tag; None where its answers are neither."""
    answers = evaluation.candidates[contender].predictions
    if isinstance(answers, TagAnswers):
        return tag_results(answers)
    metrics = evaluation.metrics.get(contender)
    return class_results(metrics) if metrics else None


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
            worth=s.worth.estimate,
            low=s.worth.low,
            high=s.worth.high,
            chosen=s.chosen,
        )
        for s in evaluation.verdict.standings
    ]
    hidden = evaluation.without.get(evaluation.verdict.judged, {})
    rows += [
        CardContribution(
            name=f"{evaluation.verdict.judged} without {feature}",
            kind="one modality hidden",
            worth=worth,
            low=worth,
            high=worth,
        )
        for feature, worth in hidden.items()
    ]
    return tuple(rows)


def _metrics(standing: Standing, metrics: Metrics | None, examination: Examination | None) -> tuple[CardMetric, ...]:
    """Return the figures of a card: of classes the usual four, else all that were measured of the judged model."""
    measure = _metric(standing.measure, standing.measure, standing.worth)
    if metrics is None or standing.macro_f1 is None:
        every = examination.figures.measures.items() if examination else ()
        return (measure, *(_metric(name, name.replace("_", " "), found) for name, found in every))
    return (
        measure,
        _metric("f1", "macro F1", standing.macro_f1),
        _plain_metric("weighted_f1", "weighted F1", metrics.weighted.f1),
        _plain_metric("ece", "calibration error", metrics.calibration_error),
    )


def _also_metrics(also: Mapping[str, Answers], confidence: float) -> tuple[CardMetric, ...]:
    """Return what the other answers of the same network are worth."""
    return tuple(
        _metric(name, f"{name}: {answers.measure}", worth_interval(answers, confidence=confidence))
        for name, answers in also.items()
    )


def _metric(name: str, label: str, found: Interval) -> CardMetric:
    return CardMetric(name=name, label=label, value=found.estimate, low=found.low, high=found.high)


def _plain_metric(name: str, label: str, value: float) -> CardMetric:
    return CardMetric(name=name, label=label, value=value, low=value, high=value)


def _range(found: Interval) -> Range:
    return Range(value=found.estimate, low=found.low, high=found.high)
