"""See what a labels table has: the column that names the files, the one that groups them, and what could be learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmpipe.config import LabelsConfig
from mmpipe.errors import ConfigError
from mmpipe.evaluate.leaks import ClipRow, label_in_text
from mmpipe.sources.labels import LabelTable, read_columns, read_labels
from mmpipe.sources.matching import match_labels
from mmpipe.sources.stems import AssetFiles

_KEY_NAMES = ("id", "key", "stem", "name", "file", "filename", "path")
_TARGET_NAMES = ("label", "class", "target", "event", "category", "digit", "emotion", "sentiment", "word")
_GROUP_NAMES = ("group", "speaker", "subject", "actor", "user", "session", "room", "scene")
MIN_GROUPS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundLabels:
    """A labels table, and what its columns are good for."""

    file: Path
    key: str
    columns: tuple[str, ...]  # all but the key
    group: str | None
    targets: tuple[str, ...]  # possible ones, the likeliest first
    num_groups: int
    matched: int
    told: frozenset[str]  # targets whose value stands in another column of its row: a transcript tells them


def find_labels(root: Path) -> Path | None:
    """Return the labels table that lies in a corpus folder or beside it."""
    for folder in (root, root.parent) if root.is_dir() else ():
        for suffix in ("jsonl", "csv", "parquet"):
            if (folder / f"labels.{suffix}").is_file():
                return folder / f"labels.{suffix}"
    return None


def examine_labels(file: Path, assets: Sequence[AssetFiles]) -> FoundLabels:
    """Find the column that names the assets, the one that groups them, and those worth predicting."""
    columns = read_columns(file)
    best: tuple[int, str, LabelTable] | None = None
    for key in sorted(columns, key=lambda column: (_rank(column, _KEY_NAMES), column)):
        try:
            table = read_labels(LabelsConfig(file=file, key=key))
            matched = len(match_labels(table, assets).labels)
        except ConfigError:
            continue  # not a key: empty or ambiguous values
        if best is None or matched > best[0]:
            best = (matched, key, table)
    if best is None or best[0] == 0:
        raise ConfigError(f"no column of {file} names the files of the corpus; its columns are {sorted(columns)}")
    matched, key, table = best
    distinct = {
        column: len({row.values[column] for row in table.rows if column in row.values})
        for column in table.columns
        if column != key
    }
    groups = [column for column in _GROUP_NAMES if distinct.get(column, 0) >= MIN_GROUPS]
    group = groups[0] if groups else None
    targets = [
        column
        for column, count in distinct.items()
        if column not in _GROUP_NAMES and 2 <= count <= max(2, matched // 4)
    ]
    targets.sort(key=lambda column: (_rank(column, _TARGET_NAMES), column))
    return FoundLabels(
        file=file,
        key=key,
        columns=tuple(distinct),
        group=group,
        targets=tuple(targets),
        num_groups=distinct[group] if group else matched,
        matched=matched,
        told=frozenset(target for target in targets if _is_told(table, target)),
    )


def _is_told(table: LabelTable, target: str) -> bool:
    """Say whether other columns hold the target's value as words: captions of this corpus would then be the answer."""
    rows = [
        ClipRow(
            key=row.key,
            part="",
            group="",
            text=" ".join(value for column, value in row.values.items() if column != target),
            label=row.values.get(target, ""),
        )
        for row in table.rows
    ]
    return label_in_text(rows) is not None


def _rank(column: str, names: Sequence[str]) -> int:
    return names.index(column) if column in names else len(names)
