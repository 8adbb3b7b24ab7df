"""Listen, and serve until somebody ends us."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from mmpipe.errors import ConfigError

_WAITING = 64  # connections that may wait for their turn
_MOST_AT_ONCE = 64  # requests; what comes beyond is told to come again
_IDLE_S = 15


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes any that is free. ConfigError: nobody can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # asyncio sets it only where the socket names its protocol; without it an answer may wait 40 ms for an ACK.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.bind((host, port))
        listening.listen(_WAITING)
    except OSError as error:
        listening.close()
        raise ConfigError(f"cannot listen at {host} port {port}: {error}. Choose another with --port.") from error
    return listening


def address_of(listening: socket.socket) -> str:
    """Return what to type into a browser on this machine."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(app: ASGIApp, listening: socket.socket, when_ready: Callable[[], None] = lambda: None) -> None:
    """Answer until SIGINT or SIGTERM; what is under way then is finished first."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_AT_ONCE,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=2,
        lifespan="off",
    )
    when_ready()  # it listens already: who comes now waits
    uvicorn.Server(config).run(sockets=[listening])
