"""Offline runs are read back record by record; no word of them leaves the machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tracked import epoch, fit

from mmpipe.errors import ConfigError
from mmpipe.train.log import scalars_of
from mmpipe.train.trackers.wandb import WandbTracker, require_wandb

BLOCK, WHOLE, LAST = 32_768, 1, 4  # of LevelDB's log
SECRET = "0123456789abcdef" * 2 + "01234567"
CHILD = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
reached = []
def hear(event, details):
    if event == "socket.connect" and isinstance(details[1], tuple):
        reached.append(str(details[1]))
sys.addaudithook(hear)
from tracked import epoch, fit
from mmpipe.train.trackers.mlflow import MlflowTracker
from mmpipe.train.trackers.wandb import WandbTracker
for kind in (MlflowTracker, WandbTracker):
    tracker = kind(fit(), Path(sys.argv[1]))
    tracker.begin([epoch(1)])
    tracker.add(epoch(2))
    tracker.end(finished=True)
print("REACHED", json.dumps(reached))
"""

KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tracked import epoch, fit
from mmpipe.train.trackers.wandb import WandbTracker
tracker = WandbTracker(fit("killed"), Path(sys.argv[1]))
tracker.begin([])
tracker.add(epoch(1))
os.kill(os.getpid(), signal.SIGKILL)
"""


def track(folder: Path, name: str, *, known: int, upto: int) -> None:
    tracker = WandbTracker(fit(name), folder)
    tracker.begin([epoch(number) for number in range(1, known + 1)])
    for number in range(known + 1, upto + 1):
        tracker.add(epoch(number))
    tracker.end(finished=True)


def records_of(folder: Path) -> list:
    """Return the records of the only run: a log in LevelDB's format behind 7 bytes, of W&B's own messages."""
    from wandb.proto import wandb_internal_pb2

    require_wandb().teardown()  # its service has written all when it is gone, and not when a run is finished
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    data, at, records, body = file.read_bytes(), 7, [], b""
    assert data[:4] == b":W&B"
    while at < len(data):
        left = BLOCK - at % BLOCK
        if left < 7:
            at += left
            continue
        _sum, length, kind = struct.unpack("<IHB", data[at : at + 7])
        body += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (WHOLE, LAST):
            records.append(wandb_internal_pb2.Record.FromString(body))
            body = b""
    return records


def rows_of(records: list) -> list[dict]:
    items = [record.history.item for record in records if record.HasField("history")]
    return [{item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in row} for row in items]


def test_a_fit_is_an_offline_run_with_its_settings_and_every_epoch(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    track(tmp_path, "fits/concat/part-0-seed-0", known=1, upto=3)
    records = records_of(tmp_path)
    rows = rows_of(records)
    assert [row["_step"] for row in rows] == [1, 2, 3]
    assert {tag: rows[1][tag] for tag in scalars_of(epoch(2))} == pytest.approx(scalars_of(epoch(2)))
    (run,) = [record.run for record in records if record.HasField("run")][:1]
    assert (run.project, run.run_group, run.display_name) == ("who", "who-0a1b", "fits/concat/part-0-seed-0")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["train.learning_rate"] == 0.25 and config["train.balance_noise"] is True
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    assert not list(tmp_path.rglob("requirements.txt")) and not list(tmp_path.rglob("wandb-metadata.json"))


def test_a_killed_fit_that_goes_on_has_one_run_without_gaps_or_doubles(tmp_path):
    words = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent)]
    assert subprocess.run(words, capture_output=True, timeout=120).returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 1
    track(tmp_path, "killed", known=2, upto=3)
    assert [row["_step"] for row in rows_of(records_of(tmp_path))] == [1, 2, 3]


@pytest.mark.slow
def test_no_tracker_reaches_for_a_network(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.2)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}"
        places = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), url)
        quiet = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_CURRENT_TEST")}
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent)],
            env=quiet | places | {"WANDB_BASE_URL": url, "WANDB_API_KEY": SECRET, "WANDB_MODE": "online"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "REACHED []" in done.stdout, done.stdout + done.stderr
        with pytest.raises(TimeoutError):
            trap.accept()
    assert list(tmp_path.glob("wandb/offline-run-*")) and (tmp_path / "mlflow.db").exists()


def test_without_wandb_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"pip install 'mmpipe\[wandb\]'"):
        require_wandb()
