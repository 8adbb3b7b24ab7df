"""Garbage collection in a bucket: what anything rests on stays, whoever writes meanwhile and whenever it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_gc import DAY, TEXT, finish_shard, revise

from mmpipe import remote
from mmpipe.config import Config, load_config
from mmpipe.errors import ConfigError
from mmpipe.io import YOUNG_S, keep_young, remove_file
from mmpipe.remote import age, client
from mmpipe.steps.keep import gc
from mmpipe.steps.keep.gc import collect_garbage
from mmpipe.steps.share.open import open_corpus
from mmpipe.steps.train.snapshots import create_snapshot, drop_snapshot
from mmpipe.store.audit import read_events
from mmpipe.store.commit import read_head
from mmpipe.store.layout import DatasetLayout, StoreLayout, create_store
from mmpipe.store.lease import Lease
from mmpipe.store.objects import has_object, put_bytes
from mmpipe.store.receipt import read_receipt
from mmpipe.store.redaction import Redaction, put_redaction
from mmpipe.store.sample import FINGERPRINT, make_sample_store
from mmpipe.store.verify import verify_store

MONTH_S = 30 * 86_400.0


@pytest.fixture
def config(s3_root: Path, tmp_path: Path) -> Config:
    """Return the config of a store with nothing in it."""
    create_store(s3_root)
    lines = [f'store = "{s3_root}"', "[corpora.sample]", 'root = "media"', "features = []", "[retention]"]
    (tmp_path / "mmpipe.toml").write_text("\n".join([*lines, "revisions = 1", ""]))
    return load_config(tmp_path / "mmpipe.toml")


@pytest.fixture
def layout(config: Config) -> StoreLayout:
    return StoreLayout(config.store)


@pytest.fixture
def filled(layout: StoreLayout) -> None:
    make_sample_store(layout.root, [TEXT], partitions=[DAY])


@pytest.fixture
def text(layout: StoreLayout) -> DatasetLayout:
    return layout.dataset("sample", "text-toy@1")


@pytest.fixture
def a_month_passes(layout: StoreLayout) -> Callable[[], None]:
    """Make all that is in the bucket a month older, by the server's own records."""
    from datetime import timedelta

    from moto.s3.models import s3_backends

    bucket = layout.root.parts[1]

    def grow_old() -> None:
        for backends in s3_backends.values():
            if bucket in backends["aws"].buckets:
                for key in backends["aws"].buckets[bucket].keys.values():
                    key.last_modified -= timedelta(seconds=MONTH_S)

    return grow_old


def collect(config: Config, **options) -> list[tuple[str, str]]:
    return [(item.kind, item.path) for item in collect_garbage(config, **options).items]


def values(config: Config, snapshot: str | None = None) -> bytes:
    reader = open_corpus(config.store / "sample", ["text-toy@1"], snapshot=snapshot)
    return reader.gather(np.arange(len(reader))).features["text-toy@1"].x_BTD.tobytes()


@pytest.mark.usefixtures("filled")
def test_what_nothing_rests_on_goes_and_all_else_stays(config, layout, text, a_month_passes) -> None:
    create_snapshot(config, "paper", "sample")
    wanted = values(config, "paper")
    for value in (1.0, 2.0):
        revise(layout, value)
    receipt = finish_shard(text, "of killed work", b"noted")
    young = put_bytes(text, b"young")[0]
    assert collect(config, days=0) == []
    remove_file(text.object(young))
    lost = put_bytes(text, b"lost")[0]
    remote.client.file_system(layout.root).call_s3(
        "create_multipart_upload", Bucket=layout.root.parts[1], Key="team/store/sample/text-toy@1/objects/ab/cut"
    )
    a_month_passes()
    young = put_bytes(text, b"young")[0]
    listed = collect(config)
    gone = {path.rpartition("/")[2] for kind, path in listed if kind == "object"}
    assert lost in gone and len(gone) == 2 and not layout.audit.joinpath("000002.json").exists()
    assert {kind for kind, _ in listed} == {"object", "upload"}
    assert collect(config, delete=True) == listed
    assert read_receipt(text, DAY, FINGERPRINT, 0, "of killed work") == receipt
    assert text.object(young).exists() and not text.object(lost).exists()
    assert values(config, "paper") == wanted != values(config)
    assert verify_store(layout) == ()
    assert read_events(layout)[-1].kind == "gc"
    assert collect(config, delete=True) == []
    drop_snapshot(config, "paper", "no longer wanted")
    a_month_passes()
    assert {kind for kind, _ in collect(config, delete=True)} >= {"snapshot", "object"}
    assert verify_store(layout) == ()


@pytest.mark.usefixtures("filled")
def test_what_stands_in_place_of_forgotten_bytes_stays(config, layout, text, a_month_passes) -> None:
    create_snapshot(config, "paper", "sample")
    old = read_head(text, DAY).shards[0]
    revise(layout, 1.0)
    made = read_head(text, DAY).shards[0]
    put_redaction(text, old.file("data").sha256, Redaction(entry=made, assets=("a" * 64,), reason="asked to"))
    revise(layout, 2.0)
    a_month_passes()
    gone = [path for kind, path in collect(config, delete=True) if kind == "object"]
    assert [Path(path).name for path in gone] == [old.file("data").sha256]
    assert text.object(made.file("data").sha256).exists()


@pytest.mark.parametrize("late", [False, True])
def test_object_that_a_writer_meets_as_it_goes_is_there_afterwards(
    config, layout, text, a_month_passes, monkeypatch, late: bool
) -> None:
    """The writer comes between the listing and the delete, or it looks, and the delete comes before it stamps."""
    sha256, _ = put_bytes(text, b"wanted again")
    a_month_passes()
    real, stamp = gc.remove_far, age._copy_onto_itself
    told = []

    def write_then_remove(layout, item, seen) -> bool:
        if item.path.endswith(sha256):
            put_bytes(text, b"wanted again")
        return real(layout, item, seen)

    def remove_then_stamp(path, seen) -> None:
        if not told:
            told.append(collect(config, delete=True))
        stamp(path, seen)

    if late:
        monkeypatch.setattr(age, "_copy_onto_itself", remove_then_stamp)
        put_bytes(text, b"wanted again")
        assert ("object", str(text.object(sha256).relative_to(layout.root))) in told[0]
    else:
        monkeypatch.setattr(gc, "remove_far", write_then_remove)
        assert "object" not in {kind for kind, _ in collect(config, delete=True)}
    assert text.object(sha256).read_bytes() == b"wanted again"
    assert "object" not in {kind for kind, _ in collect(config, delete=True)}  # it is young now


def test_receipt_of_another_machine_keeps_its_objects_from_the_moment_it_is_read(
    config, layout, text, a_month_passes, monkeypatch, tmp_path
) -> None:
    receipt = finish_shard(text, "inputs", b"noted here")
    a_month_passes()
    found = gc._find(config, layout, None, float("inf"))
    stamps = {
        item.path.rpartition("/")[2]: (item, stamp)
        for item, stamp in gc.find_far(layout, None, set(), (), float("inf")).items()
    }
    assert not {item for item in found if item.path.endswith(receipt.entry.files[0].sha256)}
    assert read_receipt(text, DAY, FINGERPRINT, 0, "inputs") == receipt
    item, stamp = stamps[receipt.entry.files[0].sha256]
    assert not gc.remove_far(layout, item, stamp)  # that machine saw it old
    assert has_object(text, receipt.entry.files[0])


@pytest.mark.sweep
@pytest.mark.usefixtures("filled")
def test_killed_in_the_middle_the_next_one_finishes(config, layout, text, a_month_passes, tmp_path) -> None:
    create_snapshot(config, "pinned", "sample")
    wanted = values(config, "pinned")
    for value in (1.0, 2.0, 3.0):
        revise(layout, value)
    now = values(config)
    a_month_passes()
    listed = collect(config)
    assert sum(kind == "object" for kind, _ in listed) == 2
    code = "import sys; from mmpipe.cli.main import main; sys.exit(main(sys.argv[1:]))"
    child = [sys.executable, "-c", code, "gc", "--delete", "--config", str(tmp_path / "mmpipe.toml")]
    killed = subprocess.run(child, env={**os.environ, "MMPIPE_FAULT": "unlink@/objects/:2:kill"}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert values(config, "pinned") == wanted and values(config) == now
    left = [path for kind, path in collect(config) if kind == "object"]
    assert [path for kind, path in collect(config, delete=True) if kind == "object"] == left
    assert values(config, "pinned") == wanted and values(config) == now
    assert verify_store(layout) == ()


def test_while_somebody_works_what_is_younger_stays(config, layout, text, a_month_passes) -> None:
    with Lease.acquire(layout, "extract-now"):
        sha256, _ = put_bytes(text, b"not committed yet")
        assert collect(config, days=0) == []
    with Lease.acquire(layout, "extract-now"):
        a_month_passes()
        put_bytes(text, b"not committed yet")
        gone = collect(config, days=0, delete=True)
        assert not [path for _, path in gone if path.endswith((sha256, "extract-now.json"))]


def test_store_that_deletes_whatever_the_condition_is_refused(config, layout, text, a_month_passes, monkeypatch):
    put_bytes(text, b"lost")
    a_month_passes()
    system = client.file_system(layout.root)

    class Careless:
        def __getattr__(self, name: str):
            return getattr(system, name)

        def call_s3(self, method: str, **options):
            options.pop("IfMatch", None)
            return system.call_s3(method, **options)

    monkeypatch.setattr(client, "file_system", lambda path: Careless())
    assert "object" in {kind for kind, _ in collect(config)}
    with pytest.raises(ConfigError, match="If-Match"):
        collect(config, delete=True)
    assert "object" in {kind for kind, _ in collect(config)}


def test_made_young_an_object_has_the_same_bytes_and_another_stamp(s3_root, a_month_passes, layout) -> None:
    path = s3_root / "object"
    remote.put(path, b"bytes")
    stamps = [path.stat().stamp]
    keep_young(path)
    assert path.stat().stamp == stamps[0]  # it is young
    for _ in range(3):
        a_month_passes()
        keep_young(path)
        assert remote.store_now(path) - path.stat().st_mtime < YOUNG_S
        assert path.stat().stamp != stamps[-1]
        assert not remote.remove_unchanged(path, stamps[-1])
        stamps.append(path.stat().stamp)
    assert path.read_bytes() == b"bytes"
    assert remote.remove_unchanged(path, stamps[-1]) and not path.exists()
    with pytest.raises(FileNotFoundError):
        keep_young(path)
