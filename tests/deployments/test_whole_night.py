"""Everything at once: PostgreSQL, a Ray cluster, a server for several people, two workers, a night and a backfill.

The server asks for a password, and for a token before it changes anything: all that works here works with both.
"""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from deployments.api import ServerApi
from deployments.binding import address_of
from deployments.postgres import find_programs
from deployments.services import is_alive, read_service, read_services
from mmpipe.config import load_config
from mmpipe.errors import ConfigError
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.store.journal import read_made
from mmpipe.store.layout import StoreLayout

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.timeout(900)]
REPOSITORY = Path(__file__).resolve().parent.parent.parent
DATES = ("2026-11-03", "2026-11-04", "2026-11-05")
SHARDS_PER_DATE = 3
PROXY = "https://prefect.example.org"  # with TLS, before the server; nobody goes there
HEAVY = {"backfill-day", "extract", "train"}
ENDS = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
CONFIG = """\
store = "{store}"
{engine}

[corpora.words]
root = "raw"
features = ["text-ngrams"]
shard_clips = 1
dates.rule = "path"
"""
LOCAL = "[engine]\nworkers = 1"
ON_RAY = '[engine]\nkind = "ray"\nworkers = 2\nray.address = "{address}"\nray.cpus_per_worker = 0.5'


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A folder with a corpus, and what `up` has brought up for it."""

    folder: Path
    environment: dict[str, str]
    address: str
    auth: str  # user:password
    api: ServerApi
    told: str  # by `up`

    @property
    def config(self) -> Path:
        """The config file."""
        return self.folder / "mmpipe.toml"

    def answer_to(self, path: str, *, method: str = "GET", auth: str = "", origin: str = "") -> tuple[int, str]:
        """Return the status of a request as a stranger could send it, and which origin may read the answer."""
        headers = {"content-type": "application/x-www-form-urlencoded"}  # what a form of any page may send
        headers |= {"authorization": "Basic " + base64.b64encode(auth.encode()).decode()} if auth else {}
        headers |= {"origin": origin} if origin else {}
        data = b"{}" if method == "POST" else None
        request = urllib.request.Request(f"{self.address}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers.get("access-control-allow-origin", "")
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.headers.get("access-control-allow-origin", "")

    def deployments(self) -> dict[str, str]:
        """The pool of each deployment, by name."""
        found = self.api.ask("POST", "/deployments/filter", {})
        return {entry["name"]: entry["work_pool_name"] for entry in found}

    def run(self, deployment: str, **parameters: Any) -> dict[str, Any]:
        """Start a run as the form of the UI does, and return it at its end."""
        number = self.api.ask("GET", f"/deployments/name/{deployment}/{deployment}")["id"]
        wish = {"parameters": {"parameters": parameters}}
        run = self.api.ask("POST", f"/deployments/{number}/create_flow_run", wish)
        return poll(lambda: ended(self.api.ask("GET", f"/flow_runs/{run['id']}")), 240)

    def runs(self, wish: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the flow runs that a filter finds."""
        found: list[dict[str, Any]] = self.api.ask("POST", "/flow_runs/filter", wish)
        return found


def ended(run: dict[str, Any]) -> dict[str, Any] | None:
    """Return a run that has come to its end."""
    return run if run["state_type"] in ENDS else None


def poll(what: Callable[[], Any], seconds: float = 90) -> Any:
    """Return the first true answer."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, "no answer in time"
        time.sleep(0.5)
    return answer


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    """Bring a cluster, a database, a server and two workers up, once."""
    if find_spec("ray") is None:
        pytest.skip("the extra mmpipe[ray] is not installed")
    try:
        find_programs()
    except ConfigError as error:
        pytest.skip(str(error))
    # Not under pytest's folder: a database that root starts runs as another account, which may not enter there.
    folder = Path(tempfile.mkdtemp(prefix="mm-night-", dir="/tmp"))
    folder.chmod(0o711)
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PREFECT", "MMPIPE", "RAY_"))}
    (folder / "token").write_text(secrets.token_hex(32))
    environment = {
        **kept,
        "CUDA_VISIBLE_DEVICES": "",
        "PREFECT_HOME": str(folder / "prefect"),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
    }
    try:
        with ray_cluster(folder / "ray", environment) as address:
            write_corpus(folder, ON_RAY.format(address=address))
            yield from brought_up(folder, environment)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def brought_up(folder: Path, environment: dict[str, str]) -> Iterator[Home]:
    """Run `up --postgres --shared`, add a second worker to its pool, and `down` at the end."""
    wish = ("--config", str(folder / "mmpipe.toml"), "--port", "4940", "--postgres", "--shared", "--url", PROXY)
    up = command("deployments.up", *wish, environment=environment)
    try:
        assert up.returncode == 0, up.stderr
        assert up.stdout.strip() == PROXY, "what people type"
        server = read_service(folder / "prefect" / "services", "server")
        assert server
        address = address_of(server.port)
        auth = f"mmpipe:{(folder / 'prefect' / 'server.password').read_text().strip()}"
        reach = {"PREFECT_API_URL": f"{address}/api", "PREFECT_API_AUTH_STRING": auth}
        worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "cpu", "--name", "second"]
        with open(folder / "second.log", "wb") as log:
            second = subprocess.Popen(worker, cwd=REPOSITORY, env=environment | reach, stdout=log, stderr=log)
        try:
            yield Home(
                folder=folder,
                environment=environment | reach,
                address=address,
                auth=auth,
                api=ServerApi(address, auth),
                told=up.stdout + up.stderr,
            )
        finally:
            second.terminate()
            second.wait(60)
    finally:
        down = command("deployments.down", environment=environment)
        assert down.returncode == 0, down.stderr
        assert_ended(folder)


def assert_ended(folder: Path) -> None:
    """See that `down` left nothing alive."""
    left = [service.name for service in read_services(folder / "prefect" / "services") if is_alive(service)]
    assert left == []


def command(module: str, *arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run one of our commands to its end."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )


@contextmanager
def ray_cluster(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Run a cluster of one node that all runs share, and yield its address."""
    folder.mkdir()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    start = [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--node-ip-address=127.0.0.1",
        f"--port={port}", "--num-cpus=2", "--include-dashboard=false", f"--temp-dir={folder}",
        "--object-store-memory=100000000", "--min-worker-port=0", "--max-worker-port=0",
        "--dashboard-agent-listen-port=0", "--include-log-monitor=false", "--disable-usage-stats",
    ]  # fmt: skip
    with open(folder / "start.log", "wb") as log:
        node = subprocess.Popen(
            start, env={**environment, "PYTHONPATH": str(REPOSITORY)}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        poll(lambda: node.poll() is not None or "Ray runtime started" in (folder / "start.log").read_text())
        assert node.poll() is None, (folder / "start.log").read_text()
        yield f"127.0.0.1:{port}"
    finally:
        node.terminate()  # it ends all that it started
        node.wait(60)


def write_corpus(folder: Path, engine: str) -> None:
    """Write texts of some dates, a shard each, and two configs over them: for the cluster, and for this machine."""
    (folder / "raw").mkdir()
    for dt in DATES:
        for number in range(SHARDS_PER_DATE):
            (folder / "raw" / f"{dt}-{number}.txt").write_text(f"the words of {dt}, part {number}")
    (folder / "mmpipe.toml").write_text(CONFIG.format(store="store", engine=engine))
    (folder / "local.toml").write_text(CONFIG.format(store="local", engine=LOCAL))


def content(store: Path) -> dict[str, bytes]:
    """What consumers see of a store."""
    files = {path for path in store.rglob("*") if path.is_file() and {"data", "index"} & set(path.parts)}
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(files)}


def test_a_night_and_a_backfill_on_postgresql_and_ray_make_the_store_of_one_machine(home: Home) -> None:
    services = {service.name for service in read_services(home.folder / "prefect" / "services") if is_alive(service)}
    assert {"postgres", "server", "worker-cpu"} <= services
    assert not list((home.folder / "prefect").glob("*.db")), "nothing is kept in SQLite"
    assert poll(lambda: [run for run in home.runs({}) if run["auto_scheduled"]]), "the scheduler makes runs of the cron"

    night = home.run("nightly", date=DATES[0])
    assert (night["state_type"], night["name"]) == ("COMPLETED", f"nightly-words-{DATES[0]}"), night["state"]["message"]
    filled = home.run("backfill", first_date=DATES[0], last_date=DATES[2], max_in_flight=2)
    assert filled["state_type"] == "COMPLETED", filled["state"]["message"]
    days = home.runs({"flow_runs": {"parent_flow_run_id": {"any_": [filled["id"]]}}})
    assert sorted((run["state_type"], run["run_count"], run["work_queue_name"]) for run in days) == [
        ("COMPLETED", 1, "corpus-words")
    ] * (len(DATES) - 1), "a run a day but for the night's, each taken by one of the two workers"

    made = read_made(StoreLayout(load_config(home.folder / "mmpipe.toml").store), "words")
    assert Counter((shard.partition, shard.shard) for shard in made) == {
        (dt, number): 1 for dt in DATES for number in range(SHARDS_PER_DATE)
    }
    assert content(home.folder / "store") == content(made_here(home.folder)) != {}


def test_who_has_no_password_and_no_token_changes_nothing(home: Home) -> None:
    """What a stranger, another page in the browser of somebody who has the password, and a wrong one get."""
    form = "/api/flows/"
    assert home.answer_to("/api/health")[0] == 200
    for auth in ("", "mmpipe:wrong", home.auth.partition(":")[2]):
        assert home.answer_to("/api/work_pools/cpu", auth=auth)[0] == 401, auth
        assert home.answer_to("/api/csrf-token?client=stranger", auth=auth)[0] == 401, auth
        assert home.answer_to(form, method="POST", auth=auth)[0] in (401, 403), auth
    assert home.answer_to("/api/work_pools/cpu", auth=home.auth)[0] == 200
    assert home.answer_to(form, method="POST", auth=home.auth)[0] == 403, "a form of another page has no token"
    assert home.api.ask("POST", "/flows/", {"name": "with-a-token"})["name"] == "with-a-token"
    for origin, allowed in ((PROXY, PROXY), ("http://evil.example", "")):
        assert home.answer_to("/api/health", origin=origin) == (200, allowed)
    desk = read_service(home.folder / "prefect" / "services", "desk")
    assert desk and replace(home, address=address_of(desk.port)).answer_to("/")[0] == 401


def test_a_password_is_in_its_file_alone(home: Home) -> None:
    """And nobody gets in by another door: not by an address of the network without --shared."""
    assert str(home.folder / "prefect" / "server.password") in home.told
    for name in ("server.password", "postgres.password"):
        file = home.folder / "prefect" / name
        password = file.read_bytes().strip()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600 and len(password) >= 32
        holders = [path for path, data in everything(home.folder) if password in data]
        assert holders == [file], "of the store, the logs, the database and the reports none has it"
        assert password.decode() not in home.told and not [line for line in command_lines() if password in line]
    open_door = ("--config", str(home.config), "--port", "4945", "--host", "0.0.0.0")
    refused = command("deployments.up", *open_door, environment=home.environment)
    assert refused.returncode == ConfigError.exit_code and "Add --shared" in refused.stderr


def everything(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield every file under a folder, with what is in it."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path, path.read_bytes()


def command_lines() -> Iterator[bytes]:
    """Yield the command line of every process that is not about to end: anybody here may read them."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield path.read_bytes()


def test_a_server_that_others_keep_gets_what_up_brings(home: Home) -> None:
    """`deployments.apply` as a container types it, with a pool for heavy runs that was not there."""
    before = home.deployments()
    environment = home.environment | {"MMPIPE_CONFIG": str(home.config), "MMPIPE_HEAVY_POOL": "gpu"}
    done = command("deployments.apply", environment=environment)
    assert done.returncode == 0, done.stderr
    assert "made the queue corpus-words of the pool gpu" in done.stderr
    assert home.deployments().keys() == before.keys()
    assert {name for name, pool in home.deployments().items() if pool == "gpu"} == HEAVY


def made_here(folder: Path) -> Path:
    """Make the same on this machine alone, without Prefect; return the store."""
    config = load_config(folder / "local.toml")
    for dt in DATES:
        ingest_corpus(config, "words", dt)
    extract_plan(config, plan_corpus(config, "words"))
    return folder / "local"
