"""What the page shows beside the gate: contributions, curves, slices, calibration. Plain values."""

from __future__ import annotations

from dataclasses import dataclass

from mmpipe.report.range import Range


@dataclass(frozen=True, slots=True, kw_only=True)
class ContributionShown:
    """What one modality brings, in the measure; None where it was not measured."""

    modality: str
    shapley: Range | None
    alone: Range | None  # a model of its own
    without: Range  # what hiding it costs
    permuted: Range | None  # what mixing it up costs


@dataclass(frozen=True, slots=True, kw_only=True)
class PointShown:
    """A place on a curve."""

    at: float
    value: Range


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveShown:
    """One line of a chart; `area` is its mean height, where that means something."""

    label: str
    points: tuple[PointShown, ...]
    area: Range | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceShown:
    """The model on one slice of the clips."""

    column: str
    value: str
    num_clips: int
    num_groups: int
    worth: Range
    over_rest: Range | None
    is_small: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BinShown:
    """One bar of a reliability diagram."""

    low: float
    high: float
    num_clips: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureShown:
    """One measure of the judged model."""

    name: str
    value: Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """All of it, about the judged model."""

    model: str
    measure: str  # what all of it is in: "accuracy", "R2"
    weak: str = ""  # the verdict on the weak modality
    contributions: tuple[ContributionShown, ...] = ()
    missing: tuple[CurveShown, ...] = ()
    noise: tuple[CurveShown, ...] = ()
    slices: tuple[SliceShown, ...] = ()
    bins: tuple[BinShown, ...] = ()
    measures: tuple[MeasureShown, ...] = ()
    notes: tuple[str, ...] = ()  # what was not measured, and which classes have no clip
