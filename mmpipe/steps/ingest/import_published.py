"""Turn a published data set into a corpus folder: files, labels with the official splits, values and a config.

The folder appears whole or not at all.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from mmpipe.config import CONFIG_NAME
from mmpipe.errors import ConfigError
from mmpipe.external.published.sample import Choices, Described, LeftOut, Sample
from mmpipe.external.published.sets import DataSet, read_published
from mmpipe.io import make_directory
from mmpipe.types import Modality
from mmpipe.words import counted

if TYPE_CHECKING:
    import pyarrow as pa

LABELS, LEFT_OUT, RAW, FEATURES = "labels.jsonl", "left_out.jsonl", "raw", "features"
_ROWS_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What was written, or would be."""

    name: str
    toml: str
    commands: tuple[str, ...]  # to type in the folder, in this order
    splits: Mapping[str, int]  # samples by split; `all` where the files have none
    features: Mapping[str, Modality]  # to register, with what they were made from
    shapes: Mapping[str, str]  # of the values, by feature, with how many samples have one
    left_out: Mapping[str, int]  # rows, or modalities of rows, by code
    notes: tuple[str, ...]

    def table(self) -> list[dict[str, Any]]:
        """Return one row per fact."""
        facts: dict[str, Any] = {f"samples of {split}": count for split, count in sorted(self.splits.items())}
        facts |= dict(sorted(self.shapes.items()))
        facts |= {f"left out, {code}": count for code, count in sorted(self.left_out.items())}
        return [{"what": what, "value": value} for what, value in facts.items()]


def import_published(
    data_set: DataSet, path: Path, out: Path, *, choices: Choices | None = None, dry_run: bool = False
) -> ImportReport:
    """Read a data set and write its corpus folder; with `dry_run` only read and check it.

    Raise ConfigError where the files are not the set's, no sample of a split is left, or `out` is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is there already and not empty. Name a new folder with --out.")
    published = read_published(data_set, path, choices)
    described = published.described
    if dry_run:
        writer = _Writer(None, described)
        writer.write_all(published.rows)
        return _report(str(data_set), described, writer)
    make_directory(out.absolute().parent)
    staging = Path(tempfile.mkdtemp(dir=out.absolute().parent, prefix=f".{out.name}-"))
    try:
        writer = _Writer(staging, described)
        writer.write_all(published.rows)
        report = _report(str(data_set), described, writer)
        (staging / CONFIG_NAME).write_text(report.toml, encoding="utf-8")
        staging.chmod(0o755)
        staging.replace(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return report


def _report(name: str, described: Described, writer: _Writer) -> ImportReport:
    wanted = ("train", "val", "test") if described.has_splits else ("all",)
    missing = [split for split in wanted if not writer.splits[split]]
    if missing:
        raise ConfigError(f"no usable sample of {missing[0]} is left; left out: {dict(writer.left_out)}")
    features = [feature for feature in described.features if feature in writer.values]
    return ImportReport(
        name=name,
        toml=_toml(name, described, features),
        commands=(
            "mmpipe ingest",
            *(
                f"mmpipe feature add {feature} --from {FEATURES}/{feature}.parquet --key id --match source "
                f"--modality {described.features[feature]}"
                for feature in features
            ),
            "mmpipe extract",
            "mmpipe train",
            "mmpipe evaluate",
        ),
        splits=dict(writer.splits),
        features={feature: described.features[feature] for feature in features},
        shapes={name: values.told() for name, values in writer.values.items()},
        left_out=dict(writer.left_out),
        notes=described.notes,
    )


def _toml(name: str, described: Described, features: list[str]) -> str:
    """Return the config: JSON's strings and lists are TOML's."""
    root = json.dumps(str(described.root), ensure_ascii=False) if described.root else f'"{RAW}"'
    inputs = [one for one in described.inputs if one in features or one in described.own_features]
    group = "" if described.group == "id" else f', group = "{described.group}"'
    split = ', split = "split" }   # the official splits' if described.has_splits else " }"
    lines = (
        *(f"# {note}" for note in described.notes),
        'store = "store"\n',
        f"[corpora.{name}]",
        f"root = {root}",
        f'labels = {{ file = "{LABELS}", key = "id"{group}{split}',
        *described.corpus_lines,
        f"features = {json.dumps([*described.own_features, *features])}\n",
        *(f"{table}\n" for table in described.tables),
        f"[models.{name}]",
        f'corpus = "{name}"',
        f"target = {json.dumps(described.target, ensure_ascii=False)}",
        f"inputs = {json.dumps(inputs)}",
        f"fusions = {json.dumps(list(described.fusions))}" if len(inputs) > 1 else "fusions = []",
        *described.model_lines,
    )
    return "\n".join(lines) + "\n"


@dataclass(slots=True)
class _Values:
    """The values of one feature: a Parquet file that grows, with rows `id` and `value`."""

    file: Path | None
    shape: tuple[int, ...]  # of the first value, without its steps
    axes: int
    count: int = 0
    _ids: list[str] = field(default_factory=list)
    _arrays: list[np.ndarray] = field(default_factory=list)
    _writer: Any = None

    def add(self, name: str, array: np.ndarray) -> None:
        self.count += 1
        if self.file is None:
            return
        self._ids.append(name)
        self._arrays.append(array)
        if len(self._ids) == _ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._ids or self.file is None:
            return
        table = pa.table({"id": pa.array(self._ids), "value": _to_arrow(self._arrays)})
        if self._writer is None:
            make_directory(self.file.parent)
            self._writer = pq.ParquetWriter(self.file, table.schema)
        self._writer.write_table(table)
        self._ids.clear()
        self._arrays.clear()

    def close(self) -> None:
        self.flush()
        if self._writer is not None:
            self._writer.close()

    def told(self) -> str:
        axes = "" if self.axes == 1 else "T, "
        return f"[{axes}{self.shape[-1]}] of {counted(self.count, 'sample')}"


def _to_arrow(arrays: list[np.ndarray]) -> pa.Array:
    """Return arrays [D], or [T, D] of any T, as one column of lists."""
    import pyarrow as pa

    flat = pa.array(np.concatenate([array.reshape(-1) for array in arrays]), pa.float32())
    dim = arrays[0].shape[-1]
    if arrays[0].ndim == 1:
        return pa.ListArray.from_arrays(np.arange(len(arrays) + 1, dtype=np.int32) * dim, flat)
    steps = [len(array) for array in arrays]
    inner = pa.ListArray.from_arrays(np.arange(sum(steps) + 1, dtype=np.int32) * dim, flat)
    return pa.ListArray.from_arrays(np.concatenate([[0], np.cumsum(steps)]).astype(np.int32), inner)


class _Writer:
    """Writes samples below a folder; without one it only checks and counts."""

    def __init__(self, folder: Path | None, described: Described) -> None:
        self.folder, self.described = folder, described
        self.splits: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.values: dict[str, _Values] = {}
        self._seen: set[str] = set()

    def write_all(self, rows: Any) -> None:
        """Write every row, and close every file."""
        if self.folder is None:
            for row in rows:
                self._take(row, None, None)
            return
        try:
            with (
                open(self.folder / LABELS, "w", encoding="utf-8") as labels,
                open(self.folder / LEFT_OUT, "w", encoding="utf-8") as left_out,
            ):
                for row in rows:
                    self._take(row, labels, left_out)
        finally:
            for values in self.values.values():
                values.close()

    def _take(self, row: Sample | LeftOut, labels: IO[str] | None, left_out: IO[str] | None) -> None:
        if isinstance(row, Sample) and row.id in self._seen:
            row = LeftOut(row=row.id, code="same_id", detail="a row before has this id; it is kept")
        if isinstance(row, LeftOut):
            self.left_out[row.code] += 1
            if left_out:
                left_out.write(json.dumps({"row": row.row, "code": row.code, "detail": row.detail}) + "\n")
            return
        self._seen.add(row.id)
        self.splits[str(row.split or "all")] += 1
        for feature, array in row.features.items():
            self._values(feature, array).add(row.id, array)
        if labels and self.folder:
            told = {"id": row.id, **({"split": str(row.split)} if row.split else {}), **row.labels}
            labels.write(json.dumps(told, ensure_ascii=False) + "\n")
            _write_files(self.folder / RAW, row)

    def _values(self, feature: str, array: np.ndarray) -> _Values:
        if feature not in self.values:
            file = self.folder / FEATURES / f"{feature}.parquet" if self.folder else None
            self.values[feature] = _Values(file, array.shape, array.ndim)
        known = self.values[feature]
        if (array.ndim, array.shape[-1]) != (known.axes, known.shape[-1]):
            raise ConfigError(
                f"{feature} has values {list(known.shape)} and {list(array.shape)}: splits of one set have one width"
            )
        return known


def _write_files(folder: Path, sample: Sample) -> None:
    if sample.array is None and sample.picture_HWC is None and sample.picture_file is None and not sample.text:
        return
    path = folder / sample.id
    make_directory(path.parent)
    if sample.text:
        path.with_name(f"{path.name}.txt").write_text(sample.text, encoding="utf-8", errors="replace")
    if sample.array is not None:
        np.save(path.with_name(f"{path.name}.npy"), sample.array, allow_pickle=False)
    if sample.picture_file is not None:
        shutil.copyfile(sample.picture_file, path.with_name(path.name + sample.picture_file.suffix.lower()))
    if sample.picture_HWC is not None:
        from PIL import Image

        Image.fromarray(sample.picture_HWC).save(path.with_name(f"{path.name}.png"))
