"""Kill and fail a writer at every point: readers see a valid store, and a second run ends where one would have."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from mmpipe.errors import MmpipeError
from mmpipe.store.commit import list_revisions, read_head
from mmpipe.store.layout import StoreLayout
from mmpipe.store.lostrevision import find_lost_again
from mmpipe.store.objects import read_object
from mmpipe.store.view import heal_view

CHILD = Path(__file__).with_name("crash_child.py")
KILLED = -9
MAX_POINTS = 2_000
SWEEP = bool(os.environ.get("MMPIPE_SWEEP"))  # all points instead of a sample, and a line of figures for each test
STEP = 12  # of a sample, which has every point of the last commit besides


def tally(what: str, points: int) -> None:
    """Say what a sweep came to; it gets here only where no point failed."""
    if SWEEP:
        print(f"\n| {what} | {points} points | 0 invalid reads | 0 lost | 0 duplicates | {points} byte-identical |")


def check_readers_see_a_valid_store(root: Path) -> None:
    layout = StoreLayout(root)
    for meta in root.glob("*/*/_meta"):
        dataset = layout.dataset(meta.parent.parent.name, meta.parent.name)
        for partition in dataset.partitions():
            head = read_head(dataset, partition)
            for shard in head.shards if head else ():
                for entry in shard.files:
                    assert read_object(dataset, entry)
            assert find_lost_again(layout, dataset, partition) is None  # no kill looks like a lost manifest
    names = [path.name for path in root.glob("*/*/data/*/*")] + [path.name for path in root.glob("*/*/index/*/*")]
    assert [name for name in names if not re.fullmatch(r"\d{6}\.(tar|parquet)", name)] == []


def sweep(server, job: str, root: Path, action: str, points: Iterable[int]) -> Iterator[tuple[int, Path, int]]:
    """Do a job on new stores with a fault at each point; end where no point is left."""
    for point in points:
        store = root / f"{job}-{point}"
        once = f"any:{point}:{action}"
        code = server.run(job, store, fault=f"any:{point}+:{action[:-1]}" if action.endswith("+") else once)
        if code == 0:
            return
        yield point, store, code
        shutil.rmtree(store, ignore_errors=True)
        assert point < MAX_POINTS, "the sweep did not end"


def sample(server, job: str, root: Path) -> list[int]:
    """Return every 12th point of a job, and all of its last commit: from its manifest on to views and receipts."""
    log, store = root / "points", root / "pointed"
    assert server.run(job, store, points=str(log)) == 0, server.error()
    names = log.read_text().splitlines()
    shutil.rmtree(store)
    last = max(number for number, name in enumerate(names, start=1) if re.match(r"link .*/_meta/dt=", name))
    written = last - 3  # the manifest's own write and fsync come before its link
    return [point for point in range(1, len(names) + 1) if point % STEP == 0 or point >= written]


def whole_of(server, job: str, root: Path, tree_digest) -> dict[str, str]:
    """Return what a job leaves when nothing happens to it."""
    assert server.run(job, root / "whole") == 0, server.error()
    digest = tree_digest(root / "whole")
    shutil.rmtree(root / "whole")
    return digest


def kill_and_rerun(server, job: str, root: Path, tree_digest) -> int:
    """Kill a job at each point, or at a sample of them, and run it again; return how many points there were."""
    expected, points = whole_of(server, job, root, tree_digest), 0
    chosen = range(1, MAX_POINTS + 1) if SWEEP else sample(server, job, root)
    for point, store, code in sweep(server, job, root, "kill", chosen):
        assert code == KILLED, (point, code, server.error())
        check_readers_see_a_valid_store(store)
        assert server.run(job, store) == 0, (point, server.error())
        assert tree_digest(store) == expected, point
        points += 1
    assert SWEEP or points == len(chosen)
    tally(f"SIGKILL in {job} at every operation", points)
    return points


def test_killed_anywhere_an_extraction_run_again_leaves_the_same_bytes(crash_server, fast_path, tree_digest):
    points = kill_and_rerun(crash_server, "extract", fast_path, tree_digest)
    assert points > (250 if SWEEP else 35)  # it met the objects, receipts, manifests and views of both features


def test_killed_anywhere_an_ingest_run_again_leaves_the_same_bytes(ingest_server, fast_path, tree_digest):
    points = kill_and_rerun(ingest_server, "ingest", fast_path, tree_digest)
    assert points > (150 if SWEEP else 20)


@pytest.mark.parametrize(
    ("action", "step"),
    [
        ("EIO", 6),
        ("ENOSPC", 7),
        ("ENOSPC+", 7),
        ("EDQUOT", 29),
        ("EDQUOT+", 31),
        *([(a, 1) for a in ("EIO", "EIO+", "ENOSPC", "ENOSPC+", "EDQUOT", "EDQUOT+")] if SWEEP else []),
    ],
)
def test_failing_anywhere_names_the_path_and_run_again_leaves_the_same_bytes(
    crash_server, fast_path, tree_digest, action, step
):
    expected, points = whole_of(crash_server, "extract", fast_path, tree_digest), 0
    for point, store, code in sweep(crash_server, "extract", fast_path, action, range(1, MAX_POINTS + 1, step)):
        assert code == 1, (point, code, crash_server.error())
        assert str(store) in crash_server.error()
        check_readers_see_a_valid_store(store)
        assert crash_server.run("extract", store) == 0, (point, crash_server.error())
        assert tree_digest(store) == expected, point
        points += 1
    tally(f"{action} at every {step}. operation", points)
    assert points > 250 // step


def test_without_hard_links_the_view_is_copied_and_left_alone_afterwards(crash_server, fast_path, tree_digest):
    """EPERM for a link that makes an object or a manifest is an error; for one that only shows it, a copy will do."""
    expected, copied = whole_of(crash_server, "extract", fast_path, tree_digest), 0
    for point in range(20, 60, 2):
        store = fast_path / f"copy-{point}"
        if crash_server.run("extract", store, fault=f"link:{point}:EPERM") == 0:
            copies = [path for path in store.glob("talk/*/data/*/*") if path.stat().st_nlink == 1]
            before = [path.stat().st_ino for path in copies]
            for dataset in (StoreLayout(store).dataset("talk", path.parents[2].name) for path in copies):
                heal_view(dataset, "2026-11-20")
            assert [path.stat().st_ino for path in copies] == before
            copied += len(copies)
        else:
            assert crash_server.run("extract", store) == 0, crash_server.error()
        assert tree_digest(store) == expected
        shutil.rmtree(store)
    assert copied > 3


def test_killed_at_random_moments_commits_go_on_from_where_they_were(crash_server, fast_path, tree_digest):
    expected = whole_of(crash_server, "many", fast_path, tree_digest)
    start_s = time.monotonic()
    crash_server.run("many", fast_path / "timed")
    usual_s = time.monotonic() - start_s
    moments = random.Random(7)
    outcomes = set()
    for number in range(100 if SWEEP else 25):
        store = fast_path / f"random-{number}"
        code = crash_server.run("many", store, kill_after_s=moments.uniform(0, usual_s))
        check_readers_see_a_valid_store(store)
        outcomes.add((code, (store / "talk").exists()))
        assert crash_server.run("many", store) == 0, crash_server.error()
        assert tree_digest(store) == expected
        shutil.rmtree(store)
    tally("SIGKILL at random moments", number + 1)
    assert (KILLED, True) in outcomes


@pytest.mark.parametrize("rounds", [50 if SWEEP else 25])
def test_three_writers_lose_nothing_and_leave_no_gap(crash_server, fast_path, rounds):
    store = fast_path / "race"
    assert crash_server.run("race", store, arguments=[rounds]) == 0, crash_server.error()
    dataset = StoreLayout(store).dataset("talk", "audio-logmel@1")
    head = read_head(dataset, "2026-11-20")
    assert [shard.number for shard in head.shards] == list(range(3 * rounds))
    assert head.totals == {"0": rounds, "1": rounds, "2": rounds}
    assert list_revisions(dataset, "2026-11-20") == tuple(range(1, 6 * rounds + 1))
    tally(f"3 writers, {rounds} rounds: commits", 6 * rounds)
    check_readers_see_a_valid_store(store)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_umask_changes_neither_bytes_nor_the_mode_of_objects(crash_server, fast_path, tree_digest, umask):
    expected = whole_of(crash_server, "extract", fast_path, tree_digest)
    assert crash_server.run("extract", fast_path / "masked", umask=umask) == 0
    assert tree_digest(fast_path / "masked") == expected
    committed = [*fast_path.glob("masked/*/*/objects/*/*"), *fast_path.glob("masked/*/*/_meta/*/*")]
    assert {path.stat().st_mode & 0o777 for path in committed} == {0o444}


# --------------------------------------------------------------------------- by system call


def strace(*arguments: str) -> subprocess.CompletedProcess:
    tool = shutil.which("strace")
    if tool is None:
        pytest.skip("strace is not installed")
    return subprocess.run([tool, "-f", *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def may_trace() -> None:
    if strace("-o", "/dev/null", "true").returncode != 0:
        pytest.skip("ptrace is not allowed here")


@pytest.mark.parametrize(
    ("call", "moment"),
    [("fsync", 2), ("fsync", 40), ("link", 1), ("link", 9), ("rename", 1), ("rename", 5), ("unlink", 6), ("mkdir", 7)],
)
def test_killed_at_a_system_call_a_run_again_leaves_the_same_bytes(
    may_trace, crash_server, fast_path, tree_digest, call, moment
):
    expected, store = whole_of(crash_server, "extract", fast_path, tree_digest), fast_path / "traced"
    killed = strace(
        "-o",
        "/dev/null",
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:signal=SIGKILL:when={moment}",
        sys.executable,
        str(CHILD),
        "extract",
        str(store),
    )
    assert killed.returncode in (KILLED, 128 + 9), killed.stderr
    check_readers_see_a_valid_store(store)
    assert crash_server.run("extract", store) == 0, crash_server.error()
    assert tree_digest(store) == expected


SYSTEM_CALLS = ("write", "fsync", "link", "rename", "unlink", "mkdir", "openat", "chmod")


def store_calls(store: Path, log: Path) -> list[tuple[str, int]]:
    """Return (system call, which one of its kind) for every call of a whole run that touches the store."""
    calls = ",".join(SYSTEM_CALLS)
    strace("-y", "-o", str(log), "-e", f"trace={calls}", sys.executable, str(CHILD), "extract", str(store))
    found, counts = [], Counter()
    for line in log.read_text().splitlines():
        if match := re.match(r"(?:\d+ +)?(\w+)\(", line):
            counts[match[1]] += 1
            if str(store) in line:
                found.append((match[1], counts[match[1]]))
    shutil.rmtree(store)
    return found


@pytest.mark.skipif(not SWEEP, reason="a long sweep: set MMPIPE_SWEEP=1")
def test_killed_at_a_hundred_system_calls_a_run_again_leaves_the_same_bytes(
    may_trace, crash_server, fast_path, tree_digest
):
    expected, store = whole_of(crash_server, "extract", fast_path, tree_digest), fast_path / "traced"
    points = store_calls(store, fast_path / "log")
    chosen = points[:: max(1, len(points) // 100)][:100]
    killed = 0
    for call, moment in chosen:
        inject = f"inject={call}:signal=SIGKILL:when={moment}"
        job = [sys.executable, str(CHILD), "extract", str(store)]
        code = strace("-o", "/dev/null", "-e", f"trace={call}", "-e", inject, *job).returncode
        killed += code in (KILLED, 128 + 9)
        check_readers_see_a_valid_store(store)
        assert crash_server.run("extract", store) == 0, (call, moment, crash_server.error())
        assert tree_digest(store) == expected, (call, moment)
        shutil.rmtree(store)
    tally(f"SIGKILL by system call ({len(points)} on the store in all)", killed)
    assert killed >= 95, (killed, len(chosen))


def test_bytes_are_durable_before_their_name_and_their_name_before_what_names_it(may_trace, fast_path):
    """fsync(file) < link < fsync(folder), for each object, and all of that before the manifest's link."""
    log, store = fast_path / "log", fast_path / "ordered"
    strace("-y", "-o", str(log), "-e", "trace=fsync,link", sys.executable, str(CHILD), "extract", str(store))
    calls = [line.split(" ", 1)[1].lstrip() for line in log.read_text().splitlines() if "(" in line]
    synced: set[str] = set()
    waiting: set[str] = set()
    manifests = objects = 0
    for call in calls:
        if match := re.match(r"fsync\(\d+<(.*?)>", call):
            synced.add(match[1])
            waiting.discard(match[1])
        elif match := re.match(r'link\("(.*?)", "(.*?)"\) = 0', call):
            source, target = match.groups()
            if "/objects/" in target:
                assert source in synced, call
                waiting.add(str(Path(target).parent))
                objects += 1
            elif "/_meta/" in target:
                assert source in synced, call
                assert not waiting, (call, waiting)
                manifests += 1
    assert (objects, manifests) == (16, 4)


def test_a_truncated_or_missing_object_is_met_as_an_error(crash_server, fast_path):
    """The check of this file can fail: what it calls valid is not always so."""
    assert crash_server.run("extract", fast_path / "store") == 0
    victim = sorted(fast_path.glob("store/*/*/objects/*/*"))[0]
    victim.chmod(0o644)
    victim.write_bytes(b"")
    with pytest.raises(MmpipeError):
        check_readers_see_a_valid_store(fast_path / "store")
