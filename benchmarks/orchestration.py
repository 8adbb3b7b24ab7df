"""What does Prefect cost a night of 10,000 shards, and how long does planning take?

A corpus of 10,000 texts with a shard each, so that next to nothing of the time is the shards' own. On a server of our
own, and in processes of their own: the plan of all of it, cold; the nightly flow, with its task runs counted and the
server's memory and database watched; what a task run costs with the policy, the runner and the batches of the night,
against the same calls without Prefect; and a backfill of 400 dates that has nothing to do.

The shares of a night are computed from these: nobody waits for 10,000 shards of a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.ledger import build_store  # noqa: E402
from benchmarks.night import resident_bytes  # noqa: E402
from mmpipe.config import load_config  # noqa: E402

GOALS = {"task_runs": 200.0, "prefect_share": 0.02, "cold_plan_s": 10.0, "idle_backfill_s": 10.0}
BATCH_CLIPS = 7  # clips are shards here: as many shards a batch as the defaults make, 2,000 clips over 256
NIGHT_SHARDS = 10_000
SHARD_S = 60.0
WORKERS = (2, 64)  # that the shares are computed for
LAST_DATE = date(2026, 11, 20)
START_S = 180.0
SETTLE_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A Prefect server of our own."""

    pid: int
    address: str
    home: Path
    database: str  # URL of a PostgreSQL; "" is SQLite under the home

    def ask(self, path: str, body: dict[str, Any]) -> Any:
        """Call its API."""
        request = urllib.request.Request(
            f"{self.address}/api{path}", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def database_bytes(self) -> int:
        """Return the size of its database."""
        if not self.database:
            return sum(path.stat().st_size for path in self.home.glob("prefect.db*"))
        question = "SELECT pg_database_size(current_database())"
        url = self.database.replace("+asyncpg", "")
        done = subprocess.run(["psql", url, "-Atc", question], check=True, capture_output=True, text=True)
        return int(done.stdout)


def main() -> None:
    """Run the benchmark and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="300 shards and 60 dates: under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--postgres", action="store_true", help="the server on a PostgreSQL of its own, not on SQLite")
    parser.add_argument("--port", type=int, default=4940, help="first port to try")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    options = parser.parse_args()
    shards, dates, rounds = (300, 60, 1) if options.quick else (NIGHT_SHARDS, 400, 5)
    with tempfile.TemporaryDirectory(prefix="mmpipe-bench-", dir=options.folder) as folder:
        os.chmod(folder, 0o755)  # a PostgreSQL that is started by root runs as another account
        result = measure(Path(folder), shards, dates, rounds, options)
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        print_table(result)


def measure(folder: Path, shards: int, dates: int, rounds: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return ratios, goals and raw figures."""
    load_before = os.getloadavg()[0]
    log(f"making a corpus of {shards} shards, and a store of {dates} dates")
    night_config = make_corpus(folder / "night", shards)
    years_config = make_years(folder / "years", dates)
    with running_server(folder / "home", options.port, options.postgres) as server:
        cold_plan = run(server, PLAN, night_config)
        night = measure_night(server, night_config)
        idle_night = measure_night(server, night_config)
        calls = run(server, OVERHEAD, night_config, str(rounds))
        began_cpu_s = children_cpu_s()
        idle = [timed_run(server, IDLE_BACKFILL, years_config, str(dates)) for _ in range(rounds)]
        idle_cpu_s = (children_cpu_s() - began_cpu_s) / rounds
    overhead_s = idle_night["seconds"] + GOALS["task_runs"] * calls["task_run_s"]
    figures = {
        "task_runs": night["task_runs"],
        "batches_of_the_defaults": -(-shards // BATCH_CLIPS),  # had batches not grown
        "cold_plan_s": cold_plan["seconds"],
        "cold_plan_cpu_s": cold_plan["cpu_s"],  # on a machine that others use too, nearer to what it costs
        "night_s": night["seconds"],
        "night_ms_per_shard": 1000 * night["seconds"] / shards,  # of this machine, the making of a text's shard with it
        "idle_night_s": idle_night["seconds"],
        "task_run_ms": 1000 * calls["task_run_s"],
        "prefect_ms_per_shard": 1000 * night["task_runs"] * calls["task_run_s"] / shards,
        "idle_backfill_s": statistics.median(idle),
        "idle_backfill_cpu_s": idle_cpu_s,
        "server_before_mib": night["server_before_mib"],
        "server_peak_mib": night["server_peak_mib"],
        "server_after_mib": night["server_after_mib"],
        "database_kib_per_night": night["database_kib"],
    }
    for workers in WORKERS:
        wall_s = NIGHT_SHARDS * SHARD_S / workers
        figures[f"prefect_share_{workers}_workers"] = overhead_s / (wall_s + overhead_s)
    return {
        "benchmark": "orchestration",
        "goals": GOALS,
        "ratios": {
            "goal_over_task_runs": GOALS["task_runs"] / night["task_runs"],
            "goal_over_prefect_share": GOALS["prefect_share"] / figures[f"prefect_share_{WORKERS[-1]}_workers"],
            "goal_over_cold_plan": GOALS["cold_plan_s"] / cold_plan["seconds"],
            "goal_over_idle_backfill": GOALS["idle_backfill_s"] / figures["idle_backfill_s"],
        },
        "figures": figures,
        "raw": {"idle_backfill_s": idle, **{name: calls[name] for name in ("with_prefect_s", "without_s")}},
        "setting": {
            "shards": shards,
            "dates": dates,
            "database": "postgresql" if options.postgres else "sqlite",
            "shares": "computed: an idle night and 200 task runs as measured, against 10,000 shards of one minute",
            "load_before": load_before,
            "load_after": os.getloadavg()[0],
            "cpus": len(os.sched_getaffinity(0)),
            "machine": platform.machine(),
        },
    }


# --------------------------------------------------------------------------- what is asked, each in its own process

PLAN = """
import json, sys, time
started_s = time.perf_counter()
from pathlib import Path
from mmpipe.config import load_config
from mmpipe.steps.plan.plan import plan_corpus
due = plan_corpus(load_config(Path(sys.argv[1])), "words").shards
print(json.dumps({"seconds": time.perf_counter() - started_s, "cpu_s": time.process_time(), "shards": len(due)}))
"""
NIGHT = """
import datetime, json, sys
from flows.nightly import nightly
from flows.parameters import NightlyParameters
if __name__ == "__main__":
    day = datetime.date(2026, 11, 20)
    state = nightly(NightlyParameters(config=sys.argv[1], date=day, batch_clips=int(sys.argv[2])), return_state=True)
    assert state.is_completed(), state
    print(json.dumps({"state": state.name}))
"""
IDLE_BACKFILL = """
import datetime, json, sys
from flows.backfill import backfill
from flows.parameters import BackfillParameters
last = datetime.date(2026, 11, 19)
first = last - datetime.timedelta(days=int(sys.argv[2]) - 1)
state = backfill(BackfillParameters(config=sys.argv[1], first_date=first, last_date=last), return_state=True)
assert state.is_completed() and state.message.startswith("0 days filled"), state
print(json.dumps({"state": state.message}))
"""
OVERHEAD = """
import json, statistics, sys, time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from prefect import flow, task
from prefect.futures import wait
from flows.extract import BATCH_RUNNER
from mmpipe.config import load_config
from mmpipe.steps.plan.plan import ShardDue
from tasks.policy import STEP
config, rounds = load_config(Path(sys.argv[1])), int(sys.argv[2])
due = ShardDue(partition="2026-11-20", shard=0, features=("text-ngrams@1",), reasons=("never extracted",), clips=1)
batches = [tuple(replace(due, shard=66 * batch + number) for number in range(66)) for batch in range(150)]

def body(config, corpus, shards, number, of):
    return len(shards)

step = task(name="step", task_run_name="step-{corpus}-{number}-of-{of}", **STEP)(body)

@flow(task_runner=BATCH_RUNNER, persist_result=False)
def with_prefect():
    started_s = time.perf_counter()
    futures = [step.submit(config, "words", batch, number, 150) for number, batch in enumerate(batches)]
    wait(futures)
    assert sum(future.result() for future in futures) == 150 * 66
    return time.perf_counter() - started_s

def without():
    started_s = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        counts = [pool.submit(body, config, "words", batch, number, 150) for number, batch in enumerate(batches)]
        assert sum(count.result() for count in counts) == 150 * 66
    return time.perf_counter() - started_s

pairs = [(with_prefect(), without()) for _ in range(rounds)]
told, bare = zip(*pairs)
seconds = statistics.median(one - other for one, other in pairs) / 150
print(json.dumps({"task_run_s": seconds, "with_prefect_s": told, "without_s": bare}))
"""


def run(server: Server, code: str, config: Path, *words: str) -> dict[str, Any]:
    """Ask in a fresh process; return its last line."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PREFECT", "MMPIPE"))}
    environment = {
        **kept,
        "PYTHONPATH": str(REPOSITORY),
        "PREFECT_HOME": str(server.home),
        "PREFECT_API_URL": f"{server.address}/api",
        "PREFECT_LOGGING_LEVEL": "ERROR",
    }
    with tempfile.NamedTemporaryFile("w", suffix=".py", dir=server.home.parent) as script:
        script.write(code)  # workers of an engine import the file that started them
        script.flush()
        command = [sys.executable, script.name, str(config), *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"a question ended with {done.returncode}:\n{done.stdout}{done.stderr[-4000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def timed_run(server: Server, code: str, config: Path, *words: str) -> float:
    """Return how long a process took, from its start to its end."""
    started_s = time.perf_counter()
    run(server, code, config, *words)
    seconds = time.perf_counter() - started_s
    log(f"{seconds:.1f} s")
    return seconds


def children_cpu_s() -> float:
    """Return the processor time of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_night(server: Server, config: Path) -> dict[str, float]:
    """Run a night; return its wall time, its task runs, and what became of the server and its database."""
    before_runs, before_bytes = server.ask("/task_runs/count", {}), server.database_bytes()
    with gauge(server.pid) as resident:
        seconds = timed_run(server, NIGHT, config, str(BATCH_CLIPS))
        time.sleep(SETTLE_S)  # the server writes down the last events
    return {
        "seconds": seconds,
        "task_runs": server.ask("/task_runs/count", {}) - before_runs,
        "database_kib": (server.database_bytes() - before_bytes) / 1024,
        "server_before_mib": resident[0] / 2**20,
        "server_peak_mib": max(resident) / 2**20,
        "server_after_mib": resident[-1] / 2**20,
    }


@contextmanager
def gauge(pid: int) -> Iterator[list[int]]:
    """Note the resident memory of a process and all below it, five times a second."""
    noted, stop = [resident_bytes(pid)], threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            noted.append(resident_bytes(pid))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield noted
    finally:
        stop.set()
        thread.join()


# --------------------------------------------------------------------------- what is built


def make_corpus(folder: Path, shards: int) -> Path:
    """Write texts, take them in with one clip a shard, and return the config."""
    from mmpipe.steps.ingest.ingest import ingest_corpus

    (folder / "raw").mkdir(parents=True)
    for number in range(shards):
        path = folder / "raw" / f"{number:06d}.txt"
        path.write_text(f"sentence number {number}")
        os.utime(path, (1_700_000_000, 1_700_000_000))  # too young a file is looked at twice
    config = folder / "mmpipe.toml"
    config.write_text(
        f'store = "store"\n[engine]\nworkers = {len(os.sched_getaffinity(0))}\n'
        '[corpora.words]\nroot = "raw"\nfeatures = ["text-ngrams"]\nshard_clips = 1\n'
    )
    ingest_corpus(load_config(config), "words", LAST_DATE.isoformat())
    return config


def make_years(folder: Path, dates: int) -> Path:
    """Make a store of complete dates, and return the config."""
    (folder / "raw").mkdir(parents=True)
    (folder / "raw" / "one.txt").write_text("one sentence")
    os.utime(folder / "raw" / "one.txt", (1_700_000_000, 1_700_000_000))
    config = folder / "mmpipe.toml"
    features = '["audio-logmel", "image-hogdct", "text-ngrams"]'
    config.write_text(f'store = "store"\n[corpora.bench]\nroot = "raw"\nfeatures = {features}\n')
    build_store(load_config(config), dates)
    return config


@contextmanager
def running_server(home: Path, port: int, postgres: bool) -> Iterator[Server]:
    """Run a server, on a database of its own."""
    from deployments.binding import address_of, free_port
    from deployments.postgres import ensure_postgres
    from deployments.services import read_service, stop_service

    home.mkdir()
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("PREFECT", "MMPIPE"))}
    environment |= {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    database = ensure_postgres(home, home, environment) if postgres else ""
    if database:
        environment["PREFECT_API_DATABASE_CONNECTION_URL"] = database
    chosen = free_port(port)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(chosen)]
    with open(home / "server.log", "wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        await_health(address_of(chosen), process)
        time.sleep(SETTLE_S)
        yield Server(pid=process.pid, address=address_of(chosen), home=home, database=database)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        if (service := read_service(home, "postgres")) is not None:
            stop_service(service)


def await_health(address: str, process: subprocess.Popen[bytes]) -> None:
    """Return once the server answers."""
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/api/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise SystemExit("the server did not start")


def print_table(result: dict[str, Any]) -> None:
    """Print the figures for a person."""
    for title in ("figures", "ratios", "goals", "setting"):
        print(title)
        for name, figure in result[title].items():
            print(f"  {name:32s} " + (f"{figure:14,.4f}" if isinstance(figure, float) else f"{figure!s:>14}"))


def log(line: str) -> None:
    """Say on stderr how far it is."""
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
