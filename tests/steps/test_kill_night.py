"""Kill a night anywhere and run it again: readers never see half of it, and the store ends as if nothing had been."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from kill_checks import require_readable, require_whole
from kill_corpus import differing, tree_digest
from kill_mixed import MixedCorpus
from kill_process import KILLED, Child, Forks

pytest_plugins = ("kill_fixtures",)

NUM_POINTS = 420  # more than there are: what lies behind the last one runs to its end
SAMPLED_POINTS = (171, 300)  # of some 310: in the middle, and near the last
MORE_POINTS = (61, 251)  # one for each of the two that work side by side; MMPIPE_LONG_KILLS=1 goes to all
LONG = bool(os.environ.get("MMPIPE_LONG_KILLS"))


def kill_and_run_again(forks: Forks, mixed: MixedCorpus, name: str, **kill) -> int:
    """Kill a night, look at the store, run the night again, compare; return how the first run ended."""
    config = mixed.place(name)
    store = config.parent / "store"
    code = forks.run("fill", config, **kill)
    if store.exists():
        require_readable(store)
    assert forks.run("fill", config) == 0, forks.error
    require_whole(store)
    assert differing(tree_digest(store), mixed.digest) == []
    shutil.rmtree(config.parent)
    return code


def sweep(two_forks: tuple[Forks, Forks], mixed: MixedCorpus, kills: list[dict]) -> list[int]:
    """Meet each end in a store of its own, two at a time."""

    def work(side: int) -> list[int]:
        found = []
        for number, kill in list(enumerate(kills))[side::2]:
            try:
                found.append(kill_and_run_again(two_forks[side], mixed, f"kill-{number}", **kill))
            except AssertionError as error:
                raise AssertionError(f"{kill}: {error}") from error
        return found

    with ThreadPoolExecutor(2) as pool:
        return [code for codes in pool.map(work, range(2)) for code in codes]


def faults(operation: str, points: Iterable[int]) -> list[dict]:
    """Return a kill at each point."""
    return [{"fault": f"{operation}:{point}:kill"} for point in points]


@pytest.mark.parametrize("points", [SAMPLED_POINTS, pytest.param(MORE_POINTS, marks=pytest.mark.slow)])
def test_killed_at_a_durable_call_a_second_run_ends_with_the_same_bytes(two_forks, mixed, points):
    codes = sweep(two_forks, mixed, faults("any", points))
    assert set(codes) == {KILLED}


def test_killed_after_the_manifest_and_before_what_shows_it_the_next_run_knows(two_forks, mixed):
    """The commit that landed but did not finish: its data are there, its view, card and receipt are not."""
    codes = sweep(two_forks, mixed, faults("replace", (4, 9, 15)))
    assert set(codes) == {KILLED}


@pytest.mark.slow
def test_killed_at_random_moments_a_second_run_ends_with_the_same_bytes(two_forks, mixed):
    moments = random.Random(7)
    start_s = time.monotonic()
    assert two_forks[0].run("fill", mixed.place("timed")) == 0
    whole_s = time.monotonic() - start_s
    number = 40 if LONG else 2
    codes = sweep(two_forks, mixed, [{"kill_after_s": moments.uniform(0, whole_s)} for _ in range(number)])
    assert KILLED in codes


def test_a_worker_that_is_killed_once_costs_nothing(mixed):
    moments, hit = random.Random(3), 0
    for number in range(2):
        config = mixed.place(f"worker-{number}")
        child = Child("fill", config)
        hit += child.kill_worker_after(moments.uniform(0, 0.9))
        assert child.wait() == 0, child.error
        require_whole(config.parent / "store")
        assert differing(tree_digest(config.parent / "store"), mixed.digest) == []
        shutil.rmtree(config.parent)
    assert hit


@pytest.mark.sweep
def test_a_night_whose_workers_keep_dying_fails_by_name_and_the_next_one_goes_on(two_forks, mixed):
    """Every worker dies at its second receipt, and its parent writes none: what was finished before that is kept."""
    forks, config = two_forks[0], mixed.place("dying")
    store = config.parent / "store"
    assert forks.run("take_in", config) == 0, forks.error
    assert forks.run("fill", config, fault="link@receipts:2:kill") == 1
    assert "shards could not be made" in forks.error
    assert "worker_killed" in forks.error
    assert list((store / "_staging" / "receipts").iterdir()) != []
    require_readable(store)
    assert forks.run("fill", config) == 0, forks.error
    require_whole(store)
    assert differing(tree_digest(store), mixed.digest) == []


def test_without_the_second_run_a_cut_night_is_seen_to_differ(two_forks, mixed):
    """The comparison of this file can fail."""
    config = mixed.place("cut")
    assert two_forks[0].run("fill", config, fault="any:290:kill") == KILLED
    assert differing(tree_digest(config.parent / "store"), mixed.digest) != []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not LONG, reason="takes minutes: set MMPIPE_LONG_KILLS=1")
def test_killed_at_every_durable_call_a_second_run_ends_with_the_same_bytes(two_forks, mixed):
    codes = sweep(two_forks, mixed, faults("any", range(1, NUM_POINTS)))
    assert codes.count(KILLED) >= 290
    assert 0 in codes  # the sweep reached the end
