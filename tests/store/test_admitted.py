"""Exceptions are in force, taken back, or not there; what an older mmpipe wrote is all in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmpipe.store.admitted import (
    ADMITTED_ROWS,
    admit,
    list_admitted,
    list_taken_back,
    read_admitted,
    take_back,
)
from mmpipe.store.commit import commit_partition
from mmpipe.store.layout import ADMITTED, DatasetLayout, StoreLayout, create_store
from mmpipe.store.revisions import read_head
from mmpipe.store.table import put_table

CORPUS, DT = "sample", "2026-11-20"


@pytest.fixture
def layout(tmp_path: Path) -> StoreLayout:
    return create_store(tmp_path / "store")


@pytest.fixture
def dataset(layout: StoreLayout) -> DatasetLayout:
    return layout.dataset(CORPUS, ADMITTED)


def test_an_exception_binds_again_and_comes_back(layout: StoreLayout, dataset: DatasetLayout) -> None:
    first = admit(dataset, DT, [("limit_file", "aa"), ("limit_rate", "aa")])
    take_back(dataset, DT, [("limit_file", "aa")])
    found = read_admitted(layout, CORPUS)
    assert found.has("limit_rate", "aa") and not found.has("limit_file", "aa")
    assert (found.codes_of, found.taken_back) == ({"aa": ("limit_rate",)}, {"aa": ("limit_file",)})
    assert list(list_taken_back(layout, CORPUS)) == [(DT, "limit_file", "aa")]
    again = admit(dataset, DT, [("limit_file", "aa")])
    assert [shard.files for shard in again.shards] == [shard.files for shard in first.shards]


def test_the_same_said_twice_makes_no_revision(dataset: DatasetLayout) -> None:
    admit(dataset, DT, [("limit_file", "aa")])
    for act in (take_back, admit):
        assert act(dataset, DT, [("limit_file", "aa")]) == act(dataset, DT, [("limit_file", "aa")])


def test_what_an_older_mmpipe_wrote_is_in_force(layout: StoreLayout, dataset: DatasetLayout) -> None:
    (older,) = ADMITTED_ROWS.older
    entry = put_table(dataset, DT, older, 0, older.frame([("limit_file", "aa")]))
    commit_partition(dataset, DT, schema=older.digest, fingerprint="", shards={0: entry})
    assert list(list_admitted(layout, CORPUS)) == [(DT, "limit_file", "aa")]
    take_back(dataset, DT, [("limit_file", "aa")])
    head = read_head(dataset, DT)
    assert head is not None and head.schema == ADMITTED_ROWS.digest
    assert list(list_taken_back(layout, CORPUS)) == [(DT, "limit_file", "aa")]
