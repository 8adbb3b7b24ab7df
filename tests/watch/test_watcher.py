from __future__ import annotations

import logging

import pytest

from mmpipe.errors import ShardError
from mmpipe.watch.stage import Ending, Remembered, Stage, StageEnd, StageRun, Table
from mmpipe.watch.watcher import Watcher, current_stage

TABLE = Table(namespace="file", name="/store/tones/clips")


class Deaf:
    """A listener that fails at all that it is told."""

    wants_tables = True

    def begin(self, run: StageRun) -> None:
        raise OSError("the disk is full")

    def end(self, run: StageRun, end: StageEnd) -> None:
        raise OSError("the disk is full")


def test_a_stage_inside_another_is_its_child_and_both_say_what_they_did() -> None:
    heard = Remembered()
    watcher = Watcher([heard])
    with watcher.stage(Stage.NIGHT, corpus="tones") as night:
        with watcher.stage(Stage.EXTRACT, corpus="tones", dates=["2026-11-20"]) as extract:
            assert current_stage() == extract.run
            extract.read(lambda: [TABLE])
            extract.count(shards=2)
            extract.count(shards=1, reused=5)
        night.made(lambda: [TABLE])
    assert current_stage() is None
    assert [run.stage for run in heard.begun] == [Stage.NIGHT, Stage.EXTRACT]
    (inner, inner_end), (outer, outer_end) = heard.ended
    assert inner.parent == outer and inner.root == outer and outer.parent is None
    assert inner_end.counts == {"shards": 3, "reused": 5} and inner_end.read == (TABLE,)
    assert outer_end.made == (TABLE,) and outer_end.ending is Ending.COMPLETED
    assert inner.run_id != outer.run_id and inner.dates == ("2026-11-20",)


@pytest.mark.parametrize(
    ("error", "ending"),
    [(ShardError("it broke"), Ending.FAILED), (KeyboardInterrupt("stop"), Ending.ABORTED)],
)
def test_what_a_stage_raises_is_how_it_ended_and_goes_on(error: BaseException, ending: Ending) -> None:
    heard = Remembered()
    with pytest.raises(type(error)), Watcher([heard]).stage(Stage.INGEST):
        raise error
    ((_, end),) = heard.ended
    assert (end.ending, end.error, end.message) == (ending, type(error).__name__, str(error))


def test_a_listener_that_fails_is_said_once_and_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    heard = Remembered()
    watcher = Watcher([Deaf(), heard])
    with caplog.at_level(logging.WARNING, "mmpipe.watch"):
        for _ in range(3):
            with watcher.stage(Stage.INGEST) as stage:
                stage.made(lambda: [1 / 0])  # type: ignore[list-item]
    assert len(heard.ended) == 3 and all(end.ending is Ending.COMPLETED for _, end in heard.ended)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2 and "Deaf: OSError: the disk is full" in told[0] and "ZeroDivisionError" in told[1]


def test_what_was_made_is_not_looked_up_where_nobody_wants_it() -> None:
    heard = Remembered(wants_tables=False)
    with Watcher([heard]).stage(Stage.INGEST) as stage:
        stage.made(lambda: pytest.fail("nobody asked"))
    assert heard.ended[0][1].made == ()
