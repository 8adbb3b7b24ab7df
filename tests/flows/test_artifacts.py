"""Keys, shapes and texts that Prefect's UI takes, and what reads as Markdown there."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from mmpipe.steps.extract.extract import ExtractReport
from mmpipe.steps.ground.markdown import CELL_LETTERS, plain_cell
from mmpipe.steps.plan.plan import ShardState, State
from mmpipe.steps.release.published_plots import Plot
from mmpipe.steps.release.release import ReleaseReport
from tasks.page.door import table_data
from tasks.page.keys import artifact_key
from tasks.page.links import DESK_VARIABLE, plots_markdown, report_markdown
from tasks.page.tables import batch_shown, evaluation_shown, ledger_rows, rectangular

HOSTILE = "[a](javascript:alert(1))<img src=x>![b][c]\n# d.wav"


@pytest.mark.parametrize(
    ("names", "key"),
    [(("nightly", "av_digits"), "nightly-av-digits"), (("Train", "a--b_"), "train-a-b"), (("x",), "x")],
)
def test_a_key_has_only_lower_case_letters_digits_and_dashes(names: tuple[str, ...], key: str) -> None:
    assert artifact_key(*names) == key


def test_every_row_has_every_column() -> None:
    assert rectangular([{"a": 1}, {"b": 2}]) == [{"a": 1, "b": ""}, {"a": "", "b": 2}]
    assert rectangular([]) == []


def test_a_number_that_is_none_is_a_word_in_a_table() -> None:
    assert json.loads(table_data([{"a": math.nan, "b": -math.inf, "c": 0.5, "d": Path("x")}])) == [
        {"a": "nan", "b": "-inf", "c": 0.5, "d": "x"}
    ]


def test_a_cell_holds_no_tag_no_picture_and_no_link_that_hides_where_it_leads() -> None:
    shown = plain_cell(HOSTILE)
    assert shown == "[a] (javascript:alert(1))‹img src=x>![b] [c] # d.wav"
    assert len(plain_cell("x" * 10_000)) == CELL_LETTERS
    assert plain_cell("mmpipe quarantine retry --file 'a b.wav'") == "mmpipe quarantine retry --file 'a b.wav'"


def test_a_batch_says_what_was_made_and_what_failed() -> None:
    report = ExtractReport(
        corpus="tones",
        shards=3,
        computed=40,
        reused=7,
        quarantined={"not_media": 2, "too_long": 1},
        seconds=1.26,
        failed=1,
        held={("2026-11-03", 4): "another run"},
    )
    row = batch_shown(2, 9, 5, report)
    assert (row.batch, row.shards, row.made, row.failed, row.held) == ("2 of 9", 5, 3, 1, 1)
    assert (row.computed, row.reused, row.quarantined, row.seconds) == (40, 7, 3, 1.3)


def test_the_ledger_is_a_day_by_feature_table_with_the_newest_day_first() -> None:
    def state(dt: str, shard: int, feature: str, found: State) -> ShardState:
        return ShardState(
            partition=dt,
            shard=shard,
            feature=feature,
            state=found,
            reason="",
            clips=2,
            samples=2,
            quarantined=0,
            inputs="",
        )

    states = [
        state("2026-11-01", 0, "audio-logmel@1", State.COMPLETE),
        state("2026-11-01", 1, "audio-logmel@1", State.FAILED),
        state("2026-11-02", 0, "audio-logmel@1", State.COMPLETE),
        state("2026-11-02", 0, "text-ngrams@1", State.STALE),
    ]
    assert ledger_rows(states) == [
        {"dt": "2026-11-02", "audio-logmel@1": "complete", "text-ngrams@1": "1 stale"},
        {"dt": "2026-11-01", "audio-logmel@1": "1 complete, 1 failed", "text-ngrams@1": "no clips"},
    ]


@pytest.mark.parametrize("measure", ["accuracy", "R²"])
def test_an_evaluation_has_the_same_columns_whatever_a_goal_is_measured_by(measure: str) -> None:
    single = {"contender": "audio", "kind": "single", "chosen": "yes", "validation": 0.6}
    fused = {"contender": "concat", "kind": "fused", "chosen": "yes", "validation": 0.7}
    report = ReleaseReport(
        model="av",
        status="refused",
        version="7-abc",
        offered="nothing",
        offered_version="",
        production="",
        sentence="No gain.",
        rows=tuple(row | {measure: 0.5, "low": 0.4, "high": 0.6} for row in (single, fused)),
    )
    first, second = evaluation_shown(report)
    assert (first.measure, first.value, first.low, first.high, first.verdict) == (measure, 0.5, 0.4, 0.6, "")
    assert (second.contender, second.kind, second.verdict, second.version) == (
        "concat",
        "fused",
        "refused",
        "7-abc",
    )


def test_a_report_is_a_link_where_there_is_a_desk_and_a_path_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = Path("/store/reports/av digits-2026-11-03.html")
    monkeypatch.delenv(DESK_VARIABLE, raising=False)
    assert report_markdown(path) == f"`{path}`"
    monkeypatch.setenv(DESK_VARIABLE, "http://127.0.0.1:4300/")
    assert "(http://127.0.0.1:4300/reports/av%20digits-2026-11-03.html)" in report_markdown(path)


def test_pictures_carry_their_own_bytes() -> None:
    text = plots_markdown([Plot(name="confusion", svg=b"<svg/>"), Plot(name="noise", svg=b"<svg></svg>")])
    assert text.startswith("![confusion](data:image/svg+xml;base64,PHN2Zy8+)")
    assert text.count("![") == 2
