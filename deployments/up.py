"""Start a Prefect server, workers, a desk and the deployments on this machine; what runs already is left as it is."""

from __future__ import annotations

import argparse
import os
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployments.api import ServerApi, is_healthy
from deployments.binding import FIRST_PORT, LOOPBACK, Access, address_of, check_access, free_port, origin_of
from deployments.credentials import AUTH, CLIENT_AUTH, DATABASE, take_auth
from deployments.deploy import deploy
from deployments.gpus import num_gpus
from deployments.postgres import ensure_postgres, find_programs, with_driver
from deployments.queues import CPU, GPU
from deployments.services import (
    ROOT,
    Service,
    alone,
    is_alive,
    prefect_home,
    read_service,
    start_service,
    state_folder,
    stop_service,
)
from deployments.settings import (
    WITHOUT,
    base_environment,
    client_environment,
    decision_digest,
    run_environment,
    server_environment,
)
from mmpipe.config import CONFIG_NAME, NightConfig, load_config
from mmpipe.errors import ConfigError, MmpipeError

START_S = 180.0
LOCAL = Access()
_OURS = "\0ours"  # --postgres without a URL


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person asks of `up`."""

    config: Path
    port: int = FIRST_PORT
    gpus: int = 0  # at least so many, also where none is found
    postgres: str | None = None  # none: SQLite; "": a database of our own; else a URL
    access: Access = LOCAL


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        address = bring_up(parse_wish(arguments), state_folder())
    except MmpipeError as error:
        print(f"up: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    print(address)  # noqa: T201
    return 0


def bring_up(wish: Wish, folder: Path) -> str:
    """Bring everything up, each part once, and return the address of the UI."""
    check_access(wish.access, has_database=wish.postgres is not None)
    if wish.postgres == "":
        find_programs()  # its absence is told before anything is started
    zone, nights = read_nights(wish.config)
    home = prefect_home()
    with alone(folder):
        os.chmod(folder, 0o700)
        environment = base_environment(wish.config, zone, home)
        database = _database_url(wish, home, folder, environment)
        auth = _take_auth(wish, home)
        server = _ensure_server(wish, folder, environment, auth, database)
        address = address_of(server.port, wish.access.host)
        gpus = max(num_gpus(os.environ), wish.gpus)
        desk_port = _port_of(read_service(folder, "desk"), server.port + 1, wish.access.host)
        environment |= server_environment(wish.access, server.port, auth, database)
        environment |= client_environment(address, auth)
        environment |= run_environment(GPU if gpus else CPU, address_of(desk_port, wish.access.host))
        _say(f"deploying the flows of {ROOT} with the config {wish.config}")
        pools = (CPU, GPU) if gpus else (CPU,)
        deploy(ServerApi(address, auth), pools, nights, environment, folder, _say)
        _ensure_worker(folder, environment, CPU, server)
        if gpus:
            _ensure_worker(folder, environment, GPU, server, limit=gpus)
        _ensure_recover(folder, environment)
        _ensure_desk(wish, folder, environment, desk_port)
        _ensure_keeper(folder, environment)
        if wish.access.is_shared and not os.environ.get(AUTH):
            _say(f"the password of the user {auth.partition(':')[0]} is in {home / 'server.password'}")
        _say(f"reports and metrics: {environment['MMPIPE_DESK_URL']}")
    return origin_of(wish.access, server.port)


def read_nights(config: Path) -> tuple[str, dict[str, NightConfig]]:
    """Return the zone of the config and the night of each of its corpora."""
    if not config.is_file():
        _say(f"there is no config at {config} yet; flows will say so until `mmpipe init` has written one")
        return "UTC", {}
    found = load_config(config)
    return found.timezone, {name: corpus.night for name, corpus in found.corpora.items()}


def parse_wish(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> Wish:
    """Return what the command line and the environment ask for."""
    options = _parse(arguments, environment)
    postgres = environment.get(DATABASE) or options.postgres
    if options.postgres not in (None, _OURS):
        postgres = options.postgres
    if postgres and postgres.startswith("sqlite"):
        raise ConfigError(f"{DATABASE} names SQLite; unset it: up keeps its own under PREFECT_HOME")
    return Wish(
        config=options.config.resolve(),
        port=options.port,
        gpus=int(options.gpu),
        postgres=postgres if postgres is None else "" if postgres == _OURS else with_driver(postgres),
        access=Access(host=options.host, is_shared=options.shared, url=options.url),
    )


def _take_auth(wish: Wish, home: Path) -> str:
    """Return the password of the server; none where only this machine can come and nobody asked for one."""
    given = os.environ.get(AUTH, "")
    return take_auth(given, home / "server.password") if given or wish.access.is_shared else ""


def _database_url(wish: Wish, home: Path, folder: Path, environment: Mapping[str, str]) -> str:
    """Return the URL of the database; "" is SQLite, which the server keeps by itself."""
    if wish.postgres is None:
        if (home / "postgres" / "data").exists():
            _say(f"the runs of {home / 'postgres'} are not shown: that was with --postgres, this is with SQLite")
        return ""
    if wish.postgres:
        return wish.postgres
    _say("bringing up PostgreSQL")
    return ensure_postgres(home, folder, environment)


def _ensure_server(wish: Wish, folder: Path, environment: Mapping[str, str], auth: str, database: str) -> Service:
    running = read_service(folder, "server")
    host = wish.access.host
    port = running.port if running and is_alive(running) else _port_of(running, wish.port, host)
    address = address_of(port, host)
    command = _prefect("server", "start", "--host", host, "--port", str(port))
    settings = {**environment, **server_environment(wish.access, port, auth, database)}
    names = ("PREFECT_SERVER_CORS_ALLOWED_ORIGINS", "PREFECT_SERVER_CSRF_PROTECTION_ENABLED", AUTH, DATABASE)
    decided = decision_digest(command, settings, names)
    if running and is_alive(running):
        _require_same(running, decided)
        _say(f"the server runs already, at {address}")
        if becomes_healthy(running, address):
            return running
        _say("it was just ending")  # somebody has told it to, or it dies: either way there is none now
    _say(f"starting the server at {address}")
    running = _start("server", command, settings, folder, port, decided, running)
    if not becomes_healthy(running, address):
        raise MmpipeError(f"the server ended while starting; its log says why: {running.log}")
    return running


def becomes_healthy(server: Service, address: str) -> bool:
    """Wait until a server answers; say that it does not when it ends, and raise `MmpipeError` if it does neither."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if not is_alive(server):
            return False
        if is_healthy(address):
            return True
        time.sleep(0.5)
    raise MmpipeError(f"the server is not ready after {START_S:.0f} s; see {server.log}, then ./run down and again")


def _ensure_worker(
    folder: Path, environment: Mapping[str, str], pool: str, server: Service, limit: int | None = None
) -> None:
    """Have one worker for a pool; the heavy runs of a GPU pool wait for a GPU, by the priority of their queues."""
    name = f"worker-{pool}"
    limited = ("--limit", str(limit)) if limit else ()
    command = _prefect("worker", "start", "--pool", pool, "--type", "process", "--name", pool, *limited)
    decided = decision_digest(command, environment, ("PREFECT_API_URL", CLIENT_AUTH, "MMPIPE_HEAVY_POOL"))
    running = read_service(folder, name)
    if running and is_alive(running) and running.port == server.port:
        _require_same(running, decided)
        _say(f"the worker of the pool {pool} runs already")
        return
    if running:  # it speaks to a server that is gone, or left flow runs behind
        stop_service(running)
    _say(f"starting the worker of the pool {pool}")
    _start(name, command, environment, folder, server.port, decided, running)


def _ensure_desk(wish: Wish, folder: Path, environment: Mapping[str, str], port: int) -> None:
    host = wish.access.host
    command = [sys.executable, "-m", "deployments.desk", "--host", host, "--port", str(port)]
    decided = decision_digest(command, environment, ("MMPIPE_CONFIG", AUTH))
    _ensure_stateless("desk", command, environment, folder, port, decided)


def _ensure_recover(folder: Path, environment: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "deployments.recover"]
    decided = decision_digest(command, environment, ("PREFECT_API_URL", CLIENT_AUTH))
    _ensure_stateless("recover", command, environment, folder, 0, decided)


def _ensure_keeper(folder: Path, environment: Mapping[str, str]) -> None:
    """Have a keeper whose environment is that of what it keeps."""
    command = [sys.executable, "-m", "deployments.keep"]
    ours = sorted(name for name in environment if name.startswith(("PREFECT_", "MMPIPE_")))
    _ensure_stateless("keeper", command, environment, folder, 0, decision_digest(command, environment, ours))


def _ensure_stateless(
    name: str, command: list[str], environment: Mapping[str, str], folder: Path, port: int, decided: str
) -> None:
    """Have a service that may be started again at any time: nothing is lost with it."""
    running = read_service(folder, name)
    if running and is_alive(running) and running.decided == decided:
        return
    if running:
        stop_service(running)
    _say(f"starting the {name}")
    _start(name, command, environment, folder, port, decided, running)


def _start(
    name: str,
    command: list[str],
    environment: Mapping[str, str],
    folder: Path,
    port: int,
    decided: str,
    before: Service | None,
) -> Service:
    """Start a service; one that was there before keeps its mark, so that its children are still found by it."""
    return start_service(
        name,
        command,
        environment,
        folder,
        mark=before.mark if before else uuid.uuid4().hex,
        port=port,
        without=WITHOUT[name.partition("-")[0]],
        decided=decided,
    )


def _require_same(running: Service, decided: str) -> None:
    """Refuse to end what works only because it was started with other words."""
    if running.decided != decided:
        raise ConfigError(
            f"the {running.name} runs already, but with other settings (host, password, database or GPUs) than are "
            "asked for now. Type the same again, or first ./run down: that ends the runs in progress"
        )


def _port_of(before: Service | None, first: int, host: str) -> int:
    """Return the port that a service had if it can have it again, else the first free one."""
    if before and is_alive(before):
        return before.port
    if before and before.port >= first and free_port(before.port, host) == before.port:
        return before.port
    return free_port(first, host)


def _prefect(*words: str) -> list[str]:
    return [sys.executable, "-m", "prefect", *words]


def _parse(arguments: Sequence[str] | None, environment: Mapping[str, str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run up", description=__doc__)
    usual = Path(environment.get("MMPIPE_CONFIG") or ROOT / CONFIG_NAME)
    parser.add_argument("--config", type=Path, default=usual)
    parser.add_argument("--port", type=int, default=FIRST_PORT, help="first port to try; default %(default)s")
    parser.add_argument("--gpu", action="store_true", help="have the pool gpu also where no GPU is found")
    parser.add_argument(
        *("--postgres",),
        nargs="?",
        const=_OURS,
        metavar="URL",
        help=f"keep runs in PostgreSQL: in one of our own, or in that of the URL (or of {DATABASE}: hidden from ps)",
    )
    parser.add_argument("--shared", action="store_true", help="for several people: with a password; wants --postgres")
    parser.add_argument("--host", default=LOOPBACK, help="where to listen; default %(default)s, else with --shared")
    parser.add_argument("--url", default="", help="with --shared: what browsers type, e.g. of a proxy with TLS")
    return parser.parse_args(arguments)


def _say(text: str) -> None:
    print(f"up: {text}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
