from __future__ import annotations

import multiprocessing
import os
import subprocess
from pathlib import Path

import pytest

from mmpipe.errors import ConfigError, StoreError, TransientError
from mmpipe.registry.versions import (
    Version,
    list_models,
    list_versions,
    lock_model,
    pick_version,
    publish_version,
    verify_version,
)

FILES = {"model.safetensors": b"weights", "config.json": b"{}", "preprocess/scaler.npy": b"numbers"}


def publish(root: Path, content: bytes = b"weights", status: str = "candidate", recipe: str = "r1") -> Version:
    files = FILES | {"model.safetensors": content}
    return publish_version(root, "digits", files, status=status, recipe_digest=recipe)


def test_a_version_can_be_checked_without_mmpipe(tmp_path: Path) -> None:
    version = publish(tmp_path)
    assert version.label == version.path.name and version.number == 1
    subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=version.path, check=True, capture_output=True)
    assert version.read("preprocess/scaler.npy") == b"numbers"
    verify_version(version)


def test_the_same_content_is_the_same_version(tmp_path: Path) -> None:
    first = publish(tmp_path)
    source = tmp_path / "weights"
    source.write_bytes(b"weights")
    again = publish_version(
        tmp_path, "digits", FILES | {"model.safetensors": source}, status="candidate", recipe_digest="r1"
    )
    assert again == first and list_versions(tmp_path, "digits") == (first,)
    assert not list((tmp_path / "digits" / ".staging").iterdir())
    second = publish(tmp_path, status="refused")
    assert second.number == 2 and second.digest != first.digest


def test_nothing_of_place_or_time_is_in_the_content(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        strict = publish(tmp_path / "a")
    finally:
        os.umask(before)
    publish(tmp_path / "b", content=b"other")
    loose = publish(tmp_path / "b")
    assert strict.digest == loose.digest and (strict.number, loose.number) == (1, 2)


def _flip(path: Path) -> None:
    data = bytearray((path / "model.safetensors").read_bytes())
    data[0] ^= 1
    (path / "model.safetensors").write_bytes(data)


def _forge(path: Path) -> None:
    _flip(path)
    sums = subprocess.run(["sha256sum", "config.json", "model.safetensors"], cwd=path, check=True, capture_output=True)
    (path / "SHA256SUMS").write_bytes(sums.stdout)


def _link(path: Path) -> None:
    (path.parent / "elsewhere").write_bytes((path / "config.json").read_bytes())
    (path / "config.json").unlink()
    (path / "config.json").symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_flip, "model.safetensors has other content"),
        (_forge, "SHA256SUMS has other content"),
        (_link, "config.json has other content"),
        (lambda path: (path / "config.json").unlink(), "config.json is missing"),
        (lambda path: (path / "pickle.bin").write_bytes(b"x"), "pickle.bin was not published"),
    ],
)
def test_damage_is_found_and_named(tmp_path: Path, damage, said: str) -> None:
    version = publish(tmp_path)
    damage(version.path)
    with pytest.raises(StoreError, match=said):
        verify_version(version)


def test_one_damaged_version_does_not_stop_the_others(tmp_path: Path) -> None:
    damaged, healthy = publish(tmp_path), publish(tmp_path, b"better")
    (damaged.path / "SHA256SUMS").write_bytes(b"")
    assert pick_version(tmp_path, "digits", "2") == healthy
    assert publish(tmp_path, b"third").number == 3
    with pytest.raises(StoreError, match="Restore the folder"):
        pick_version(tmp_path, "digits", "1")


def test_what_is_not_there_is_said_with_what_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="known models: none"):
        pick_version(tmp_path, "digits", "1")
    version = publish(tmp_path)
    assert list_models(tmp_path) == ("digits",)
    with pytest.raises(ConfigError, match=version.label):
        pick_version(tmp_path, "digits", "7")
    with pytest.raises(StoreError, match=r"config\.json"):
        version.read("nothing.json")


@pytest.mark.parametrize("file", ["../x", "/x", "a/../x", "SHA256SUMS", "version.json", "a\nb", ".hidden", ""])
def test_hostile_file_names_are_refused(tmp_path: Path, file: str) -> None:
    with pytest.raises(ValueError, match="cannot be a file"):
        publish_version(tmp_path, "digits", {file: b""}, status="candidate", recipe_digest="r")


def test_hostile_model_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot name a model"):
        publish_version(tmp_path, "../up", FILES, status="candidate", recipe_digest="r")


def test_a_killed_publisher_leaves_nothing_that_counts(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_publish_and_die, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -9
    assert list_versions(tmp_path, "digits") == () and list((tmp_path / "digits" / ".staging").iterdir())
    assert publish(tmp_path).number == 1
    assert not list((tmp_path / "digits" / ".staging").iterdir())


def _publish_and_die(root: Path) -> None:
    os.environ["MMPIPE_FAULT"] = "fsync:3:kill"
    publish(root)


def test_publishers_at_once_get_numbers_of_their_own(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    contents = [b"a", b"b", b"c", b"a"]
    processes = [context.Process(target=publish, args=(tmp_path, content)) for content in contents]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    versions = list_versions(tmp_path, "digits")
    assert [version.number for version in versions] == [1, 2, 3]
    assert {version.read("model.safetensors") for version in versions} == {b"a", b"b", b"c"}


def test_a_held_lock_says_try_again(tmp_path: Path) -> None:
    with lock_model(tmp_path, "digits"), pytest.raises(TransientError, match="try again"):  # noqa: SIM117
        with lock_model(tmp_path, "digits", wait_s=0.05):
            pass
