"""A model is found by path or hub id, and named by the digest of what is read of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mmpipe.errors import ConfigError, TransientError
from mmpipe.weights.folder import find_model

COMMIT = "a" * 40
# Headers of safetensors with a table of facts and no tensor: of one length.
NUMBERS, OTHER_NUMBERS = (b"\x1c" + bytes(7) + b'{"__metadata__":{"a":"%s"}}  ' % word for word in (b"a", b"b"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMPIPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make_model(folder: Path, weights: bytes = NUMBERS, old: bool = True) -> Path:
    """Write what stands for a model; what was not written just now is remembered."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "toy"}')
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "vocab.txt").write_text("a\nb\n")
    for path in folder.iterdir():
        if old:
            os.utime(path, ns=(1, 1_000_000_000))
    return folder


def test_the_digest_is_of_names_and_bytes_and_of_what_is_read_alone(tmp_path: Path) -> None:
    one, same = make_model(tmp_path / "one"), make_model(tmp_path / "elsewhere" / "same")
    found = find_model(str(one))
    assert (found.name, found.folder) == ("one", one)
    assert found.read_json("config.json") == {"model_type": "toy"} and found.read_json("nothing.json") == {}
    assert find_model(str(same)).sha256 == found.sha256
    for name in ("README.md", "pytorch_model.bin", "modeling_toy.py"):
        (same / name).write_text("not read")
    assert find_model(str(same)).sha256 == found.sha256
    (same / "vocab.txt").rename(same / "words.txt")
    assert find_model(str(same)).sha256 != found.sha256


@pytest.mark.parametrize("old", [True, False])
def test_changed_weights_of_one_length_are_seen(tmp_path: Path, old: bool) -> None:
    folder = make_model(tmp_path / "model", old=old)
    before = find_model(str(folder)).sha256
    assert find_model(str(folder)).sha256 == before
    (folder / "model.safetensors").write_bytes(OTHER_NUMBERS)
    assert find_model(str(folder)).sha256 != before


def test_large_files_are_read_once(tmp_path: Path, cache: Path) -> None:
    folder = make_model(tmp_path / "model")
    before = find_model(str(folder)).sha256
    (record,) = (cache / "weights").iterdir()
    known = json.loads(record.read_text())
    assert set(known) == {"config.json", "model.safetensors", "vocab.txt"}
    known["model.safetensors"][1] = "0" * 64
    record.write_text(json.dumps(known))
    assert find_model(str(folder)).sha256 != before, "what is remembered is believed"
    os.utime(folder / "model.safetensors", ns=(1, 2_000_000_000))
    assert find_model(str(folder)).sha256 == before, "a touched file is read again"
    record.write_text("no json")
    assert find_model(str(folder)).sha256 == before


def test_without_a_cache_the_files_are_read_each_time(tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file where a folder should be")
    folder = make_model(tmp_path / "model")
    assert find_model(str(folder)).sha256 == find_model(str(folder)).sha256


def test_a_tokenizer_alone_needs_no_weights(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    before = find_model(str(folder), with_weights=False).sha256
    (folder / "model.safetensors").unlink()
    assert find_model(str(folder), with_weights=False).sha256 == before
    with pytest.raises(ConfigError, match="no tokenizer"):
        (tmp_path / "empty").mkdir()
        find_model(str(tmp_path / "empty"), with_weights=False)


def test_faults_name_the_key_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"features\.image-hf\.model.*there is no folder"):
        find_model(str(tmp_path / "nowhere"), table="features.image-hf")
    with pytest.raises(ConfigError, match="40 hex digits"):
        find_model("owner/name", table="features.image-hf")
    with pytest.raises(ConfigError, match=r"features\.image-hf\.offline = false"):
        find_model("owner/name", COMMIT, table="features.image-hf")
    folder = make_model(tmp_path / "model")
    (folder / "config.json").write_text("[1]")
    with pytest.raises(ConfigError, match="where a table is expected"):
        find_model(str(folder)).read_json("config.json")


class FakeHub:
    """A hub, and the folder of this machine that it fills."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[bool] = []
        self.is_down = False

    def snapshot(self, name: str, *, local_files_only: bool, **how: Any) -> str:
        from huggingface_hub.errors import LocalEntryNotFoundError

        self.asked.append(local_files_only)
        if local_files_only and not self.folder.exists():
            raise LocalEntryNotFoundError("not here")
        if not local_files_only:
            if self.is_down:
                raise OSError("no route")
            if not self.folder.exists():
                make_model(self.folder)
        return str(self.folder)


def test_what_was_fetched_once_is_not_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub(tmp_path / "snapshot")
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub.snapshot)
    with pytest.raises(ConfigError, match="not on this machine"):
        find_model("owner/name", COMMIT)
    fetched = find_model("owner/name", COMMIT, offline=False)
    hub.is_down = True  # as for a worker, which has no network
    assert find_model("owner/name", COMMIT, offline=False).sha256 == fetched.sha256
    assert hub.asked == [True, False, True]
    with pytest.raises(TransientError, match="could not be fetched"):
        find_model("owner/name", "b" * 40, offline=False)
