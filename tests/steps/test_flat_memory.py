"""A worker's memory stays flat, however many clips its shard has and however large its values are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from batch_extractor import LOG, install, read_log
from kill_corpus import CORPUS, DT, make_config, write_sound

from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus

NUM_FILES, CLIPS_PER_FILE, CLIP_S = 4, 500, 0.05
ROWS = 250  # of a value: 64,000 bytes
LEAST_CLIPS = 300  # by then all is imported
MOST_GROWTH_BYTES = 40 << 20  # of 128 MB that go through


def test_two_thousand_clips_in_one_shard_leave_a_worker_as_large_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "batches"
    monkeypatch.setenv(LOG, str(log))
    monkeypatch.setattr("mmpipe.steps.extract.extract.measure_speed", lambda *_, **__: None)
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path)
    assert str(tmp_path) in sys.path
    (tmp_path / "media").mkdir()
    for number in range(NUM_FILES):
        write_sound(tmp_path / "media" / f"{number}.wav", 300 + 50 * number, seconds=CLIPS_PER_FILE * CLIP_S)
    clips = {"rule": "window", "length_s": CLIP_S, "hop_s": CLIP_S}
    made = make_config(tmp_path, features=["audio-batches"], clips=clips, shard_clips=NUM_FILES * CLIPS_PER_FILE)
    config = made.model_copy(update={"features": {"audio-batches": {"max_clips": 16, "rows": ROWS}}})
    ingest_corpus(config, CORPUS, DT)
    report, _ = extract_plan(config, plan_corpus(config, CORPUS))
    assert (report.shards, report.computed) == (1, NUM_FILES * CLIPS_PER_FILE)
    sizes = [entry["rss"] for entry in read_log(log) for _ in entry["clips"]]
    growth = max(sizes) - sizes[LEAST_CLIPS]
    if os.environ.get("MMPIPE_TELL"):
        print(
            f"{len(sizes)} clips: {sizes[0] >> 20} MiB at first, {sizes[LEAST_CLIPS] >> 20}, {max(sizes) >> 20} at most"
        )
    assert growth < MOST_GROWTH_BYTES, sizes[::200]
