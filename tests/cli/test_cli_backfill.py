"""A backfill on the command line: what its table and its notes say of what is not whole, and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_maker import CORPUS, write_pairs, write_text
from typed_projects import Type, write_config

DAYS = ("2026-11-20", "2026-11-21", "2026-11-22")
RANGE = ("--from", DAYS[0], "--to", DAYS[2])


@pytest.mark.usefixtures("warm_workers")
def test_what_failed_and_what_is_in_quarantine_is_told_until_it_is_mended(tmp_path: Path, mmpipe: Type) -> None:
    media = tmp_path / "media"
    write_pairs(media, [f"{day}/{name}" for day in DAYS for name in ("a", "b")])
    write_text(media / DAYS[1] / "film.mp4", "no film")
    write_config(tmp_path, 'dates = { rule = "path" }', "max_quarantined = 1")
    for day in DAYS:
        assert mmpipe(tmp_path, "ingest", "--dt", day).code == 0
    victim = media / DAYS[2] / "a.wav"
    good = victim.read_bytes()
    victim.write_bytes(good[:-2])  # the extraction finds other bytes than the ingest
    mmpipe(tmp_path, "extract")
    victim.write_bytes(good)

    told = mmpipe(tmp_path, "backfill", *RANGE, "--only", "missing")
    assert told.code == 0, "what is known and counted fails no run"
    rows = {line.split()[0]: line for line in told.out.splitlines() if line.startswith("2026")}
    assert "nothing to do" in rows[DAYS[0]] and "complete" in rows[DAYS[0]]
    assert "in quarantine" in rows[DAYS[1]] and "1 not_media" in rows[DAYS[1]]
    assert "incomplete" in rows[DAYS[2]] and "1 failed" in rows[DAYS[2]] and "1 shard, 1 clip" in rows[DAYS[2]]
    assert told.err.splitlines()[-2:] == [
        "2 days have 2 things in quarantine (1 changed_since_ingest, 1 not_media): "
        f"mmpipe quarantine ls --corpus {CORPUS}",
        "1 day has 1 failed shard (1 clip): --only failed takes it up",
    ]
    mended = mmpipe(tmp_path, "backfill", *RANGE, "--only", "failed")
    assert mended.code == 0 and "1 day has 1 thing in quarantine (1 not_media)" in mended.err
    assert f"--dt {DAYS[1]}" in mended.err and "failed" not in mended.err
