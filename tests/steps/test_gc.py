"""Garbage collection: what anything rests on stays whole, what nothing rests on goes, whenever it is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from mmpipe.cli.main import main
from mmpipe.config import Config, load_config
from mmpipe.errors import ConfigError, MmpipeError, StoreError, TransientError
from mmpipe.steps.keep.gc import CLOCK_MARGIN_S, collect_garbage, file_system_time
from mmpipe.steps.plan.inputs import inputs_digest
from mmpipe.steps.share.open import open_corpus
from mmpipe.steps.train.snapshots import create_snapshot, drop_snapshot, kept_snapshots
from mmpipe.store.audit import read_events
from mmpipe.store.card import write_card
from mmpipe.store.claims import claim_shards
from mmpipe.store.commit import commit_partition, read_head
from mmpipe.store.layout import DatasetLayout, StoreLayout, open_store
from mmpipe.store.lease import Lease
from mmpipe.store.manifest import FileEntry, ShardEntry
from mmpipe.store.objects import has_object, put_bytes
from mmpipe.store.receipt import Receipt, put_receipt, read_receipt
from mmpipe.store.redaction import Redaction, put_redaction
from mmpipe.store.sample import FINGERPRINT, SampleFeature, make_sample_store
from mmpipe.store.schema import schema_digest
from mmpipe.store.shard import ShardSpec
from mmpipe.store.snapshot import save_snapshot, take_snapshot
from mmpipe.store.spine import read_spine
from mmpipe.store.verify import verify_store
from mmpipe.store.writer import open_shard_writer, put_shard
from mmpipe.types import FeatureKind, FeatureSchema, FeatureValue, Modality, digest_of

DAY = "2026-11-20"
MONTH_S = 30 * 86_400.0
TEXT = SampleFeature(schema=FeatureSchema(feature="text-toy@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=4))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make_sample_store(folder / "store", [TEXT], partitions=[DAY])
    return folder


@pytest.fixture
def config(made: Path, tmp_path: Path) -> Config:
    shutil.copytree(made / "store", tmp_path / "store")
    text = 'store = "store"\n[corpora.sample]\nroot = "media"\nfeatures = []\n[retention]\nrevisions = 1\n'
    (tmp_path / "mmpipe.toml").write_text(text)
    return load_config(tmp_path / "mmpipe.toml")


@pytest.fixture
def layout(config: Config) -> StoreLayout:
    return open_store(config.store)


@pytest.fixture
def text(layout: StoreLayout) -> DatasetLayout:
    return layout.dataset("sample", "text-toy@1")


def a_month_later(layout: StoreLayout) -> float:
    """Return the time by the store's clock, a month from now: everything that lies there is old by then."""
    return file_system_time(layout) + MONTH_S


def collect(config: Config, **options) -> list[tuple[str, str]]:
    made = collect_garbage(config, clock=a_month_later, **options)
    return [(item.kind, item.path) for item in made.items]


def revise(layout: StoreLayout, value: float) -> None:
    """Commit the feature anew, with other values in its first shard."""
    dataset = layout.dataset("sample", "text-toy@1")
    rows = read_spine(layout, "sample", [DAY]).filter(shard=0)
    spec = ShardSpec(corpus="sample", partition=DAY, number=0, schema=TEXT.schema, fingerprint=FINGERPRINT)
    staging = layout.staging / f"shard-{value}"
    staging.mkdir()
    with open_shard_writer(spec, staging) as writer:
        for key, ordinal, start_ns, end_ns in rows.select("key", "ordinal", "start_ns", "end_ns").iter_rows():
            array = np.full(4, value, np.float32) + np.arange(4, dtype=np.float32) * np.float32(0.1)
            writer.add(key, ordinal, digest_of("stream", key), start_ns, end_ns, FeatureValue(array=array))
        staged = writer.close()
    entry = put_shard(dataset, spec, staged, inputs=digest_of(*rows["key"]), spine=rows.height, absent=0, quarantined=0)
    shutil.rmtree(staging)
    commit_partition(
        dataset,
        DAY,
        schema=schema_digest(TEXT.schema),
        fingerprint=FINGERPRINT,
        shards={0: entry},
        then=lambda: write_card(dataset, TEXT.schema),
    )


def objects(dataset: DatasetLayout) -> set[str]:
    return {path.name for path in dataset.root.glob("objects/*/*")}


def values(config: Config, snapshot: str | None = None) -> bytes:
    """Return every value as a reader that has just been opened gets it."""
    reader = open_corpus(config.store / "sample", ["text-toy@1"], snapshot=snapshot)
    batch = reader.gather(np.arange(len(reader)))
    return batch.features["text-toy@1"].x_BTD.tobytes()


def test_a_store_in_use_has_no_garbage(config: Config, layout: StoreLayout) -> None:
    assert collect(config) == collect(config, delete=True) == []
    assert not layout.audit.exists()


def test_a_replaced_revision_goes_and_its_manifest_stays(config: Config, layout: StoreLayout, text) -> None:
    before = objects(text)
    revise(layout, 1.0)
    (garbage,) = collect(config)
    assert garbage[0] == "object" and Path(garbage[1]).name in before
    assert objects(text) > before  # a dry run
    assert collect(config, delete=True) == [garbage]
    assert objects(text) & before == before - {Path(garbage[1]).name}
    assert len(list(text.meta(DAY).iterdir())) == 2
    assert not verify_store(layout)
    (event,) = read_events(layout)
    assert (event.kind, event.facts["counts"]) == ("gc", {"object": 1})
    assert collect(config, delete=True) == []


def test_what_is_young_stays_and_so_does_what_was_the_head_a_moment_ago(config: Config, layout: StoreLayout) -> None:
    revise(layout, 1.0)
    assert collect_garbage(config, days=7).items == ()
    assert collect_garbage(config, days=1, clock=lambda layout: file_system_time(layout) + 0.9 * 86_400).items == ()


def test_so_many_revisions_are_kept(config: Config, layout: StoreLayout, text: DatasetLayout) -> None:
    for value in (1.0, 2.0, 3.0):
        revise(layout, value)
    retention = config.retention.model_copy(update={"revisions": 3})
    assert len(collect(config.model_copy(update={"retention": retention}))) == 1
    assert len(collect(config)) == 3


def inputs_of(layout: StoreLayout) -> str:
    """Return the digest of what the first shard of the text is made from."""
    return inputs_digest(read_spine(layout, "sample", [DAY]).filter(shard=0), Modality.TEXT)


def finish_shard(dataset: DatasetLayout, inputs: str, data: bytes, mark: str = FINGERPRINT) -> Receipt:
    """Leave what a run that was killed before its commit leaves: an object, and a receipt that names it."""
    sha256, nbytes = put_bytes(dataset, data)
    file = FileEntry(role="data", name="000000.parquet", nbytes=nbytes, sha256=sha256)
    receipt = Receipt(entry=ShardEntry(number=0, files=(file,), samples=1, inputs=inputs, spine=1))
    put_receipt(dataset, DAY, mark, receipt)
    return receipt


def test_what_a_snapshot_or_a_receipt_names_stays(config: Config, layout: StoreLayout, text: DatasetLayout) -> None:
    create_snapshot(config, "paper", "sample")
    wanted = values(config, "paper")
    revise(layout, 1.0)
    lost = put_bytes(text, b"lost")
    receipt = finish_shard(text, inputs_of(layout), b"noted")
    assert [Path(path).name for _, path in collect(config, delete=True)] == [lost[0]]
    assert read_receipt(text, DAY, FINGERPRINT, 0, receipt.entry.inputs) == receipt
    assert values(config, "paper") == wanted != values(config)
    assert not verify_store(layout)
    drop_snapshot(config, "paper", "no longer wanted")
    assert [kind for kind, _ in collect(config, delete=True)] == ["snapshot", "object"]
    assert not verify_store(layout)


def test_a_receipt_that_no_plan_can_use_goes_and_its_bytes_with_the_next(
    config: Config, layout: StoreLayout, text: DatasetLayout
) -> None:
    wanted = finish_shard(text, inputs_of(layout), b"wanted")
    finish_shard(text, "inputs of clips that are no more", b"abandoned")
    finish_shard(text, inputs_of(layout), b"of other parameters", mark="nobody's")
    before = objects(text)
    assert not collect_garbage(config).items  # young
    with claim_shards(layout, "sample", [(DAY, 1)]) as claim:
        assert claim.taken and not collect(config)  # somebody is making shards
    assert [kind for kind, _ in collect(config)] == ["receipt", "receipt"]
    assert [kind for kind, _ in collect(config, delete=True)] == ["receipt", "receipt"]
    assert objects(text) == before
    assert [kind for kind, _ in collect(config, delete=True)] == ["object", "object"]
    assert read_receipt(text, DAY, FINGERPRINT, 0, wanted.entry.inputs) == wanted
    assert not verify_store(layout)


def test_what_stands_in_place_of_forgotten_bytes_stays(config: Config, layout: StoreLayout, text) -> None:
    create_snapshot(config, "paper", "sample")
    old = read_head(text, DAY).shards[0]
    revise(layout, 1.0)
    made = read_head(text, DAY).shards[0]
    put_redaction(text, old.file("data").sha256, Redaction(entry=made, assets=("a" * 64,), reason="asked to"))
    revise(layout, 2.0)
    assert [Path(path).name for _, path in collect(config, delete=True)] == [old.file("data").sha256]
    assert made.file("data").sha256 in objects(text)
    assert [kept.redacted for kept in kept_snapshots(config)] == [1]


def test_an_unnamed_snapshot_that_nothing_rests_on_goes_when_it_is_old(config: Config, layout: StoreLayout) -> None:
    path = save_snapshot(layout, take_snapshot(layout, "sample", ["text-toy@1"]))
    assert collect_garbage(config).items == ()
    assert collect(config) == [("snapshot", str(path.relative_to(layout.root)))]
    (layout.checkpoints / "who-1").mkdir(parents=True)
    (layout.checkpoints / "who-1" / "checkpoint.json").write_text(json.dumps({"snapshot": path.stem}))
    assert collect(config) == []


def test_leftovers_and_dead_leases_go(config: Config, layout: StoreLayout) -> None:
    (layout.staging / "shard-dead" / "x@1").mkdir(parents=True)
    (layout.staging / "shard-dead" / "x@1" / "000000.tar").write_bytes(b"123")
    (layout.staging / "0.link").write_bytes(b"4")
    layout.leases.mkdir(exist_ok=True)
    dead = layout.leases / "extract-old.json"
    dead.write_text("{}")
    os.utime(dead, (0, 0))
    assert collect(config, delete=True) == [
        ("staging", "_staging/0.link"),
        ("staging", "_staging/shard-dead"),
        ("lease", "_leases/extract-old.json"),
    ]
    assert not dead.exists() and not list(layout.staging.glob("shard-*"))


def test_while_somebody_works_only_what_is_older_than_the_work_goes(config: Config, layout: StoreLayout, text) -> None:
    sha256, _ = put_bytes(text, b"not committed yet")
    path = text.object(sha256)
    with Lease.acquire(layout, "extract-now"):
        assert collect(config, days=0) == []
        old_s = path.stat().st_mtime - CLOCK_MARGIN_S - 60
        os.utime(path, (old_s, old_s))
        assert len(collect(config, days=0)) == 1
        put_bytes(text, b"not committed yet")  # again: it is somebody's from now on
        assert collect(config, days=0) == []


def test_two_collections_do_not_meet(config: Config, layout: StoreLayout) -> None:
    with Lease.acquire(layout, "gc"), pytest.raises(TransientError, match="gc is being worked on"):
        collect_garbage(config, delete=True)


def test_what_cannot_be_read_stops_it(config: Config, layout: StoreLayout, text: DatasetLayout) -> None:
    revise(layout, 1.0)
    before = objects(text)
    path = text.meta(DAY) / "000002.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StoreError, match="damaged"):
        collect(config, delete=True)
    assert objects(text) == before and not layout.audit.exists()


def test_old_checkpoints_go_unless_released_or_newest(config: Config, layout: StoreLayout) -> None:
    for number, name in enumerate(["who-a", "who-b", "who-c", "other-a"]):
        folder = layout.checkpoints / name
        folder.mkdir(parents=True)
        (folder / "checkpoint.json").write_text(json.dumps({"snapshot": "0" * 24}))
        later_s = file_system_time(layout) + 10 * (number + 1)
        os.utime(folder / "checkpoint.json", (later_s, later_s))
    with Lease.acquire(layout, "train-who-b"):
        assert collect(config) == []
    assert collect(config, delete=True) == [("checkpoint", "checkpoints/who-a"), ("checkpoint", "checkpoints/who-b")]
    assert sorted(path.name for path in layout.checkpoints.iterdir()) == ["other-a", "who-c"]


def test_another_corpus_is_left_alone_and_an_unknown_one_refused(config: Config, layout: StoreLayout, text) -> None:
    put_bytes(layout.dataset("other", "text-toy@1"), b"never committed")
    put_bytes(text, b"never committed either")
    assert len(collect(config, corpus="sample")) == 1
    assert len(collect(config)) == 2
    with pytest.raises(ConfigError, match="no corpus 'nobody'"):
        collect(config, corpus="nobody")


def test_an_object_that_is_put_again_while_it_goes_comes_back(
    config: Config, layout: StoreLayout, text: DatasetLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmpipe.steps.keep import gc

    sha256, nbytes = put_bytes(text, b"wanted again")
    real = gc.make_durable_directory

    def put_it_again(path: Path) -> Path:
        later_s = a_month_later(layout)
        put_bytes(text, b"wanted again")
        os.utime(text.object(sha256), (later_s, later_s))  # the clock of this test is a month ahead
        return real(path)

    monkeypatch.setattr(gc, "make_durable_directory", put_it_again)
    assert collect(config, delete=True) == []
    assert has_object(text, FileEntry(role="data", name="0.tar", nbytes=nbytes, sha256=sha256))


def test_a_pinned_reader_gets_the_same_bytes_while_revisions_come_and_garbage_goes(
    config: Config, layout: StoreLayout
) -> None:
    create_snapshot(config, "pinned", "sample")
    wanted, faults, stop = values(config, "pinned"), [], threading.Event()

    def read_on() -> None:
        while not stop.is_set():
            try:
                if values(config, "pinned") != wanted:
                    faults.append("other bytes")
            except (MmpipeError, OSError) as error:
                faults.append(str(error))

    reader = threading.Thread(target=read_on)
    reader.start()
    try:
        removed = 0
        for number in range(1, 21):
            revise(layout, float(number))
            removed += len(collect(config, days=0, delete=True))
    finally:
        stop.set()
        reader.join()
    assert not faults
    assert removed == 19  # every revision between the pinned one and the last
    assert read_head(layout.dataset("sample", "text-toy@1"), DAY).revision == 21
    assert values(config, "pinned") == wanted
    assert not verify_store(layout)


@pytest.mark.parametrize("operation", [pytest.param("link", marks=pytest.mark.slow), "unlink"])
def test_killed_anywhere_the_store_is_whole_and_the_next_one_finishes(
    config: Config, layout: StoreLayout, text: DatasetLayout, operation: str
) -> None:
    create_snapshot(config, "pinned", "sample")
    wanted = values(config, "pinned")
    for value in (1.0, 2.0, 3.0):
        revise(layout, value)
    child = (
        "import sys; from pathlib import Path; from mmpipe.config import load_config;"
        "from mmpipe.steps.keep.gc import collect_garbage, file_system_time;"
        "collect_garbage(load_config(Path(sys.argv[1])), delete=True, days=0,"
        " clock=lambda layout: file_system_time(layout) + 3e6)"
    )
    script = [sys.executable, "-c", child, str(config.store.parent / "mmpipe.toml")]
    kills = 0
    for count in range(1, 30):
        fault = {"MMPIPE_FAULT": f"{operation}:{count}:kill"}
        code = subprocess.run(script, env={**os.environ, **fault}, check=False).returncode
        assert code in (0, -signal.SIGKILL)
        assert not verify_store(layout)
        assert values(config, "pinned") == wanted
        kills += code != 0
        if code == 0:
            break
    assert kills >= 3
    assert collect(config, delete=True) == []
    assert not list((layout.staging / "gc").glob("**/*"))


def test_the_verb_lists_first_and_removes_when_told(
    config: Config, layout: StoreLayout, text: DatasetLayout, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: str) -> str:
        with pytest.raises(SystemExit) as end:
            main(["gc", *words, "--config", str(config.store.parent / "mmpipe.toml")])
        assert end.value.code == 0
        return capsys.readouterr().out

    sha256, _ = put_bytes(text, b"nobody's")
    os.utime(text.object(sha256), (0, 0))
    assert "Nothing was removed" in told()
    assert json.loads(told("--json", "--older-than", "1"))["items"][0]["kind"] == "object"
    assert text.object(sha256).exists()
    assert "removed" in told("--delete")
    assert not text.object(sha256).exists()
    assert "none" in told("--delete")
