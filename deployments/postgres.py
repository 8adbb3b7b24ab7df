"""A PostgreSQL of our own under Prefect's folder, made with the programs that are installed.

PostgreSQL refuses to run as root: there it runs as an account that owns nothing else. It listens on this machine alone
and asks for a password, which lies in a file that only its owner reads.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from deployments.binding import LOOPBACK, free_port
from deployments.credentials import USER, kept_secret
from deployments.services import Service, forget_service, is_alive, read_service, restart_service, start_service
from deployments.settings import WITHOUT
from mmpipe.errors import ConfigError, MmpipeError

NAME = "postgres"
DATABASE_NAME = "prefect"
FIRST_PORT = 5433
_START_S = 60.0
_INSTALLED = "/usr/lib/postgresql"
_PROGRAMS = ("initdb", "postgres", "pg_isready", "createdb")
_ACCOUNTS = ("postgres", "nobody")
# Puts off root for good, then becomes the program: the process number stays.
_AS_USER = """
import os, sys
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[1]))
os.execv(sys.argv[3], sys.argv[3:])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whom the database runs as; no prefix where that is ourselves."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where a database of ours lies, and what it is run with."""

    folder: Path
    programs: Path
    account: Account

    @property
    def data(self) -> Path:
        """Return the folder of the data; it survives `down`."""
        return self.folder / "data"

    def program(self, name: str) -> str:
        """Return the path of one of the programs."""
        return str(self.programs / name)


def find_programs(path: str | None = None, installed: str = _INSTALLED) -> Path:
    """Return the folder of PostgreSQL's programs: of the newest version that is installed, else from the PATH."""
    versions = sorted(Path(installed).glob("[0-9]*/bin"), key=lambda folder: int(folder.parent.name.split(".")[0]))
    found = shutil.which("initdb", path=path)
    beside = [Path(found).resolve().parent] if found else []
    for folder in [*reversed(versions), *beside]:
        if all(os.access(folder / name, os.X_OK) for name in _PROGRAMS):
            return folder
    raise ConfigError(
        "no PostgreSQL found: neither initdb in the PATH nor " + f"{installed}/*/bin. Install it "
        "(apt install postgresql, or dnf install postgresql-server postgresql-contrib), or name one that runs: "
        "--postgres postgresql://user:password@host/database"
    )


def ensure_postgres(home: Path, folder: Path, environment: Mapping[str, str]) -> str:
    """Bring the database up, made where it is not yet, and return the URL with the password."""
    cluster = Cluster(folder=home / "postgres", programs=find_programs(), account=choose_account())
    password = kept_secret(home / "postgres.password")
    _make_data(cluster, password, home)
    service = _ensure_running(cluster, folder, environment)
    _wait_until_ready(cluster, service)
    _make_database(cluster, service, password)
    return f"postgresql+asyncpg://{USER}:{quote(password)}@{LOOPBACK}:{service.port}/{DATABASE_NAME}"


def with_driver(url: str) -> str:
    """Return a URL of PostgreSQL as the server takes it; the text of a refusal never shows it: it holds a password."""
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in ("postgres", "postgresql", "postgresql+asyncpg"):
        raise ConfigError(
            "--postgres wants postgresql://user:password@host:port/database (what was given is not shown)"
        )
    return f"postgresql+asyncpg://{rest}"


def choose_account(uid: int | None = None) -> Account:
    """Return whom the database runs as: ourselves, or where we are root, an account that is not."""
    mine = os.getuid() if uid is None else uid
    if mine != 0:
        return Account(uid=mine, gid=os.getgid())
    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        prefix = (sys.executable, "-c", _AS_USER, str(entry.pw_uid), str(entry.pw_gid))
        return Account(uid=entry.pw_uid, gid=entry.pw_gid, prefix=prefix)
    raise ConfigError(f"PostgreSQL does not run as root, and there is no account {' or '.join(_ACCOUNTS)} to run it as")


def _make_data(cluster: Cluster, password: str, home: Path) -> None:
    """Make the folder of the data, once and whole: one that was not finished has another name."""
    if cluster.data.exists():
        return
    cluster.folder.mkdir(parents=True, exist_ok=True)
    _open_way(cluster, home)
    unfinished, kept = cluster.folder / "data.new", cluster.folder / ".password"
    shutil.rmtree(unfinished, ignore_errors=True)
    with os.fdopen(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(password)
    os.chown(kept, cluster.account.uid, cluster.account.gid)
    words = ("initdb", "--pgdata", str(unfinished), "--username", USER, "--pwfile", str(kept))
    try:
        _call(cluster, [*words, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"])
    finally:
        kept.unlink(missing_ok=True)
    unfinished.rename(cluster.data)


def _open_way(cluster: Cluster, home: Path) -> None:
    """Give the account its folder and let it pass to it; say where it may not pass above ours."""
    os.chmod(cluster.folder, 0o700)
    os.chown(cluster.folder, cluster.account.uid, cluster.account.gid)
    if not cluster.account.prefix:
        return
    os.chmod(home, home.stat().st_mode | 0o011)
    probe = [*cluster.account.prefix, "/bin/sh", "-c", 'cd "$0"', str(cluster.folder)]
    if subprocess.run(probe, capture_output=True).returncode:
        raise ConfigError(
            f"the database runs as account {cluster.account.uid}, since PostgreSQL refuses root, and this account may "
            f"not enter {home}: a folder above it is closed to others. Choose another with PREFECT_HOME, e.g. "
            "/var/lib/mmpipe, or run up as yourself"
        )


def _ensure_running(cluster: Cluster, folder: Path, environment: Mapping[str, str]) -> Service:
    running = read_service(folder, NAME)
    if running and is_alive(running):
        return running
    if running and running.port == free_port(running.port):
        return restart_service(running, environment, folder)
    forget_service(folder, NAME)
    port = free_port(FIRST_PORT)
    options = {
        "listen_addresses": LOOPBACK,
        "port": str(port),
        "unix_socket_directories": "",
        "logging_collector": "off",
    }
    settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    command = [*cluster.account.prefix, cluster.program("postgres"), "-D", str(cluster.data), *settings]
    return start_service(
        NAME,
        command,
        environment,
        folder,
        mark=uuid.uuid4().hex,
        port=port,
        without=WITHOUT[NAME],
        stop_signal=signal.SIGINT,  # ends the sessions and then itself; SIGTERM would wait for them
    )


def _wait_until_ready(cluster: Cluster, service: Service) -> None:
    deadline = time.monotonic() + _START_S
    probe = [cluster.program("pg_isready"), "-q", "-h", LOOPBACK, "-p", str(service.port)]
    while subprocess.run(probe, capture_output=True).returncode:
        if not is_alive(service):
            raise MmpipeError(f"the database ended while starting; its log says why: {service.log}")
        if time.monotonic() > deadline:
            raise MmpipeError(f"the database is not ready after {_START_S:.0f} s; see {service.log}")
        time.sleep(0.2)


def _make_database(cluster: Cluster, service: Service, password: str) -> None:
    command = [cluster.program("createdb"), "-h", LOOPBACK, "-p", str(service.port), "-U", USER, "-w", DATABASE_NAME]
    environment = {**os.environ, "PGPASSWORD": password, "LC_ALL": "C"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode and "already exists" not in done.stderr:
        raise MmpipeError(f"cannot make the database {DATABASE_NAME}: {done.stderr.strip()}")


def _call(cluster: Cluster, command: Sequence[str]) -> None:
    """Run one of the programs as the account of the database."""
    full = [*cluster.account.prefix, cluster.program(command[0]), *command[1:]]
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(full, env=environment, cwd="/", capture_output=True, text=True)
    if done.returncode:
        raise MmpipeError(f"`{command[0]}` ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
