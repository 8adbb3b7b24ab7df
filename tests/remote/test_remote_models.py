"""Published models in a bucket: a version is there whole or not at all, and no move of the aliases is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmpipe import remote
from mmpipe.errors import StoreError, TransientError
from mmpipe.registry import aliases, bucket, versions
from mmpipe.registry.aliases import nominate, promote, read_aliases, read_events, rollback
from mmpipe.registry.integrity import verify_models
from mmpipe.registry.taint import mark_version, read_taint
from mmpipe.registry.versions import (
    Version,
    list_models,
    list_versions,
    local_version,
    pick_version,
    publish_version,
    redact_version,
)

FILES = {"model.safetensors": b"weights", "verdict.json": b"{}", "preprocess/scaler.npy": b"numbers"}
NAME = "digits"


@pytest.fixture
def models(s3_root: Path) -> Path:
    return s3_root / "models"


def publish(root: Path, content: bytes = b"weights", status: str = "candidate") -> Version:
    files = FILES | {"model.safetensors": content}
    return publish_version(root, NAME, files, status=status, recipe_digest="r1")


def test_versions_are_those_of_a_folder(models, tmp_path) -> None:
    for content in (b"first", b"second", b"first"):
        far, near = publish(models, content), publish(tmp_path, content)
        assert (far.label, far.digest) == (near.label, near.digest)
    assert list_models(models) == (NAME,)
    assert [version.label for version in list_versions(models, NAME)] == [
        version.label for version in list_versions(tmp_path, NAME)
    ]
    assert pick_version(models, NAME, "2").read("model.safetensors") == b"second"
    assert not list(verify_models(models))


def test_version_is_seen_when_its_last_file_is_there_and_a_killed_one_is_finished(models, monkeypatch) -> None:
    real = bucket.put_if_absent

    def die_at_the_sums(source: Path, target: Path) -> bool:
        if target.name == versions.SUMS_NAME:
            raise KeyboardInterrupt
        return real(source, target)

    monkeypatch.setattr(bucket, "put_if_absent", die_at_the_sums)
    with pytest.raises(KeyboardInterrupt):
        publish(models)
    assert list_models(models) == () and list_versions(models, NAME) == ()
    monkeypatch.setattr(bucket, "put_if_absent", real)
    assert publish(models, b"other").number == 2  # the number of the dead stays its own
    assert publish(models).number == 1
    assert [version.number for version in list_versions(models, NAME)] == [1, 2]


def test_two_machines_publish_at_once(models, monkeypatch) -> None:
    real, meanwhile = bucket.create, [b"other", b"weights"]

    def be_late(path, data: bytes) -> bool:
        monkeypatch.setattr(bucket, "create", real)
        made.append(publish(models, meanwhile.pop()))
        return real(path, data)

    made: list[Version] = []
    for _ in range(2):
        monkeypatch.setattr(bucket, "create", be_late)
        made.append(publish(models))
    assert [version.number for version in made] == [1, 1, 1]  # the same content is one version, whoever was first
    monkeypatch.setattr(bucket, "create", be_late)
    assert [publish(models, b"third").number, *(version.number for version in made[3:])] == [3, 2]


def test_no_move_is_lost_when_two_machines_move_at_once(models, monkeypatch) -> None:
    first, second = publish(models, b"first"), publish(models, b"second")
    promote(models, NAME, "1", why="the first", who="here")
    real = aliases.add_move

    def be_late(*args) -> bool:
        monkeypatch.setattr(aliases, "add_move", real)
        nominate(models, NAME, "1", why="meanwhile", who="there")
        return real(*args)

    monkeypatch.setattr(aliases, "add_move", be_late)
    promote(models, NAME, "2", why="the second", who="here")
    assert [(event["revision"], event["action"], event["who"]) for event in read_events(models, NAME)] == [
        (1, "promote", "here"),
        (2, "nominate", "there"),
        (3, "promote", "here"),
    ]
    now = read_aliases(models, NAME)
    assert now.names == {"candidate": first.label, "production": second.label, "previous": first.label}
    monkeypatch.setattr(aliases, "add_move", be_late)
    nominate(models, NAME, "2", why="back and forth")
    monkeypatch.setattr(aliases, "add_move", be_late)
    with pytest.raises(TransientError, match="moved meanwhile"):
        rollback(models, NAME, why="on what was seen", expected=now)
    assert rollback(models, NAME, why="now").production == first.label
    assert not list(verify_models(models))


def test_copy_in_a_folder_is_a_registry_and_back_in_a_bucket_it_goes_on(models, tmp_path) -> None:
    publish(models, b"first"), publish(models, b"second")
    promote(models, NAME, "1", why="the first")
    promote(models, NAME, "2", why="the second")
    for path in models.rglob("*"):
        if path.is_file():
            (tmp_path / path.relative_to(models)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path.relative_to(models)).write_bytes(path.read_bytes())
    assert read_aliases(tmp_path, NAME) == read_aliases(models, NAME)
    assert read_events(tmp_path, NAME) == read_events(models, NAME)
    assert not list(verify_models(tmp_path))
    rollback(tmp_path, NAME, why="in the folder")
    other = models.parent / "copied"
    for path in tmp_path.joinpath(NAME).rglob("*"):
        if path.is_file() and "events" not in path.parts and not path.name.startswith("."):
            remote.put(other / NAME / path.relative_to(tmp_path / NAME), path.read_bytes())
    assert read_aliases(other, NAME) == read_aliases(tmp_path, NAME)
    promote(other, NAME, "2", why="in the bucket again")
    assert [event["revision"] for event in read_events(other, NAME)] == [1, 2, 3, 4]
    assert not list(verify_models(other))


def test_what_is_fetched_is_checked(models, cache_folder) -> None:
    version = publish(models)
    folder = local_version(version)
    assert (folder / "preprocess" / "scaler.npy").read_bytes() == b"numbers"
    (folder / "model.safetensors").write_bytes(b"other")
    assert (local_version(version) / "model.safetensors").read_bytes() == b"weights"
    remote.put(version.path / "model.safetensors", b"changed")
    assert (local_version(version) / "model.safetensors").read_bytes() == b"weights"  # it was fetched before
    (folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(StoreError, match=r"model\.safetensors has other content than published"):
        promote(models, NAME, "1", why="no")
    assert [code for code, _, _ in verify_models(models)] == ["version_damaged"]


def test_damage_to_a_move_is_found(models) -> None:
    publish(models)
    promote(models, NAME, "1", why="yes")
    path = models / NAME / "events" / "000001.json"
    remote.put(path, path.read_bytes().replace(b"yes", b"no!"))
    assert [code for code, _, _ in verify_models(models)] == ["events_damaged"]


def test_taints_of_two_machines_are_joined(models) -> None:
    version = publish(models)
    mark_version(models, NAME, version.label, ("a",), "asked to")
    mark_version(models, NAME, version.label, ("b",), "asked to")
    taint = read_taint(models, NAME, version.label)
    assert taint is not None and taint.assets == ("a", "b")
    assert json.loads((models / NAME / "tainted" / f"{version.label}.json").read_bytes())


def test_what_was_forgotten_leaves_the_bucket_and_the_copy_on_this_machine(models) -> None:
    version = publish(models)
    copy = local_version(version)
    redact_version(version, {"verdict.json": b"[]"}, ("a",), "asked to")
    (after,) = list_versions(models, NAME)
    assert (after.label, after.digest) == (version.label, version.digest) and after.redaction
    assert after.read("verdict.json") == b"[]" and not list(verify_models(models))
    assert not copy.exists() and (local_version(after) / "verdict.json").read_bytes() == b"[]"
