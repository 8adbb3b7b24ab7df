"""Five of a hundred files end their worker while it looks at them: they are quarantined, the others are good."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from corpus_maker import CORPUS, DT, drops, make_config, write_tone

from mmpipe.config import Config
from mmpipe.steps.ingest import ingest as ingesting
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.ingest.ingest_report import IngestReport
from mmpipe.steps.workers.workers import shared_engine

CODE_OF = {
    "segfault.wav": "worker_killed",
    "oom-killed.wav": "worker_killed",
    "hang.wav": "timeout",
    "leave.wav": "worker_killed",
    "swell.wav": "memory",
}
TIMEOUT_S = 2.0
TRIES = 2  # a death may be chance: once in company, once alone


def take_in(config: Config, store: Path) -> tuple[IngestReport, float]:
    """Ingest into a store, and say how long it took."""
    started = time.monotonic()
    report = ingest_corpus(config.model_copy(update={"store": store}), CORPUS, DT)
    return report, time.monotonic() - started


def test_five_deadly_files_of_a_hundred_cost_only_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "media").mkdir()
    for number in range(95):
        write_tone(tmp_path / "media" / f"good{number:02}.wav", 300 + 20 * number)
    for number, name in enumerate(CODE_OF):
        write_tone(tmp_path / "media" / name, 3_000 + 50 * number)
    limits = {"seconds_per_asset": TIMEOUT_S, "memory_bytes": 450 << 20}
    config = make_config(tmp_path, limits=limits, max_quarantined=1)
    with shared_engine(config):
        _, first_s = take_in(config, tmp_path / "first")  # with the start of the workers
        _, clean_s = take_in(config, tmp_path / "clean")
        monkeypatch.setattr(ingesting, "FUNCTION", "deadly_worker:probe_or_die")
        report, deadly_s = take_in(config, config.store)
    (count,) = report.partitions
    assert drops(config) == CODE_OF
    assert (count.used, count.quarantined, count.clips) == (95, 5, 95)
    # Beyond twice the clean time: two files run into the time-out or the memory limit, and each death costs a worker.
    allowed_s = 2 * clean_s + TRIES * (2 * TIMEOUT_S + len(CODE_OF) * max(first_s, 1.0))
    assert deadly_s < allowed_s, (deadly_s, clean_s, first_s)
