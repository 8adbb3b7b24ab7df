from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

from mmpipe.watch.stage import Ending, Stage, StageEnd, StageRun
from mmpipe.watch.totals import StageTotals, TotalsListener, read_totals

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
RUN = StageRun(run_id="1", stage=Stage.EXTRACT, started=NOON, corpus="tones")


def end(ending: Ending = Ending.COMPLETED, seconds: float = 2.0) -> StageEnd:
    return StageEnd(ending=ending, ended=NOON, seconds=seconds)


def listener(store: Path) -> TotalsListener:
    return TotalsListener(store / "_runs" / "watch")


def test_stages_add_up_whoever_ends_them(tmp_path: Path) -> None:
    def work() -> None:
        for _ in range(20):
            listener(tmp_path).end(RUN, end())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (one,) = read_totals(tmp_path / "_runs" / "watch")
    assert (one.completed, one.seconds, sum(one.classes), one.classes[1]) == (80, 160.0, 80, 80)


def test_failures_count_and_the_last_success_stays() -> None:
    totals = StageTotals(stage="extract").plus(end(seconds=0.5)).plus(end(Ending.FAILED, 100_000))
    totals = totals.plus(end(Ending.ABORTED, 1.0))
    assert (totals.completed, totals.failed, totals.aborted) == (1, 1, 1)
    assert totals.classes[0] == 2 and totals.classes[-1] == 1, "a bound belongs to its class, the last is open"
    assert totals.last_success_s == NOON.timestamp() == totals.last_end_s
    assert StageTotals(stage="extract").plus(end(Ending.FAILED)).last_success_s == 0


def test_subjects_are_told_apart(tmp_path: Path) -> None:
    hears = listener(tmp_path)
    hears.end(RUN, end())
    hears.end(StageRun(run_id="2", stage=Stage.TRAIN, started=NOON, corpus="tones", model="m"), end())
    assert [(one.stage, one.corpus, one.model) for one in read_totals(tmp_path / "_runs" / "watch")] == [
        ("extract", "tones", ""),
        ("train", "tones", "m"),
    ]


def test_what_cannot_be_read_is_counted_anew(tmp_path: Path) -> None:
    folder = tmp_path / "_runs" / "watch"
    folder.mkdir(parents=True)
    for damage in (b"", b"[{}]", b'[{"stage": "extract", "classes": [1]}]', b"\xff"):
        (folder / "stages.json").write_bytes(damage)
        assert read_totals(folder) == ()
        listener(tmp_path).end(RUN, end())
        assert read_totals(folder)[0].completed == 1


def test_no_store_is_made_for_it(tmp_path: Path) -> None:
    listener(tmp_path / "none").end(RUN, end())
    assert not (tmp_path / "none").exists()
