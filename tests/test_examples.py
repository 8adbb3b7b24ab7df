"""The plug-ins of `examples/plugins`: their own tests, and a night in which all three take part."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / "tests"), str(REPOSITORY / "tests" / "steps")]
from corpus_maker import write_text, write_tone  # noqa: E402
from plugin_site import install  # noqa: E402

PLUGINS = REPOSITORY / "examples" / "plugins"
PACKAGES = sorted(path.parent for path in PLUGINS.glob("*/pyproject.toml"))
CONFIG = """
store = "store"
engine = { workers = 1 }
gate = { draws = 200 }
release = { onnx = false }

[corpora.talk]
root = "shelf.sqlite"
features = ["audio-contrast", "text-words"]
labels = { file = "labels.jsonl", group = "speaker" }

[corpora.talk.source]
kind = "plugin"
plugin = "sqlite-media"
options = { table = "files", name = "path", data = "bytes" }

[features.audio-contrast]
bands = 5

[models.word]
corpus = "talk"
target = "word"
inputs = ["audio-contrast", "text-words"]
fusions = ["lse_pool"]
fusion_options.lse_pool.sharpness = 2.0
folds = 2
train = { epochs = 1 }
encoder = { width = 8, components = 8 }
"""
# One process for a night and all that is asked after it: starting takes longer than they do.
TYPE = """
import contextlib, io, json, sys
from mmpipe.cli import main
told = []
for line in json.loads(sys.argv[1]):
    out, code = io.StringIO(), 0
    with contextlib.redirect_stdout(out):
        try:
            main([*line, "--json"])
        except SystemExit as end:
            code = end.code
    told.append([code, json.loads(out.getvalue() or "null")])
print(json.dumps(told))
"""
REFUSED = 4  # by the gate: a model that learnt for a moment earns nothing


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The packages, installed for processes that are started with this."""
    site = tmp_path_factory.mktemp("examples") / "site"
    for package in PACKAGES:
        install(site, package)
    return {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{REPOSITORY}", "PYTHONDONTWRITEBYTECODE": "1"}


def run(environment: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )


def write_shelf(folder: Path) -> None:
    """Write a database of 16 recordings and one file that is no film, and labels of them."""
    rows: list[tuple[str, bytes]] = [("broken.mp4", b"no film")]
    labels = []
    for number in range(16):
        name = f"day/s{number:02d}"
        write_tone(folder / "tone.wav", hz=(400, 2_000)[number % 2] + 7 * number)
        rows += [(f"{name}.wav", (folder / "tone.wav").read_bytes()), (f"{name}.txt", f"caption {number}".encode())]
        labels.append(json.dumps({"id": name, "word": ("low", "high")[number % 2], "speaker": f"p{number // 2}"}))
    write_text(folder / "labels.jsonl", "\n".join(labels))
    with closing(sqlite3.connect(folder / "shelf.sqlite")) as shelf, shelf:
        shelf.execute("CREATE TABLE files (path TEXT, bytes BLOB)")
        shelf.executemany("INSERT INTO files VALUES (?, ?)", rows)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus in a database, whose model fuses the example's extractor by the example's fusion."""
    folder = tmp_path_factory.mktemp("night")
    write_shelf(folder)
    write_text(folder / "mmpipe.toml", CONFIG)
    return folder


@pytest.fixture(scope="module")
def told(project: Path, environment: dict[str, str]) -> dict[str, Any]:
    """What a night says, and after it the verbs that look."""
    lines = {
        "night": ["run", "--dt", "2026-11-20"],
        "datasets": ["ls"],
        "quarantine": ["quarantine", "ls"],
        "models": ["models", "ls"],
        "extractor": ["config", "features.audio-contrast"],
        "source": ["config", "corpora.source.options"],
        "fusion": ["fusions", "lse_pool"],
        "plan": ["plan"],
        "probe": ["probe", "broken.mp4"],
        "doctor": ["doctor"],
    }
    done = run(environment, project, "-c", TYPE, json.dumps(list(lines.values())))
    assert done.returncode == 0, done.stderr
    answers = dict(zip(lines, json.loads(done.stdout.splitlines()[-1]), strict=True))
    assert {name: code for name, (code, _) in answers.items() if code and name != "doctor"} in (
        {},
        {"night": REFUSED},
    ), done.stderr
    return {name: said for name, (_, said) in answers.items()}


@pytest.mark.slow
def test_the_tests_of_the_examples_pass(environment: dict[str, str]) -> None:
    line = ("-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", str(PLUGINS))
    done = run(environment, REPOSITORY, *line)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d+ passed", done.stdout, re.MULTILINE)


@pytest.mark.slow
def test_a_night_mirrors_from_the_source_extracts_and_fuses(project: Path, told: dict[str, Any]) -> None:
    rows = {row["dataset"]: row["rows"] for row in told["datasets"]}
    assert rows["audio-contrast@1"] == rows["text-words@1"] == 16
    assert (project / "store" / "_mirror" / "talk" / "files" / "day" / "s00.wav").is_file()
    (broken,) = told["quarantine"]
    assert broken["count"] == 1, "the file that is no film"
    assert len(told["models"]) == 1


@pytest.mark.slow
def test_a_night_without_news_finds_nothing_due(told: dict[str, Any]) -> None:
    assert told["plan"]["due"] == []


@pytest.mark.slow
def test_a_file_of_the_source_is_looked_at_again(told: dict[str, Any]) -> None:
    (found,) = told["probe"]
    assert "not_media" in str(found), found


@pytest.mark.slow
def test_their_parameters_are_told(told: dict[str, Any]) -> None:
    assert {row["key"] for row in told["extractor"]} >= {
        "features.audio-contrast.bands",
        "features.audio-contrast.share",
    }
    assert "of the source sqlite-media: column with its bytes" in [row["description"] for row in told["source"]]
    (plugins,) = [row for row in told["doctor"] if row["check"] == "plug-ins"]
    assert (
        plugins["state"] == "ok"
        and "extractor audio-contrast, fusion lse_pool, source sqlite-media" in plugins["detail"]
    )
    (facts,) = told["fusion"]
    assert facts["formula"].startswith("z = log(mean_m exp(t h_m)) / t")
    assert facts["sources"] == ["Pinheiro and Collobert 2015"]


def test_every_example_stands_in_the_list() -> None:
    assert [package.name for package in PACKAGES] == ["audio-contrast", "lse-pool", "sqlite-media"]
    text = (PLUGINS / "README.md").read_text()
    groups = set()
    for package in PACKAGES:
        assert f"[{package.name}]({package.name})" in text
        groups |= set(tomllib.loads((package / "pyproject.toml").read_text())["project"]["entry-points"])
    assert groups == {"mmpipe.extractors", "mmpipe.fusions", "mmpipe.sources"}
