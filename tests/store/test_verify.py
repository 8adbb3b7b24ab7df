from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mmpipe.errors import ConfigError
from mmpipe.store.card import write_card
from mmpipe.store.commit import commit_partition, read_head
from mmpipe.store.heal import heal_dataset
from mmpipe.store.layout import CLIPS, StoreLayout
from mmpipe.store.lease import Lease
from mmpipe.store.manifest import Manifest
from mmpipe.store.sample import FINGERPRINT, SampleFeature, make_sample_store
from mmpipe.store.schema import freeze_schema, schema_digest
from mmpipe.store.snapshot import save_snapshot, take_snapshot
from mmpipe.store.spine import SPINE, plan_spine, read_spine, write_spine
from mmpipe.store.verify import Finding, verify_store
from mmpipe.types import FeatureKind, FeatureSchema, Modality

DAY = "2026-11-20"
AUDIO = SampleFeature(
    schema=FeatureSchema(feature="audio-toy@1", modality=Modality.AUDIO, kind=FeatureKind.SEQUENCE, dim=3), max_steps=4
)
TEXT = SampleFeature(
    schema=FeatureSchema(feature="text-toy@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=4), missing=0.3
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a spine of two revisions, two features and a snapshot."""
    root = tmp_path_factory.mktemp("verify") / "store"
    layout = make_sample_store(root, [AUDIO, TEXT], shards=2, shard_clips=3)
    save_snapshot(layout, take_snapshot(layout, "sample", ["audio-toy@1", "text-toy@1"]))  # so all objects are needed
    frame = read_spine(layout, "sample", [DAY]).drop("partition")
    plan = plan_spine(frame, [], shard_clips=3, superseded=[frame["asset_id"][0]])
    write_spine(layout.dataset("sample", CLIPS), DAY, plan)
    assert verify_store(layout) == ()
    return root


@pytest.fixture
def layout(template: Path, tmp_path: Path) -> StoreLayout:
    """A copy whose view still consists of links."""
    shutil.copytree(template, tmp_path / "store", symlinks=True)
    layout = StoreLayout(tmp_path / "store")
    relink(layout)
    return layout


def relink(layout: StoreLayout) -> None:
    for dataset_name in layout.dataset_names("sample"):
        dataset = layout.dataset("sample", dataset_name)
        for path in (path for folder in ("data", "index") for path in (dataset.root / folder).glob("*/*")):
            target = dataset.object(hashlib.sha256(path.read_bytes()).hexdigest())
            path.unlink()
            path.hardlink_to(target)


def heal_all(layout: StoreLayout) -> int:
    return sum(heal_dataset(layout.dataset("sample", name)) for name in layout.dataset_names("sample"))


def codes(findings: tuple[Finding, ...]) -> set[str]:
    return {finding.code for finding in findings}


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def committed(layout: StoreLayout) -> Iterator[Path]:
    for path in sorted(layout.root.rglob("*")):
        if path.is_file() and layout.staging not in path.parents:
            yield path


def test_every_bit_flip_is_found(layout: StoreLayout) -> None:
    """Each kind of committed file, at random bits; the store is whole again between two flips."""
    draw = random.Random(7)
    kinds: dict[str, list[Path]] = {}
    for path in committed(layout):
        parts = path.relative_to(layout.root).parts
        kind = "/".join(part for part in parts[:3]) if parts[0] == "sample" else "/".join((parts[0], path.name))
        kinds.setdefault(kind, []).append(path)
    assert len(kinds) >= 18, sorted(kinds)
    missed = []
    for _ in range(8):
        for kind, paths in kinds.items():
            path = draw.choice(paths)
            data = path.read_bytes()
            position, bit = draw.randrange(len(data)), draw.randrange(8)
            overwrite(path, data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :])
            if not verify_store(layout):
                missed.append((kind, path.name, position, bit))
            overwrite(path, data)
    assert missed == []
    assert verify_store(layout) == ()


@pytest.mark.parametrize("edit", ["truncate", "delete", "lengthen"])
def test_every_cut_or_lost_file_is_found(layout: StoreLayout, edit: str) -> None:
    for path in list(committed(layout)):
        if edit == "delete" and path.parent == layout.snapshots:
            continue  # only the lineage of a model knows that it was there
        data = path.read_bytes()
        linked = [other for other in committed(layout) if other.samefile(path)]
        if edit == "delete":
            path.unlink()
        else:
            overwrite(path, data[: len(data) // 2] if edit == "truncate" else data + b"\0")
        found = verify_store(layout)
        assert found, path
        assert all(finding.way_out and finding.detail for finding in found)
        if edit == "delete":
            others = [other for other in linked if other != path]
            path.hardlink_to(others[0]) if others else path.write_bytes(data)
        else:
            path.write_bytes(data)
    assert verify_store(layout) == ()


def test_finding_names_the_file(layout: StoreLayout) -> None:
    dataset = layout.dataset("sample", "audio-toy@1")
    head = read_head(dataset, DAY)
    assert head is not None
    path = dataset.object(head.shards[1].files[0].sha256)
    data = path.read_bytes()
    overwrite(path, data[:-1] + b"\1")
    (finding,) = verify_store(layout)
    assert finding.code == "object_damaged"
    assert layout.root / finding.path == path
    overwrite(path, data[:-1])
    (finding,) = verify_store(layout)
    assert finding.code == "object_size"


def test_swapped_view_files_are_found_and_healed(layout: StoreLayout) -> None:
    folder = layout.dataset("sample", "audio-toy@1").data(DAY)
    first, second, aside = folder / "000000.tar", folder / "000001.tar", folder / "aside"
    first.rename(aside)
    second.rename(first)
    aside.rename(second)
    assert codes(verify_store(layout)) == {"view_stale"}
    assert heal_all(layout) == 1
    assert verify_store(layout) == ()


def test_swapped_objects_are_found(layout: StoreLayout) -> None:
    dataset = layout.dataset("sample", "text-toy@1")
    head = read_head(dataset, DAY)
    assert head is not None
    paths = [dataset.object(shard.files[0].sha256) for shard in head.shards]
    contents = [path.read_bytes() for path in paths]
    for path, data in zip(paths, reversed(contents), strict=True):
        overwrite(path, data)
    found = verify_store(layout)
    assert {layout.root / finding.path for finding in found} >= set(paths)


@pytest.mark.parametrize("name", [".000000.tar.tmp", "000009.tar", "README.md"])
def test_extra_file_in_a_view_is_found_and_healed(layout: StoreLayout, name: str) -> None:
    (layout.dataset("sample", "audio-toy@1").data(DAY) / name).write_bytes(b"stray")
    (finding,) = verify_store(layout)
    assert (finding.code, Path(finding.path).name) == ("view_extra", name)
    assert heal_all(layout) == 1
    assert verify_store(layout) == ()


@pytest.mark.parametrize("place", ["_meta/dt=2026-11-20/notes.txt", "objects/ab/notes.txt", "objects/stray"])
def test_stray_file_among_what_is_committed_is_found(layout: StoreLayout, place: str) -> None:
    path = layout.dataset("sample", "text-toy@1").root / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"stray")
    assert codes(verify_store(layout)) == {"unexpected_file"}


def test_gap_in_the_revisions_is_found(layout: StoreLayout) -> None:
    (layout.dataset("sample", CLIPS).meta(DAY) / "000001.json").unlink()
    assert "manifest_damaged" in codes(verify_store(layout))


def test_a_stale_manifest_is_found(layout: StoreLayout) -> None:
    """An older revision under the name of a newer one."""
    folder = layout.dataset("sample", CLIPS).meta(DAY)
    overwrite(folder / "000002.json", (folder / "000001.json").read_bytes())
    assert codes(verify_store(layout)) >= {"manifest_damaged"}


def test_forged_manifest_is_found_by_its_child_and_by_its_values(layout: StoreLayout) -> None:
    """A manifest with a right checksum but a wrong story."""
    folder = layout.dataset("sample", CLIPS).meta(DAY)
    first = Manifest.from_bytes((folder / "000001.json").read_bytes())
    overwrite(folder / "000001.json", replace(first, totals={**first.totals, "files": 7}).to_bytes())
    assert "manifest_parent" in codes(verify_store(layout))


def recommit(layout: StoreLayout, feature: SampleFeature, **changes: object) -> set[str]:
    """Commit the first shard of a feature anew with another story, and say what is found."""
    dataset = layout.dataset("sample", feature.schema.feature)
    head = read_head(dataset, DAY)
    assert head is not None
    shard = replace(head.shards[0], **changes)
    fingerprint, schema = FINGERPRINT, schema_digest(feature.schema)
    commit_partition(dataset, DAY, schema=schema, fingerprint=fingerprint, shards={shard.number: shard})
    return codes(verify_store(layout)) - {"card_stale"}


def test_wrong_statistics_are_found(layout: StoreLayout) -> None:
    head = read_head(layout.dataset("sample", "audio-toy@1"), DAY)
    assert head is not None
    wrong = replace(head.shards[0].statistics, num_zero=1)
    assert recommit(layout, AUDIO, statistics=wrong) == {"statistics_mismatch"}


def test_shard_of_another_place_is_found(layout: StoreLayout) -> None:
    head = read_head(layout.dataset("sample", "audio-toy@1"), DAY)
    assert head is not None
    other = [replace(file, name=file.name.replace("1", "0")) for file in head.shards[1].files]
    found = recommit(layout, AUDIO, files=tuple(other), statistics=head.shards[1].statistics)
    assert "shard_damaged" in found


def test_count_against_the_spine_is_found(layout: StoreLayout) -> None:
    head = read_head(layout.dataset("sample", "text-toy@1"), DAY)
    assert head is not None
    shard = head.shards[0]
    assert recommit(layout, TEXT, spine=shard.spine + 1, absent=shard.absent + 1) == {"spine_mismatch"}


def test_keys_of_another_spine_are_found(layout: StoreLayout) -> None:
    clips = layout.dataset("sample", CLIPS)
    foreign = make_sample_store(
        layout.root.parent / "other", [TEXT], partitions=["2026-11-19"], shards=2, shard_clips=3
    )
    spine = read_head(foreign.dataset("sample", CLIPS), "2026-11-19")
    assert spine is not None
    shutil.copytree(foreign.dataset("sample", CLIPS).root / "objects", clips.root / "objects", dirs_exist_ok=True)
    shards = {shard.number: shard for shard in spine.shards}
    commit_partition(clips, DAY, schema=SPINE.digest, fingerprint="", shards=shards)
    assert codes(verify_store(layout)) == {"key_mismatch"}


def test_stale_card_is_found(layout: StoreLayout) -> None:
    path = layout.dataset("sample", "text-toy@1").root / "README.md"
    path.write_bytes(path.read_bytes() + b"\n")
    (finding,) = verify_store(layout)
    assert (finding.code, layout.root / finding.path) == ("card_stale", path)


def test_one_corpus_can_be_verified_alone(layout: StoreLayout) -> None:
    overwrite(layout.format_file, b"{}")
    assert verify_store(layout, "sample") == ()
    assert codes(verify_store(layout)) == {"format_damaged"}
    with pytest.raises(ConfigError, match=r"no corpus 'nobody'.*\['sample'\]"):
        verify_store(layout, "nobody")


def test_verifying_changes_nothing(layout: StoreLayout) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in committed(layout)}
    verify_store(layout)
    assert before == {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in committed(layout)}


def test_a_schema_without_a_first_commit_is_no_damage(layout: StoreLayout) -> None:
    fresh = layout.dataset("sample", "text-new@1")
    fresh.root.mkdir()  # as one that is killed a moment later leaves it
    assert verify_store(layout) == ()
    freeze_schema(fresh, replace(TEXT.schema, feature="text-new@1"))
    fresh.meta(DAY).mkdir(parents=True)
    assert verify_store(layout) == ()
    write_card(fresh, replace(TEXT.schema, feature="text-new@1"))
    overwrite(fresh.root / "README.md", b"other")
    assert codes(verify_store(layout)) == {"card_stale"}


@pytest.mark.parametrize("lease", ["ingest-sample", "batch-sample-" + 32 * "0"])
def test_what_a_living_writer_is_about_to_bring_up_is_no_damage(layout: StoreLayout, lease: str) -> None:
    dataset = layout.dataset("sample", "text-toy@1")
    next(dataset.data(DAY).iterdir()).unlink()
    overwrite(dataset.root / "README.md", b"of before")
    for name in (lease, f"{lease}-of-another-corpus"):
        with Lease.acquire(layout, name):
            found = verify_store(layout)
            assert codes(found) == {"view_missing", "card_stale"}
            assert {finding.severity for finding in found} == {"warning" if name == lease else "damage"}
    assert {finding.severity for finding in verify_store(layout)} == {"damage"}


def test_a_writer_that_came_and_went_between_two_looks_is_no_alarm(layout: StoreLayout, monkeypatch) -> None:
    dataset = layout.dataset("sample", "text-toy@1")
    next(dataset.data(DAY).iterdir()).unlink()

    def end_of_its_commit(layout: StoreLayout, corpus: str) -> str:
        heal_dataset(dataset)
        return ""

    monkeypatch.setattr("mmpipe.store.verify.find_writer", end_of_its_commit)
    assert verify_store(layout) == ()
