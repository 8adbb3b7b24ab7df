"""Work on a store in processes that may be killed: run as a script, one JSON request per line.

`crash_child.py` serves requests, each in a fork of a process that has imported everything and done nothing;
`crash_child.py JOB ROOT` does one job and exits, as a fresh process for strace.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import mmpipe.io
from mmpipe.errors import MmpipeError, TransientError
from mmpipe.store.commit import commit_partition, read_head, retry_lost_race
from mmpipe.store.layout import DatasetLayout, create_store
from mmpipe.store.lease import Lease
from mmpipe.store.manifest import FileEntry, ShardEntry
from mmpipe.store.objects import put_bytes, put_object, stage_path
from mmpipe.store.receipt import Receipt, put_receipt, read_receipt
from mmpipe.types import Drop

PARTITION = "2026-11-20"
FEATURES = ("audio-logmel@1", "video-hogdct@1")
SHARDS = 3


def extract(root: Path) -> None:
    """Make three shards each of two features, then correct one of them: what a run of extractions does."""
    layout = create_store(root)
    for feature in FEATURES:
        dataset = layout.dataset("talk", feature)
        if read_head(dataset, PARTITION) is None:
            _commit(dataset, {number: finish_shard(dataset, number, "first") for number in range(SHARDS)})
        _commit(dataset, {1: finish_shard(dataset, 1, "second")})


def finish_shard(dataset: DatasetLayout, number: int, inputs: str) -> ShardEntry:
    """Return a shard's entry from its receipt, or make the shard."""
    if receipt := read_receipt(dataset, PARTITION, "fingerprint", number, inputs):
        return receipt.entry
    files = []
    for role, suffix in (("data", "tar"), ("index", "parquet")):
        data = f"{dataset.name} {role} {number} {inputs}\n".encode() * 50
        if role == "data":  # as a writer of shards leaves it: not durable yet
            staged = stage_path(dataset)
            staged.write_bytes(data)
            sha256, nbytes = put_object(dataset, staged)
        else:
            sha256, nbytes = put_bytes(dataset, data)
        files.append(FileEntry(role=role, name=f"{number:06d}.{suffix}", nbytes=nbytes, sha256=sha256))
    entry = ShardEntry(number=number, files=tuple(files), samples=3, inputs=inputs, spine=4, quarantined=1)
    put_receipt(dataset, PARTITION, "fingerprint", Receipt(entry=entry, drops=(make_drop(number),)))
    return entry


def many(root: Path, commits: int = 12) -> None:
    """Commit again and again, each time after what is there."""
    dataset = create_store(root).dataset("talk", FEATURES[0])
    while (done := (head.revision if (head := read_head(dataset, PARTITION)) else 0)) < commits:
        _commit(dataset, {done % 4: finish_shard(dataset, done % 4, f"round {done}")})
    _commit(dataset, {(commits - 1) % 4: finish_shard(dataset, (commits - 1) % 4, f"round {commits - 1}")})


def race(root: Path, rounds: int = 10) -> None:
    """Let three writers commit to one partition at the same moments: side by side, then against each other."""
    dataset = create_store(root).dataset("talk", FEATURES[0])
    barrier = multiprocessing.Barrier(3)

    def write(writer: int) -> None:
        for turn in range(rounds):
            number = 3 * turn + (writer if turn % 2 else 2 - writer)
            entry = finish_shard(dataset, number, "race")
            barrier.wait(30)
            _commit(dataset, {number: entry})
            barrier.wait(30)
            retry_lost_race(lambda: _count_up(dataset, str(writer)))

    _fork_all(write, 3)


def leases(root: Path, rounds: int = 25) -> None:
    """Let four processes take one lease in turns, and die with it every other time; two at once meet at the file."""
    layout = create_store(root)
    inside = root / "inside"

    def work(writer: int) -> None:
        for turn in range(rounds):
            if (pid := os.fork()) == 0:
                take(dies=turn % 2 == 0)
            assert os.waitpid(pid, 0)[1] == 0

    def take(dies: bool) -> None:
        while True:
            with contextlib.suppress(TransientError):
                lease = Lease.acquire(layout, "talk", ttl_s=1000)
                break
        os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
        time.sleep(0.002)
        os.unlink(inside)
        if not dies:
            lease.release()
        os._exit(0)

    _fork_all(work, 4)


JOBS = {job.__name__: job for job in (extract, many, race, leases)}


def serve() -> None:
    """Do each requested job in a fork and say how it ended."""
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _run_forked(request)
        if (delay_s := request.get("kill_after_s")) is not None:
            time.sleep(delay_s)
            os.kill(pid, signal.SIGKILL)
        print(json.dumps({"code": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}), flush=True)


def _run_forked(request: dict) -> None:
    os.umask(request.get("umask", 0o022))
    if request.get("points"):
        _note_points(Path(request["points"]))
    if request.get("fault"):
        os.environ["MMPIPE_FAULT"] = request["fault"]
    code = 99
    try:
        JOBS[request["job"]](Path(request["root"]), *request.get("arguments", ()))
        code = 0
    except MmpipeError as error:
        code = error.exit_code
        Path(request["log"]).write_text(str(error))
    except OSError as error:
        code = 1
        Path(request["log"]).write_text(str(error))
    finally:
        if code == 99:  # the job itself is wrong
            Path(request["log"]).write_text(traceback.format_exc())
        sys.stdout.flush()
        os._exit(code)


def _note_points(log: Path) -> None:
    """Note each point where a fault could be, as "operation path": what a sweep chooses from."""

    def note(operation: str, path: Path) -> None:
        with log.open("a") as file:
            file.write(f"{operation} {path}\n")

    mmpipe.io.fail_if_asked = note


def _fork_all(work, count: int) -> None:
    processes = [multiprocessing.get_context("fork").Process(target=work, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    codes = [process.exitcode for process in processes]
    assert codes == [0] * count, codes


def _commit(dataset: DatasetLayout, shards: dict[int, ShardEntry]) -> None:
    commit_partition(dataset, PARTITION, schema="schema", fingerprint="fingerprint", shards=shards)


def _count_up(dataset: DatasetLayout, writer: str) -> None:
    head = read_head(dataset, PARTITION)
    commit_partition(
        dataset,
        PARTITION,
        schema="schema",
        fingerprint="fingerprint",
        shards={},
        totals={**head.totals, writer: head.totals.get(writer, 0) + 1},
        base_revision=head.revision,
    )


def make_drop(number: int) -> Drop:
    return Drop(stage="probe", code="decode_error", detail="cut short", file=f"{number}.mp4")


def main() -> None:
    """Do the job that the command line names, or serve."""
    if len(sys.argv) == 3:
        JOBS[sys.argv[1]](Path(sys.argv[2]))
    else:
        serve()


if __name__ == "__main__":
    main()
