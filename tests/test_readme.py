"""Everything that the README claims, done."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

sys.path.extend(str(Path(__file__).parent / room) for room in ("features/encoders", "steps", "cli"))
import audio_models
import text_models
import vision_models
from typed_projects import type_words

import mmpipe
from docs.tree import BEGIN, END, render_tree
from examples.demo_corpus import make_corpus
from mmpipe import errors
from mmpipe.config import parse_config

if TYPE_CHECKING:
    from lent_engine import KeptEngine

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCK_NO_MMPIPE = "import sys; sys.modules['mmpipe'] = None\n"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def warm(_kept_engine: KeptEngine) -> Iterator[None]:
    """Let lines be typed in this process, on workers that are up already: tests/cli has those in one of their own."""
    with _kept_engine.lent():
        yield


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory, warm: None) -> Path:
    """Do what the README tells the owner of a folder to do, word by word, on a corpus of 48 clips."""
    folder = tmp_path_factory.mktemp("readme")
    corpus = make_corpus(folder / "made", num_clips=48)
    shutil.move(corpus / "media", folder / "street")
    shutil.move(corpus / "labels.jsonl", folder / "street" / "labels.jsonl")
    commands = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    commands = [command for command in commands if command.startswith("mmpipe ")]
    assert [command.split()[1] for command in commands] == [
        *("init", "run", "status", "quarantine", "predict"),
        *("goals", "fusions", "fusions", "train", "evaluate"),
        *("plan", "verify", "snapshot", "export", "gc", "audit"),
    ]
    for command in commands:
        words = shlex.split(command.replace("FOLDER", "street").replace("FILE", "street/scene-001.mp4"))[1:]
        if words[0] == "run":
            words += ["--dt", "2026-11-20"]  # the date that the README's programs read
        told = type_words(folder, words)
        assert told.code in ((0, 4) if words[0] in ("run", "evaluate") else (0,)), (command, told.out, told.err)
        assert told.out.strip(), command
    return folder


@pytest.mark.slow
def test_the_commands_for_ones_own_files_work(street: Path) -> None:
    assert (street / "mmpipe.toml").exists()
    (model,) = (street / "store" / "models").iterdir()
    assert model.name.startswith("street-") and list((model / "versions").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_the_programs_run_as_they_stand(street: Path, number: int) -> None:
    program = blocks("python")[number]
    with_mmpipe = "import mmpipe" in program
    done = subprocess.run(
        [sys.executable, "-c", ("" if with_mmpipe else BLOCK_NO_MMPIPE) + program],
        cwd=street,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_there_is_no_program_beyond_those_that_are_run() -> None:
    assert len(blocks("python")) == 3


def test_the_config_is_one_that_mmpipe_takes() -> None:
    config = parse_config(tomllib.loads(blocks("toml")[0]))
    assert config.models["street"].corpus == "street"


@pytest.mark.slow
def test_the_config_for_any_media_takes_a_corpus_in(tmp_path: Path, warm: None) -> None:
    corpus = make_corpus(tmp_path / "made", num_clips=4)
    shutil.move(corpus / "media", tmp_path / "raw")
    shutil.move(corpus / "labels.jsonl", tmp_path / "labels.jsonl")
    np.save(tmp_path / "raw" / "scene-001.npy", np.ones((400, 3), np.float32))
    (_, toml, _) = blocks("toml")
    (tmp_path / "mmpipe.toml").write_text(toml.replace('"sidecar", "column:caption"', '"sidecar"'), "utf-8")
    for words in (["ingest", "--dt", "2026-11-20"], ["extract"]):
        told = type_words(tmp_path, words)
        assert told.code == 0, (words, told.out, told.err)
    datasets = {path.name for path in (tmp_path / "store" / "street").iterdir()}
    assert {"signals", "audio-logmel.clean@1", "video-hogdct@1", "audio-logmel@1"} <= datasets
    signals = pl.read_parquet(tmp_path / "store" / "street" / "signals" / "data" / "*" / "*.parquet")
    assert signals.height >= 4 and signals["loudness_lufs"].null_count() == 0


@pytest.mark.slow
def test_the_config_for_networks_makes_features(tmp_path: Path, warm: None) -> None:
    corpus = make_corpus(tmp_path / "made", num_clips=4)
    shutil.move(corpus / "media", tmp_path / "raw")
    vision_models.save_model(tmp_path / "models" / "clip", "clip")
    audio_models.make_whisper(tmp_path / "models" / "whisper")
    text_models.make_bert(tmp_path / "models" / "minilm")
    (tmp_path / "mmpipe.toml").write_text(blocks("toml")[2].replace("window_s = 3.0", "window_s = 0.4"), "utf-8")
    for words in (["ingest", "--dt", "2026-11-20"], ["extract"], ["bench", "extract", "--json"]):
        told = type_words(tmp_path, words)
        assert told.code == 0, (words, told.out, told.err)
    for feature in ("video-hf@1", "audio-hf@1", "text-hf@1", "video-pixels@1", "text-tokens@1"):
        (reader,) = [mmpipe.open(tmp_path / "store" / "street", features=[feature])]
        assert reader.gather([0, 1, 2, 3]).features[feature].mask_BT.any(axis=1).all(), feature


def test_the_tree_is_that_of_the_files() -> None:
    written = README.split(BEGIN)[1].split(END)[0].strip()
    assert written == render_tree().strip(), "run: ./run docs"


def test_the_exit_codes_are_those_of_the_errors() -> None:
    said = {
        int(code)
        for code in re.findall(r"\b(\d+) (?:ok|failed|usage|config|gate|too much|try again|interrupted)", README)
    }
    meant = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert said == meant | {0, 2, 130}


def test_the_commands_of_the_script_exist() -> None:
    script = (REPOSITORY / "run").read_text(encoding="utf-8")
    for command in set(re.findall(r"\./run (\w+)", README)):
        assert re.search(rf"^\s+{command}\)", script, re.MULTILINE), command


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", README.split(BEGIN)[0]):
        assert (REPOSITORY / link).exists(), link
