"""Bring labels and assets together by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mmpipe.errors import ConfigError
from mmpipe.io import escape_name
from mmpipe.sources.labels import LabelRow, LabelTable
from mmpipe.sources.stems import AssetFiles
from mmpipe.types import Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMatch:
    """The labels of assets by source id; an asset with none, or with labels that disagree, is not among them."""

    labels: Mapping[str, Mapping[str, str]]
    drops: tuple[Drop, ...]  # one for every asset whose rows disagree
    unmatched: tuple[str, ...]  # keys of the table that name no asset, sorted


def match_labels(table: LabelTable, assets: Iterable[AssetFiles]) -> LabelMatch:
    """Give every row to the asset that its key names: by its relative stem, a relative file name, or its bare stem.

    The first of the three that fits decides. Raise ConfigError for a bare stem that several folders have.
    """
    names = _Names(assets)
    rows_of: defaultdict[str, list[LabelRow]] = defaultdict(list)
    unmatched = set()
    for row in table.rows:
        source_id = names.find(row)
        if source_id is None:
            unmatched.add(row.key)
        else:
            rows_of[source_id].append(row)
    labels, drops = {}, []
    for source_id, rows in sorted(rows_of.items()):
        if all(row.values == rows[0].values for row in rows):
            labels[source_id] = rows[0].values
        else:
            drops.append(_conflict(source_id, rows))
    return LabelMatch(labels=labels, drops=tuple(drops), unmatched=tuple(sorted(unmatched)))


class _Names:
    """Every name by which a row may call an asset."""

    def __init__(self, assets: Iterable[AssetFiles]) -> None:
        self._stems: set[str] = set()
        self._files: dict[str, str] = {}
        self._bare: defaultdict[str, set[str]] = defaultdict(set)
        for asset in assets:
            self._stems.add(asset.source_id)
            self._files.update((file.name, asset.source_id) for file in asset.files)
            self._bare[asset.source_id.rpartition("/")[2]].add(asset.source_id)

    def find(self, row: LabelRow) -> str | None:
        """Return the source id that a row speaks of, None where there is no such asset."""
        name = escape_name(row.key).removeprefix("./")
        if name in self._stems:
            return name
        if name in self._files:
            return self._files[name]
        candidates = sorted(self._bare.get(name, ()))
        if len(candidates) > 1:
            raise ConfigError(
                f"the label key {row.key!r} (row {row.number}) fits {len(candidates)} assets: {candidates[:5]}. "
                "Write the corpus-relative name into the key column."
            )
        return candidates[0] if candidates else None


def _conflict(source_id: str, rows: list[LabelRow]) -> Drop:
    columns = {column for row in rows for column in row.values}
    differing = sorted(column for column in columns if len({row.values.get(column) for row in rows}) > 1)
    numbers = ", ".join(str(row.number) for row in rows[:10])
    detail = f"rows {numbers} of the labels table disagree in: {', '.join(differing[:10])}"
    return Drop(stage="list", code="label_conflict", detail=detail, source_id=source_id)
