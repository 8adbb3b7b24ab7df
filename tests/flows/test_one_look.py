"""The days of a backfill share one look at the corpus's folder, also where each runs in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

from mmpipe.config import Config, load_config
from mmpipe.steps.ingest.intake import Look, look_at_corpus
from tasks.ingest import ingest_corpus, one_look

DAYS = ("2026-11-01", "2026-11-02")


def test_days_in_threads_of_their_own_list_the_folder_once(write_corpus: Callable[..., Path]) -> None:
    by_path = '[corpora.tones.dates]\nrule = "path"\n'
    config = load_config(write_corpus({f"{day}/a.wav": None for day in DAYS}, by_path))
    asked: list[str] = []

    def take(config: Config, corpus: str) -> Look:
        asked.append(corpus)
        return look_at_corpus(config, corpus)

    with one_look(config, take), ThreadPoolExecutor(len(DAYS)) as pool:
        runs = [pool.submit(copy_context().run, ingest_corpus.fn, config, "tones", day) for day in DAYS]
        reports = [run.result() for run in runs]
    assert [report.partitions[0].used for report in reports] == [1, 1] and asked == ["tones"]
    ingest_corpus.fn(config, "tones", DAYS[0])  # outside of it each looks for itself
    assert asked == ["tones"]
