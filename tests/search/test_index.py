"""An index is there whole or not at all, and says so where a byte of it is another one."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmpipe.errors import ConfigError, StoreError, TransientError
from mmpipe.io import sha256_file
from mmpipe.search import index as index_module
from mmpipe.search import receipt
from mmpipe.search.graph import GraphShape
from mmpipe.search.index import (
    GRAPH_NAME,
    SearchIndex,
    add_graph,
    drop_index,
    drop_strays,
    find_like,
    holds_any,
    index_faults,
    list_indexes,
    list_strays,
    list_unfinished,
    open_graph,
    open_index,
    write_index,
)
from mmpipe.search.manifest import IndexIdentity
from mmpipe.search.nearest import nearest
from mmpipe.search.receipt import RECEIPT_NAME

SHAPE = GraphShape(links=8, reach=64)
IDENTITY = IndexIdentity(
    corpus="talk",
    model="find@1-0a1b2c3d",
    release="ab" * 32,
    view="audio-mfcc@1",
    dim=4,
    parts=(("2026-11-20", 0, "x" * 64), ("2026-11-20", 1, "y" * 64)),
)


def make(root: Path, identity: IndexIdentity = IDENTITY, first: int = 3, second: int = 2) -> SearchIndex:
    rows = first + second
    keys_N = np.array([f"key-{number}" for number in range(rows)], dtype=np.bytes_)
    vectors_ND = np.eye(rows, 4, dtype=np.float32)
    return open_index(write_index(root, root / "_staging", identity, (first, second), keys_N, vectors_ND))


def test_it_gives_back_what_was_put_in_by_part(tmp_path: Path) -> None:
    index = make(tmp_path)
    assert index.folder == tmp_path / "talk" / IDENTITY.digest and index.manifest.rows == 5
    assert index.part_rows()["2026-11-20", 1, "y" * 64] == slice(3, 5)
    assert index.keys_N.tolist() == [f"key-{number}".encode() for number in range(5)]
    assert index_faults(index.folder) == [] and not list(tmp_path.glob("_staging/*"))
    assert list_indexes(tmp_path, "talk") == [index.folder] and not list_indexes(tmp_path, "other")


def test_what_it_was_made_from_names_it(tmp_path: Path) -> None:
    index = make(tmp_path)
    later = replace(IDENTITY, parts=(*IDENTITY.parts[:1], ("2026-11-20", 1, "z" * 64)))
    other = replace(IDENTITY, view="text-ngrams@1")
    assert len({IDENTITY.digest, later.digest, other.digest, replace(IDENTITY, release="cd" * 32).digest}) == 4
    assert list(find_like(tmp_path, later)) == [index.folder]
    assert not list(find_like(tmp_path, other)) and not list(find_like(tmp_path, IDENTITY))


@pytest.mark.parametrize("name", ["manifest.json", "vectors.npy", "keys.npy"])
def test_another_byte_or_a_lost_file_is_seen(tmp_path: Path, name: str) -> None:
    path = make(tmp_path).folder / name
    data = path.read_bytes()
    for damaged in (data[:-2] + bytes([data[-2] ^ 1]) + data[-1:], data[:-1], None):
        path.unlink(missing_ok=True)
        if damaged is not None:
            path.write_bytes(damaged)
        assert len(index_faults(path.parent)) == 1
        with pytest.raises(StoreError, match="can be made again"):
            open_index(path.parent)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of files whose bytes are read to be checked."""
    names: list[str] = []

    def note(path: Path) -> str:
        names.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr(receipt, "sha256_file", note)
    return names


@pytest.fixture
def hashed(read: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of files whose bytes are read, where a receipt counts at once."""
    monkeypatch.setattr(receipt, "STILL_NS", -1)
    return read


def test_bytes_that_were_checked_are_not_read_again_but_by_verify(tmp_path: Path, hashed: list[str]) -> None:
    folder = make(tmp_path).folder
    assert hashed == ["keys.npy", "vectors.npy"]
    hashed.clear()
    open_index(folder)
    assert hashed == []
    assert index_faults(folder) == [] and hashed == ["keys.npy", "vectors.npy"]
    hashed.clear()
    os.utime(folder / "keys.npy")
    open_index(folder)
    assert hashed == ["keys.npy"]
    for damaged in (b"{", b"[]", b'{"keys.npy": 3}'):
        hashed.clear()
        (folder / RECEIPT_NAME).write_bytes(damaged)
        open_index(folder)
        assert hashed == ["keys.npy", "vectors.npy"]


def test_a_changed_file_is_seen_though_it_has_a_receipt(tmp_path: Path, hashed: list[str]) -> None:
    path = make(tmp_path).folder / "vectors.npy"
    stamp, data = path.stat(), path.read_bytes()
    path.write_bytes(data[:-1] + b"?")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    for _ in range(2):  # what is wrong gets no receipt
        with pytest.raises(StoreError, match="other content"):
            open_index(path.parent)


def test_a_receipt_of_what_was_just_written_counts_for_nothing(tmp_path: Path, read: list[str]) -> None:
    folder = make(tmp_path).folder
    read.clear()
    open_index(folder)
    assert read == ["keys.npy", "vectors.npy"] and (folder / RECEIPT_NAME).exists()


def test_one_that_is_removed_while_it_is_opened_is_damaged_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path).folder

    def remove(folder: Path, sums: object) -> list[str]:
        shutil.rmtree(folder)
        return []

    monkeypatch.setattr(index_module, "unchecked_faults", remove)
    with pytest.raises(StoreError, match="cannot be read"):
        open_index(folder)


def test_what_is_refused_before_it_has_its_name_leaves_nothing(tmp_path: Path) -> None:
    def refuse() -> None:
        assert list_unfinished(tmp_path / "_staging")  # forget sees it already
        raise TransientError("clips were forgotten")

    keys_N, vectors_ND = np.array([b"a"]), np.eye(1, 4, dtype=np.float32)
    with pytest.raises(TransientError):
        write_index(tmp_path, tmp_path / "_staging", IDENTITY, (1, 0), keys_N, vectors_ND, refuse)
    assert not list_indexes(tmp_path) and not list((tmp_path / "_staging").iterdir())


def test_files_of_a_killed_search_are_known_and_removed(tmp_path: Path) -> None:
    folder = make(tmp_path).folder
    stray = folder / f".0123.{GRAPH_NAME}"
    stray.write_bytes(b"half")
    assert list_strays(folder) == [stray]
    drop_strays(folder)
    assert not list_strays(folder) and index_faults(folder) == []


def test_it_says_of_whom_it_has_a_vector(tmp_path: Path) -> None:
    folder = make(tmp_path).folder
    assert holds_any(folder, frozenset({"key-3", "nobody"})) and not holds_any(folder, frozenset({"key-33"}))
    (folder / "keys.npy").write_bytes(b"?")
    assert holds_any(folder, frozenset({"nobody"}))  # what cannot be read is taken to


def test_a_removed_one_leaves_nothing_and_a_cut_short_removal_is_found(tmp_path: Path) -> None:
    folder, staging = make(tmp_path).folder, tmp_path / "_staging"
    folder.rename(staging / "index-0123")
    assert list_unfinished(staging) == [staging / "index-0123"]
    drop_index(staging / "index-0123", staging)
    assert not list(staging.iterdir()) and not list_indexes(tmp_path)
    drop_index(folder, staging)  # somebody was faster


def test_a_graph_is_mapped_and_leads_to_the_nearest(tmp_path: Path) -> None:
    pytest.importorskip("usearch", reason="mmpipe[ann] is not installed")
    random = np.random.default_rng(0)
    vectors_ND = random.normal(size=(600, 16)).astype(np.float32)
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    keys_N = np.array([f"key-{number:04d}" for number in range(600)], dtype=np.bytes_)
    identity = replace(IDENTITY, dim=16)
    index = open_index(write_index(tmp_path, tmp_path / "_staging", identity, (600, 0), keys_N, vectors_ND))
    assert open_graph(index, SHAPE) is None
    add_graph(index, SHAPE)
    graph = open_graph(index, SHAPE)
    assert graph is not None and open_graph(index, replace(SHAPE, links=9)) is None
    exact = nearest(vectors_ND[:50], vectors_ND, keys_N, 10)
    hits = [len(set(graph.nearest(vectors_ND[row], 10).rows_K) & set(exact[row].rows_K)) for row in range(50)]
    assert sum(hits) >= 0.95 * 500
    scores = dict(zip(exact[7].rows_K.tolist(), exact[7].scores_K.tolist(), strict=True))
    found = graph.nearest(vectors_ND[7], 3)
    assert found.rows_K[0] == 7 and [scores[row] for row in found.rows_K.tolist()] == found.scores_K.tolist()
    path = index.folder / GRAPH_NAME
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert open_graph(index, SHAPE) is None and len(index_faults(index.folder)) == 1


def test_without_usearch_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "usearch", None)
    index = make(tmp_path)
    with pytest.raises(ConfigError, match=r"mmpipe\[ann\].*--exact"):
        add_graph(index, SHAPE)
    left = sorted(path.name for path in index.folder.iterdir())
    assert left == [RECEIPT_NAME, "keys.npy", "manifest.json", "vectors.npy"]


def killed_at(count: int, work: Callable[[], object]) -> bool:
    """Do something in a child that is killed at its n-th operation on files; say whether it was."""
    child = os.fork()
    if not child:
        os.environ["MMPIPE_FAULT"] = f"any:{count}:kill"
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_killed_anywhere_an_index_is_whole_or_not_there(tmp_path: Path) -> None:
    count = 1
    while killed_at(count, lambda: make(tmp_path)):
        assert all(index_faults(folder) == [] for folder in list_indexes(tmp_path, "talk"))
        assert len(list_indexes(tmp_path, "talk")) <= 1
        count += 1
    assert count > 5 and index_faults(make(tmp_path).folder) == []


def test_killed_anywhere_a_graph_is_whole_or_not_there(tmp_path: Path) -> None:
    pytest.importorskip("usearch", reason="mmpipe[ann] is not installed")
    index, count = make(tmp_path), 1
    add_graph(index, SHAPE)
    while killed_at(count, lambda: add_graph(index, SHAPE)):
        assert index_faults(index.folder) == []
        graph = open_graph(index, SHAPE)
        assert graph is None or graph.nearest(index.vectors_ND[0], 1).rows_K.tolist() == [0]
        count += 1
    assert count > 3 and open_graph(index, SHAPE) is not None
