from __future__ import annotations

import pytest

from mmpipe.report.axis import axis_of
from mmpipe.report.charts import heat_map, worst_confusions
from mmpipe.report.values import ClassResults, ClassScore, Range


def results(confusion: tuple[tuple[int, ...], ...]) -> ClassResults:
    scores = tuple(
        ClassScore(label=f"class {n}", precision=0, recall=0, f1=0, support=sum(row)) for n, row in enumerate(confusion)
    )
    return ClassResults(scores=scores, confusion=confusion)


def test_an_axis_holds_all_intervals_on_round_ticks() -> None:
    axis = axis_of([Range(value=0.7, low=0.62, high=0.78), Range(value=0.84, low=0.79, high=0.89)])
    assert [label for _, label in axis.ticks] == ["0.70", "0.80", "0.90"]
    assert 0 < axis.place(0.62) < axis.place(0.7) < axis.place(0.89) < 100
    assert axis.place(-5) == 0 and axis.place(5) == 100
    assert 1 <= len(axis.ticks) <= 6


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_an_axis_of_one_point_has_a_width(value: float) -> None:
    axis = axis_of([Range(value=value, low=value, high=value)])
    assert axis.place(value) == pytest.approx(50) and axis.ticks


@pytest.mark.parametrize("low", [-7.0, -20_000.0])
def test_an_axis_far_below_zero_has_a_few_ticks(low: float) -> None:
    axis = axis_of([Range(value=low / 2, low=low, high=0.9)], 0.0)
    assert 2 <= len(axis.ticks) <= 7 and 0 < axis.place(low) < axis.place(0.9) < 100


def test_a_heat_map_shades_by_row() -> None:
    heat = heat_map(results(((8, 2), (0, 0))))
    assert heat is not None
    assert [cell.strength for cell in heat.cells] == [0.8, 0.2, 0, 0]
    assert [cell.text for cell in heat.cells] == ["8", "2", "", ""]
    assert [cell.right for cell in heat.cells] == [True, False, False, True]
    assert heat.cells[1].title == "class 0 called class 1: 2 (20%)"
    assert heat_map(results(((1,) * 31,) * 31)) is None


def test_the_worst_confusions_come_first() -> None:
    worst = worst_confusions(results(((5, 3, 0), (1, 9, 3), (0, 0, 7))))
    assert [(pair.true, pair.predicted, pair.count) for pair in worst] == [
        ("class 0", "class 1", 3),
        ("class 1", "class 2", 3),
        ("class 1", "class 0", 1),
    ]
    assert worst[0].share == pytest.approx(3 / 8)
    assert len(worst_confusions(results(((5, 3, 0), (1, 9, 3), (0, 0, 7))), most=1)) == 1
