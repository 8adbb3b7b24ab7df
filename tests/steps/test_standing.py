"""How a day stands: what counts as failed and as in quarantine, and how it is said."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from mmpipe.steps.plan.plan import ShardState, State
from mmpipe.steps.plan.standing import DayStanding, judge_days, standing_notes
from mmpipe.store.quarantine import DROPS

DT, BARE = "2026-11-20", "2026-11-21"
MADE = ShardState(
    partition=DT,
    shard=0,
    feature="a@1",
    state=State.COMPLETE,
    reason="",
    clips=2,
    samples=2,
    quarantined=0,
    inputs="",
)
STATES = (
    MADE,
    replace(MADE, feature="b@1", state=State.FAILED),
    replace(MADE, shard=1, state=State.FAILED),
    replace(MADE, shard=1, feature="b@1", state=State.FAILED),
    replace(MADE, shard=2, state=State.STALE, held=True),
)


def quarantine(*rows: tuple[str, str, str, str, bool]) -> pl.DataFrame:
    """Rows of (stage, code, clip, feature, kept), all on one day."""
    texts = [name for name in DROPS.names if name not in ("kept", "attempts")]
    return pl.DataFrame(
        [
            dict.fromkeys(texts, "")
            | {"partition": DT, "stage": stage, "code": code, "clip_key": clip, "feature": feature, "kept": kept}
            for stage, code, clip, feature, kept in rows
        ]
    )


LOST = quarantine(
    ("probe", "not_media", "", "", False),
    ("probe", "not_media", "", "", True),  # in use all the same
    ("filter", "filtered_quiet", "c9", "", False),  # by rule
    ("extract", "too_long", "c1", "a@1", False),
    ("extract", "too_long", "c1", "b@1", False),
    ("extract", "too_long", "c2", "b@1", False),
    ("extract", "too_long", "c3", "gone@1", False),  # of a feature that nobody asks for
)


def test_a_day_counts_shards_once_clips_once_and_only_what_is_lost() -> None:
    day, bare = judge_days((BARE, DT), STATES, LOST)
    assert day.features == {"a@1": {State.COMPLETE: 1, State.FAILED: 1, State.STALE: 1}, "b@1": {State.FAILED: 2}}
    assert day.shards == {State.COMPLETE: 1, State.FAILED: 2}
    assert (day.failed_clips, day.held, day.quarantined) == (2, 1, {"too_long": 3, "not_media": 1})
    assert day.word == "incomplete" and bare == DayStanding(dt=BARE) and bare.word == "skipped"
    assert day.cells(["a@1", "c@1"]) == {
        "a@1": "1 complete, 1 stale, 1 failed",
        "c@1": "no clips",
        "failed": "2 shards, 2 clips",
        "quarantined": "3 too_long, 1 not_media",
    }


def test_every_kind_is_said_with_its_way_out() -> None:
    running, missing = replace(MADE, shard=3, state=State.RUNNING), replace(MADE, shard=4, state=State.MISSING)
    days = judge_days((DT,), (*STATES, running, missing), LOST)
    assert standing_notes("my sounds", days) == (
        "1 day has 4 things in quarantine (3 too_long, 1 not_media): "
        f"mmpipe quarantine ls --corpus 'my sounds' --dt {DT}",
        "1 day has 2 failed shards (2 clips): only=failed takes them up",
        "1 day has 1 missing shard: only=missing takes it up",
        "1 day has 1 shard that others are making",
        "1 day has 1 shard for which a person must decide first: mmpipe plan --corpus 'my sounds'",
    )
    assert standing_notes("tones", judge_days((DT,), (MADE,), LOST.clear())) == ()
