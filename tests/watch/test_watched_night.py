"""A real night, and what each of its watchers heard."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from corpus_maker import DT, write_tone
from openlineage_schemas import check_event

from mmpipe.config import Config, load_config
from mmpipe.errors import PartialError
from mmpipe.steps.night.night import run_night
from mmpipe.store.layout import StoreLayout
from mmpipe.store.revisions import read_head

pytestmark = pytest.mark.usefixtures("warm_workers")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A corpus of two tones and of something that is no media, watched by a file."""
    (tmp_path / "raw").mkdir()
    write_tone(tmp_path / "raw" / "a.wav")
    write_tone(tmp_path / "raw" / "b.wav", 300.0)
    (tmp_path / "raw" / "no\nmovie.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + b"x" * 5000)
    (tmp_path / "mmpipe.toml").write_text(
        'store = "store"\n[corpora.tones]\nroot = "raw"\nfeatures = ["audio-logmel"]\nmax_quarantined = 0.5\n'
        '[watch]\nlineage = "lineage.jsonl"\n'
    )
    return load_config(tmp_path / "mmpipe.toml")


def events(config: Config) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(config.watch.lineage).read_text().splitlines()]


def test_lineage_names_the_very_manifests(config: Config) -> None:
    run_night(config, "tones", DT)
    told = events(config)
    for event in told:
        check_event(event)
    ends = {event["job"]["name"]: event for event in told if event["eventType"] == "COMPLETE"}
    assert set(ends) == {f"{stage}.tones" for stage in ("night", "ingest", "extract", "commit", "report")}
    dataset = StoreLayout(config.store).dataset("tones", "audio-logmel@1")
    head = read_head(dataset, DT)
    assert head is not None
    (made,) = ends["commit.tones"]["outputs"]
    assert made["name"] == f"{dataset.root}/dt={DT}"
    assert made["facets"]["version"]["datasetVersion"] == head.digest()
    assert made["outputFacets"]["outputStatistics"]["rowCount"] == 2
    (clips,) = ends["ingest.tones"]["outputs"]
    assert clips["name"] == ends["extract.tones"]["inputs"][0]["name"] == ends["commit.tones"]["inputs"][0]["name"]
    parents = {name: end["run"]["facets"].get("parent", {}).get("job", {}).get("name") for name, end in ends.items()}
    assert parents["commit.tones"] == "extract.tones" and parents["extract.tones"] == "night.tones"


def test_what_falls_into_quarantine_is_logged_once_with_what_ffmpeg_said(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "mmpipe"):
        run_night(config, "tones", DT)
    (drop,) = [record for record in caplog.records if record.name == "mmpipe.quarantine"]
    assert (drop.levelno, drop.code, drop.source) == (logging.WARNING, "not_media", "no%0Amovie")  # type: ignore[attr-defined]
    said = [record.getMessage() for record in caplog.records if record.name == "mmpipe.worker"]
    assert any("no%0Amovie.mp4" in line and "moov atom not found" in line for line in said)
    assert all(record.getMessage().isprintable() for record in caplog.records)
    caplog.clear()
    with caplog.at_level(logging.INFO, "mmpipe"):
        run_night(config, "tones", DT)
    assert not [record for record in caplog.records if record.name == "mmpipe.quarantine"], "it is no news"
    assert "night of tones dt=2026-11-20 completed" in caplog.text


def test_a_stage_that_fails_says_why(config: Config) -> None:
    strict = config.corpora["tones"].model_copy(update={"max_quarantined": 0.0})
    with pytest.raises(PartialError):
        run_night(config.model_copy(update={"corpora": {"tones": strict}}), "tones", DT)
    failed = [event for event in events(config) if event["eventType"] == "FAIL"]
    assert [event["job"]["name"] for event in failed] == ["ingest.tones", "night.tones"]
    assert "are in quarantine" in failed[0]["run"]["facets"]["errorMessage"]["message"]


def test_a_watcher_that_cannot_write_fails_no_night(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    Path(config.watch.lineage).mkdir()
    with caplog.at_level(logging.WARNING, "mmpipe.watch"):
        run_night(config, "tones", DT)
    assert caplog.text.count("a listener failed") == 1 and "IsADirectoryError" in caplog.text
