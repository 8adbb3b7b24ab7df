"""Start a Prefect server, a worker and the deployments on this machine; what runs already is left as it is."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path

from deployments.services import (
    ROOT,
    Service,
    alone,
    forget_service,
    is_alive,
    prefect_home,
    read_service,
    start_service,
    state_folder,
    stop_marked,
)
from mmpipe.config import CONFIG_NAME, load_config
from mmpipe.errors import ConfigError, MmpipeError

HOST = "127.0.0.1"  # the API runs code for whoever reaches it: never another address without authentication
FIRST_PORT = 4200
NUM_PORTS = 100
POOL = "mmpipe"
START_S = 180.0


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parse(arguments)
    try:
        address = bring_up(options.config.resolve(), state_folder(), options.port)
    except MmpipeError as error:
        print(f"up: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    print(address)  # noqa: T201
    return 0


def bring_up(config: Path, folder: Path, port: int | None = None) -> str:
    """Bring server, deployments and worker up, each once, and return the address of the UI."""
    environment = deployment_environment(config)
    with alone(folder):
        server = _ensure_server(folder, port, environment)
        environment |= client_environment(server.port)
        _say(f"deploying the flows of {ROOT} with the config {config}")
        _deploy(environment)
        _ensure_worker(folder, environment, server)
    return address_of(server.port)


def deployment_environment(config: Path) -> dict[str, str]:
    """Return what `prefect.yaml` and the services ask of the environment."""
    zone = "UTC"
    if config.is_file():
        zone = load_config(config).timezone
    else:
        _say(f"there is no config at {config} yet; flows will say so until `mmpipe init` has written one")
    return {
        **os.environ,
        "PREFECT_HOME": str(prefect_home()),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "DO_NOT_TRACK": "1",
        "MMPIPE_HOME": str(ROOT),
        "MMPIPE_CONFIG": str(config),
        "MMPIPE_TIMEZONE": zone,
    }


def client_environment(port: int) -> dict[str, str]:
    """Return what a client needs to reach the server."""
    return {"PREFECT_API_URL": f"{address_of(port)}/api"}


def address_of(port: int) -> str:
    """Return the address of the UI."""
    return f"http://{HOST}:{port}"


def free_port(first: int = FIRST_PORT) -> int:
    """Return the first port from `first` on that nobody listens at."""
    for port in range(first, first + NUM_PORTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise ConfigError(f"no free port from {first} to {first + NUM_PORTS - 1}; choose one with --port")


def _ensure_server(folder: Path, port: int | None, environment: Mapping[str, str]) -> Service:
    running = read_service(folder, "server")
    if running and is_alive(running):
        _say(f"the server runs already, at {address_of(running.port)}")
    else:
        chosen = free_port(port or FIRST_PORT)
        _say(f"starting the server at {address_of(chosen)}")
        running = start_service(
            "server",
            [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(chosen)],
            # Only its own UI may call it from a browser: by default any open web page could.
            {**environment, "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": address_of(chosen)},
            folder,
            mark=uuid.uuid4().hex,
            port=chosen,
        )
    _wait_for_health(running)
    return running


def _wait_for_health(server: Service) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if not is_alive(server):
            raise MmpipeError(f"the server ended while starting; its log says why: {server.log}")
        if is_healthy(server.port):
            return
        time.sleep(0.5)
    raise MmpipeError(f"the server is not ready after {START_S:.0f} s; see {server.log}, then ./run down and again")


def is_healthy(port: int) -> bool:
    """Say whether the server at the port answers."""
    try:
        with urllib.request.urlopen(f"{address_of(port)}/api/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _deploy(environment: Mapping[str, str]) -> None:
    """Make the pool and apply `prefect.yaml`; both change nothing where they are already so."""
    pool = [sys.executable, "-m", "prefect", "--no-prompt", "work-pool", "create", POOL, "--type", "process"]
    _prefect([*pool, "--overwrite"], environment)
    file = str(ROOT / "deployments" / "prefect.yaml")
    _prefect([sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", file], environment)


def _prefect(command: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=dict(environment), cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        shown = " ".join(command[2:])
        raise MmpipeError(f"`{shown}` ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")


def _ensure_worker(folder: Path, environment: Mapping[str, str], server: Service) -> None:
    running = read_service(folder, "worker")
    if running and is_alive(running) and running.port == server.port:
        _say("the worker runs already")
        return
    if running:  # it speaks to a server that is gone, or left flow runs behind
        stop_marked(running.mark)
        forget_service(folder, "worker")
    _say("starting the worker")
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
    start_service("worker", [*command, "--name", POOL], environment, folder, mark=uuid.uuid4().hex, port=server.port)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run up", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path(os.environ.get("MMPIPE_CONFIG") or ROOT / CONFIG_NAME))
    parser.add_argument("--port", type=int, help=f"first port to try; default {FIRST_PORT}")
    return parser.parse_args(arguments)


def _say(text: str) -> None:
    print(f"up: {text}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
