"""Queues with priority and limit: made once, mended where they differ, and the second time left alone."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from deployments.queues import CPU, GPU, apply_queues, wanted_queues
from mmpipe.config import NightConfig

sys.path.insert(0, str(Path(__file__).parent))
from made_api import MadeApi

NIGHTS = {"street": NightConfig(priority=1, max_runs=2), "attic": NightConfig(), "cellar": NightConfig(max_runs=1)}
FRESH: dict[str, tuple[int, int | None]] = {"default": (1, None)}
WANTED = {
    "default": (1, None),
    "nights": (2, None),
    "corpus-street": (3, 2),
    "corpus-attic": (4, 4),
    "corpus-cellar": (5, 1),
    "backfill": (6, None),
}


def test_what_waits_for_children_has_no_limit_and_corpora_stand_by_priority() -> None:
    assert {queue.name: (queue.priority, queue.limit) for queue in wanted_queues(CPU, NIGHTS)} == WANTED
    assert [queue.name for queue in wanted_queues(GPU, NIGHTS)] == [
        *("default", "corpus-street", "corpus-attic", "corpus-cellar"),
    ]


def test_a_fresh_pool_gets_its_queues_and_the_second_time_nothing_is_done() -> None:
    api = MadeApi(FRESH)
    apply_queues(api, CPU, NIGHTS)
    assert api.queues == WANTED
    api.asked.clear()
    assert apply_queues(api, CPU, NIGHTS) == ()
    assert api.asked == []


@pytest.mark.parametrize("seed", range(20))
def test_whatever_people_did_to_them_once_is_enough(seed: int) -> None:
    chance = random.Random(seed)
    places = chance.sample(range(1, 30), len(WANTED))
    api = MadeApi({name: (place, chance.choice([None, 7])) for name, place in zip(WANTED, places, strict=True)})
    apply_queues(api, CPU, NIGHTS)
    assert api.queues == WANTED
    assert apply_queues(api, CPU, NIGHTS) == ()


def test_a_changed_limit_touches_one_queue() -> None:
    api = MadeApi(WANTED)
    apply_queues(api, CPU, NIGHTS | {"cellar": NightConfig(max_runs=3)})
    assert api.asked == [("PATCH", "corpus-cellar")]
    assert api.queues["corpus-cellar"] == (5, 3)


def test_a_corpus_that_left_takes_its_queue_along_and_a_persons_own_queue_stays() -> None:
    api = MadeApi(WANTED | {"corpus-gone": (7, 1), "mine": (8, 5)})
    apply_queues(api, CPU, NIGHTS)
    assert "corpus-gone" not in api.queues
    assert api.queues["mine"] == (8, 5)
