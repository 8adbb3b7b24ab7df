"""What the benchmark of the orchestration measures is what it says: a shard a text, and dates with nothing due."""

from __future__ import annotations

from pathlib import Path

from benchmarks.orchestration import BATCH_CLIPS, make_corpus, make_years
from mmpipe.config import load_config
from mmpipe.steps.plan.plan import MAX_BATCHES, plan_corpus


def test_every_text_is_a_shard_and_they_are_dealt_as_those_of_the_defaults(tmp_path: Path) -> None:
    plan = plan_corpus(load_config(make_corpus(tmp_path / "night", 15)), "words")
    assert [(due.shard, due.clips) for due in plan.shards] == [(number, 1) for number in range(15)]
    assert [len(batch) for batch in plan.batches(BATCH_CLIPS)] == [7, 7, 1]
    assert len(plan.batches(1, most=4)) <= 4 < MAX_BATCHES


def test_the_dates_of_the_backfill_are_complete(tmp_path: Path) -> None:
    config = load_config(make_years(tmp_path / "years", 3))
    assert plan_corpus(config, "bench").is_empty
    assert len(list(config.store.glob("bench/clips/_meta/dt=*"))) == 4, "and the one that was taken in"
