"""Years of days on the page of a corpus, and values that are kept until a head changes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from fake_site import FIRST, FakeSite, make_ledger
from starlette.testclient import TestClient

from mmpipe.app.access import Access
from mmpipe.app.line import points_of
from mmpipe.app.pages import path_of
from mmpipe.app.routes import make_app
from mmpipe.app.twin import to_json
from mmpipe.app.values.matrix import DATES_PER_PAGE, MatrixAsk, cut_matrix
from mmpipe.app.values.overview import Overview
from mmpipe.errors import TransientError
from mmpipe.steps.app import kept
from mmpipe.steps.app.kept import KeptValues
from mmpipe.store.layout import StoreLayout
from mmpipe.store.sample import SampleFeature, make_sample_store
from mmpipe.types import FeatureKind, FeatureSchema, Modality

TOY = SampleFeature(
    schema=FeatureSchema(feature="audio-toy@1", modality=Modality.AUDIO, kind=FeatureKind.VECTOR, dim=3)
)


def test_years_of_days_come_in_pages() -> None:
    client = TestClient(make_app(FakeSite(400, 10), Access()), base_url="http://localhost")
    seen: list[str] = []
    for page in range(1, 14):
        answer = client.get(f"/corpora/years?page={page}")
        assert len(answer.content) < 300_000
        rows = client.get(f"/corpora/years?page={page}&format=json").json()["rows"]
        assert len(rows) <= DATES_PER_PAGE
        seen += [row["dt"] for row in rows]
    assert len(set(seen)) == len(seen) == 400 and seen == sorted(seen, reverse=True)
    assert 'rel="next"' not in answer.text and 'rel="prev"' in answer.text


def test_a_page_keeps_what_was_asked_for() -> None:
    client = TestClient(make_app(FakeSite(400, 2), Access()), base_url="http://localhost")
    text = client.get("/corpora/years?state=stale&feature=feature-1@1").text
    assert 'href="?state=stale&amp;feature=feature-1%401&amp;page=2" rel="next"' in text


def test_a_state_shows_the_dates_that_have_it() -> None:
    matrix = cut_matrix(make_ledger(21, 2), MatrixAsk(state="stale"))
    assert [row.dt[-2:] for row in matrix.rows] == ["15", "08", "01"]
    assert matrix.states == {"stale": 6, "complete": 36}, "of the whole corpus"
    assert cut_matrix(make_ledger(21, 2), MatrixAsk(first=FIRST.isoformat(), last=FIRST.isoformat())).paging.total == 1


def test_an_address_holds_any_name_and_ends_no_attribute() -> None:
    assert path_of("corpora", 'a/b"<&?#', dt="") == "/corpora/a%2Fb%22%3C%26%3F%23"
    assert path_of("x", y='"&', z=2) == "/x?y=%22%26&amp;z=2"


def test_a_number_that_json_has_no_word_for_is_null() -> None:
    assert b'"layout_version": null' in to_json(Overview(store="s", layout_version=float("nan")))  # type: ignore[arg-type]


def test_a_line_stays_in_its_box() -> None:
    assert points_of([1.0]) == ""
    flat, rising = points_of([2, 2, 2]), points_of([0, 1])
    assert rising == "3.0,45.0 237.0,3.0" and flat.count(" ") == 2


# --------------------------------------------------------------------------- kept


@pytest.fixture
def layout(tmp_path: Path) -> StoreLayout:
    return make_sample_store(tmp_path / "store", (TOY,), shards=1)


def test_a_value_is_made_once_per_change_of_heads(layout: StoreLayout) -> None:
    made: list[int] = []
    values = KeptValues(lambda: layout, clock=lambda: 0.0, look_every_s=0)

    def make() -> int:
        made.append(1)
        return len(made)

    def ask() -> int:
        return values.get("sample", "ledger", make)

    assert (ask(), ask()) == (1, 1)
    make_sample_store(layout.root, (TOY,), shards=1, partitions=("2026-11-21",))
    assert (ask(), ask()) == (2, 2)
    assert values.get("sample", "other", lambda: 7) == 7


def test_what_takes_long_to_read_is_not_read_all_the_time(layout: StoreLayout) -> None:
    now_s = [0.0]
    values = KeptValues(lambda: layout, clock=lambda: now_s[0], look_every_s=0)

    def make_slowly() -> float:
        now_s[0] += 5.0
        return now_s[0]

    assert values.get("sample", "x", make_slowly) == 5.0
    make_sample_store(layout.root, (TOY,), shards=1, partitions=("2026-11-21",))
    assert values.get("sample", "x", make_slowly) == 5.0, "a run commits: what was read is shown for a while"
    now_s[0] = 25.0
    assert values.get("sample", "x", make_slowly) == 30.0


def test_a_value_grows_no_older_than_it_may(layout: StoreLayout) -> None:
    now_s = [0.0]
    values = KeptValues(lambda: layout, clock=lambda: now_s[0])
    assert values.get("sample", "x", lambda: 1) == 1
    now_s[0] = kept.OLDEST_S + 1
    assert values.get("sample", "x", lambda: 2) == 2


def test_no_more_is_kept_than_may_be(layout: StoreLayout) -> None:
    made: list[int] = []
    values = KeptValues(lambda: layout, look_every_s=0)
    for number in (*range(kept.MOST_KEPT + 1), 0):
        values.get("sample", number, partial(made.append, number))
    assert made.count(0) == 2


def test_a_store_that_is_written_meanwhile_is_read_once_more(layout: StoreLayout) -> None:
    tries: list[int] = []

    def make() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise TransientError("committed anew")
        return "whole"

    assert KeptValues(lambda: layout).get("sample", "x", make) == "whole"

    def fail() -> str:
        raise TransientError("again and again")

    with pytest.raises(TransientError):
        KeptValues(lambda: layout).get("sample", "x", fail)
