"""What ran on this machine, and the reports it left."""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime

from mmpipe.app.site import NotHereError
from mmpipe.app.values.runs import MadeShards, ReportFile, Runs, StageRuns
from mmpipe.steps.ground.watching import totals_folder
from mmpipe.store.atwork import find_writer
from mmpipe.store.journal import read_made
from mmpipe.store.layout import StoreLayout
from mmpipe.watch.totals import StageTotals, read_totals

_KINDS = {".html": "text/html; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png"}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,254}")
_MOST_MADE = 300


def read_runs(layout: StoreLayout) -> Runs:
    """Return all of it, the newest first."""
    return Runs(
        stages=read_stages(layout),
        made=_made(layout),
        reports=read_reports(layout),
        at_work={corpus: who for corpus in layout.corpora() if (who := find_writer(layout, corpus))},
    )


def read_stages(layout: StoreLayout) -> tuple[StageRuns, ...]:
    """Return the stages that ever ran, the newest first."""
    totals = sorted(read_totals(totals_folder(layout)), key=lambda one: one.last_end_s, reverse=True)
    return tuple(_stage(one) for one in totals)


def read_reports(layout: StoreLayout) -> tuple[ReportFile, ...]:
    """Return the reports, the newest first."""
    if not layout.reports.is_dir():
        return ()
    found = [(path, path.lstat()) for path in layout.reports.iterdir() if _is_report(path.name)]
    found = [(path, status) for path, status in found if stat.S_ISREG(status.st_mode)]
    return tuple(
        ReportFile(name=path.name, nbytes=status.st_size, written=_utc(status.st_mtime))
        for path, status in sorted(found, key=lambda pair: (-pair[1].st_mtime_ns, pair[0].name))
    )


def read_report(layout: StoreLayout, name: str) -> tuple[bytes, str]:
    """Return a report's bytes and media type. NotHereError: none is called so, or it is a link elsewhere."""
    if name in {report.name for report in read_reports(layout)}:
        path = layout.reports / name
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return file.read(), _KINDS[path.suffix]
    raise NotHereError(f"no report is called {name!r}. The page of runs names all there are.")


def _is_report(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and os.path.splitext(name)[1] in _KINDS


def _stage(one: StageTotals) -> StageRuns:
    runs = one.completed + one.failed + one.aborted
    return StageRuns(
        stage=one.stage,
        subject=one.model or one.corpus,
        is_model=bool(one.model),
        completed=one.completed,
        failed=one.failed,
        aborted=one.aborted,
        mean_s=one.seconds / runs if runs else 0.0,
        last_end=_utc(one.last_end_s),
        last_success=_utc(one.last_success_s),
    )


def _made(layout: StoreLayout) -> tuple[MadeShards, ...]:
    """Return what the kept journals tell, shards of one date, feature and reason together."""
    groups: dict[tuple[str, str, str, str], list[int]] = {}
    for corpus in layout.corpora():
        for shard in reversed(read_made(layout, corpus)):
            counts = groups.setdefault((corpus, shard.partition, shard.feature, shard.reason), [0, 0])
            counts[0] += 1
            counts[1] += shard.clips
    rows = [
        MadeShards(corpus=corpus, dt=dt, feature=feature, reason=reason, shards=shards, clips=clips)
        for (corpus, dt, feature, reason), (shards, clips) in groups.items()
    ]
    return tuple(rows[:_MOST_MADE])


def _utc(stamp_s: float) -> str:
    return datetime.fromtimestamp(stamp_s, UTC).strftime("%Y-%m-%d %H:%M:%S") if stamp_s else ""
