"""Where the process itself matters: a signal in the middle, a reader that goes away, a terminal without umlauts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from corpus_maker import CORPUS, DT, make_config, write_pairs
from typed_projects import Type, write_config

from mmpipe.store.layout import StoreLayout
from mmpipe.store.verify import verify_store

LINE = [sys.executable, "-m", "mmpipe.cli"]


def start(folder: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    """Type a line in a session of its own."""
    return subprocess.Popen(
        [*LINE, *words],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def session_of(leader: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue  # it ended meanwhile
        if int(session) == leader and state not in "ZX":
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize(("number", "stage"), [(signal.SIGINT, "probe"), (signal.SIGTERM, "extract")])
def test_an_interrupted_night_ends_with_130_leaves_nobody_and_goes_on(
    tmp_path: Path, mmpipe: Type, number: signal.Signals, stage: str
) -> None:
    write_pairs(tmp_path / "media", [f"n{index}" for index in range(40)])
    write_config(tmp_path, "shard_clips = 4")
    with start(tmp_path, "run", "--dt", DT) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(stage):
                # A terminal interrupts the workers too; a service manager asks the leader alone.
                send = os.killpg if number is signal.SIGINT else os.kill
                send(process.pid, number)
                break
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, (out, err)
    assert "interrupted; what is finished is kept" in err and "Traceback" not in err
    assert session_of(process.pid) == []
    assert mmpipe(tmp_path, "run", "--dt", DT).code == 0
    assert {row["state"] for row in mmpipe(tmp_path, "status", "--json").json()} == {"10 complete"}
    assert not verify_store(StoreLayout(make_config(tmp_path).store))


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["one"])
    write_config(tmp_path)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [*LINE, "init", "--corpus", "media", "--dry-run"], cwd=tmp_path, stdout=closed, stderr=subprocess.PIPE
        )
    assert done.returncode == 0 and b"Traceback" not in done.stderr and b"Broken pipe" not in done.stderr


def test_names_that_the_terminal_cannot_spell_are_spelt_out(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["über", "日本"])
    write_config(tmp_path)
    with start(tmp_path, "run", "--dt", DT, PYTHONIOENCODING="ascii") as process:
        process.communicate(timeout=60)
    assert process.returncode == 0
    with start(tmp_path, "show", "über", PYTHONIOENCODING="ascii") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "\\xfcber" in out and "Traceback" not in err, (out, err)
    assert (tmp_path / "store" / CORPUS).is_dir()
