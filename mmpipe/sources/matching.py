"""Bring labels and assets together by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mmpipe.io import escape_name
from mmpipe.sources.labels import UNUSABLE, LabelRow, LabelTable
from mmpipe.sources.records import RowFault
from mmpipe.sources.stems import AssetFiles
from mmpipe.types import Drop

LABELS_STAGE = "labels"
AMBIGUOUS = "label_ambiguous"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMatch:
    """The labels of assets by source id; an asset with none, or with rows that disagree or fail, is not among them."""

    labels: Mapping[str, Mapping[str, str]]
    drops: tuple[Drop, ...]  # one for every asset whose rows disagree, or of which one cannot be used
    unmatched: tuple[str, ...]  # keys of the table that name no asset, sorted
    faults: tuple[Drop, ...] = ()  # one for every row that cannot be used and is about no asset, or no single one
    meant: frozenset[str] = frozenset()  # the assets that rows may be about which fit several of them

    @property
    def has_lost(self) -> bool:
        """Say whether there are rows of which nobody can tell what they are about."""
        return any(drop.code not in (UNUSABLE, AMBIGUOUS) for drop in self.faults)


def match_labels(table: LabelTable, assets: Iterable[AssetFiles]) -> LabelMatch:
    """Give every row to the asset that its key names: by its relative stem, a relative file name, or its bare stem.

    The first of the three that fits decides. A bare stem that several folders have names none of them: such a row is a
    fault, and the others count.
    """
    names = _Names(assets)
    rows_of: defaultdict[str, list[LabelRow]] = defaultdict(list)
    unmatched, meant = set(), set()
    drops, faults = [], []
    for row in table.rows:
        found = names.find(row.key)
        if not found:
            unmatched.add(row.key)
        elif len(found) == 1:
            rows_of[found[0]].append(row)
        else:
            faults.append(_ambiguous(row.number, row.key, found))
            meant.update(found)
    labels: dict[str, Mapping[str, str]] = {}
    faulty: dict[str, RowFault] = {}
    for fault in table.faults:
        found = names.find(fault.key) if fault.key else []
        if not found:
            faults.append(_lost(fault))
        elif len(found) == 1:
            faulty.setdefault(found[0], fault)
        else:
            faults.append(_ambiguous(fault.number, fault.key, found))
            meant.update(found)
    for source_id in sorted(rows_of.keys() | faulty.keys()):
        rows = rows_of[source_id]
        if source_id in faulty:
            fault = faulty[source_id]
            detail = f"the labels table, {fault.detail}; until it is corrected, none of its labels count"
            drops.append(Drop(stage="list", code=fault.code, detail=detail, source_id=source_id))
        elif all(row.values == rows[0].values for row in rows):
            labels[source_id] = rows[0].values
        else:
            drops.append(_conflict(source_id, rows))
    return LabelMatch(
        labels=labels,
        drops=tuple(drops),
        unmatched=tuple(sorted(unmatched)),
        faults=tuple(faults),
        meant=frozenset(meant),
    )


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

    def find(self, key: str) -> list[str]:
        """Return the source id that a key names; none where there is no such asset, several where it fits several."""
        name = escape_name(key).removeprefix("./")
        if name in self._stems:
            return [name]
        if name in self._files:
            return [self._files[name]]
        return sorted(self._bare.get(name, ()))


def _ambiguous(number: int, key: str, found: list[str]) -> Drop:
    detail = (
        f"the labels table, row {number}: the key {key[:200]!r} fits {len(found)} assets: {found[:5]}; none of them "
        "gets its labels: write the corpus-relative name into the key column"
    )
    return Drop(stage=LABELS_STAGE, code=AMBIGUOUS, detail=detail, source_id=f"row {number} of the labels")


def _lost(fault: RowFault) -> Drop:
    """Return the row of a fault that is about no asset: it is called by its number."""
    about = f"no file is called {fault.key[:200]!r}" if fault.key else "what it is about, nobody can tell"
    detail = f"the labels table, {fault.detail}; {about}: correct or remove it"
    return Drop(stage=LABELS_STAGE, code=fault.code, detail=detail, source_id=f"row {fault.number} of the labels")


def _conflict(source_id: str, rows: list[LabelRow]) -> Drop:
    columns = {column for row in rows for column in row.values}
    differing = sorted(column for column in columns if len({row.values.get(column) for row in rows}) > 1)
    numbers = ", ".join(str(row.number) for row in rows[:10])
    detail = f"rows {numbers} of the labels table disagree in: {', '.join(differing[:10])}"
    return Drop(stage="list", code="label_conflict", detail=detail, source_id=source_id)
