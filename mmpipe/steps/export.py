"""Write features of a corpus, joined by clip, as a dataset of another tool."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.export.huggingface import HuggingFaceFormat, front_matter
from mmpipe.export.lance import LanceFormat
from mmpipe.export.parquet import ParquetFormat
from mmpipe.export.sample import ExportFormat, Joined, Shape, WrittenFile
from mmpipe.export.webdataset import WebDatasetFormat
from mmpipe.io import canonical_json, sha256_file
from mmpipe.store.layout import open_store
from mmpipe.store.schema import schema_to_json
from mmpipe.store.snapshot import Snapshot, load_snapshot, take_snapshot
from mmpipe.types import FeatureKind, ModalityBatch, Split

RECORD_NAME, SNAPSHOT_NAME = "export.json", "snapshot.json"
_FACTS = ("partition", "source_id", "asset_id", "group", "split", "start_ns", "end_ns", "text")
_WHOLE_NUMBERS = frozenset({"start_ns", "end_ns"})
_GATHERED = 64  # clips padded to one length at a time


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
    names = tuple(features or pinned.features)
    if not names:
        raise ConfigError(f"{corpus!r} has no features to export. Run `mmpipe extract` first.")
    reader = AlignedReader(layout, pinned, names)
    rows = _rows_of_splits(reader.spine, splits)
    shape = Shape(
        facts=_FACTS,
        whole_numbers=_WHOLE_NUMBERS,
        labels=_label_names(reader.spine),
        features=tuple(reader.schema(name) for name in names),
    )
    return ExportPlan(target=target, out=out, reader=reader, snapshot=pinned, rows=rows, shape=shape)


def write_export(plan: ExportPlan, shard_clips: int) -> list[dict[str, Any]]:
    """Write the export, whole or not at all, and return one row per file."""
    form = _FORMATS[plan.target]()
    plan.out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=plan.out.parent, prefix=f".{plan.out.name}."))
    try:
        files = {
            split: form.write_split(folder, split, _batches(plan, rows, shard_clips), plan.shape)
            for split, rows in plan.rows.items()
        }
        _describe(plan, folder, files, form.how_to_read(plan.shape, files))
        folder.chmod(0o755)
        _require_empty(plan.out)
        os.replace(folder, plan.out)  # an empty folder may be there
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [asdict(file) for found in files.values() for file in found]


def _require_empty(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is not empty: an export never mixes with what is there. Name a new folder.")


def _rows_of_splits(spine: pl.DataFrame, splits: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Return the places of every split's clips; a split without one is left out, because readers fail on it."""
    column = spine["split"].to_numpy()
    wanted = [split for split in Split if splits is None or split in splits]
    rows = {str(split): np.flatnonzero(column == str(split)) for split in wanted}
    found = {split: places for split, places in rows.items() if len(places)}
    if not found:
        raise ConfigError(f"there is no clip to export in the splits {[str(split) for split in wanted]}")
    return found


def _label_names(spine: pl.DataFrame) -> tuple[str, ...]:
    return tuple(sorted({name for text in spine["labels"].unique().to_list() for name in json.loads(text)}))


def _batches(plan: ExportPlan, rows: np.ndarray, shard_clips: int) -> Iterator[list[Joined]]:
    for first in range(0, len(rows), shard_clips):
        shard = rows[first : first + shard_clips]
        yield [
            sample
            for start in range(0, len(shard), _GATHERED)
            for sample in _join(plan.reader, shard[start : start + _GATHERED], plan.shape)
        ]


def _join(reader: AlignedReader, rows_B: np.ndarray, shape: Shape) -> Iterator[Joined]:
    batch = reader.gather(rows_B)
    for place, row in enumerate(rows_B.tolist()):
        clip = reader.spine.row(row, named=True)
        values = {
            schema.feature: _unpad(batch.features[schema.feature], place, schema.kind, schema.dtype)
            for schema in shape.features
        }
        sequences = [schema.feature for schema in shape.sequences]
        yield Joined(
            key=clip["key"],
            facts={name: clip[name] for name in shape.facts},
            labels=json.loads(clip["labels"]),
            values=values,
            times_ns={name: None if values[name] is None else reader.times(row, name) for name in sequences},
        )


def _unpad(values: ModalityBatch, place: int, kind: FeatureKind, dtype: str) -> np.ndarray | None:
    steps = int(values.mask_BT[place].sum())
    if not steps:
        return None
    x_TD = values.x_BTD[place, :steps].astype(dtype)
    return x_TD if kind is FeatureKind.SEQUENCE else x_TD[0]


def _describe(plan: ExportPlan, folder: Path, files: dict[str, list[WrittenFile]], program: str) -> None:
    """Record what was written and from what, and add a card."""
    record = {
        "corpus": plan.snapshot.corpus,
        "features": [schema_to_json(schema) for schema in plan.shape.features],
        "files": {
            file.name: {"clips": file.clips, "split": split, **_digest(folder / file.name)}
            for split, found in files.items()
            for file in found
        },
        "format": str(plan.target),
        "snapshot": plan.snapshot.digest,
    }
    (folder / SNAPSHOT_NAME).write_bytes(plan.snapshot.to_bytes())
    (folder / RECORD_NAME).write_bytes(canonical_json(record))
    head = front_matter(files) if plan.target is Target.HF else ""
    (folder / "README.md").write_text(head + _card(plan, files, program), encoding="utf-8")


def _digest(path: Path) -> dict[str, Any]:
    """Return size and sha256 of a file; a Lance dataset is a folder that checks itself."""
    return {"nbytes": path.stat().st_size, "sha256": sha256_file(path)} if path.is_file() else {}


def _card(plan: ExportPlan, files: dict[str, list[WrittenFile]], program: str) -> str:
    features = "\n".join(
        f"| `{schema.feature}` | {schema.dtype} "
        f"{f'[T, {schema.dim}]' if schema in plan.shape.sequences else f'[{schema.dim}]'} |"
        for schema in plan.shape.features
    )
    splits = "\n".join(f"| {split} | {sum(file.clips for file in found)} |" for split, found in files.items())
    return f"""# {plan.snapshot.corpus}, joined by clip

Made from the snapshot `{plan.snapshot.digest}` of the corpus {plan.snapshot.corpus}: `{SNAPSHOT_NAME}` names every
manifest it was read from, `{RECORD_NAME}` every file with its sha256. One sample per clip, with every feature; a
clip that lacks a modality says so.

| feature | value |
|---|---|
{features}

| split | clips |
|---|---|
{splits}

```python
{program}
```
"""
