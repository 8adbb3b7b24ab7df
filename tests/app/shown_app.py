"""A small project with hostile words in it, and a client of the app over it: what the tests of the app begin with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus_maker import DT, LATER, write_film, write_picture, write_text, write_tone
from starlette.testclient import TestClient

from mmpipe.config import load_config
from mmpipe.registry.aliases import nominate, promote, rollback
from mmpipe.registry.versions import publish_version
from mmpipe.steps.app.store_site import StoreSite
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.store.layout import StoreLayout
from mmpipe.store.snapshot import save_snapshot, take_snapshot

REPOSITORY = Path(__file__).resolve().parents[2]
CORPUS = "street"
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
CONFIG = """
store = "store"
[corpora.street]
root = "media"
features = ["audio-logmel", "text-ngrams", "video-hogdct"]
labels = { file = "labels.jsonl" }
max_quarantined = 0.9
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A client of the app, and what it shows."""

    client: TestClient
    folder: Path
    site: StoreSite

    @property
    def layout(self) -> StoreLayout:
        return StoreLayout(self.folder / "store")

    def json(self, address: str) -> Any:
        mark = "&" if "?" in address else "?"
        answer = self.client.get(f"{address}{mark}format=json")
        assert answer.status_code == 200, answer.text
        return answer.json()


def make_street(folder: Path) -> None:
    """Make a project of two dates, with a model, a snapshot and a report, by the workers of the caller."""
    media = folder / "media"
    media.mkdir()
    for number in range(2):
        write_film(media / f"film{number}.mp4", hz=400 + 100 * number)
        write_text(media / f"film{number}.txt", f"words {number} {EVIL}")
    write_tone(media / "pair.wav")
    write_picture(media / "pair.png")
    write_text(media / f"no {EVIL.replace('/', '')}.wav", "no sound")
    rows = [{"id": name, "event": EVIL, "n": n} for n, name in enumerate(("film0", "film1", "pair", "late"))]
    write_text(folder / "labels.jsonl", "\n".join(json.dumps(row) for row in rows))
    (folder / "mmpipe.toml").write_text(CONFIG)
    config = load_config(folder / "mmpipe.toml")
    ingest_corpus(config, CORPUS, DT)
    extract_plan(config, plan_corpus(config, CORPUS))
    write_tone(media / "late.wav", hz=900)
    ingest_corpus(config, CORPUS, LATER)
    publish_toys(StoreLayout(config.store))


def publish_toys(layout: StoreLayout) -> None:
    """Publish two versions with an evil verdict, move the aliases, and keep a snapshot and a report."""
    for number, status in enumerate(("candidate", "candidate"), start=1):
        verdict = {"sentence": f"it holds {EVIL}", "judged": "concat", "measure": "accuracy", "checks": [], "n": number}
        files = {
            "verdict.json": json.dumps(verdict).encode(),
            "metrics.json": json.dumps({"measured": {"concat": {"accuracy": 0.75, "confusion": [[1]]}}}).encode(),
            "lineage.json": json.dumps({"corpus": CORPUS, "manifests": [], "code": {"mmpipe": EVIL}}).encode(),
        }
        publish_version(layout.models, "event", files, status=status, recipe_digest=str(number))
    nominate(layout.models, "event", "1", why="first", who="me")
    promote(layout.models, "event", "1", why=f"good {EVIL}", who="me")
    promote(layout.models, "event", "2", why="better", who="me")
    rollback(layout.models, "event", why="worse at night", who="me")
    save_snapshot(layout, take_snapshot(layout, CORPUS, ("audio-logmel@1",), (DT,)))
    layout.reports.mkdir(exist_ok=True)
    (layout.reports / f"street-{DT}.html").write_text("<!doctype html><title>r</title><p>a report</p>")
    (layout.reports / "outside.html").symlink_to("/etc/passwd")
    (layout.reports / ".hidden.html").write_text("hidden")


@contextmanager
def start_app(project: Path, cache: Path) -> Iterator[str]:
    """Start `mmpipe app`, yield its address without the last slash, and end it as Ctrl-C does."""
    environment = os.environ | {"MMPIPE_CACHE": str(cache), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "mmpipe.cli", "app", "--no-open", "--json", "-c", str(project / "mmpipe.toml")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    try:
        assert process.stdout and process.stderr
        told = ""
        while not told.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            told += line
        yield json.loads(told)["address"].rstrip("/")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, ""), said
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
