"""Snapshots pin what explains them: the signals that filters chose by, and the banks that noise was mixed from."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from corpus_maker import CORPUS, LATER, extract, ingest, make_config, tree, write_pairs, write_tone

from mmpipe.config import Config
from mmpipe.errors import StoreError
from mmpipe.steps.ingest.banks import make_bank
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.keep.gc import collect_garbage, file_system_time
from mmpipe.steps.keep.repair import repair_store
from mmpipe.steps.keep.verify import find_faults
from mmpipe.steps.release.evaluate import evaluate_checkpoint
from mmpipe.steps.release.release import release_model
from mmpipe.steps.train.snapshots import compare_snapshots, create_snapshot, drop_snapshot, pinned_partitions
from mmpipe.steps.train.train import is_trained, train_model
from mmpipe.steps.train.training_set import open_training_set
from mmpipe.store.banks import BANK_CLIPS
from mmpipe.store.layout import BANKS, CLIPS, SIGNALS, StoreLayout
from mmpipe.store.signals import CLIP_SIGNALS
from mmpipe.store.snapshot import Snapshot, load_snapshot, pinned_manifest, save_snapshot, take_snapshot
from mmpipe.store.table import TableKind, read_manifest_table

pytestmark = pytest.mark.usefixtures("warm_workers")

NOISY = "audio-mfccseg.noisy@1"
BANK = {"clips": 3, "voices": 2, "length_s": 0.5, "sample_rate_hz": 8_000}
MODEL = {
    "corpus": CORPUS,
    "target": "word",
    "inputs": ["audio-mfccseg.noisy"],
    "folds": 3,
    "encoder": {"components": 4, "width": 4, "segments": 2},
    "train": {"epochs": 2, "dropout": 0.0},
}


def config_of(folder: Path, **corpus: Any) -> Config:
    settings: dict[str, Any] = {
        "features": ["audio-mfccseg.noisy"],
        "renditions": {"noisy": {"modality": "audio", "noise": {"bank": "babble", "snr_db": 3.0}}},
        "banks": {"babble": BANK},
        "split": {"val": 0.0, "test": 0.0},
        "signals": {"enabled": True},
        "filters": {"short": "duration_s > 0.2"},
        "labels": {"file": str(folder / "labels.jsonl"), "key": "id"},
    }
    return make_config(folder, {"tones": MODEL}, **(settings | corpus))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, warm_workers: None) -> Iterator[Path]:
    """Make a date of noisy sounds, some of which a filter leaves out."""
    folder = tmp_path_factory.mktemp("tables")
    names = [f"tone-{number:02d}" for number in range(12)]
    rows = [{"id": name, "word": "ab"[number % 2]} for number, name in enumerate(names)]
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_pairs(folder / "media", names)
    write_tone(folder / "media" / "blip.wav", seconds=0.1)
    config = config_of(folder)
    ingest(config)
    extract(config)
    yield folder


@pytest.fixture
def config(made: Path, tmp_path: Path) -> Config:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True, symlinks=True)
    return config_of(tmp_path)


def pinned(config: Config, snapshot: Snapshot, name: str, kind: TableKind) -> pl.DataFrame:
    """Return the rows of a table as a snapshot has them."""
    dataset = StoreLayout(config.store).dataset(CORPUS, name)
    return pl.concat([read_manifest_table(dataset, kind, pinned_manifest(dataset, e)) for e in snapshot.of(name)])


def collected(config: Config) -> set[str]:
    """Collect garbage as if a month had passed; return the datasets of which objects went."""
    made = collect_garbage(config, delete=True, clock=lambda layout: file_system_time(layout) + 30 * 86_400)
    return {item.path.split("/")[1] for item in made.items if item.kind == "object"}


def test_a_named_snapshot_pins_signals_and_banks_through_gc(config: Config, tmp_path: Path) -> None:
    layout = StoreLayout(config.store)
    create_snapshot(config, "paper", CORPUS)
    paper = load_snapshot(layout, "paper")
    assert paper.features == (NOISY,) and paper.tables == (BANKS, SIGNALS) and paper.format == 2
    assert {row.dataset for row in pinned_partitions(config, "paper")} == {CLIPS, NOISY, BANKS, SIGNALS}
    signals, bank = pinned(config, paper, SIGNALS, CLIP_SIGNALS), pinned(config, paper, BANKS, BANK_CLIPS)
    assert compare_snapshots(config, "paper", "head") == ()
    other = config_of(tmp_path, damage={"min_share": 0.5}, banks={"babble": {**BANK, "seed": 9}})
    ingest(other)
    make_bank(other, CORPUS, "babble")
    changed = {
        (diff.dataset, diff.revision_before, diff.revision_after) for diff in compare_snapshots(config, "paper", "head")
    }
    assert changed == {(BANKS, 1, 2), (SIGNALS, 1, 2)}
    once = config.model_copy(update={"retention": config.retention.model_copy(update={"revisions": 1, "days": 0.0})})
    assert not collected(once) & {BANKS, SIGNALS}
    assert pinned(config, paper, SIGNALS, CLIP_SIGNALS).equals(signals)
    assert pinned(config, paper, BANKS, BANK_CLIPS).equals(bank)
    assert find_faults(layout) == ()
    drop_snapshot(config, "paper", "it is published")
    assert collected(once) == {BANKS, SIGNALS}


def test_a_snapshot_of_before_is_read_and_the_same_name_stays(config: Config) -> None:
    """What was frozen without tables has the digest that it had, and freezing the same again changes nothing."""
    layout = StoreLayout(config.store)
    older = take_snapshot(layout, CORPUS, (NOISY,))
    assert older.format == 1 and older.tables == () and older.core is older
    assert Snapshot.from_bytes(older.to_bytes()) == older
    newer = take_snapshot(layout, CORPUS, (NOISY,), tables=(BANKS, SIGNALS))
    assert newer.core == older and newer.digest != older.digest
    with pytest.raises(StoreError, match="format is 1"):
        Snapshot.from_bytes(newer.to_bytes().replace(b'"format": 2', b'"format": 1'))
    save_snapshot(layout, older)
    first = create_snapshot(config, "paper", CORPUS)
    before = tree(config.store)
    assert create_snapshot(config, "paper", CORPUS) == first
    assert tree(config.store) == before


def test_a_training_pins_what_its_values_and_clips_rest_on_and_is_not_due_for_it(
    config: Config, tmp_path: Path
) -> None:
    layout = StoreLayout(config.store)
    report = train_model(config, "tones")
    used = load_snapshot(layout, report.snapshot)
    assert used.tables == (BANKS, SIGNALS)
    plain = config_of(tmp_path, filters={}, signals={"enabled": True})
    _, settings = plain.model(None)
    assert open_training_set(
        plain, settings.model_copy(update={"inputs": ("audio-mfccseg.noisy",)})
    ).snapshot.tables == (BANKS,)
    extra = config_of(tmp_path, banks={"babble": BANK, "other": {**BANK, "seed": 4}})
    make_bank(extra, CORPUS, "other")  # another revision of the banks; nothing that is learnt from changed
    assert is_trained(extra, "tones")
    again = train_model(extra, "tones")
    assert (again.checkpoint, again.snapshot, again.num_fits) == (report.checkpoint, report.snapshot, 0)
    assert evaluate_checkpoint(extra, "tones", report.checkpoint).data.snapshot == used
    released = release_model(extra, "tones", report.checkpoint)
    lineage = json.loads((next((layout.models / "tones" / "versions").iterdir()) / "lineage.json").read_bytes())
    assert released and lineage["snapshot"] == used.digest
    assert {entry["dataset"] for entry in lineage["manifests"]} == {CLIPS, NOISY, BANKS, SIGNALS}


def test_a_training_on_a_snapshot_is_repeated_after_its_bank_was_drawn_anew(config: Config) -> None:
    layout = StoreLayout(config.store)
    create_snapshot(config, "paper", CORPUS)
    name, settings = config.model(None)
    then = config.model_copy(update={"models": {name: settings.model_copy(update={"snapshot": "paper"})}})
    report = train_model(then, "tones")
    write_pairs(config.corpora[CORPUS].root, [f"late-{number}" for number in range(8)])
    ingest(config, LATER)
    make_bank(config, CORPUS, "babble", again=True)
    extract(config)
    shutil.rmtree(layout.checkpoints)
    again = train_model(then, "tones")
    assert again.num_fits and (again.checkpoint, again.scores) == (report.checkpoint, report.scores)
    assert train_model(config, "tones").checkpoint != report.checkpoint


def test_forgetting_takes_a_clip_out_of_pinned_banks_and_signals(config: Config) -> None:
    layout = StoreLayout(config.store)
    create_snapshot(config, "paper", CORPUS)
    paper = load_snapshot(layout, "paper")
    key = pinned(config, paper, BANKS, BANK_CLIPS)["key"][0]
    asset = pinned(config, paper, SIGNALS, CLIP_SIGNALS).filter(pl.col("key") == key)["asset_id"][0]
    forget(config, CORPUS, asset, reason="asked for")
    for name, kind in ((BANKS, BANK_CLIPS), (SIGNALS, CLIP_SIGNALS)):
        assert key not in set(pinned(config, paper, name, kind)["key"])
    assert find_faults(layout) == ()
    assert all(row.redacted for row in pinned_partitions(config, "paper"))


def test_a_bank_has_a_card_that_is_checked_and_healed(config: Config, tmp_path: Path) -> None:
    layout = StoreLayout(config.store)
    path = layout.dataset(CORPUS, BANKS).root / "README.md"
    card = path.read_bytes()
    assert all(f"| `{column}` |".encode() in card for column in BANK_CLIPS.names)
    program = card.decode().split("```python\n")[1].split("```")[0] + "assert len(wave_N) and clips.height == 3\n"
    subprocess.run([sys.executable, "-c", program], cwd=path.parent, check=True)
    path.write_bytes(b"another")
    assert [finding.code for finding in find_faults(layout)] == ["card_stale"]
    repair_store(config, layout)
    assert path.read_bytes() == card and find_faults(layout) == ()
    path.unlink()  # as in a store of before
    assert find_faults(layout) == ()
    make_bank(config, CORPUS, "babble", again=True)
    repair_store(config, layout)
    assert path.read_bytes() == card
    ingest(config_of(tmp_path, rights={"owner": "Speech team"}))
    assert b"Speech team" in path.read_bytes() and find_faults(layout) == ()
