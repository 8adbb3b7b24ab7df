"""An index: the vectors of a corpus's clips in a model's space, with a manifest that says what they were made from.

_indexes/CORPUS/<digest>/   the digest is over what decides the vectors: release, view, and the inputs of each part
    manifest.json           what it was made from, and the sha256 of each file
    vectors.npy keys.npy    row n of both is one clip
    graph.json graph.usearch   where one was asked for; made later, and named last
    checked.json            receipt of files whose bytes were checked; see receipt.py

A folder never changes but for the graph and the receipt that it gains. All of it can be made again from shards and
release.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.errors import StoreError
from mmpipe.io import (
    canonical_json,
    make_durable_directory,
    remove_file,
    restamp,
    sha256_file,
    sync_directory,
    sync_file,
    write_durable,
)
from mmpipe.search.graph import Graph, GraphShape, build_graph
from mmpipe.search.manifest import FORMAT, MANIFEST_NAME, WAY_OUT, IndexIdentity, IndexManifest, Part
from mmpipe.search.receipt import file_faults, unchecked_faults

VECTORS_NAME, KEYS_NAME = "vectors.npy", "keys.npy"
GRAPH_NOTE, GRAPH_NAME = "graph.json", "graph.usearch"
_PREFIX = "index-"  # of folders of unfinished work


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SearchIndex:
    """An open index: row n of `vectors_ND`, a unit vector, is the clip `keys_N[n]`."""

    folder: Path
    manifest: IndexManifest
    keys_N: np.ndarray  # bytes, ASCII
    vectors_ND: np.ndarray  # float32, mapped

    def part_rows(self) -> dict[tuple[str, int, str], slice]:
        """Return where the rows of each part are, by (partition, shard, inputs)."""
        found, start = {}, 0
        for part in self.manifest.parts:
            found[part.partition, part.shard, part.inputs] = slice(start, start + part.rows)
            start += part.rows
        return found


def open_index(folder: Path) -> SearchIndex:
    """Open an index whose bytes were checked, now or before; StoreError: it is not what its manifest says, or gone."""
    manifest = IndexManifest.read(folder)
    for fault in unchecked_faults(folder, manifest.sha256):
        raise StoreError(f"{fault}. {WAY_OUT}.")
    try:
        keys_N = np.load(folder / KEYS_NAME, allow_pickle=False)
        vectors_ND = np.load(folder / VECTORS_NAME, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:  # removed while it was opened
        raise StoreError(f"{folder} cannot be read: {error}. {WAY_OUT}.") from error
    if vectors_ND.shape != (manifest.rows, manifest.dim) or keys_N.shape != (manifest.rows,):
        raise StoreError(f"{folder} holds {vectors_ND.shape}, not ({manifest.rows}, {manifest.dim}). {WAY_OUT}.")
    with suppress(FileNotFoundError):
        restamp(folder / MANIFEST_NAME)  # one that is asked is young, and nobody's garbage
    return SearchIndex(folder=folder, manifest=manifest, keys_N=keys_N, vectors_ND=vectors_ND)


def write_index(
    root: Path,
    staging: Path,
    identity: IndexIdentity,
    rows: Sequence[int],
    keys_N: np.ndarray,
    vectors_ND: np.ndarray,
    before_naming: Callable[[], None] = lambda: None,
) -> Path:
    """Make an index durable and put it in place by one rename; `rows` counts the clips of each part.

    What `before_naming` raises leaves nothing behind.
    """
    target = root / identity.corpus / identity.digest
    folder = staging / f"{_PREFIX}{uuid.uuid4().hex}"
    try:
        make_durable_directory(folder)
        _save_array(folder / KEYS_NAME, keys_N)
        _save_array(folder / VECTORS_NAME, np.ascontiguousarray(vectors_ND, dtype=np.float32))
        manifest = IndexManifest(
            format=FORMAT,
            corpus=identity.corpus,
            model=identity.model,
            release=identity.release,
            view=identity.view,
            dim=identity.dim,
            parts=tuple(
                Part(partition=partition, shard=shard, rows=count, inputs=inputs)
                for (partition, shard, inputs), count in zip(identity.parts, rows, strict=True)
            ),
            sha256={name: sha256_file(folder / name) for name in (KEYS_NAME, VECTORS_NAME)},
        )
        write_durable(folder / MANIFEST_NAME, canonical_json(asdict(manifest)))
        sync_directory(folder)
        before_naming()
        make_durable_directory(target.parent)
        shutil.rmtree(target, ignore_errors=True)  # a damaged one: whole ones are never made again
        folder.rename(target)
        sync_directory(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return target


def open_graph(index: SearchIndex, shape: GraphShape) -> Graph | None:
    """Return the graph that an index has, of this shape, its bytes checked now or before; None: there is none."""
    note = _read_note(index.folder)
    if note is None or note.get("links") != shape.links:
        return None
    if unchecked_faults(index.folder, {GRAPH_NAME: str(note.get("sha256", ""))}):
        return None
    return Graph(index.folder / GRAPH_NAME, index.vectors_ND, index.keys_N, shape)


def add_graph(index: SearchIndex, shape: GraphShape) -> None:
    """Give an index a graph of all its vectors: the file first, its note last."""
    # Beside the index and not with other unfinished work: what is forgotten goes with its folder.
    path, note = (index.folder / f".{uuid.uuid4().hex}.{name}" for name in (GRAPH_NAME, GRAPH_NOTE))
    try:
        build_graph(path, index.vectors_ND, shape)
        sync_file(path)
        write_durable(note, canonical_json({"links": shape.links, "sha256": sha256_file(path)}))
        remove_file(index.folder / GRAPH_NOTE)
        os.replace(path, index.folder / GRAPH_NAME)
        os.replace(note, index.folder / GRAPH_NOTE)
        sync_directory(index.folder)
    finally:
        path.unlink(missing_ok=True)
        note.unlink(missing_ok=True)


def list_strays(folder: Path) -> list[Path]:
    """Return the files of unfinished work in an index: somebody is at it, or was killed at it."""
    return sorted(folder.glob(".*"))


def drop_strays(folder: Path) -> None:
    """Remove the files of unfinished work in an index; for whoever has the right to work on it."""
    for path in list_strays(folder):
        remove_file(path)


def list_indexes(root: Path, corpus: str | None = None) -> list[Path]:
    """Return the folders of all indexes, or of those of one corpus."""
    return sorted(path for path in root.glob(f"{corpus or '*'}/*") if path.is_dir())


def list_unfinished(staging: Path) -> list[Path]:
    """Return the folders of indexes that were never finished, or were being removed, and name clips."""
    return sorted(path for path in staging.glob(f"{_PREFIX}*") if (path / KEYS_NAME).is_file())


def find_like(root: Path, identity: IndexIdentity) -> Iterator[Path]:
    """Yield the other indexes of the same view by the same release: those of before."""
    for folder in list_indexes(root, identity.corpus):
        with suppress(StoreError):
            if folder.name != identity.digest and IndexManifest.read(folder).identity.is_of(identity):
                yield folder


def holds_any(folder: Path, keys: frozenset[str]) -> bool:
    """Say whether an index has a vector of any of these clips; one that cannot be read is taken to."""
    try:
        keys_N = np.load(folder / KEYS_NAME, allow_pickle=False)
        return bool(np.isin(keys_N, np.array(sorted(keys), dtype=np.bytes_)).any()) if keys else False
    except (OSError, ValueError):
        return True


def drop_index(folder: Path, staging: Path) -> None:
    """Remove an index: its name first, so that nobody opens half of it."""
    aside = make_durable_directory(staging) / f"{_PREFIX}{uuid.uuid4().hex}"
    with suppress(FileNotFoundError):
        folder.rename(aside)
        sync_directory(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)


def index_faults(folder: Path) -> list[str]:
    """Return what is wrong with an index, its graph included."""
    try:
        manifest = IndexManifest.read(folder)
    except StoreError as error:
        return [str(error)]
    sums = dict(manifest.sha256)
    if note := _read_note(folder):
        sums[GRAPH_NAME] = str(note.get("sha256", ""))
    return [f"{fault}. {WAY_OUT}." for fault in file_faults(folder, sums)]


def _read_note(folder: Path) -> dict[str, Any] | None:
    try:
        note = json.loads((folder / GRAPH_NOTE).read_bytes())
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) else None


def _save_array(path: Path, array: np.ndarray) -> None:
    with open(path, "xb") as file:
        np.save(file, array, allow_pickle=False)
    sync_file(path)
