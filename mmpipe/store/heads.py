"""The heads of a dataset's partitions as one frame of shards: what the ledger asks of 10,000 manifests in a moment.

What was read of a head is kept, under the head's revision and its file's size, time stamp and inode. A head whose file
is another one is read anew, with all the checks of `read_head`; so the kept frame can be lost or damaged, but not lie.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import polars as pl

from mmpipe.io import StorePath
from mmpipe.remote import RemotePath
from mmpipe.store.cache import cache_path, keep_frame, load_frame
from mmpipe.store.layout import DatasetLayout, StoreLayout
from mmpipe.store.manifest import FileEntry, Manifest
from mmpipe.store.revisions import read_head

IDENTITY = {
    "partition": pl.String(),
    "revision": pl.Int64(),
    "meta_nbytes": pl.Int64(),
    "mtime_ns": pl.Int64(),
    "inode": pl.UInt64(),
}
HEADS = IDENTITY | {
    "fingerprint": pl.String(),
    "shard": pl.Int32(),  # null: a head without shards
    "inputs": pl.String(),
    "spine": pl.Int64(),
    "samples": pl.Int64(),
    "absent": pl.Int64(),
    "quarantined": pl.Int64(),
    "data": pl.String(),  # sha256; "" where the shard has no such file
    "data_nbytes": pl.Int64(),
    "index": pl.String(),
    "index_nbytes": pl.Int64(),
}
_KEY = list(IDENTITY)
_MANIFEST = re.compile(r"(\d{6})\.json")
_WORTH_KEEPING = 64  # so many heads read anew cost more than writing the frame


def read_heads(
    dataset: DatasetLayout, partitions: Sequence[str] | None = None, worth_keeping: int = _WORTH_KEEPING
) -> pl.DataFrame:
    """Return one row per shard of the heads of some partitions, or of all, as HEADS says; no head, no row.

    StoreError: a gap, a broken chain or a damaged manifest among the heads that are read anew.
    """
    wanted = dataset.partitions() if partitions is None else sorted(set(partitions))
    found = pl.DataFrame(list(_find_heads(dataset, wanted)), schema=IDENTITY, orient="row")
    layout = StoreLayout(dataset.root.parent.parent)
    path = cache_path(layout, dataset.corpus, dataset.name)
    kept = load_frame(path, HEADS) if len(wanted) >= worth_keeping else pl.DataFrame(schema=HEADS)
    hits = kept.join(found, on=_KEY, how="semi")
    fresh = found.join(hits, on=_KEY, how="anti")
    rows = [row for head in fresh.iter_rows() for row in _read_rows(dataset, head)]
    heads = pl.concat([hits, pl.DataFrame(rows, schema=HEADS, orient="row")])
    if fresh.height >= worth_keeping:
        others = kept.join(found, on="partition", how="anti")
        keep_frame(layout, path, pl.concat([heads, others]) if partitions is not None else heads)
    return heads.sort("partition", "shard")


def missing_objects(dataset: DatasetLayout, heads: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of heads that name an object which is not there, or not of its size; no byte is read."""
    named = pl.concat([heads.select(sha256=role, nbytes=f"{role}_nbytes") for role in ("data", "index")])
    named = named.filter(pl.col("sha256") != "").unique()
    there = pl.DataFrame(
        list(_find_objects(dataset, named["sha256"])), schema={"sha256": pl.String, "nbytes": pl.Int64}, orient="row"
    )
    gone = named.join(there, on=["sha256", "nbytes"], how="anti")["sha256"].implode()
    return heads.filter(pl.col("data").is_in(gone) | pl.col("index").is_in(gone))


def _find_heads(dataset: DatasetLayout, partitions: Iterable[str]) -> Iterator[tuple[str, int, int, int, int]]:
    """Yield the identity of each head's file; its bytes are not read."""
    meta = dataset.root / "_meta"
    for partition in partitions:
        numbers, newest = 0, (0, 0, 0, 0)
        for name, status in _list_files(meta / f"dt={partition}"):
            if match := _MANIFEST.fullmatch(name):
                numbers += 1
                newest = max(newest, (int(match[1]), *_identity_of(status)))
        if numbers != newest[0]:
            read_head(dataset, partition)  # names the gap
        if numbers:
            yield partition, *newest


def _identity_of(status: os.stat_result) -> tuple[int, int, int]:
    """Return (size, time stamp, inode) of a file; an object store has no inodes, and stamps in seconds."""
    stamp_ns = getattr(status, "st_mtime_ns", None)
    return (
        status.st_size,
        int(status.st_mtime * 1_000_000_000) if stamp_ns is None else stamp_ns,
        getattr(status, "st_ino", 0),
    )


def _read_rows(dataset: DatasetLayout, identity: tuple[object, ...]) -> Iterator[tuple[object, ...]]:
    """Yield the rows of a head, under the identity that its file had before it was read."""
    head = read_head(dataset, str(identity[0]))
    if head is None:  # pragma: no cover - somebody removed it since it was listed
        return
    mark = identity if head.revision == identity[1] else (identity[0], head.revision, 0, 0, 0)  # never found again
    yield from (mark + row for row in _shard_rows(head))


def _shard_rows(head: Manifest) -> Iterator[tuple[object, ...]]:
    if not head.shards:
        yield head.fingerprint, None, "", 0, 0, 0, 0, "", 0, "", 0
    for shard in head.shards:
        data, index = _file(shard.file("data")), _file(shard.file("index"))
        counts = shard.spine, shard.samples, shard.absent, shard.quarantined
        yield head.fingerprint, shard.number, shard.inputs, *counts, *data, *index


def _file(entry: FileEntry | None) -> tuple[str, int]:
    return (entry.sha256, entry.nbytes) if entry else ("", 0)


def _find_objects(dataset: DatasetLayout, wanted: pl.Series) -> Iterator[tuple[str, int]]:
    """Yield (sha256, nbytes) of objects that are there: whole folders where many are wanted, else each by itself."""
    folders: dict[str, list[str]] = {}
    for sha256 in wanted:
        folders.setdefault(sha256[:2], []).append(sha256)
    for prefix, names in folders.items():
        if len(names) > 2:
            yield from ((name, status.st_size) for name, status in _list_files(dataset.root / "objects" / prefix))
            continue
        for sha256 in names:
            try:
                yield sha256, dataset.object(sha256).stat().st_size
            except FileNotFoundError:
                continue


def _list_files(folder: StorePath) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the names of a folder with their status; none where there is no folder."""
    if isinstance(folder, RemotePath):
        yield from folder.files()  # type: ignore[misc]  # it has what is asked of a status
        return
    try:
        # os.scandir takes a third of the time of a path object per name.
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        with suppress(FileNotFoundError):  # removed since it was listed
            yield entry.name, entry.stat()
