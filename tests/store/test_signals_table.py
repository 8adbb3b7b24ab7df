"""Signals and surveys in the store: nulls where nothing is said, the same bytes in any order, nothing lost."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pytest

from mmpipe.errors import StoreError
from mmpipe.signals.clip_signals import COLUMNS
from mmpipe.store.heal import heal_dataset
from mmpipe.store.layout import SIGNALS, SURVEYS, StoreLayout, create_store
from mmpipe.store.migrate import find_old_tables
from mmpipe.store.revisions import list_revisions
from mmpipe.store.signals import CLIP_SIGNALS, SIGNAL_COLUMNS, read_signals, write_signals
from mmpipe.store.surveys import SurveyRecord, read_surveys, write_surveys
from mmpipe.store.verify import verify_store

CORPUS, DT = "sounds", "2026-11-20"


@pytest.fixture
def layout(tmp_path: Path) -> StoreLayout:
    return create_store(tmp_path / "store")


def rows(*keys: str, settings: str = "s", loudness: float | None = None) -> pl.DataFrame:
    flags = dict.fromkeys(("has_video", "has_audio", "has_image", "has_text"), False)
    return pl.DataFrame(
        [
            {"key": key, "asset_id": f"asset-{key}", "start_ns": 0, "end_ns": 10, "settings": settings}
            | flags
            | {"duration_s": 1e-8, "loudness_lufs": loudness}
            for key in keys
        ],
        schema=CLIP_SIGNALS.schema,
    )


def test_columns_are_those_that_are_measured() -> None:
    assert dict(SIGNAL_COLUMNS) == dict(COLUMNS)


def test_a_clip_that_comes_again_is_said_anew_and_the_others_stay(layout: StoreLayout) -> None:
    dataset = layout.dataset(CORPUS, SIGNALS)
    write_signals(dataset, DT, rows("b", "a"))
    write_signals(dataset, DT, rows("b", "c", settings="t", loudness=-20.0))
    found = read_signals(layout, CORPUS)
    assert found.select("key", "settings", "loudness_lufs").rows() == [
        ("a", "s", None),
        ("b", "t", -20.0),
        ("c", "t", -20.0),
    ]
    assert verify_store(layout) == ()


def test_what_is_there_already_makes_no_revision_whatever_its_order(layout: StoreLayout) -> None:
    dataset = layout.dataset(CORPUS, SIGNALS)
    write_signals(dataset, DT, rows("a", "b"))
    write_signals(dataset, DT, rows("b", "a"))
    write_surveys(layout.dataset(CORPUS, SURVEYS), DT, [SurveyRecord(asset_id="a", settings="s")])
    write_surveys(layout.dataset(CORPUS, SURVEYS), DT, [SurveyRecord(asset_id="a", settings="s")])
    assert list_revisions(dataset, DT) == list_revisions(layout.dataset(CORPUS, SURVEYS), DT) == (1,)
    assert list(find_old_tables(layout)) == []


def test_place_and_flags_are_never_null(layout: StoreLayout) -> None:
    broken = rows("a").with_columns(has_audio=pl.lit(None, pl.Boolean))
    with pytest.raises(StoreError, match="has_audio"):
        write_signals(layout.dataset(CORPUS, SIGNALS), DT, broken)


def test_the_view_is_read_without_us_and_healed(layout: StoreLayout) -> None:
    dataset = layout.dataset(CORPUS, SIGNALS)
    write_signals(dataset, DT, rows("a", "b", loudness=-30.0))
    query = f"select count(*) from read_parquet('{dataset.root}/data/*/*.parquet') where loudness_lufs > -40"
    assert duckdb.sql(query).fetchall() == [(2,)]
    (dataset.root / "README.md").write_text("gone")
    assert [finding.code for finding in verify_store(layout)] == ["card_stale"]
    assert heal_dataset(dataset) == 1 and verify_store(layout) == ()


def test_survey_comes_back_as_it_was(layout: StoreLayout) -> None:
    record = SurveyRecord(
        asset_id="a",
        settings="s",
        cuts_ns=(1, 2),
        speech_ns=((3, 4),),
        lost={"video": 0.25},
        faults={"f" * 64: ("decode_error", "it broke off")},
    )
    write_surveys(layout.dataset(CORPUS, SURVEYS), DT, [record, SurveyRecord(asset_id="b", settings="s")])
    assert read_surveys(layout, CORPUS) == {"a": record, "b": SurveyRecord(asset_id="b", settings="s")}
