"""Who needs what others are making waits while they live and get on, and says who they are when it gives up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from mmpipe.config import Config, parse_config
from mmpipe.errors import HeldError, ShardError
from mmpipe.steps.plan.patience import Patience, do_when_free, wait_for_others, waiting_line
from mmpipe.store.claims import claim_shards
from mmpipe.store.layout import StoreLayout, create_store

DT = "2026-11-20"
PLACES = {(DT, 0), (DT, 1)}


class Time:
    """A clock that a wait moves by sleeping, and what happens while it sleeps."""

    def __init__(self, meanwhile: Callable[[float], None] = lambda now_s: None) -> None:
        self.now_s = 0.0
        self._meanwhile = meanwhile

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self._meanwhile(self.now_s)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "raw").mkdir()
    config = parse_config({"store": str(tmp_path / "store"), "corpora": {"talk": {"root": str(tmp_path / "raw")}}})
    create_store(config.store)
    return config


def wait(config: Config, time: Time, patience_s: float = 3600.0) -> None:
    wait_for_others(config, "talk", PLACES, Patience(seconds=patience_s, clock=time, sleep=time.sleep))


def test_what_nobody_has_is_not_waited_for(config: Config) -> None:
    time = Time()
    wait(config, time)
    assert time.now_s == 0


def test_the_wait_ends_when_one_of_them_is_free(config: Config) -> None:
    layout = StoreLayout(config.store)
    with ExitStack() as first, claim_shards(layout, "talk", [(DT, 1)]):
        first.enter_context(claim_shards(layout, "talk", [(DT, 0)]))
        time = Time(lambda now_s: first.close() if now_s > 600 else None)
        wait(config, time)
        assert 600 < time.now_s < 620


def test_whoever_keeps_all_for_too_long_is_named(config: Config) -> None:
    time = Time()
    with (
        claim_shards(StoreLayout(config.store), "talk", PLACES),
        pytest.raises(HeldError, match=f"dt={DT} shard 0 and 1 more is being worked on by process .* Wait for it"),
    ):
        wait(config, time, patience_s=7200)
    assert 7200 <= time.now_s < 7220


def test_what_is_waited_for_is_said_once_per_maker() -> None:
    line = waiting_line({(DT, 0): "process 7 on here", (DT, 1): "process 7 on here", (DT, 2): "process 9 on there"})
    assert line == (
        "3 shards of this run are being made by others, and waited for: process 7 on here; process 9 on there."
    )


def test_work_that_somebody_holds_is_done_when_it_is_free_and_the_person_hears_of_it_once() -> None:
    time = Time()
    heard: list[str] = []

    def work() -> str:
        if time() < 600:
            raise HeldError("an ingest is being worked on by process 7")
        return "done"

    assert do_when_free(work, Patience(clock=time, sleep=time.sleep, tell=heard.append)) == "done"
    assert 600 <= time.now_s < 661 and heard == ["waiting: an ingest is being worked on by process 7"]


def test_without_patience_what_is_held_is_an_error_at_once() -> None:
    tries = []

    def work() -> None:
        tries.append(1)
        raise HeldError("as asked")

    with pytest.raises(HeldError, match="as asked"):
        do_when_free(work, Patience(seconds=0))
    assert len(tries) == 1


def test_the_waits_of_a_run_share_its_patience_and_its_work_costs_none_of_it() -> None:
    time, free_s = Time(), 300.0
    patience = Patience(seconds=600, clock=time, sleep=time.sleep).of_run()

    def work() -> None:
        if time() < free_s:
            raise HeldError("as asked")

    do_when_free(work, patience)
    time.now_s, free_s = 5000.0, 1e9
    with pytest.raises(HeldError):
        do_when_free(work, patience)
    assert 5000 < time.now_s < 5000 + 600 - 300 + 60, "what the first wait left, and not all of it again"
    at_s = time.now_s
    with pytest.raises(HeldError):
        do_when_free(work, patience.of_run())
    assert time.now_s == at_s, "nothing is left, and it does not begin anew"


def test_the_time_of_several_who_wait_at_once_counts_once() -> None:
    time, others = Time(), [1]

    def sleep(seconds: float) -> None:
        if others:
            others.clear()
            patience.pause(seconds)
        else:
            time.sleep(seconds)

    patience = Patience(seconds=15, clock=time, sleep=sleep).of_run()
    patience.pause(10)
    assert time.now_s == 10 and not patience.is_over
    patience.pause(5)
    assert patience.is_over


def test_whoever_waits_stops_at_once_when_the_run_ends() -> None:
    patience, ends = Patience().of_run(), []

    def wait_long() -> None:
        try:
            patience.pause(600)
        except ShardError as error:
            ends.append(str(error))

    waiting = threading.Thread(target=wait_long, daemon=True)
    waiting.start()
    patience.end()
    waiting.join(60)
    assert len(ends) == 1 and "interrupted" in ends[0]
