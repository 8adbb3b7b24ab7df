"""Two nights at once on the same store: both end well or one is told to come back, and the store is as after one."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from kill_checks import require_whole
from kill_corpus import CORPUS, DT, differing, tree_digest
from kill_mixed import load
from kill_process import Child

from mmpipe.errors import TransientError
from mmpipe.steps.extract.commit import commit_features
from mmpipe.steps.extract.extract import extract_shards
from mmpipe.steps.plan.plan import Only, plan_corpus

pytest_plugins = ("kill_fixtures",)

TRY_AGAIN = 75


def start_two(mixed, name: str, jobs: tuple[str, str]) -> list[Child]:
    """Let two processes begin in the same moment, and wait for both."""
    barrier = mixed.folder / name / "go"
    children = [Child(job, mixed.folder / name / "config.json", barrier=barrier) for job in jobs]
    for child in children:
        child.wait_ready()
    barrier.touch()
    for child in children:
        child.wait()
    return children


@pytest.mark.parametrize("store", ["empty", pytest.param("filled", marks=pytest.mark.slow)])
def test_two_nights_at_once_end_as_one(mixed, two_forks, store):
    name = f"race-{store}"
    config = mixed.place(name)
    if store == "filled":
        shutil.copytree(mixed.store, config.parent / "store")
    children = start_two(mixed, name, ("fill", "fill") if store == "empty" else ("fill_again", "fill_again"))
    codes = sorted(child.process.returncode for child in children)
    assert codes in ([0, 0], [0, TRY_AGAIN]), [child.error for child in children]
    for child in children:
        if child.process.returncode == TRY_AGAIN:
            assert "is being worked on by process" in child.error
            assert "run again" in child.error
    assert two_forks[0].run("fill", config) == 0
    require_whole(config.parent / "store")
    assert differing(tree_digest(config.parent / "store"), mixed.digest) == []


def test_two_tasks_that_make_the_same_shards_at_once_end_as_one(mixed, warm_workers):
    """Who finds shards claimed does the rest and comes back; the manifests keep double commits harmless."""
    config = mixed.place("tasks")
    shutil.copytree(mixed.store, config.parent / "store")
    settings = load(config)
    plan = plan_corpus(settings, CORPUS, only=Only.ALL, force=True)
    assert len(plan.shards) > 1

    def make(side: int) -> None:
        try:
            extract_shards(settings, CORPUS, plan.shards if side else tuple(reversed(plan.shards)))
        except TransientError as error:
            assert "is being worked on by process" in str(error)
        commit_features(settings, CORPUS, DT)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(make, range(2)))
    require_whole(config.parent / "store")
    assert differing(tree_digest(config.parent / "store"), mixed.digest) == []
