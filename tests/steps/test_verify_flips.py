"""Flip single bits anywhere in a store with everything in it: each flip is a finding."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmpipe.registry.aliases import nominate, promote
from mmpipe.registry.versions import SUMS_NAME, publish_version
from mmpipe.steps.ground.seal import seal_folder
from mmpipe.steps.keep.restore import restore_files
from mmpipe.steps.keep.verify import count_damage, find_faults
from mmpipe.store.audit import append_event
from mmpipe.store.card import write_card
from mmpipe.store.finding import Severity
from mmpipe.store.identity import Identity, note_identity
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import INGEST, write_quarantine
from mmpipe.store.sample import FINGERPRINT, SampleFeature, make_sample_store
from mmpipe.store.snapshot import save_snapshot, take_snapshot
from mmpipe.types import Drop, FeatureKind, FeatureSchema, Modality

SWEEP = bool(os.environ.get("MMPIPE_SWEEP"))
FLIPS = 1_000 if SWEEP else 150
DAY = "2026-11-20"
AUDIO = SampleFeature(
    schema=FeatureSchema(feature="audio-toy@1", modality=Modality.AUDIO, kind=FeatureKind.SEQUENCE, dim=3), max_steps=4
)
TEXT = SampleFeature(
    schema=FeatureSchema(feature="text-toy@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=4), missing=0.3
)
NOT_COMMITTED = ("_staging", "_runs", "_leases", "reports")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> StoreLayout:
    """A store with one of each: tables, both kinds of shards, a snapshot, a model, a checkpoint, the audit log."""
    layout = make_sample_store(tmp_path_factory.mktemp("flips") / "store", [AUDIO, TEXT], shards=2, shard_clips=3)
    drop = Drop(stage="probe", code="decode_error", detail="cut short", file="1.mp4")
    write_quarantine(layout.dataset("sample", "quarantine"), DAY, INGEST, [drop], lambda _: "mmpipe probe 1.mp4")
    save_snapshot(layout, take_snapshot(layout, "sample", ["audio-toy@1", "text-toy@1"]))
    files = {"model.safetensors": bytes(range(256)) * 20, "README.md": b"# a model\n"}
    version = publish_version(layout.models, "who", files, status="candidate", recipe_digest="r")
    nominate(layout.models, "who", version.label, why="it is the first")
    promote(layout.models, "who", version.label, why="it is the best")
    folder = layout.checkpoints / "who-0123"
    folder.mkdir(parents=True)
    (folder / "state.safetensors").write_bytes(bytes(range(256)) * 9)
    seal_folder(folder, coming={"checkpoint.json": b"{}\n"})
    (folder / "checkpoint.json").write_bytes(b"{}\n")
    dataset = layout.dataset("sample", "audio-toy@1")
    pinned = Identity(extractor="audio-toy", version=1, params={}, dtype="float32", weights=FINGERPRINT)
    note_identity(dataset, FINGERPRINT, pinned)
    write_card(dataset, AUDIO.schema)
    append_event(layout, "promote", "who", "it is the best")
    append_event(layout, "promote", "who", "again")
    assert find_faults(layout) == ()
    return layout


def committed(layout: StoreLayout) -> Iterator[Path]:
    for path in sorted(layout.root.rglob("*")):
        top = path.relative_to(layout.root).parts[0]
        if path.is_file() and path.stat().st_size and top not in NOT_COMMITTED:
            yield path


def flipped(data: bytes, position: int, bit: int) -> bytes:
    return data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :]


def test_every_flipped_bit_is_found(layout: StoreLayout) -> None:
    draw, paths = random.Random(7), list(committed(layout))
    assert len({path.suffix for path in paths}) >= 7
    missed = []
    for number in range(FLIPS):
        path = paths[number] if number < len(paths) else draw.choice(paths)  # each file at least once
        data = path.read_bytes()
        position, bit = draw.randrange(len(data)), draw.randrange(8)
        path.chmod(0o644)
        path.write_bytes(flipped(data, position, bit))
        if not count_damage(find_faults(layout)):
            missed.append((str(path.relative_to(layout.root)), position, bit))
        path.write_bytes(data)
    print(f"\n{FLIPS - len(missed)} of {FLIPS} flipped bits found, in {len(paths)} files")
    assert missed == []
    assert find_faults(layout) == ()


@pytest.mark.parametrize("name", ["SHA256SUMS", "model.safetensors", "version.json"])
def test_a_file_of_a_model_that_is_gone_is_found(layout: StoreLayout, name: str) -> None:
    (path,) = layout.models.glob(f"who/versions/*/{name}")
    data = path.read_bytes()
    path.unlink()
    assert {finding.code for finding in find_faults(layout)} == {"version_damaged"}
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("pattern", "severity"), [("models/who/versions/*", Severity.DAMAGE), ("checkpoints/*", Severity.WARNING)]
)
def test_a_file_that_was_not_sealed_is_found_beside_damage(
    layout: StoreLayout, pattern: str, severity: Severity
) -> None:
    (folder,) = layout.root.glob(pattern)
    extra = folder / "sub" / "weights.bin"
    extra.parent.mkdir()
    extra.write_bytes(b"not ours")
    (finding,) = find_faults(layout)
    assert (finding.code, layout.root / finding.path, finding.severity) == ("unexpected_file", extra, severity)
    whole = (folder / SUMS_NAME).read_bytes()
    (folder / SUMS_NAME).write_bytes(whole[1:])
    assert count_damage(find_faults(layout))
    (folder / SUMS_NAME).write_bytes(whole)
    shutil.rmtree(extra.parent)
    assert find_faults(layout) == ()


def test_a_stale_alias_and_a_lost_line_are_found(layout: StoreLayout) -> None:
    log, truth = layout.models / "who" / "events.jsonl", layout.models / "who" / "aliases.json"
    lines, aliases = log.read_bytes(), truth.read_bytes()
    log.write_bytes(lines.splitlines(keepends=True)[1])
    assert {finding.code for finding in find_faults(layout)} == {"events_damaged"}
    log.write_bytes(lines)
    truth.unlink()
    assert {finding.code for finding in find_faults(layout)} == {"aliases_missing"}
    truth.write_bytes(aliases)


@pytest.mark.parametrize(
    "pattern",
    [
        "models/who/versions/*/SHA256SUMS",
        "models/who/versions/*/model.safetensors",
        "models/who/aliases.json",
        "models/who/events.jsonl",
        "checkpoints/*/SHA256SUMS",
        "checkpoints/*/state.safetensors",
        "snapshots/*.json",
        "_audit/000002.json",
    ],
)
@pytest.mark.parametrize("gone", [False, True])
def test_a_copy_brings_back_what_nothing_else_has(
    layout: StoreLayout, tmp_path: Path, pattern: str, gone: bool
) -> None:
    copy = StoreLayout(tmp_path / "copy")
    shutil.copytree(layout.root, copy.root)
    victim = next(layout.root.glob(pattern))
    data = victim.read_bytes()
    victim.unlink()
    if not gone:
        victim.write_bytes(flipped(data, len(data) // 2, 1))
    findings = find_faults(layout)
    if findings or not gone:  # that the newest record or a snapshot is gone, only a copy elsewhere knows
        restore_files(layout, copy, findings, dry_run=False)
        assert victim.read_bytes() == data
    victim.write_bytes(data)
    assert find_faults(layout) == ()
    shutil.rmtree(layout.staging / "damaged", ignore_errors=True)


def test_sealing_again_never_takes_damage_for_truth(layout: StoreLayout) -> None:
    folder = layout.checkpoints / "who-0123"
    whole, sums = (folder / "state.safetensors").read_bytes(), (folder / SUMS_NAME).read_bytes()
    (folder / "state.safetensors").write_bytes(b"other")
    (folder / "added.json").write_bytes(b"{}")
    seal_folder(folder)
    assert [finding.path for finding in find_faults(layout)] == ["checkpoints/who-0123/state.safetensors"]
    (folder / "state.safetensors").write_bytes(whole)
    (folder / "added.json").unlink()
    (folder / SUMS_NAME).write_bytes(sums)
    assert find_faults(layout) == ()
