"""What the browser is shown: a real night, a page with a model's worth, and a form; prints the numbers of its runs."""

from __future__ import annotations

import datetime
import json
import sys

from prefect import flow
from prefect.runtime import flow_run

from flows.backfill import backfill
from flows.nightly import nightly
from flows.parameters import NightlyParameters
from mmpipe.report.examined import BinShown
from mmpipe.report.plots import reliability_svg
from mmpipe.steps.release.published_plots import Plot
from mmpipe.steps.release.release import ReleaseReport
from tasks.artifacts import run_page

ROWS = tuple(
    {"contender": name, "kind": kind, "chosen": "yes", "validation": 0.7, "accuracy": value, "low": 0.6, "high": 0.9}
    for name, kind, value in (("audio-logmel@1", "single", 0.7125), ("transformer", "fused", 0.8375))
)
BINS = [BinShown(low=0.5, high=1.0, num_clips=9, confidence=0.8, accuracy=0.75)]


@flow(name="judge", persist_result=False)
def judge() -> str:
    """Show what a model is worth, as the task that releases one does."""
    report = ReleaseReport(
        model="av",
        status="refused",
        version="7-abcdef01",
        offered="nothing",
        offered_version="",
        production="",
        sentence="It does not beat its best single modality.",
        rows=ROWS,
    )
    with run_page("judge", "av") as page:
        page.add("release av", report)
        page.show_release(report)
        page.show_plots("av", [Plot(name=f"plot {n}", svg=reliability_svg(BINS).encode()) for n in range(2)])
    return str(flow_run.id)


def main() -> None:
    """Do it."""
    night = nightly(
        NightlyParameters(config=sys.argv[1], date=datetime.date(2026, 11, 3), batch_clips=2), return_state=True
    )
    form = backfill.to_deployment("backfill").apply()
    told = {"night": str(night.state_details.flow_run_id), "judge": judge(), "form": str(form), "end": night.name}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
