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


@pytest.mark.parametrize(
    ("number", "stage"), [(signal.SIGINT, "probe"), pytest.param(signal.SIGTERM, "extract", marks=pytest.mark.slow)]
)
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


# What an interpreter that is torn down would run into, as it does into threads of native libraries.
NATIVE = """
import atexit, os, sys, threading, time
from mmpipe.cli import main
class Native:
    def __del__(self):
        os.abort()
sys.kept = Native()
atexit.register(lambda: print("the exit handlers ran"))
def outlive():  # the command: it waits for the threads once it has answered
    while not any(frame.f_code.co_name == "_shutdown" for frame in frames_of(threading.main_thread().ident)):
        time.sleep(0.01)
    print("the thread ended")
def frames_of(thread):
    frame = sys._current_frames()[thread]
    while frame:
        yield frame
        frame = frame.f_back
threading.Thread(target=outlive).start()
{before}
sys.argv = ["mmpipe", *{words!r}]
main()
"""
BROKEN = "sys.modules['mmpipe.cli.main']._run = lambda words: 1 / 0"


@pytest.mark.parametrize(
    ("before", "words", "code", "said"),
    [
        ("", ["--version"], 0, ""),
        ("", ["frob"], 2, "No such command 'frob'"),
        ("", ["verify"], 3, "error: no config at mmpipe.toml"),
        (BROKEN, ["verify"], 1, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_command_ends_with_its_code_whatever_native_libraries_left(
    tmp_path: Path, before: str, words: list[str], code: int, said: str
) -> None:
    program = NATIVE.format(before=before, words=words)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code and said in done.stderr, done
    assert ("Traceback" in done.stderr) == bool(before)
    assert done.stdout.endswith("the thread ended\nthe exit handlers ran\n")
    assert done.stdout.startswith("mmpipe ") == (words == ["--version"])


@pytest.mark.parametrize("module", ["mmpipe", "mmpipe.cli"])
def test_a_profiler_waits_for_the_end_of_the_interpreter(tmp_path: Path, module: str) -> None:
    words = [sys.executable, "-m", "cProfile", "-m", module, "--version"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("mmpipe ") and "cumtime" in done.stdout, done
