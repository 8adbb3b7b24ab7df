from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from corpus_maker import DT, write_tone
from prometheus_client.parser import text_string_to_metric_families

from mmpipe.cli import main
from mmpipe.config import load_config
from mmpipe.steps.tell.metrics import render_metrics
from mmpipe.watch.metrics import CorpusFacts, FeatureFacts, ModelFacts, StoreFacts, render_facts
from mmpipe.watch.totals import BOUNDS_S, StageTotals

VALUES = FeatureFacts(
    feature="audio-logmel@1", values=7, nbytes=99, shards={"complete": 2, "failed": 1}, newest_age_s=3600.0, late=True
)
FACTS = StoreFacts(
    corpora=(
        CorpusFacts(
            corpus="tones", readable=True, clips=9, features=(VALUES,), quarantined={("probe", 'odd "code"\n'): 2}
        ),
        CorpusFacts(corpus="broken", readable=False),
    ),
    models=(ModelFacts(model="m", version=2, refused=True, measure="accuracy", worth=0.75, production=1),),
    stages=(
        StageTotals(
            stage="extract", corpus="tones", completed=2, failed=1, seconds=12.5, last_end_s=9.0, last_success_s=8.0,
            classes=(1, 0, 2, *(0,) * (len(BOUNDS_S) - 2)),
        ),
        StageTotals(stage="train", corpus="tones", model="m"),
    ),
    free_bytes=1 << 40,
)  # fmt: skip
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> Samples:
    """Every sample by name and labels, as Prometheus's own parser has them."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f"mmpipe_{name}", frozenset(labels.items())))


@contextmanager
def served(text: str) -> Iterator[str]:
    """Serve a text as a desk would."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *words: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/metrics"
    thread.join()
    server.server_close()


def test_a_scrape_has_every_fact() -> None:
    with served(render_facts(FACTS).decode()) as url, urllib.request.urlopen(url) as answer:
        samples = parse(answer.read().decode())
    assert of(samples, "clips", corpus="tones") == 9
    feature = {"corpus": "tones", "feature": "audio-logmel@1"}
    assert of(samples, "values", **feature) == 7 and of(samples, "store_bytes", **feature) == 99
    assert of(samples, "shards", **feature, state="failed") == 1
    assert of(samples, "shards", **feature, state="missing") == 0, "an alert needs a zero to rise from"
    assert (
        of(samples, "newest_partition_age_seconds", **feature) == 3600 and of(samples, "feature_late", **feature) == 1
    )
    assert of(samples, "quarantined", corpus="tones", stage="probe", code='odd "code"\n') == 2
    assert of(samples, "corpus_readable", corpus="broken") == 0 and of(samples, "clips", corpus="broken") is None
    assert of(samples, "model_worth", model="m", measure="accuracy") == 0.75
    assert of(samples, "model_refused", model="m") == 1 and of(samples, "model_production_version", model="m") == 1
    assert of(samples, "store_free_bytes") == 1 << 40


def test_stages_are_a_histogram_and_counters() -> None:
    samples = parse(render_facts(FACTS).decode())
    stage = {"stage": "extract", "corpus": "tones", "model": ""}
    below = [of(samples, "stage_seconds_bucket", **stage, le=bound) for bound in ("1.0", "5.0", "15.0", "+Inf")]
    assert below == [1, 1, 3, 3], "each bucket holds those before it"
    assert of(samples, "stage_seconds_count", **stage) == 3 and of(samples, "stage_seconds_sum", **stage) == 12.5
    assert of(samples, "stage_runs_total", **stage, ending="failed") == 1
    assert of(samples, "stage_last_success_timestamp_seconds", **stage) == 8
    never = {"stage": "train", "corpus": "tones", "model": "m"}
    assert of(samples, "stage_last_success_timestamp_seconds", **never) is None, "no success in 1970"


def test_a_store_that_was_never_made_has_its_free_bytes(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    assert set(parse(render_metrics(load_config(config), lambda place: 5))) == {
        ("mmpipe_store_free_bytes", frozenset())
    }


@pytest.mark.usefixtures("warm_workers")
def test_a_night_shows_in_the_metrics_and_in_a_file_that_is_whole(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for number in range(3):
        write_tone(tmp_path / "raw" / f"{number}.wav", 300.0 + number)
    (tmp_path / "raw" / "bad.wav").write_bytes(b"RIFF nonsense")
    config, target = write_config(tmp_path), tmp_path / "mmpipe.prom"
    target.write_text("old")
    for words in (["run", "--dt", DT, "-c", str(config)], ["metrics", "-c", str(config), "--output", str(target)]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0
    samples = parse(target.read_text())
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".mmpipe.prom")]
    feature = {"corpus": "tones", "feature": "audio-logmel@1"}
    assert of(samples, "clips", corpus="tones") == of(samples, "values", **feature) == 3
    assert of(samples, "quarantined", corpus="tones", stage="probe", code="not_media") == 1
    assert of(samples, "shards", **feature, state="complete") == 2
    for stage in ("night", "ingest", "extract", "commit", "report"):
        assert of(samples, "stage_runs_total", stage=stage, corpus="tones", model="", ending="completed") == 1


def write_config(folder: Path) -> Path:
    config = folder / "mmpipe.toml"
    config.write_text(
        'store = "store"\n[corpora.tones]\nroot = "raw"\nfeatures = ["audio-logmel"]\nshard_clips = 2\n'
        "max_quarantined = 0.5\n"
    )
    return config
