"""What a backfill finds to do on each date, and that several dates at once come to the same as one by one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus_maker import CORPUS, SOUND, TEXT, make_config, tree, write_pairs

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.night.backfill import backfill_dates
from mmpipe.steps.night.backfill_plan import Choice, DayDue, dates_of_range, plan_backfill, plan_choice
from mmpipe.steps.plan.choices import MAX_DAYS, Only
from mmpipe.steps.plan.patience import Patience
from mmpipe.steps.plan.plan import State, read_states
from mmpipe.store.layout import StoreLayout, create_store
from mmpipe.store.lease import Lease

pytestmark = pytest.mark.usefixtures("warm_workers")
DAYS = ("2026-11-20", "2026-11-22")
RANGE = dates_of_range("2026-11-18", "2026-11-24")


@pytest.fixture
def dated(tmp_path: Path) -> Iterator[Config]:
    """A corpus whose folders are dates, not yet taken in."""
    write_pairs(tmp_path / "media", [f"{day}/{name}" for day in DAYS for name in ("a", "b")])
    yield make_config(tmp_path, dates={"rule": "path"})


def test_only_dates_with_something_on_them_are_due_and_then_none(dated: Config) -> None:
    first = plan_backfill(dated, CORPUS, RANGE, Choice())
    assert first == tuple(DayDue(dt=dt, new_files="never ingested") for dt in DAYS)
    assert plan_backfill(dated, CORPUS, RANGE, Choice(only=Only.STALE)) == ()
    backfill_dates(dated, CORPUS, *DAYS).raise_if_failed()
    for only in Only:
        assert plan_backfill(dated, CORPUS, RANGE, Choice(only=only)) == ()
    again = plan_backfill(dated, CORPUS, RANGE, Choice(features=(SOUND,), force=True))
    assert [(day.dt, day.shards, day.reason) for day in again] == [(dt, 1, "1 shards due") for dt in DAYS]
    (shard, _) = plan_choice(dated, CORPUS, RANGE, Choice(features=(SOUND,), force=True)).shards
    assert (shard.features, shard.again, shard.reuse) == ((SOUND,), True, False)


def test_where_one_ingest_looks_at_all_files_only_the_first_date_takes_them_in(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["a", "b"])
    config = make_config(tmp_path)
    assert [day.dt for day in plan_backfill(config, CORPUS, RANGE, Choice())] == [RANGE[0]]


def test_days_at_once_make_the_same_store_as_one_after_the_other(tmp_path: Path) -> None:
    stores = []
    for name, max_in_flight in (("one", 1), ("four", 4)):
        folder = tmp_path / name
        write_pairs(folder / "media", [f"{day}/{name}" for day in RANGE[:4] for name in ("a", "b")])
        config = make_config(folder, dates={"rule": "path"})
        made = backfill_dates(config, CORPUS, RANGE[0], RANGE[3], max_in_flight=max_in_flight)
        assert [(day.dt, day.state, day.shards) for day in made.days] == [(dt, "done", 1) for dt in RANGE[:4]]
        files = tree(config.store)
        stores.append({path: digest for path, digest in files.items() if path.startswith(f"{CORPUS}/")})
    assert stores[0] == stores[1]
    assert any(TEXT in path for path in stores[0])


def test_a_range_has_an_end() -> None:
    assert len(dates_of_range("2024-01-01", "2026-09-26")) == MAX_DAYS
    with pytest.raises(ConfigError, match="is 1,001 days; one backfill takes 1,000"):
        dates_of_range("2024-01-01", "2026-09-27")


def test_the_dates_of_a_range_wait_for_one_ingest_together(dated: Config) -> None:
    slept: list[float] = []
    patience = Patience(seconds=100, clock=lambda: sum(slept), sleep=slept.append)
    with Lease.acquire(create_store(dated.store), f"ingest-{CORPUS}"):
        made = backfill_dates(dated, CORPUS, *DAYS, patience=patience)
    assert [day.state for day in made.days if day.state == "failed"] == ["failed", "failed"]
    assert all("is being worked on by process" in day.detail for day in made.days if day.state == "failed")
    assert 100 <= sum(slept) < 160, "a second date does not wait for as long again"


def test_a_date_that_waits_for_an_ingest_keeps_no_other_from_its_extraction(dated: Config) -> None:
    ingest_corpus(dated, CORPUS, DAYS[1])
    done: list[bool] = []

    def is_made() -> bool:
        return {state.state for state in read_states(dated, CORPUS, DAYS[1:])} == {State.COMPLETE}

    def let_it_be_made(seconds: float) -> None:
        deadline = time.monotonic() + 60
        while not is_made() and time.monotonic() < deadline:
            time.sleep(0.05)
        done.append(is_made())
        lease.release()

    with Lease.acquire(StoreLayout(dated.store), f"ingest-{CORPUS}") as lease:
        made = backfill_dates(dated, CORPUS, *DAYS, max_in_flight=3, patience=Patience(sleep=let_it_be_made))
    assert done == [True] and [day.state for day in made.days if day.shards] == ["done", "done"]
