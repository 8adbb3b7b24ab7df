"""The section of the page that says how close an extraction came to what its machine can do."""

from __future__ import annotations

from mmpipe.report.page import render_report
from mmpipe.report.values import Fact, RateShown, ReportInput, ShareShown, SpeedShown

SPEED = SpeedShown(
    sentence="200 clips in 100 s. Bottleneck: <b>encoding</b>.",
    rates=(RateShown(label="achieved", clips_per_s=2.0), RateShown(label="bare decoder", clips_per_s=10.0)),
    shares=(ShareShown(label="decoding", share=0.25), ShareShown(label="idle", share=0.0)),
    facts=(Fact(label="padding waste", value="10.0%"),),
)


def test_rates_shares_and_facts_are_shown() -> None:
    page = render_report(ReportInput(title="films", speed=SPEED))
    assert "Speed of extraction" in page
    assert "achieved" in page and "bare decoder" in page
    assert "25.0%" in page and "padding waste" in page
    assert "idle" not in page, "what took no time is left out"
    assert "&lt;b&gt;encoding" in page and "<b>encoding" not in page


def test_a_night_that_extracted_nothing_has_no_such_section() -> None:
    assert "Speed of extraction" not in render_report(ReportInput(title="films"))


def test_a_run_that_stood_still_divides_by_nothing() -> None:
    still = SpeedShown(sentence="", rates=(RateShown(label="achieved", clips_per_s=0.0),), shares=(), facts=())
    assert "achieved" in render_report(ReportInput(title="films", speed=still))
