"""Whoever needs shards that others are making makes the rest first, waits, and then makes what they left undone."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from corpus_maker import CORPUS, DT, ingest, make_config, write_pairs

from mmpipe.config import Config
from mmpipe.errors import HeldError
from mmpipe.steps.extract.beside_others import extract_beside_others
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.night.backfill import backfill_dates
from mmpipe.steps.night.night import run_night
from mmpipe.steps.plan.patience import NO_PATIENCE, Patience
from mmpipe.steps.plan.plan import State, plan_corpus, read_states
from mmpipe.store.claims import claim_shards
from mmpipe.store.journal import read_made
from mmpipe.store.layout import StoreLayout
from mmpipe.store.lease import Lease

pytestmark = pytest.mark.usefixtures("warm_workers")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A corpus of two shards, taken in and not extracted."""
    write_pairs(tmp_path / "media", ["a", "b"])
    config = make_config(tmp_path, shard_clips=1)
    ingest(config)
    return config


class Others:
    """Somebody who has claimed a shard, and dies of the first look at it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.heard: list[str] = []
        self.found: list[set[int]] = []  # what was made when the wait began
        self.stack = ExitStack()

    def hold(self) -> Patience:
        self.stack.enter_context(claim_shards(StoreLayout(self.config.store), CORPUS, [(DT, 1)]))
        return Patience(tell=self.heard.append, sleep=self.die)

    def die(self, seconds: float) -> None:
        self.found.append({made.shard for made in read_made(StoreLayout(self.config.store), CORPUS)})
        self.stack.close()


def states(config: Config) -> set[State]:
    return {state.state for state in read_states(config, CORPUS)}


def test_what_is_free_is_made_before_the_wait_and_the_rest_after_it(config: Config) -> None:
    others = Others(config)
    patience, plan = others.hold(), partial(plan_corpus, config, CORPUS)
    made, committed = extract_beside_others(config, plan(), plan, patience)
    assert others.found == [{0}] and states(config) == {State.COMPLETE}
    assert (made.shards, made.computed, made.held) == (2, 4, {})
    assert {(count.feature, count.written) for count in committed.features} == {
        ("audio-mfccseg@1", 2),
        ("text-ngrams@1", 2),
    }, "a date is told as it ended"
    assert len(others.heard) == 1 and "1 shard of this run is being made by others" in others.heard[0]


def test_a_night_and_a_backfill_wait_too(config: Config) -> None:
    others = Others(config)
    run_night(config, CORPUS, DT, patience=others.hold())
    assert states(config) == {State.COMPLETE} and others.heard
    again = Others(config)
    made = backfill_dates(config, CORPUS, DT, DT, force=True, max_in_flight=2, patience=again.hold())
    assert [day.state for day in made.days] == ["done"] and again.heard
    with Lease.acquire(StoreLayout(config.store), f"ingest-{CORPUS}") as lease:
        write_pairs(config.store.parent / "media", ["c"])
        heard: list[str] = []
        patience = Patience(tell=heard.append, sleep=lambda seconds: lease.release())
        night = run_night(config, CORPUS, DT, patience=patience)
    assert [row["files"] for row in night.ingested.table()] == [6]
    assert "is being worked on by process" in heard[0]


def test_what_remains_held_is_said_after_the_rest_is_committed(config: Config) -> None:
    plan = partial(plan_corpus, config, CORPUS)
    with claim_shards(StoreLayout(config.store), CORPUS, [(DT, 1)]):
        with pytest.raises(HeldError, match=f"dt={DT} shard 1 is being worked on by process"):
            extract_beside_others(config, plan(), plan, NO_PATIENCE)
        assert states(config) == {State.COMPLETE, State.RUNNING}


def test_what_others_finish_meanwhile_is_not_made_again_where_all_is_to_be_made_anew(config: Config) -> None:
    plan, stack = partial(plan_corpus, config, CORPUS, force=True), ExitStack()

    def finish(seconds: float) -> None:
        stack.close()
        extract_plan(config, plan_corpus(config, CORPUS))

    stack.enter_context(claim_shards(StoreLayout(config.store), CORPUS, [(DT, 1)]))
    extract_beside_others(config, plan(), plan, Patience(sleep=finish))
    made = Counter((made.shard, made.feature) for made in read_made(StoreLayout(config.store), CORPUS))
    assert states(config) == {State.COMPLETE} and set(made.values()) == {1} and len(made) == 4
