"""Compaction keeps every clip, value and order, and a killed one is finished by the next."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from corpus_maker import CORPUS, DT, SOUND, TEXT, extract, ingest, make_config, tree, values, write_pairs

from mmpipe.config import Config
from mmpipe.steps.keep import compact as compact_step
from mmpipe.steps.keep.compact import compact_corpus
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.plan.plan import plan_corpus, read_states
from mmpipe.store.commit import read_head
from mmpipe.store.layout import CLIPS, StoreLayout
from mmpipe.store.snapshot import Snapshot, load_snapshot, save_snapshot, take_snapshot
from mmpipe.store.spine import read_spine
from mmpipe.store.verify import verify_store

pytestmark = pytest.mark.usefixtures("warm_workers")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, warm_workers: None) -> Path:
    """Make a corpus whose partition has shards of 4, 1, 1, 2, 1 and 1 clips, of at most four, once for all tests."""
    tmp_path = tmp_path_factory.mktemp("made")
    config = make_config(tmp_path, shard_clips=4)
    for names in (("a", "b", "c", "d"), ("e",), ("f",), ("g", "h"), ("i",)):
        write_pairs(tmp_path / "media", names)
        ingest(config)
        extract(config)
    (tmp_path / "media" / "j.txt").write_text("a text alone has no sound")
    ingest(config)
    extract(config)
    return tmp_path


@pytest.fixture
def config(made: Path, tmp_path: Path) -> Config:
    """Return a copy of that corpus with its store."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return make_config(tmp_path, shard_clips=4)


def in_order(config: Config, snapshot: Snapshot | None = None) -> list[tuple[tuple[str, str], bytes]]:
    return list(values(config, snapshot).items())


def heads(config: Config) -> dict[str, list[tuple[int, int, int, int]]]:
    layout = StoreLayout(config.store)
    found = {}
    for name in (CLIPS, SOUND, TEXT):
        head = read_head(layout.dataset(CORPUS, name), DT)
        found[name] = [(s.number, s.samples, s.absent, s.quarantined) for s in head.shards] if head else []
    return found


def test_small_shards_become_full_ones_and_nothing_else_changes(config):
    layout = StoreLayout(config.store)
    before, pinned = in_order(config), take_snapshot(layout, CORPUS, (SOUND, TEXT))
    save_snapshot(layout, pinned)
    report = compact_corpus(config, CORPUS, below=4)
    assert [(repack.old, repack.new, repack.clips) for repack in report.repacks] == [((1, 2, 3, 4, 5), 2, 6)]
    assert heads(config) == {
        CLIPS: [(0, 4, 0, 0), (6, 4, 0, 0), (7, 2, 0, 0)],
        SOUND: [(0, 4, 0, 0), (6, 4, 0, 0), (7, 1, 1, 0)],
        TEXT: [(0, 4, 0, 0), (6, 4, 0, 0), (7, 2, 0, 0)],
    }
    assert in_order(config) == before
    assert in_order(config, load_snapshot(layout, pinned.digest)) == before
    assert verify_store(layout) == () and plan_corpus(config, CORPUS).is_empty
    assert {state.state for state in read_states(config, CORPUS)} == {"complete"}
    again = tree(config.store / CORPUS)
    assert compact_corpus(config, CORPUS, below=4).repacks == () and tree(config.store / CORPUS) == again


def test_new_clips_and_a_forget_go_on_after_it(config, tmp_path):
    layout = StoreLayout(config.store)
    compact_corpus(config, CORPUS)
    write_pairs(tmp_path / "media", ["k"])
    ingest(config)
    extract(config)
    assert read_spine(layout, CORPUS)["shard"].unique().sort().to_list() == [0, 6, 7, 8]
    forget(config, CORPUS, "f", "asked for")
    assert verify_store(layout) == () and plan_corpus(config, CORPUS).is_empty
    kept = in_order(config)
    compact_corpus(config, CORPUS, below=4)
    assert in_order(config) == kept and verify_store(layout) == () and plan_corpus(config, CORPUS).is_empty


def test_a_dry_run_changes_nothing(config):
    before = tree(config.store)
    assert compact_corpus(config, CORPUS, dry_run=True).repacks
    assert tree(config.store) == before


def test_what_is_due_is_not_repacked(config, tmp_path):
    write_pairs(tmp_path / "media", ["k"])
    ingest(config)
    before = heads(config)
    (repack,) = compact_corpus(config, CORPUS, below=4).repacks
    assert "mmpipe extract" in repack.blocked and heads(config) == before


def test_readers_are_right_at_every_step_and_a_killed_one_is_finished(config, tmp_path, monkeypatch):
    """Kill after each commit in turn, each time with one more done, until a run comes through."""
    layout = StoreLayout(config.store)
    before, real = in_order(config), compact_step.recommit
    for _ in range(20):
        done: list[str] = []

        def one_more(dataset, head, shards, totals=None, done=done):
            if done:
                raise KeyboardInterrupt
            made = real(dataset, head, shards, totals)
            done.extend([] if made == head else [dataset.name])
            return made

        with monkeypatch.context() as patch:
            patch.setattr(compact_step, "recommit", one_more)
            try:
                compact_corpus(config, CORPUS, below=4)
            except KeyboardInterrupt:
                assert in_order(config) == before and plan_corpus(config, CORPUS).is_empty
                assert {found.code for found in verify_store(layout)} <= {"compaction_unfinished"}
                continue
        break
    assert in_order(config) == before and verify_store(layout) == ()
    assert heads(config)[SOUND] == [(0, 4, 0, 0), (6, 4, 0, 0), (7, 1, 1, 0)]
    assert read_head(layout.dataset(CORPUS, CLIPS), DT).revision == 8
