"""The geometry of a confusion matrix: pure functions from counts to places, which the template draws."""

from __future__ import annotations

from dataclasses import dataclass

from mmpipe.report.values import ClassResults

MAX_HEAT_CLASSES = 30
MAX_NUMBERED_CLASSES = 16  # with more, the cells are too small for counts
CELL_PX = 34
SMALL_CELL_PX = 20
LABEL_LENGTH = 16
MISTAKE_STEEPNESS = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatCell:
    """One cell of the confusion matrix."""

    x: int
    y: int
    strength: float  # share of its row, 0..1
    opacity: float  # of its colour: mistakes are shaded more steeply, or they would all look alike
    right: bool
    text: str
    dark: bool  # needs light text
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatLabel:
    """A class's name beside the matrix."""

    x: int
    y: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """A confusion matrix as places in pixels."""

    width: int
    height: int
    cell: int
    left: int
    top: int
    cells: tuple[HeatCell, ...]
    rows: tuple[HeatLabel, ...]
    columns: tuple[HeatLabel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstConfusion:
    """A pair of classes that are taken for each other."""

    true: str
    predicted: str
    count: int
    share: float  # of the true class


def heat_map(results: ClassResults) -> HeatMap | None:
    """Return the confusion matrix as a heat map by row share; None where it has too many classes to be read."""
    num_classes = len(results.scores)
    if num_classes > MAX_HEAT_CLASSES:
        return None
    cell = CELL_PX if num_classes <= MAX_NUMBERED_CLASSES else SMALL_CELL_PX
    names = [_short(score.label) for score in results.scores]
    margin = 16 + round(6.6 * max(len(name) for name in names))
    left, top = margin + 20, margin + 20  # 20: the axis titles
    middle = cell // 2
    return HeatMap(
        width=left + cell * num_classes + 4,
        height=top + cell * num_classes + 4,
        cell=cell,
        left=left,
        top=top,
        cells=tuple(
            _heat_cell(results, row, column, left + cell * column, top + cell * row)
            for row in range(num_classes)
            for column in range(num_classes)
        ),
        rows=tuple(HeatLabel(x=left - 8, y=top + cell * n + middle, text=name) for n, name in enumerate(names)),
        columns=tuple(HeatLabel(x=left + cell * n + middle, y=top - 8, text=name) for n, name in enumerate(names)),
    )


def worst_confusions(results: ClassResults, most: int = 20) -> tuple[WorstConfusion, ...]:
    """Return the pairs of classes that are confused most often."""
    pairs = [
        WorstConfusion(
            true=results.scores[row].label,
            predicted=results.scores[column].label,
            count=count,
            share=count / sum(counts),
        )
        for row, counts in enumerate(results.confusion)
        for column, count in enumerate(counts)
        if row != column and count
    ]
    return tuple(sorted(pairs, key=lambda pair: (-pair.count, -pair.share, pair.true, pair.predicted))[:most])


def _heat_cell(results: ClassResults, row: int, column: int, x: int, y: int) -> HeatCell:
    count = results.confusion[row][column]
    strength = count / max(sum(results.confusion[row]), 1)
    opacity = strength if row == column else min(1.0, MISTAKE_STEEPNESS * strength)
    numbered = len(results.scores) <= MAX_NUMBERED_CLASSES and count
    said = f"{results.scores[row].label} called {results.scores[column].label}: {count} ({strength:.0%})"
    return HeatCell(
        x=x,
        y=y,
        strength=round(strength, 3),
        opacity=round(opacity, 3),
        right=row == column,
        text=str(count) if numbered else "",
        dark=opacity > 0.55,
        title=said,
    )


def _short(text: str) -> str:
    return text if len(text) <= LABEL_LENGTH else text[: LABEL_LENGTH - 1] + "…"
