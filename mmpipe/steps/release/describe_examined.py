"""Say what an examination found: for the page of a night, as plots, and as the limits of a model card."""

from __future__ import annotations

from mmpipe.evaluate.interval import Interval
from mmpipe.evaluate.robustness import ANY, Curve, Robustness
from mmpipe.report.examined import (
    BinShown,
    ContributionShown,
    CurveShown,
    Examined,
    MeasureShown,
    PointShown,
    SliceShown,
)
from mmpipe.report.page import draw_plots
from mmpipe.report.plots import confusion_svg
from mmpipe.report.values import ClassResults, Range
from mmpipe.steps.release.examine import Examination


def describe_examined(found: Examination) -> Examined:
    """Return what the page shows of an examination."""
    ablation, robustness, figures = found.ablation, found.robustness, found.figures
    return Examined(
        model=robustness.model,
        measure=robustness.measure,
        weak=ablation.weak.sentence if ablation and ablation.weak else "",
        contributions=tuple(
            ContributionShown(
                modality=share.modality,
                shapley=_maybe(share.shapley),
                alone=_maybe(share.alone),
                without=_range(share.loss_without),
                permuted=_maybe(share.loss_permuted),
            )
            for share in (ablation.shares if ablation else ())
        ),
        missing=tuple(_curve(curve) for curve in robustness.missing),
        noise=tuple(_curve(curve) for curve in robustness.noise),
        slices=tuple(
            SliceShown(
                column=row.column,
                value=row.value,
                num_clips=row.num_clips,
                num_groups=row.num_groups,
                worth=_range(row.worth),
                over_rest=_maybe(row.over_rest),
                is_small=row.is_small,
            )
            for row in robustness.slices
        ),
        bins=tuple(
            BinShown(
                low=row.low, high=row.high, num_clips=row.num_clips, confidence=row.confidence, accuracy=row.accuracy
            )
            for row in figures.reliability
        ),
        measures=tuple(MeasureShown(name=name, value=_range(value)) for name, value in figures.measures.items()),
        notes=(
            *robustness.not_measured,
            *(f"no clip of the test is {name}: it has no recall" for name in figures.absent_classes),
        ),
    )


def plot_files(found: Examination, classes: ClassResults | None) -> dict[str, bytes]:
    """Return the plots of an examination and the confusion matrix as SVG files by name."""
    drawn = draw_plots(describe_examined(found))
    confusion = confusion_svg(classes) if classes else None
    if confusion is not None:
        drawn["confusion"] = confusion
    return {f"plot-{name}.svg": svg.encode() for name, svg in sorted(drawn.items())}


def weak_sentence(found: Examination) -> str:
    """Return the verdict on the weak modality, "" where there is none to speak of."""
    return found.ablation.weak.sentence if found.ablation and found.ablation.weak else ""


def examined_limits(found: Examination) -> tuple[str, ...]:
    """Return what a stranger must know of a model's limits, a sentence each."""
    robustness = found.robustness
    said = [_missing_limit(curve, robustness.measure) for curve in robustness.missing if len(robustness.missing) > 1]
    said += [
        f"With noise of {curve.points[-1].at:g} deviations on {curve.what} its {robustness.measure} is "
        f"{_read(curve.points[-1].worth)}, without noise {curve.points[0].worth.estimate:.3f}."
        for curve in robustness.noise
    ]
    said += [_slice_limit(robustness)] if any(row.is_small for row in robustness.slices) else []
    said += [
        f"Of {row.column} {row.value} its {robustness.measure} is below that of the rest: {_read(row.worth)}."
        for row in robustness.slices
        if row.over_rest and row.over_rest.high < 0 and not row.is_small
    ]
    said += [f"Not measured: {reason}." for reason in robustness.not_measured]
    said += [f"No clip of the test is {name}: nothing is known of that class." for name in found.figures.absent_classes]
    return tuple(said)


def _missing_limit(curve: Curve, measure: str) -> str:
    what = "everything at once, each clip by chance in half of its modalities," if curve.what == ANY else curve.what
    at = curve.points[len(curve.points) // 2 if curve.what == ANY else -1]
    return f"Without {what} its {measure} is {_read(at.worth)}, with all {curve.points[0].worth.estimate:.3f}."


def _slice_limit(robustness: Robustness) -> str:
    small = [f"{row.column} {row.value}" for row in robustness.slices if row.is_small]
    more = f" and {len(small) - 5} more" if len(small) > 5 else ""
    return f"Too few clips or groups to say anything of: {', '.join(small[:5])}{more}."


def _curve(curve: Curve) -> CurveShown:
    label = "all, each by chance" if curve.what == ANY else curve.what
    points = tuple(PointShown(at=point.at, value=_range(point.worth)) for point in curve.points)
    return CurveShown(label=label, points=points, area=_maybe(curve.area))


def _read(found: Interval) -> str:
    return f"{found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _range(found: Interval) -> Range:
    return Range(value=found.estimate, low=found.low, high=found.high)


def _maybe(found: Interval | None) -> Range | None:
    return _range(found) if found else None
