"""Everything that the runbook tells a person to type, typed: fast whether it can be, slowly what comes of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from corpus_maker import write_text, write_tone
from pages import DOCS, REPOSITORY, as_toml, blocks_of, do_block, laid_over
from typed_projects import type_words, write_words

from deployments.up import parse_wish
from flows.parameters import BackfillParameters, NightlyParameters
from mmpipe.config import parse_config

if TYPE_CHECKING:
    from lent_engine import KeptEngine

PAGE = DOCS / "runbook.md"
RUNBOOK = PAGE.read_text("utf-8")
FIRST, SECOND = "2026-11-20", "2026-11-21"
PORT = 4980
CONFIG = """
store = "store"
gate = { draws = 200 }
release = { onnx = false }

[corpora.street]
root = "media"
features = ["audio-mfccseg", "text-ngrams"]
labels = { file = "labels.jsonl", group = "speaker" }
signals = { enabled = true }
filters = { quiet = "loudness_lufs > -60 or not has_audio" }

[models.street]
corpus = "street"
target = "word"
inputs = ["audio-mfccseg"]
fusions = ["concat"]
folds = 2
train = { epochs = 2, learning_rate = 0.05 }
encoder = { width = 8, components = 8 }
"""


BLOCKS = blocks_of(PAGE)


# ------------------------------------------------------------------ fast


def test_there_is_nothing_that_is_not_run() -> None:
    assert {block.kind for block in BLOCKS} == {"sh", "sh server", "toml"}
    assert not any(block.not_run for block in BLOCKS)


def test_the_config_stays_one_with_every_edit() -> None:
    config = tomllib.loads(CONFIG)
    for block in BLOCKS:
        if block.kind == "toml":
            config = laid_over(config, tomllib.loads(block.text))
            assert parse_config(tomllib.loads(as_toml(config)))
    assert set(parse_config(config).models) == {"street", "street-next"}


def test_deployments_and_parameters_are_ours() -> None:
    file = yaml.safe_load((REPOSITORY / "deployments" / "prefect.yaml").read_text("utf-8"))
    ours = {f"{deployment['name']}/{deployment['name']}" for deployment in file["deployments"]}
    text = "\n".join(block.text for block in BLOCKS if block.kind == "sh server")
    assert {
        name for name in re.findall(r"\b([a-z-]+/[a-z-]+)\b", text) if name.split("/")[0] == name.split("/")[1]
    } <= ours
    given = [json.loads(found) for found in re.findall(r"(?:--params|-d) '(.+?)'", text)]
    assert len(given) == 3
    for parameters in (entry.get("parameters", entry) for entry in given):
        inner = parameters.get("parameters", parameters)
        (BackfillParameters if "first_date" in inner else NightlyParameters).model_validate(inner)


def test_up_knows_its_options() -> None:
    for options in re.findall(r"\./run up ((?:--\w+ ?)+)", RUNBOOK):
        assert parse_wish(options.split(), {})


# ------------------------------------------------------------------ slow: a store


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory, _kept_engine: KeptEngine) -> Iterator[Path]:
    """Return the folder of a store of two dates, with two versions of a model and a sound that is too quiet."""
    folder = tmp_path_factory.mktemp("runbook")
    write_words(folder)
    write_tone(folder / "media" / "quiet.wav", hz=0)
    with _kept_engine.lent():
        for dt, epochs in ((FIRST, 2), (SECOND, 3)):
            (folder / "mmpipe.toml").write_text(CONFIG.replace("epochs = 2", f"epochs = {epochs}"), "utf-8")
            assert type_words(folder, ["run", "--dt", dt]).code in (0, 4)
            write_tone(folder / "media" / "later.wav", hz=900)
            write_text(folder / "media" / "later.txt", "a caption of the second day")
        yield folder


@pytest.mark.slow
def test_every_line_does_what_it_says(street: Path) -> None:
    """In the order of the page, on one store: 0, or a code that the line itself speaks of."""
    for block in BLOCKS:
        if block.kind != "sh server":
            do_block(block, street)


# ------------------------------------------------------------------ slow: a server


@pytest.mark.sweep  # a server, started twice: minutes
@pytest.mark.prefect
def test_every_line_for_a_server_works(tmp_path: Path) -> None:
    """Bring one up, and type them as they stand; the change to PostgreSQL is read, not typed."""
    if not shutil.which("curl"):
        pytest.skip("no curl")
    (tmp_path / "raw").mkdir()
    (tmp_path / "mmpipe.toml").write_text('store = "store"\n[corpora.words]\nroot = "raw"\n', "utf-8")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, module in (("prefect", "prefect"), ("python3", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {f"-m {module}" if module else ""} "$@"\n')
        (programs / name).chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MMPIPE"))}
    environment = {
        **kept,
        "PATH": f"{programs}:{kept['PATH']}",
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "COLUMNS": "300",  # a table of a narrow terminal breaks names
        "MMPIPE_CONFIG": str(tmp_path / "mmpipe.toml"),
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }
    try:
        up = run_module(environment, "up", "--port", str(PORT))
        assert up.returncode == 0, up.stderr
        environment["PREFECT_API_URL"] = f"{up.stdout.strip()}/api"
        script = "\n".join(
            line
            for block in BLOCKS
            if block.kind == "sh server"
            for line in block.lines
            if not line.startswith("./run")
        )
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, (done.stdout[-4000:], done.stderr[-4000:])
        assert "mmpipe: a run without a heartbeat has crashed" in done.stdout
    finally:
        assert run_module(environment, "down").returncode == 0


def run_module(environment: dict[str, str], name: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Do what `./run up` and `./run down` do, in the environment that is there already."""
    command = [sys.executable, "-m", f"deployments.{name}", *options]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
