"""Write features of a corpus, joined by clip, as a dataset of another tool."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.export.huggingface import HuggingFaceFormat
from mmpipe.export.lance import LanceFormat
from mmpipe.export.parquet import ParquetFormat
from mmpipe.export.sample import Column, ExportFormat, Joined, Shape, WrittenFile
from mmpipe.export.webdataset import WebDatasetFormat
from mmpipe.io import canonical_json, put_if_absent, sha256_file
from mmpipe.remote import RemotePath
from mmpipe.steps.share.export_card import ExportedRights, ExportFacts, count_exported, render_export_card
from mmpipe.steps.share.join import Joiner, rights_of, shape_of
from mmpipe.store.assets import read_asset_rights
from mmpipe.store.layout import CLIPS, StoreLayout, open_store
from mmpipe.store.rights import Rights, read_rights
from mmpipe.store.schema import schema_to_json
from mmpipe.store.snapshot import Snapshot, load_snapshot, pinned_manifest, take_snapshot
from mmpipe.types import Split

RECORD_NAME, SNAPSHOT_NAME = "export.json", "snapshot.json"


class Target(StrEnum):
    """What an export can be."""

    WEBDATASET = "webdataset"
    PARQUET = "parquet"
    LANCE = "lance"
    HF = "hf"


_FORMATS: dict[Target, Callable[[], ExportFormat]] = {
    Target.WEBDATASET: WebDatasetFormat,
    Target.PARQUET: ParquetFormat,
    Target.LANCE: LanceFormat,
    Target.HF: HuggingFaceFormat,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan:
    """What would be written."""

    target: Target
    out: Path
    reader: AlignedReader
    snapshot: Snapshot
    rows: dict[str, np.ndarray]  # by split, in the reader's order
    shape: Shape
    rights: Mapping[str, Rights]  # by asset
    corpus_rights: Rights
    left_out: tuple[str, ...]  # features of which no clip has a value; none of those that were asked for

    def table(self) -> list[dict[str, Any]]:
        """Return one row per split."""
        return [{"split": split, "clips": len(rows), "to": str(self.target)} for split, rows in self.rows.items()]


def plan_export(
    config: Config,
    corpus: str,
    target: Target,
    out: Path,
    features: Sequence[str] | None = None,
    snapshot: str | None = None,
    splits: Sequence[str] | None = None,
) -> ExportPlan:
    """Choose what to write; ConfigError where there is nothing, or the folder holds something."""
    _require_empty(out)
    layout = open_store(config.store)
    pinned = (
        load_snapshot(layout, snapshot)
        if snapshot
        else take_snapshot(layout, corpus, tuple(features or layout.feature_names(corpus)))
    )
    if pinned.corpus != corpus:
        raise ConfigError(f"the snapshot {snapshot} is of {pinned.corpus!r}; say --corpus {pinned.corpus}")
    names = tuple(features or _with_values(layout, pinned))
    if not names:
        raise ConfigError(f"{corpus!r} has no features to export. Run `mmpipe extract` first.")
    reader = AlignedReader(layout, pinned, names)
    rows = _rows_of_splits(reader.spine, splits)
    return ExportPlan(
        target=target,
        out=out,
        reader=reader,
        snapshot=pinned,
        rows=rows,
        shape=shape_of(reader),
        rights=read_asset_rights(layout, corpus, pinned.partitions),
        corpus_rights=read_rights(layout.dataset(corpus, CLIPS)),
        left_out=() if features else tuple(name for name in pinned.features if name not in names),
    )


def write_export(plan: ExportPlan, shard_clips: int) -> list[dict[str, Any]]:
    """Write the export, whole or not at all, and return one row per file; in a bucket it is whole with export.json."""
    if isinstance(plan.out, RemotePath):
        with tempfile.TemporaryDirectory(prefix="mmpipe-export-") as staging:
            files = _write(plan, Path(staging), shard_clips)
            _require_empty(plan.out)
            _upload(Path(staging), plan.out)
            return _rows_of(files)
    plan.out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=plan.out.parent, prefix=f".{plan.out.name}."))
    try:
        files = _write(plan, folder, shard_clips)
        folder.chmod(0o755)
        _require_empty(plan.out)
        os.replace(folder, plan.out)  # an empty folder may be there
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _rows_of(files)


def _write(plan: ExportPlan, folder: Path, shard_clips: int) -> dict[str, list[WrittenFile]]:
    form = _FORMATS[plan.target]()
    files = {
        split: form.write_split(folder, split, _batches(plan, rows, shard_clips), plan.shape)
        for split, rows in plan.rows.items()
    }
    _describe(plan, folder, files, form.columns(plan.shape), form.how_to_read(plan.shape, files))
    return files


def _upload(folder: Path, out: RemotePath) -> None:
    """Put an export into a bucket, the record of what it holds last."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / RECORD_NAME]
    for path in [*files, folder / RECORD_NAME]:
        if not put_if_absent(path, out / path.relative_to(folder).as_posix()):
            raise ConfigError(f"{out} was written by somebody else meanwhile. Name a new folder.")


def _rows_of(files: Mapping[str, Sequence[WrittenFile]]) -> list[dict[str, Any]]:
    return [asdict(file) for found in files.values() for file in found]


def _require_empty(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is not empty: an export never mixes with what is there. Name a new folder.")


def _with_values(layout: StoreLayout, snapshot: Snapshot) -> list[str]:
    """Return the features of a snapshot of which any clip has a value."""
    entries = [entry for entry in snapshot.entries if entry.dataset in snapshot.features]
    filled = {
        entry.dataset
        for entry in entries
        if pinned_manifest(layout.dataset(snapshot.corpus, entry.dataset), entry).samples
    }
    return [name for name in snapshot.features if name in filled]


def _rows_of_splits(spine: pl.DataFrame, splits: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Return the places of every split's clips; a split without one is left out, because readers fail on it."""
    column = spine["split"].to_numpy()
    wanted = [split for split in Split if splits is None or split in splits]
    rows = {str(split): np.flatnonzero(column == str(split)) for split in wanted}
    found = {split: places for split, places in rows.items() if len(places)}
    if not found:
        raise ConfigError(f"there is no clip to export in the splits {[str(split) for split in wanted]}")
    return found


def _batches(plan: ExportPlan, rows: np.ndarray, shard_clips: int) -> Iterator[list[Joined]]:
    joiner = Joiner(plan.reader, plan.rights)
    for first in range(0, len(rows), shard_clips):
        shard = rows[first : first + shard_clips]
        yield list(joiner.join(shard))


def _describe(
    plan: ExportPlan, folder: Path, files: dict[str, list[WrittenFile]], columns: list[Column], program: str
) -> None:
    """Record what was written and from what, and add a card."""
    rights = _rights(plan)
    record = {
        "contact": rights.corpus.contact,
        "corpus": plan.snapshot.corpus,
        "features": [schema_to_json(schema) for schema in plan.shape.features],
        "files": {
            file.name: {"clips": file.clips, "split": split, **_digest(folder / file.name)}
            for split, found in files.items()
            for file in found
        },
        "format": str(plan.target),
        "owners": dict(rights.owners),
        "rights": asdict(rights.count),
        "snapshot": plan.snapshot.digest,
    }
    (folder / SNAPSHOT_NAME).write_bytes(plan.snapshot.to_bytes())
    (folder / RECORD_NAME).write_bytes(canonical_json(record))
    facts = ExportFacts(
        corpus=plan.snapshot.corpus,
        snapshot=plan.snapshot.digest,
        snapshot_file=SNAPSHOT_NAME,
        record_file=RECORD_NAME,
        shape=plan.shape,
        columns=columns,
        clips={split: sum(file.clips for file in found) for split, found in files.items()},
        left_out=plan.left_out,
        rights=rights,
        program=program,
        on_hub=plan.target is Target.HF,
    )
    (folder / "README.md").write_text(render_export_card(facts), encoding="utf-8")


def _digest(path: Path) -> dict[str, Any]:
    """Return size and sha256 of a file; a Lance dataset is a folder that checks itself."""
    return {"nbytes": path.stat().st_size, "sha256": sha256_file(path)} if path.is_file() else {}


def _rights(plan: ExportPlan) -> ExportedRights:
    """Say whose the exported clips are, by what their assets say."""
    assets = plan.reader.spine["asset_id"].to_list()
    said = [rights_of(plan.rights, assets[row]) for rows in plan.rows.values() for row in rows.tolist()]
    return count_exported(plan.corpus_rights, said)
