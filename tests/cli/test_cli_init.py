"""The first config: what is asked at a terminal, what is written, and that it runs as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from corpus_maker import DT, write_text, write_tone
from PIL import Image
from typed_projects import Type

pytestmark = pytest.mark.usefixtures("warm_workers")


def write_sounds(folder: Path) -> None:
    """Write sounds, and a table of labels elsewhere."""
    (folder / "media").mkdir()
    rows = []
    for number in range(8):
        write_tone(folder / "media" / f"s{number}.wav", 300 + 40 * number)
        rows.append(
            json.dumps(
                {"id": f"s{number}", "word": "ab"[number % 2], "mood": "xy"[number // 4], "speaker": number // 2}
            )
        )
    write_text(folder / "tags.jsonl", "\n".join(rows))


def write_pictures(folder: Path) -> None:
    (folder / "media").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 48, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "media" / f"p{number}.png")


def write_texts(folder: Path) -> None:
    (folder / "media").mkdir()
    for number in range(3):
        write_text(folder / "media" / f"t{number}.txt", f"a sentence of the number {number}")


def write_arrays(folder: Path) -> None:
    (folder / "media").mkdir()
    for number in range(3):
        np.save(folder / "media" / f"a{number}.npy", np.full((5, 2), number, np.float32))


def typed_at_a_terminal(folder: Path, answers: str, *words: str) -> str:
    """Answer what is asked, and return all that was shown."""
    ours, theirs = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "mmpipe.cli", *words], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, answers.encode())
    shown = b""
    try:
        while data := os.read(ours, 65_536):
            shown += data
    except OSError:  # the other end is closed
        pass
    assert child.wait(timeout=120) == 0, shown
    os.close(ours)
    return shown.decode()


def test_a_terminal_is_asked_three_questions(tmp_path: Path) -> None:
    write_sounds(tmp_path)
    shown = typed_at_a_terminal(tmp_path, "media\ntags.jsonl\nmood\n", "init")
    assert shown.index("Where are the raw files") < shown.index("Which table") < shown.index("to be learnt: word, mood")
    (model,) = tomllib.loads((tmp_path / "mmpipe.toml").read_text("utf-8"))["models"].values()
    assert model["target"] == "mood" and model["folds"] == 4


def test_a_table_that_lies_there_is_declined_by_none_or_by_a_flag(tmp_path: Path, mmpipe: Type) -> None:
    write_sounds(tmp_path)
    (tmp_path / "tags.jsonl").rename(tmp_path / "labels.jsonl")
    shown = typed_at_a_terminal(tmp_path, "media\nnone\n", "init")
    assert "labels.jsonl]" in shown and "to be learnt" not in shown
    asked = (tmp_path / "mmpipe.toml").read_text("utf-8")
    assert "models" not in tomllib.loads(asked)
    told = mmpipe(tmp_path, "init", "--corpus", "media", "--no-labels", "--force")
    assert told.code == 0 and (tmp_path / "mmpipe.toml").read_text("utf-8") == asked
    told = mmpipe(tmp_path, "init", "--corpus", "media", "--no-labels", "--labels", "labels.jsonl", "--force")
    assert told.code == 2 and "--labels names one: leave out one" in told.err


def test_nobody_is_asked_off_a_terminal_or_with_the_flags(tmp_path: Path, mmpipe: Type) -> None:
    write_sounds(tmp_path)
    told = mmpipe(tmp_path, "init")
    assert told.code == 2 and "error: Invalid value for --corpus: name the folder of raw files" in told.err
    assert not (tmp_path / "mmpipe.toml").exists()
    told = mmpipe(tmp_path, "init", "--corpus", "media", "--labels", "tags.jsonl", "--target", "word", "--dry-run")
    assert told.code == 0 and "Where" not in told.err and not (tmp_path / "mmpipe.toml").exists()


def test_every_table_says_what_it_is_for_and_every_guess_that_it_is_one(tmp_path: Path, mmpipe: Type) -> None:
    write_sounds(tmp_path)
    told = mmpipe(tmp_path, "init", "--corpus", "media", "--labels", "tags.jsonl")
    lines = (tmp_path / "mmpipe.toml").read_text("utf-8").splitlines()
    for before, line in pairwise(lines):
        if line.startswith("["):
            assert before.startswith("# "), line
    for guess in told.err.splitlines():
        assert f"#   {guess.removeprefix('# ')}" in lines
    assert any("or: mood" in line for line in lines)


def test_a_name_cannot_leave_its_comment(tmp_path: Path, mmpipe: Type) -> None:
    folder = tmp_path / "a\nstore = 'elsewhere'"
    folder.mkdir()
    write_text(folder / "one.txt", "words")
    assert mmpipe(tmp_path, "init", "--corpus", folder.name).code == 0
    assert tomllib.loads((tmp_path / "mmpipe.toml").read_text("utf-8"))["store"] == "store"


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_pictures, write_texts, write_arrays])
def test_what_is_written_runs_to_a_report(tmp_path: Path, mmpipe: Type, write: object) -> None:
    """Without labels; with them: docs/tutorial.md, which the tests of the pages do."""
    write(tmp_path)  # type: ignore[operator]
    assert mmpipe(tmp_path, "init", "--corpus", "media").code == 0
    assert mmpipe(tmp_path, "run", "--dt", DT).code == 0
    assert mmpipe(tmp_path, "report", "--dt", DT).code == 0
    assert list((tmp_path / "store" / "reports").glob("*.html"))
    assert [row["clips"] for row in mmpipe(tmp_path, "status", "--json").json()].count(3) > 0
