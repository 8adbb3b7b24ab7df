"""A store of an older layout is read as it is, written by nobody, and brought up in place, killed anywhere or not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from old_store import CORPUS, DAYS, MODEL, SNAPSHOT, SOUND, TEXT, content, unpack, values

import mmpipe.faults
import mmpipe.io
from mmpipe.cli.main import main
from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.registry.aliases import read_events
from mmpipe.steps.extract.commit import commit_features
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.keep.compact import compact_corpus
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.keep.gc import collect_garbage
from mmpipe.steps.keep.migrate import migrate_store
from mmpipe.steps.keep.repair import repair_store
from mmpipe.steps.keep.verify import count_damage, find_faults, open_to_verify
from mmpipe.steps.plan.deprecate import deprecate_feature
from mmpipe.steps.plan.ledger import read_ledger
from mmpipe.steps.plan.plan import Plan, plan_corpus
from mmpipe.steps.release.promotion import promote_version
from mmpipe.steps.release.release import release_model
from mmpipe.steps.share.export import Target, plan_export, write_export
from mmpipe.steps.share.external import NewFeature, add_feature
from mmpipe.steps.tell.inspect import list_datasets
from mmpipe.steps.train.snapshots import create_snapshot, kept_snapshots
from mmpipe.store.assets import assets_of, read_assets
from mmpipe.store.audit import read_events as read_audit
from mmpipe.store.layout import ASSETS, StoreLayout, format_bytes, layout_version
from mmpipe.store.revisions import list_revisions, read_manifest

SWEEP = bool(os.environ.get("MMPIPE_SWEEP"))
ROOT = Path(mmpipe.__file__).parents[1]


@pytest.fixture
def old(tmp_path: Path) -> Config:
    """Return the config of a store of layout 1."""
    return unpack(tmp_path)


def test_an_old_store_is_read_as_it_is(old: Config, tmp_path: Path) -> None:
    before, layout = content(old), StoreLayout(old.store)
    assert len(values(old)) == 5 and values(old, snapshot=SNAPSHOT) == values(old)
    assert {row["dataset"] for row in list_datasets(old)} == {"assets", "clips", "quarantine", SOUND, TEXT}
    assert [kept.snapshot for kept in kept_snapshots(old)] == [SNAPSHOT]
    assert plan_corpus(old, CORPUS).shards == () and read_ledger(old, CORPUS).height == 6
    assert len(assets_of(read_assets(layout, CORPUS))) == 5
    assert set(read_assets(layout, CORPUS)["pii"]) == {"unknown"} and len(read_events(layout.models, MODEL)) == 2
    plan = plan_export(old, CORPUS, Target.PARQUET, tmp_path / "out")
    assert sum(file["clips"] for file in write_export(plan, 8)) == 5
    found = find_faults(layout)
    assert [finding.code for finding in found] == ["layout_older"] and not count_damage(found)
    assert "mmpipe migrate" in found[0].way_out and content(old) == before


WRITERS: dict[str, Callable[[Config], object]] = {
    "ingest": lambda config: ingest_corpus(config, CORPUS, DAYS[0]),
    "extract": lambda config: extract_plan(config, Plan(corpus=CORPUS, shards=())),
    "commit": lambda config: commit_features(config, CORPUS, DAYS[0]),
    "snapshot create": lambda config: create_snapshot(config, "kept", CORPUS),
    "gc": lambda config: collect_garbage(config, delete=True),
    "forget": lambda config: forget(config, CORPUS, f"{DAYS[0]}/talk0", "they asked"),
    "compact": lambda config: compact_corpus(config, CORPUS),
    "deprecate": lambda config: deprecate_feature(config, CORPUS, TEXT, SOUND, date(2027, 1, 1), "old"),
    "feature add": lambda config: add_feature(config, CORPUS, NewFeature(name="theirs", uri="file:///theirs")),
    "release": lambda config: release_model(config, MODEL, "none"),
    "promote": lambda config: promote_version(StoreLayout(config.store), MODEL, "1", why="back"),
}


def test_every_writer_refuses_and_names_the_way(old: Config) -> None:
    before = content(old)
    for name, write in WRITERS.items():
        with pytest.raises(ConfigError, match="mmpipe migrate") as told:
            write(old)
        assert "layout version 1" in str(told.value), name
    assert content(old) == before
    assert not collect_garbage(old, days=0).deleted  # it only looks


def test_the_verb_says_what_it_would_do_and_did(old: Config, tmp_path: Path, capsys) -> None:
    words = ["migrate", "-c", str(tmp_path / "store-v1" / "mmpipe.toml")]
    told = {}
    for extra in (["--dry-run", "--json"], ["--json"], []):
        with suppress(SystemExit):
            main([*words, *extra])
        told[len(extra)] = capsys.readouterr().out
    assert json.loads(told[2])["dry_run"] and json.loads(told[1])["steps"][0]["count"] == 2
    assert told[0] == "layout 2: nothing to do\n"


def test_a_dry_run_changes_no_byte(old: Config) -> None:
    before = content(old)
    report = migrate_store(old, dry_run=True)
    assert {step.what: step.count for step in report.steps} == {
        "tables of assets": 2,
        "tables of clips": 2,
        "tables of quarantine": 1,
        "cards and views": 5,
        "lines of events.jsonl": 2,
    }
    assert content(old) == before and not StoreLayout(old.store).audit.exists()


def test_a_migrated_store_holds_what_it_held(old: Config) -> None:
    before, read, layout = content(old), values(old), StoreLayout(old.store)
    rows = read_assets(layout, CORPUS)
    assert migrate_store(old).after == 2 and migrate_store(old).steps == ()
    assert find_faults(layout) == () and values(old) == read == values(old, snapshot=SNAPSHOT)
    assert read_assets(layout, CORPUS).equals(rows)
    kept = [name for name in before if "/_meta/" in name or "/objects/" in name or name.startswith("snapshots/")]
    after = content(old)
    assert kept and all(after[name] == before[name] for name in kept)
    assert [event["why"] for event in read_events(layout.models, MODEL)] == ["try 1", "try 2"]
    (event,) = read_audit(layout)
    assert (event.kind, dict(event.facts)) == ("migrate", {"from": 1, "to": 2})


@pytest.mark.usefixtures("warm_workers")
def test_the_next_night_makes_nothing_again(old: Config) -> None:
    migrate_store(old)
    layout = StoreLayout(old.store)
    for day in DAYS:
        ingest_corpus(old, CORPUS, day)
    assert plan_corpus(old, CORPUS).shards == ()
    heads = {(name, day): list_revisions(layout.dataset(CORPUS, name), day) for name in (SOUND, TEXT) for day in DAYS}
    assert set(heads.values()) == {(1,)} and find_faults(layout) == ()


def test_a_migration_cut_short_anywhere_ends_the_same(old: Config, tmp_path: Path, monkeypatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(mmpipe.io, "fail_if_asked", lambda operation, path: calls.append(operation))
    migrate_store(old)
    monkeypatch.undo()
    wanted = content(old)
    assert len(calls) > 30
    for number in range(1, len(calls) + 1, 1 if SWEEP else len(calls) // 5):
        folder = tmp_path / str(number)
        broken = unpack(folder)
        mmpipe.faults._counts.clear()
        monkeypatch.setenv("MMPIPE_FAULT", f"any:{number}:EIO")
        with pytest.raises(OSError, match="Input/output error"):
            migrate_store(broken)
        monkeypatch.delenv("MMPIPE_FAULT")
        shutil.rmtree(StoreLayout(broken.store).leases, ignore_errors=True)  # a dead process holds none
        assert len(values(broken)) == 5, number
        migrate_store(broken)
        assert content(broken) == wanted, number
        assert [event.kind for event in read_audit(StoreLayout(broken.store))] == ["migrate"], number
        shutil.rmtree(folder)


@pytest.mark.parametrize("fault", ["linked:1", "replace:2", "replace@format.json:1"])
def test_a_killed_migration_ends_the_same(old: Config, tmp_path: Path, fault: str) -> None:
    broken = unpack(tmp_path / "broken")
    words = [sys.executable, "-m", "mmpipe.cli", "migrate", "-c", str(tmp_path / "broken" / "store-v1" / "mmpipe.toml")]
    ended = subprocess.run(
        words, env={**os.environ, "MMPIPE_FAULT": f"{fault}:kill"}, cwd=ROOT, capture_output=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert layout_version(StoreLayout(broken.store)) == 1
    migrate_store(broken)
    migrate_store(old)
    assert content(broken) == content(old) and find_faults(StoreLayout(broken.store)) == ()


def test_forgetting_reaches_revisions_of_both_layouts(old: Config) -> None:
    migrate_store(old)
    layout, source = StoreLayout(old.store), f"{DAYS[0]}/talk1"
    rest = [sample for sample in values(old) if sample[0] not in _keys(old, source)]
    assert forget(old, CORPUS, source, "they asked").assets == 1
    assets = layout.dataset(CORPUS, ASSETS)
    schemas = {read_manifest(assets, DAYS[0], number).schema for number in list_revisions(assets, DAYS[0])}
    assert len(schemas) == 2  # the old revisions keep their columns, without its rows
    assert source not in set(read_assets(layout, CORPUS)["source_id"])
    assert values(old) == rest == values(old, snapshot=SNAPSHOT) and find_faults(layout) == ()


def _keys(config: Config, source: str) -> set[str]:
    clips = mmpipe.open(config.store / CORPUS, [SOUND]).clips
    return set(clips.filter(clips["source_id"] == source)["key"])


def test_a_newer_store_is_refused_by_everybody(old: Config) -> None:
    layout = StoreLayout(old.store)
    layout.format_file.chmod(0o644)
    layout.format_file.write_bytes(format_bytes(3))
    before = content(old)
    readers: dict[str, Callable[[Config], object]] = {"open": values, "ls": list_datasets, "verify": open_to_verify}
    for use in (readers | WRITERS | {"migrate": migrate_store}).values():
        with pytest.raises(ConfigError, match="Upgrade mmpipe"):
            use(old)
    assert content(old) == before


def test_a_lost_format_is_told_from_the_tables(old: Config) -> None:
    layout = StoreLayout(old.store)
    for version in (1, 2):
        layout.format_file.chmod(0o644)
        layout.format_file.write_bytes(b"{")
        list(repair_store(old, open_to_verify(old), None, None, False))
        assert layout.format_file.read_bytes() == format_bytes(version)
        migrate_store(old)
