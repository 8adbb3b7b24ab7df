from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmpipe.errors import TransientError
from mmpipe.store.layout import create_store
from mmpipe.store.lease import Lease

HOLD = """
import sys, time
from pathlib import Path
from mmpipe.store.layout import create_store
from mmpipe.store.lease import Lease
with Lease.acquire(create_store(Path(sys.argv[1])), "talk"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def store(fast_path):
    return create_store(fast_path / "store")


@pytest.fixture
def other_process(store):
    """Return a process that holds the lease `talk`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(store.root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def write_record(store, **other) -> Path:
    """Leave the lease of another machine, or something stranger."""
    path = store.leases / "talk.json"
    path.parent.mkdir(exist_ok=True)
    record = {"host": "far boot pid:[1]", "pid": 7, "started": 1, "since": "2026-11-20T01:02:03+00:00", "nonce": "n"}
    path.write_text(json.dumps(record | other))
    return path


def make_old(path: Path, age_s: float) -> None:
    os.utime(path, (time.time() - age_s, time.time() - age_s))


def test_one_has_it_and_gives_it_back(store):
    with Lease.acquire(store, "talk") as lease:
        lease.check()
        assert (store.leases / "talk.json").exists()
        with Lease.acquire(store, "other"):
            pass
    assert not (store.leases / "talk.json").exists()
    with Lease.acquire(store, "talk"):
        pass


def test_it_is_given_back_after_an_error(store):
    with pytest.raises(RuntimeError), Lease.acquire(store, "talk"):
        raise RuntimeError
    with Lease.acquire(store, "talk"):
        pass


def test_the_loser_learns_who_has_it_since_when_and_what_to_do(store, other_process):
    with pytest.raises(TransientError, match=rf"talk .* process {other_process.pid} on .* since 20\d\d-.*run again"):
        Lease.acquire(store, "talk")


@pytest.mark.parametrize("reaped", [True, False])
def test_a_killed_holder_is_replaced_at_once(store, other_process, reaped):
    other_process.send_signal(signal.SIGKILL)
    if reaped:
        other_process.wait()
    else:
        os.waitid(os.P_PID, other_process.pid, os.WEXITED | os.WNOWAIT)  # dead, but still in the process table
    with Lease.acquire(store, "talk") as lease:
        lease.check()


def test_a_stopped_holder_on_this_machine_keeps_it(store, other_process):
    other_process.send_signal(signal.SIGSTOP)
    make_old(store.leases / "talk.json", 10_000)
    with pytest.raises(TransientError):
        Lease.acquire(store, "talk", ttl_s=1)
    other_process.send_signal(signal.SIGCONT)


def test_a_pid_that_is_used_again_does_not_count(store, other_process):
    path = store.leases / "talk.json"
    record = json.loads(path.read_bytes())
    path.unlink()
    path.write_text(json.dumps(record | {"started": record["started"] - 1}))
    with Lease.acquire(store, "talk"):
        pass


@pytest.mark.parametrize("content", [{}, {"unknown": 1}, {"host": 3}])
def test_elsewhere_the_heartbeat_decides(store, content):
    path = write_record(store, **content)
    with pytest.raises(TransientError, match="last sign of life"):
        Lease.acquire(store, "talk", ttl_s=60)
    make_old(path, 61)
    with Lease.acquire(store, "talk", ttl_s=60):
        pass


def test_a_record_that_nobody_can_read_gives_way_in_time(store):
    path = write_record(store)
    path.write_bytes(b"\xff{")
    with pytest.raises(TransientError, match="unreadable"):
        Lease.acquire(store, "talk")
    make_old(path, 61)
    with Lease.acquire(store, "talk"):
        pass


def test_the_heartbeat_goes_on(store):
    with Lease.acquire(store, "talk", ttl_s=0.04):
        path = store.leases / "talk.json"
        make_old(path, 1000)
        give_up_s = time.monotonic() + 20
        while time.time() - path.stat().st_mtime > 500:
            assert time.monotonic() < give_up_s
            time.sleep(0.005)


def test_who_was_replaced_notices_and_leaves_the_new_one_alone(store):
    with Lease.acquire(store, "talk") as lease:
        path = store.leases / "talk.json"
        path.unlink()
        write_record(store)
        with pytest.raises(TransientError, match="taken over"):
            lease.check()
    assert json.loads(path.read_bytes())["nonce"] == "n"


def test_two_are_never_inside_at_once(crash_server, fast_path):
    assert crash_server.run("leases", fast_path / "contended") == 0, crash_server.error()


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a\n"])
def test_a_name_that_could_lead_elsewhere_is_refused(store, name):
    with pytest.raises(ValueError, match="lease"):
        Lease.acquire(store, name)
