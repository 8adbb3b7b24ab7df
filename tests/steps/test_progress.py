"""A stage says how fast it goes and how long it will take."""

from __future__ import annotations

import pytest

from mmpipe.cli import show
from mmpipe.cli.show import Bars
from mmpipe.steps.ground.progress import Pace


@pytest.mark.parametrize(
    ("total", "done", "seconds", "told"),
    [
        (100, 0, 5.0, ""),
        (100, 10, 0.0, ""),
        (100, 50, 10.0, "5.0/s, 10 s left"),
        (10_000, 2_000, 10.0, "200/s, 40 s left"),
        (1_000, 10, 100.0, "0.1/s, 2 h 45 min left"),
        (600, 10, 2.0, "5.0/s, 1 min 58 s left"),
        (50, 50, 1.0, "50/s"),
    ],
)
def test_rate_and_time_left(total: int, done: int, seconds: float, told: str) -> None:
    assert Pace(total=total, started_s=3.0, done=done).told(3.0 + seconds) == told


def test_plain_lines_come_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 6.0, 7.0])
    monkeypatch.setattr(show.time, "monotonic", lambda: next(clock))
    with Bars() as bars:
        bars.start("probe", 100)
        for _ in range(3):
            bars.advance("probe", 10)
        bars.advance("nobody started this")
    assert capsys.readouterr().err.splitlines() == ["probe: 100 to do", "probe: 20 of 100, 3.3/s, 24 s left"]
