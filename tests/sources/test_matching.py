from __future__ import annotations

from pathlib import Path

import pytest

from mmpipe.config import LabelsConfig
from mmpipe.sources.labels import LabelRow, LabelTable, read_labels
from mmpipe.sources.listing import list_corpus
from mmpipe.sources.matching import match_labels
from mmpipe.sources.records import RowFault
from mmpipe.sources.stems import AssetFiles, group_files
from mmpipe.types import RawFile


def assets(*names: str) -> tuple[AssetFiles, ...]:
    return group_files(RawFile(name=name, nbytes=1, mtime_ns=0, inode=0) for name in names).assets


def table(*rows: tuple[str, dict[str, str]]) -> LabelTable:
    made = tuple(LabelRow(key=key, number=number, values=values) for number, (key, values) in enumerate(rows, start=1))
    return LabelTable(rows=made, columns=())


@pytest.mark.parametrize("key", ["x/a", "x/a.mp4", "x/a.vtt", "a", "./x/a.mp4"])
def test_stem_file_name_or_bare_stem_find_the_asset(key: str) -> None:
    match = match_labels(table((key, {"digit": "3"})), assets("x/a.mp4", "x/a.vtt", "x/b.mp4"))
    assert match.labels == {"x/a": {"digit": "3"}}
    assert match.drops == () and match.unmatched == ()


def test_a_key_in_raw_letters_finds_an_escaped_name() -> None:
    match = match_labels(table(("100%\nreal", {"x": "1"})), assets("100%25%0Areal.mp4"))
    assert list(match.labels) == ["100%25%0Areal"]


def test_exact_name_wins_over_a_bare_stem() -> None:
    match = match_labels(table(("a", {"x": "1"})), assets("a.mp4", "x/a.mp4"))
    assert list(match.labels) == ["a"]


def test_a_bare_stem_of_two_assets_costs_its_row_alone() -> None:
    rows = table(("a", {"x": "1"}), ("y/a", {"x": "2"}), ("b", {"x": "3"}))
    match = match_labels(rows, assets("x/a.mp4", "y/a.mp4", "b.mp4"))
    assert match.labels == {"y/a": {"x": "2"}, "b": {"x": "3"}}
    (fault,) = match.faults
    assert (fault.stage, fault.code, fault.source_id) == ("labels", "label_ambiguous", "row 1 of the labels")
    assert "'a' fits 2 assets: ['x/a', 'y/a']" in fault.detail and "corpus-relative name" in fault.detail
    assert match.meant == {"x/a", "y/a"} and not match.has_lost and match.unmatched == ()
    broken = LabelTable(rows=(), columns=(), faults=(RowFault(number=4, code="label_not_usable", detail="", key="a"),))
    assert [fault.code for fault in match_labels(broken, assets("x/a.mp4", "y/a.mp4")).faults] == ["label_ambiguous"]


def test_rows_of_files_that_are_not_there_are_reported() -> None:
    match = match_labels(table(("z", {}), ("b", {}), ("a", {"x": "1"})), assets("a.mp4"))
    assert match.unmatched == ("b", "z") and list(match.labels) == ["a"]


def test_identical_rows_agree_and_different_ones_are_a_conflict() -> None:
    rows = table(("a", {"x": "1"}), ("a.mp4", {"x": "1"}), ("b", {"x": "1", "y": "0"}), ("b", {"x": "2", "y": "0"}))
    match = match_labels(rows, assets("a.mp4", "b.mp4", "c.mp4"))
    assert match.labels == {"a": {"x": "1"}}
    (drop,) = match.drops
    assert (drop.stage, drop.code, drop.source_id) == ("list", "label_conflict", "b")
    assert drop.detail == "rows 3, 4 of the labels table disagree in: x"


def test_real_corpus_matches_whole(corpora: Path) -> None:
    labels = read_labels(LabelsConfig(file=corpora / "grid" / "labels.jsonl"))
    match = match_labels(labels, group_files(list_corpus(corpora / "grid" / "raw").files).assets)
    assert len(match.labels) == 240 and match.unmatched == () and match.drops == ()
