"""Bars that move, and what a door that is shut does to them: nothing."""

from __future__ import annotations

import logging
import threading
from uuid import UUID

from tasks.page.bars import MovingBars
from tasks.page.door import Artifact, KeptArtifacts, Kind
from tasks.page.publisher import Publisher

EXTRACT = "nightly-tones-progress-extract"
NEVER_S = 3_600.0  # the thread shows the beginning; the test asks for the rest itself


class ShutDoor(KeptArtifacts):
    """Refuses so many times, then opens."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times, self.knocks = times, 0

    def put(self, artifact: Artifact) -> UUID:
        self._knock()
        return super().put(artifact)

    def change(self, number: UUID, data: str | float, description: str) -> UUID:
        self._knock()
        return super().change(number, data, description)

    def _knock(self) -> None:
        self.knocks += 1
        if self.knocks <= self.times:
            raise ConnectionError("nobody is there")


class Heard(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def bars_at(door: KeptArtifacts, clock: list[float] | None = None) -> MovingBars:
    now = clock or [0.0]
    return MovingBars(Publisher(door), "nightly-tones", clock=lambda: now[0], every_s=NEVER_S)


def test_a_bar_moves_in_its_place_and_says_how_long_it_will_take() -> None:
    door, clock = KeptArtifacts(), [0.0]
    bars = bars_at(door, clock)
    bars.expect("extract", 300)
    bars.start("extract", 100)
    bars.start("extract", 200)  # a second batch is a part of the same whole
    clock[0] = 10.0
    bars.advance("extract", 100, "tones dt=2026-11-03 shard 4")
    bars.show()
    shown = door.newest(EXTRACT)
    assert (shown.kind, shown.data) == (Kind.PROGRESS, 33.3)
    assert shown.description == "extract: 100 of 300, 10/s, 20 s left, tones dt=2026-11-03 shard 4"
    bars.end(well=True)
    assert door.newest(EXTRACT).data == 100.0
    assert len(door.artifacts) == 1


def test_a_whole_that_grows_keeps_its_bar() -> None:
    door = KeptArtifacts()
    bars = bars_at(door)
    bars.expect("extract", 10)
    bars.advance("extract", 10)
    bars.show()
    bars.expect("extract", 30)  # shards that another run has left
    bars.show()
    assert door.newest(EXTRACT).data == 25.0
    assert len(door.artifacts) == 1


def test_without_a_known_whole_the_batches_add_up() -> None:
    door = KeptArtifacts()
    bars = bars_at(door)
    for _ in range(2):
        bars.start("extract", 50)
    bars.advance("extract", 25)
    bars.show()
    assert door.newest(EXTRACT).data == 25.0
    bars.end(well=True)


def test_a_run_that_ends_badly_leaves_its_bar_where_it_was() -> None:
    door = KeptArtifacts()
    bars = bars_at(door)
    bars.start("extract", 40)
    bars.advance("extract", 10)
    bars.end(well=False)
    assert door.newest(EXTRACT).data == 25.0
    assert door.newest(EXTRACT).description.endswith("the run ended here")


def test_what_is_done_twice_after_a_retry_is_not_more_than_all() -> None:
    door = KeptArtifacts()
    bars = bars_at(door)
    bars.expect("extract", 10)
    bars.advance("extract", 8)
    bars.advance("extract", 8)
    bars.end(well=True)
    assert door.newest(EXTRACT).data == 100.0
    assert "10 of 10" in door.newest(EXTRACT).description


def test_two_models_have_a_bar_each_and_nothing_to_do_has_none() -> None:
    door = KeptArtifacts()
    bars = bars_at(door)
    for model in ("av", "text_only"):
        listener = bars.of(model)
        listener.start("train", 4)
        listener.advance("train", 2)
    bars.start("probe", 0)
    bars.advance("probe", 3)
    bars.end(well=True)
    keys = {artifact.key for artifact in door.artifacts.values()}
    assert keys == {"nightly-tones-progress-train-av", "nightly-tones-progress-train-text-only"}


def test_batches_move_one_bar_from_threads_of_their_own() -> None:
    door = KeptArtifacts()
    bars = MovingBars(Publisher(door), "nightly-tones", every_s=0.001)
    bars.expect("extract", 8 * 50)

    def batch() -> None:
        bars.start("extract", 50)
        for _ in range(50):
            bars.advance("extract")

    threads = [threading.Thread(target=batch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bars.end(well=False)  # so that nothing but what was heard fills it
    assert door.newest(EXTRACT).data == 100.0
    assert len(door.artifacts) == 1


def test_a_server_that_is_away_for_a_moment_costs_a_bar_nothing_but_that_moment() -> None:
    door = ShutDoor(times=3)
    bars = bars_at(door)
    bars.expect("extract", 10)
    bars.advance("extract", 5)
    for _ in range(3):
        bars.show()
    assert not door.artifacts
    bars.show()
    assert door.newest(EXTRACT).data == 50.0
    door.times = door.knocks + 1
    bars.advance("extract", 1)
    bars.show()
    assert door.newest(EXTRACT).data == 50.0
    bars.show()
    assert door.newest(EXTRACT).data == 60.0


def test_an_artifact_is_tried_again_and_a_door_that_stays_shut_is_told_once() -> None:
    waits: list[float] = []
    table = Artifact(key="a", kind=Kind.TABLE, data="[]", description="")
    door = ShutDoor(times=2)
    assert Publisher(door, pause=waits.append).put(table)
    assert len(door.artifacts) == 1 and waits == [0.5, 2.0]

    shut, heard = ShutDoor(times=10**6), Heard()
    log = logging.getLogger("prefect.mmpipe.page")
    log.addHandler(heard)
    try:
        publisher = Publisher(shut, pause=waits.append)
        assert not publisher.put(table) and not publisher.put(table)
    finally:
        log.removeHandler(heard)
    assert shut.knocks == 4, "the second one does not wait for what is known to be away"
    (said,) = heard.said
    assert "nobody is there" in said and "The work goes on" in said
