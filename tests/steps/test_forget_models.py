"""What models keep of a recording is forgotten too: no byte of it is left, but the weights that learnt from it."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kill_corpus import CORPUS, DT
from kill_models import MODEL

from mmpipe.batches.aligned import AlignedReader
from mmpipe.cache import decoded_file
from mmpipe.config import Config
from mmpipe.errors import TransientError
from mmpipe.evaluate.answers.files import from_parquet
from mmpipe.registry import versions as versions_module
from mmpipe.registry.aliases import read_aliases
from mmpipe.registry.redacted import redaction_path
from mmpipe.registry.taint import read_checkpoint_taint, read_taint
from mmpipe.registry.versions import Version, list_models, list_versions, pick_version, verify_version
from mmpipe.steps.ask.predict import predict_files
from mmpipe.steps.keep import forget as forget_step
from mmpipe.steps.keep import forget_models
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.keep.forget_order import read_orders
from mmpipe.steps.keep.repair import repair_store
from mmpipe.steps.keep.verify import find_faults, name_redacted
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.release import release as release_module
from mmpipe.steps.tell.report import write_report
from mmpipe.steps.train.snapshots import create_snapshot
from mmpipe.steps.train.train import current_recipe
from mmpipe.store import decoded
from mmpipe.store.assets import read_assets
from mmpipe.store.layout import StoreLayout
from mmpipe.store.lease import Lease
from mmpipe.store.snapshot import take_snapshot
from mmpipe.store.spine import read_spine

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")

GONE = "clip-05"
FEATURES = ("audio-mfccseg@1", "text-ngrams@1")


@pytest.fixture
def config(winning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Return a config over a copy of a store that was trained and released, with a cache of its own."""
    monkeypatch.setenv("MMPIPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoded, "LEAST_BYTES", 0)
    return winning.place(winning.config.store, tmp_path)


def unpacked(data: bytes) -> bytes:
    """Return bytes with all that is packed in them: tables as plain values, tars member by member."""
    if data[:4] == b"PAR1":
        table = pq.read_table(io.BytesIO(data))
        data += repr(table.to_pylist()).encode()
        for column in table.columns:
            if pa.types.is_fixed_size_list(column.type) and len(column):
                data += column.combine_chunks().flatten().to_numpy(zero_copy_only=False).tobytes()
    elif data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            data += b"".join(file.read() for member in tar if (file := tar.extractfile(member)))
    return data


def find_bytes(folders: Iterable[Path], needles: Iterable[bytes]) -> list[str]:
    """Return every file that holds one of the needles, in its name or anywhere in it."""
    needles, held = list(needles), []
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        data = unpacked(path.read_bytes()) + path.name.encode()
        if any(needle in data for needle in needles):
            held.append(str(path))
    return held


def needles_of(config: Config) -> tuple[list[bytes], list[bytes]]:
    """Return what nobody may find any more, and the digests that the tombstones alone may have."""
    layout = StoreLayout(config.store)
    assets, spine = read_assets(layout, CORPUS), read_spine(layout, CORPUS)
    mine = assets.filter(assets["source_id"] == GONE)
    keys = set(spine.filter(spine["source_id"] == GONE)["key"])
    reader = AlignedReader(layout, take_snapshot(layout, CORPUS, FEATURES), FEATURES)
    mine_at = [row for row, key in enumerate(reader.spine["key"]) if key in keys]
    others = {value for row in range(len(reader)) if row not in mine_at for value in values_at(reader, row)}
    values = [value for row in mine_at for value in values_at(reader, row) if value not in others]
    assert values, "another clip has the same sound"
    rest = assets.filter(assets["source_id"] != GONE)  # which share some captions with it
    digests = {*mine["digest"], *mine["file_sha256"], *mine["asset_id"]} - {*rest["digest"], *rest["file_sha256"]}
    return [GONE.encode(), *(key.encode() for key in keys), *values], [digest.encode() for digest in digests]


def values_at(reader: AlignedReader, row: int) -> list[bytes]:
    return [part.x_BTD.tobytes() for part in reader.gather(np.array([row])).features.values()]


def released(config: Config) -> Version:
    layout = StoreLayout(config.store)
    return pick_version(layout.models, MODEL, read_aliases(layout.models, MODEL).production)


def test_no_byte_of_it_is_left_and_the_models_still_answer(config, tmp_path):
    layout, before = StoreLayout(config.store), released(config)
    (checkpoint,) = (path for path in layout.checkpoints.iterdir() if path.is_dir())
    write_report(config, CORPUS, DT, MODEL, checkpoint.name)
    texts, digests = needles_of(config)
    table = {name: before.read(name) for name in before.files()}
    places = [config.store, tmp_path / "cache"]
    held = find_bytes(places, texts + digests)
    for kind in ("lineage.json", "/predictions.parquet", "/test.parquet", "/decoded/"):
        assert any(kind in name for name in held), kind
    assert any(name.endswith(".html") for name in find_bytes(places, [b"<html"]))
    count = sum(len(from_parquet(path.read_bytes()).keys) for path in checkpoint.rglob("*.parquet"))

    report = forget(config, CORPUS, GONE, "asked for")
    assert find_bytes(places, texts) == []
    assert all("/tombstones/" in name for name in find_bytes(places, digests))
    fates = {place.what: place.fate for place in report.holdings}
    assert {"checkpoint", "release", "weights", "report", "raw file", "note", "cache"} <= fates.keys()
    assert "lineage.json" in fates["release"] and "predictions.parquet" in fates["release"]
    assert f"mmpipe train --model {MODEL}" in report.summary() and "raw files" in report.summary()

    assert find_faults(layout) == ()
    assert f"redacted: release {MODEL}@{before.label}" in name_redacted(layout)
    assert f"redacted: checkpoint {checkpoint.name}" in name_redacted(layout)
    after = released(config)
    assert (after.label, after.digest, after.status) == (before.label, before.digest, before.status)
    assert after.redaction and read_taint(layout.models, MODEL, after.label) and read_checkpoint_taint(checkpoint)
    verify_version(after)
    changed = {name for name in after.files() if after.read(name) != table[name]}
    assert changed == {"lineage.json", "predictions.parquet", "README.md"} and after.files() == before.files()
    assert b"Redacted" in after.read("README.md") and json.loads(after.read("lineage.json"))["redacted"]
    was, now = from_parquet(table["predictions.parquet"]), from_parquet(after.read("predictions.parquet"))
    assert np.array_equal(was.aligned_to(now.keys).probabilities_NK, now.probabilities_NK)
    assert len(now.keys) == len(was.keys) - 1
    assert sum(len(from_parquet(path.read_bytes()).keys) for path in checkpoint.rglob("*.parquet")) < count
    answers = predict_files(config, [config.corpora[CORPUS].root / "clip-01.wav"], MODEL)
    assert answers.answers and answers.tainted
    assert plan_corpus(config, CORPUS).is_empty


def test_a_second_recording_is_forgotten_as_well_as_the_first(config):
    layout = StoreLayout(config.store)
    forget(config, CORPUS, "clip-06", "asked for")
    texts, digests = needles_of(config)
    once = released(config).redaction
    forget(config, CORPUS, GONE, "asked again")
    twice = released(config).redaction
    assert once and twice and once.published == twice.published and set(once.assets) < set(twice.assets)
    assert find_bytes([config.store], texts) == [] and find_faults(layout) == ()
    assert all("/tombstones/" in name for name in find_bytes([config.store], digests))


KILLS = ("write_version_redaction", "replace_durable", "replace_bytes", "mark_checkpoint", "mark_version")


@pytest.mark.parametrize("step", KILLS)
def test_a_redaction_that_was_killed_is_finished_by_the_next(config, monkeypatch, step):
    """Kill at each call in turn; in between every version can be read, and in the end all are as if never killed."""
    layout = StoreLayout(config.store)
    texts, _ = needles_of(config)
    module = next(m for m in (versions_module, forget_models, forget_step) if hasattr(m, step))
    real, kills, calls = getattr(module, step), 0, 0

    def die(*args: object) -> None:
        nonlocal calls
        calls += 1
        real(*args)
        if calls == kills + 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, step, die)
        while kills < 30:
            calls = 0
            try:
                forget(config, CORPUS, GONE, "asked for")
                break
            except KeyboardInterrupt:
                kills += 3 if step == "replace_bytes" else 1
                for version in list_versions(layout.models, MODEL):
                    assert all(version.read(name) for name in version.files())
    assert kills and read_orders(layout, CORPUS) == ()
    assert find_bytes([config.store], texts) == [] and find_faults(layout) == ()


@pytest.mark.parametrize("lost", ["SHA256SUMS", "the record"])
def test_what_was_published_does_not_come_back_from_an_old_copy(config, tmp_path, lost):
    layout, label = StoreLayout(config.store), released(config).label
    shutil.copytree(config.store, tmp_path / "old")
    texts, _ = needles_of(config)
    forget(config, CORPUS, GONE, "asked for")
    shutil.copytree(config.store, tmp_path / "new")
    version = released(config).path
    (version / "SHA256SUMS" if lost == "SHA256SUMS" else redaction_path(version)).write_bytes(b"")
    for copy, left in (("old", 1), ("new", 0)):
        repair_store(config, layout, copy=StoreLayout(tmp_path / copy))
        assert not [name for name in find_bytes([config.store], texts) if "/models/" in name]
        assert len([finding for finding in find_faults(layout) if finding.code == "version_damaged"]) == left
    assert released(config).label == label


def test_an_unfinished_training_that_has_answers_about_it_is_removed(config):
    layout = StoreLayout(config.store)
    (checkpoint,) = (path for path in layout.checkpoints.iterdir() if path.is_dir())
    (checkpoint / "checkpoint.json").unlink()
    texts, _ = needles_of(config)
    report = forget(config, CORPUS, GONE, "asked for")
    assert "unfinished training" in {place.what for place in report.holdings}
    assert not checkpoint.exists() and find_bytes([config.store], texts) == []


def test_it_waits_for_a_training_that_has_read_it(config):
    layout = StoreLayout(config.store)
    (checkpoint,) = (path for path in layout.checkpoints.iterdir() if path.is_dir())
    with Lease.acquire(layout, f"train-{checkpoint.name}"), pytest.raises(TransientError, match="is running"):
        forget(config, CORPUS, GONE, "asked for")
    assert read_orders(layout, CORPUS) == () and find_faults(layout) == ()


def test_a_release_that_has_read_it_is_not_published(winning, tmp_path, monkeypatch):
    config = winning.place(winning.before_release, tmp_path)
    real = release_module.evaluate_checkpoint

    def forget_meanwhile(*args: object) -> object:
        found = real(*args)
        forget(config, CORPUS, GONE, "asked for")
        return found

    monkeypatch.setattr(release_module, "evaluate_checkpoint", forget_meanwhile)
    with pytest.raises(TransientError, match="was forgotten out of the clips"):
        release_module.release_model(config, MODEL, winning.trained.checkpoint)
    layout = StoreLayout(config.store)
    assert list_models(layout.models) == ()


def test_a_pinned_training_is_another_one_after_a_forget(config):
    """The snapshot keeps its name, but has other clips: what was trained on it is not taken for what it would give."""
    layout = StoreLayout(config.store)
    create_snapshot(config, "paper", CORPUS)
    pinned = config.model_copy(
        update={"models": {MODEL: config.models[MODEL].model_copy(update={"snapshot": "paper"})}}
    )
    before = current_recipe(pinned, MODEL)
    assert before == current_recipe(config, MODEL)
    forget(config, CORPUS, GONE, "asked for")
    assert current_recipe(pinned, MODEL) != before
    assert "redacted: snapshot" in " ".join(name_redacted(layout))


def test_the_cache_has_no_numbers_of_a_deleted_object(config):
    layout = StoreLayout(config.store)
    needles_of(config)
    objects = {path.name for path in layout.root.glob(f"{CORPUS}/*/objects/*/*")}
    forget(config, CORPUS, GONE, "asked for")
    gone = objects - {path.name for path in layout.root.glob(f"{CORPUS}/*/objects/*/*")}
    assert gone and not [name for name in gone if decoded_file(name).exists()]
