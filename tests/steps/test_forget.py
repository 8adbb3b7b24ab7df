"""What is forgotten is gone from every file of the store, and everything else is as it was."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from corpus_maker import CORPUS, DT, SOUND, TEXT, extract, ingest, make_config, tree, values, write_pairs

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.registry.taint import read_checkpoint_taint, read_taint
from mmpipe.registry.versions import publish_version
from mmpipe.steps.keep import forget as forget_step
from mmpipe.steps.keep import forget_store
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.keep.forget_order import read_orders
from mmpipe.steps.keep.gc import collect_garbage, file_system_time
from mmpipe.steps.plan.plan import plan_corpus, read_states
from mmpipe.steps.train.snapshots import create_snapshot
from mmpipe.store.assets import read_assets
from mmpipe.store.audit import read_events
from mmpipe.store.journal import MadeShard, note_made
from mmpipe.store.layout import CLIPS, StoreLayout
from mmpipe.store.objects import has_object
from mmpipe.store.redaction import is_redacted, redact_manifest, redactions_of
from mmpipe.store.revisions import list_revisions, read_manifest
from mmpipe.store.snapshot import load_snapshot, save_snapshot, take_snapshot
from mmpipe.store.spine import read_spine
from mmpipe.store.verify import verify_store

pytestmark = pytest.mark.usefixtures("warm_workers")

NAMES = ("amber", "birch", "cedar", "doves", "elder")
GONE = "cedar"
CAPTION = "nobody shall ever read these words again"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, warm_workers: None) -> Path:
    """Make a corpus of five pairs with a twin, taken in and extracted in shards of two clips, once for all tests."""
    tmp_path = tmp_path_factory.mktemp("made")
    media = tmp_path / "media"
    write_pairs(media, NAMES, {GONE: CAPTION})
    for suffix in ("wav", "txt"):
        twin = media / f"twin.{suffix}"
        twin.write_bytes((media / f"{GONE}.{suffix}").read_bytes())
        os.utime(twin, (1_600_000_000, 1_600_000_000))
    config = make_config(tmp_path, shard_clips=2)
    ingest(config)
    extract(config)
    return tmp_path


@pytest.fixture
def config(made: Path, tmp_path: Path) -> Config:
    """Return a copy of that corpus with its store."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return make_config(tmp_path, shard_clips=2)


def find_bytes(folder: Path, needles: list[bytes]) -> list[str]:
    """Return the files that hold one of the needles, in tables also behind the compression."""
    import pyarrow.parquet as pq

    held = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if data[:4] == b"PAR1":
            data += repr(pq.read_table(path).to_pylist()).encode()
        if any(needle in data or needle in path.name.encode() for needle in needles):
            held.append(str(path.relative_to(folder)))
    return held


def needles_of(config: Config) -> tuple[list[bytes], list[bytes]]:
    layout = StoreLayout(config.store)
    assets = read_assets(layout, CORPUS)
    mine = assets.filter(assets["source_id"] == GONE)
    spine = read_spine(layout, CORPUS)
    keys = set(spine.filter(spine["source_id"] == GONE)["key"])
    numbers = [data for (key, _), data in values(config).items() if key in keys]
    words = [CAPTION.encode(), f"{GONE}.wav".encode(), GONE.encode(), b"twin", *(key.encode() for key in keys)]
    return words + numbers, [text.encode() for text in {*mine["digest"], *mine["file_sha256"], *mine["asset_id"]}]


def test_nothing_of_it_is_left_and_the_rest_is_as_it_was(config):
    layout = StoreLayout(config.store)
    before, pinned = values(config), take_snapshot(layout, CORPUS, (SOUND, TEXT))
    save_snapshot(layout, pinned)
    texts, digests = needles_of(config)
    reason = f"the audio of {GONE!r} has new bytes"
    shard = MadeShard(partition=DT, shard=0, feature=SOUND, inputs="", clips=1, reason=reason)
    note_made(layout, CORPUS, [shard], "2026-11-20T00:00:00")
    assert find_bytes(config.store, texts) and find_bytes(config.store, digests)
    report = forget(config, CORPUS, GONE, "the speaker asked for it")
    assert (report.assets, report.files) == (1, 4)
    assert {place.what for place in report.holdings} >= {"shard", "snapshot"}

    assert find_bytes(config.store, texts) == []
    assert all("/tombstones/" in name for name in find_bytes(config.store, digests))
    assert verify_store(layout) == ()
    after = values(config)
    assert after and after.items() <= before.items() and len(after) == len(before) - 2
    old = load_snapshot(layout, pinned.digest)
    assert values(config, old) == after
    assert is_redacted(layout, old) and len(redactions_of(layout, old)) == 1
    assert not is_redacted(layout, take_snapshot(layout, CORPUS, (SOUND, TEXT)))
    assert plan_corpus(config, CORPUS).is_empty
    assert all(state.state == "complete" for state in read_states(config, CORPUS))
    assert [event.kind for event in read_events(layout)] == ["forget"]
    assert read_orders(layout, CORPUS) == ()


def test_it_is_never_taken_in_again_under_any_name(config, tmp_path):
    layout = StoreLayout(config.store)
    texts, digests = needles_of(config)
    forget(config, CORPUS, GONE, "asked for")
    shown = read_spine(layout, CORPUS)
    media = tmp_path / "media"
    (media / f"{GONE}.wav").rename(media / "renamed.wav")
    for file in media.iterdir():
        file.touch()
    (count,) = ingest(config).partitions
    assert (count.tombstoned, count.used, count.quarantined) == (4, 8, 0)
    assert read_spine(layout, CORPUS).equals(shown)
    assert plan_corpus(config, CORPUS).is_empty
    assert find_bytes(config.store, [*texts, b"renamed"]) == []
    assert all("/tombstones/" in name for name in find_bytes(config.store, digests))
    assert verify_store(layout) == ()


def test_new_clips_never_take_an_emptied_place(config, tmp_path):
    for name in NAMES:
        forget(config, CORPUS, name, "all of it")
    layout = StoreLayout(config.store)
    assert read_spine(layout, CORPUS).is_empty() and verify_store(layout) == ()
    write_pairs(tmp_path / "media", ["fresh"])
    ingest(config)
    extract(config)
    assert read_spine(layout, CORPUS)["shard"].to_list() == [3]
    assert verify_store(layout) == () and plan_corpus(config, CORPUS).is_empty


def test_a_dry_run_changes_nothing_and_says_where_it_is(config):
    before = tree(config.store)
    report = forget(config, CORPUS, GONE, "to see", dry_run=True)
    assert tree(config.store) == before
    held = {place.where.split()[0] for place in report.holdings if place.what == "shard"}
    assert held == {"clips", "assets", "quarantine", SOUND, TEXT}
    raw = [Path(place.where).name for place in report.holdings if place.what == "raw file"]
    assert sorted(raw) == ["cedar.txt", "cedar.wav", "twin.txt", "twin.wav"]


def test_a_file_of_another_team_that_is_named_after_it_is_said(config):
    folder = config.store / CORPUS / "clap@1"
    folder.mkdir()
    for number, name in enumerate((f"{GONE}.npy", "amber.npy"), start=1):
        (folder / f"external-{number:06d}.json").write_text(json.dumps({"files": [{"name": f"theirs/{name}"}]}))
    report = forget(config, CORPUS, GONE, "to see", dry_run=True)
    assert [place.where for place in report.holdings if place.what == "pin"] == ["clap@1/external-000001.json"]


def test_a_second_time_is_no_work_and_an_unknown_name_is_refused(config):
    forget(config, CORPUS, GONE, "asked for")
    before = tree(config.store / CORPUS)
    for name in (GONE, "twin"):
        assert forget(config, CORPUS, name, "asked for").again
    assert tree(config.store / CORPUS) == before
    with pytest.raises(ConfigError, match="no asset and no source 'nobody'"):
        forget(config, CORPUS, "nobody", "asked for")
    with pytest.raises(ConfigError, match="--reason"):
        forget(config, CORPUS, GONE, " ")


def test_models_that_learned_from_it_are_marked(config):
    layout = StoreLayout(config.store)
    mine = read_assets(layout, CORPUS).filter(read_assets(layout, CORPUS)["source_id"] == GONE)
    snapshot = take_snapshot(layout, CORPUS, (SOUND,))
    save_snapshot(layout, snapshot)
    checkpoint = layout.checkpoints / "genre-1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "checkpoint.json").write_text(json.dumps({"corpus": CORPUS, "snapshot": snapshot.digest}))
    lineage = {"corpus": CORPUS, "raw_files": [{"name": "x", "sha256": mine["file_sha256"][0]}], "shards": []}
    for name, corpus in (("genre", CORPUS), ("other", "elsewhere")):
        told = json.dumps({**lineage, "corpus": corpus}).encode()
        version = publish_version(layout.models, name, {"lineage.json": told}, status="candidate", recipe_digest=name)
    (layout.reports / f"{CORPUS}-{DT}.html").parent.mkdir()
    (layout.reports / f"{CORPUS}-{DT}.html").write_text("thumbnails")
    report = forget(config, CORPUS, GONE, "asked for")
    assert {"release", "checkpoint", "report"} <= {place.what for place in report.holdings}
    taint = read_taint(layout.models, "genre", f"1-{_digest8(layout, 'genre')}")
    assert taint and taint.reasons == ("asked for",) and len(taint.assets) == 1
    assert read_taint(layout.models, "other", version.label) is None
    assert read_checkpoint_taint(checkpoint)
    assert not list(layout.reports.iterdir())


def _digest8(layout: StoreLayout, name: str) -> str:
    (folder,) = (layout.models / name / "versions").iterdir()
    return folder.name.partition("-")[2]


STEPS = ("_put_tombstones", "rewrite_datasets", "forget_in_scan", "_clear_staging", "delete_objects", "append_event")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [False, True])
def test_a_forget_that_was_killed_is_finished_by_the_next(config, tmp_path, monkeypatch, step, after):
    layout = StoreLayout(config.store)
    texts, _ = needles_of(config)
    real = getattr(forget_step, step)

    def die(*args: object) -> None:
        if after:
            real(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(forget_step, step, die)
        with pytest.raises(KeyboardInterrupt):
            forget(config, CORPUS, GONE, "asked for")
    assert read_orders(layout, CORPUS)
    forget(config, CORPUS, GONE, "asked for")
    assert read_orders(layout, CORPUS) == () and find_bytes(config.store, texts) == []
    assert verify_store(layout) == () and plan_corpus(config, CORPUS).is_empty


def test_one_that_was_killed_between_commits_is_finished_by_the_next(config, monkeypatch):
    """Kill after each commit in turn: what readers see is right at every moment, and another name finishes it too."""
    layout = StoreLayout(config.store)
    texts, _ = needles_of(config)
    before, real, kills = values(config), forget_store.recommit, 0
    for _ in range(20):
        done: list[str] = []

        def one_more(dataset, head, shards, totals=None, done=done):
            if done:
                raise KeyboardInterrupt
            made = real(dataset, head, shards, totals)
            done.extend([] if made == head else [dataset.name])
            return made

        with monkeypatch.context() as patch:
            patch.setattr(forget_store, "recommit", one_more)
            try:
                forget(config, CORPUS, GONE, "asked for")
                break
            except KeyboardInterrupt:
                kills += 1
                assert values(config).items() <= before.items()
    assert kills == 4 and find_bytes(config.store, texts) == []
    assert verify_store(layout) == () and plan_corpus(config, CORPUS).is_empty


def test_gc_takes_what_was_forgotten_and_leaves_what_stands_in_its_place(config, tmp_path, monkeypatch):
    """Also after a kill, when no head names the old bytes but revisions that are kept do."""
    layout = StoreLayout(config.store)
    create_snapshot(config, "paper", CORPUS)
    write_pairs(tmp_path / "media", ["later"])
    ingest(config)
    extract(config)
    _, digests = needles_of(config)
    sound = layout.dataset(CORPUS, SOUND)
    before = {path.name for path in sound.root.glob("objects/*/*")}

    def die(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(forget_step, "delete_objects", die)
        with pytest.raises(KeyboardInterrupt):
            forget(config, CORPUS, GONE, "asked for")
    kept = config.model_copy(update={"retention": config.retention.model_copy(update={"revisions": 9})})
    month_s = 30 * 86_400.0
    collect_garbage(kept, days=0, delete=True, clock=lambda layout: file_system_time(layout) + month_s)
    assert before - {path.name for path in sound.root.glob("objects/*/*")}
    assert find_bytes(config.store / CORPUS / CLIPS, [*digests, GONE.encode()]) == []
    for number in list_revisions(sound, DT):
        manifest = redact_manifest(sound, read_manifest(sound, DT, number))
        assert all(has_object(sound, file) for shard in manifest.shards for file in shard.files)
    after = values(config, load_snapshot(layout, "paper"))
    assert len(after) == 2 * (len(NAMES) - 1)
    forget(config, CORPUS, GONE, "asked for")
    assert values(config, load_snapshot(layout, "paper")) == after
    assert verify_store(layout) == () and plan_corpus(config, CORPUS).is_empty


def test_an_asset_is_forgotten_by_its_id_from_old_revisions_too(config, tmp_path):
    layout = StoreLayout(config.store)
    write_pairs(tmp_path / "media", ["later"])
    ingest(config)
    extract(config)
    texts, _ = needles_of(config)
    assets = read_assets(layout, CORPUS)
    forget(config, CORPUS, assets.filter(assets["source_id"] == GONE)["asset_id"][0], "by id")
    assert find_bytes(config.store, texts) == [] and verify_store(layout) == ()
