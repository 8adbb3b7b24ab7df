"""How a run that judged models ends: in words of what became of each, and well, whatever the gate said."""

from __future__ import annotations

from typing import Any

from flows.release import end_of_releases
from mmpipe.steps.release.release import ReleaseReport

SAID: dict[str, Any] = {"sentence": "", "offered": "", "offered_version": "", "production": "", "rows": ()}


def test_a_refused_release_ends_well() -> None:
    good = ReleaseReport(model="av", version="v2", status="candidate", is_new=True, **SAID)
    bad = ReleaseReport(model="text", version="v7", status="refused", is_new=True, **SAID)
    state = end_of_releases([good, bad])
    assert (state.type, state.message) == ("COMPLETED", "refused: text@v7; candidate: av@v2")
    assert end_of_releases([]).message == "no model to train"
