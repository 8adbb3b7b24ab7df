"""What a killed worker staged is removed by the run that completes, and nothing of a worker that lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from corpus_maker import extract, ingest, make_config, write_pairs

from mmpipe.steps.extract.staging import shard_staging, sweep_staging
from mmpipe.store.layout import StoreLayout

STAGE = """
import sys
from pathlib import Path
from mmpipe.steps.extract.staging import shard_staging
with shard_staging(Path(sys.argv[1])) as staging:
    (staging / "audio-logmel@1").mkdir()
    (staging / "audio-logmel@1" / "000000.tar").touch()
    print(staging, flush=True)
    sys.stdin.read()
"""


def begin(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that stages a shard; return it and its folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", STAGE, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def test_what_is_staged_is_removed_with_its_worker(tmp_path: Path) -> None:
    with pytest.raises(KeyError), shard_staging(tmp_path) as staging:
        (staging / "part").touch()
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_only_folders_of_killed_workers_are_swept(tmp_path: Path) -> None:
    dead, left = begin(tmp_path)
    alive, used = begin(tmp_path)
    (tmp_path / "spool-1").touch()
    try:
        kill(dead)
        assert (left / "audio-logmel@1" / "000000.tar").exists()
        assert sweep_staging(tmp_path) == 1 and sweep_staging(tmp_path / "none") == 0
        assert sorted(tmp_path.iterdir()) == sorted([used, tmp_path / "spool-1"])
    finally:
        kill(alive)


@pytest.mark.usefixtures("warm_workers")
def test_a_run_that_completes_leaves_no_staging_of_a_run_that_was_killed(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["a"])
    config = make_config(tmp_path)
    ingest(config)
    staging = StoreLayout(config.store).staging
    process, left = begin(staging)
    kill(process)
    assert left.parent == staging and left.is_dir()
    extract(config)
    assert [path.name for path in staging.glob("shard-*")] == []
