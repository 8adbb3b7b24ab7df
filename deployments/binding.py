"""Where the server listens, and what it asks of those who come: beyond this machine never without a password."""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from mmpipe.errors import ConfigError

LOOPBACK = "127.0.0.1"
FIRST_PORT = 4200
NUM_PORTS = 100
_DOCS = "put a proxy with TLS before it: the server itself speaks plain HTTP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may come: the wish of the person who types `up`."""

    host: str = LOOPBACK
    is_shared: bool = False
    url: str = ""  # what browsers type, where it is not the host and the port


def check_access(access: Access, *, has_database: bool) -> None:
    """Refuse what would let strangers in: whoever reaches the API runs code."""
    if not access.is_shared and not is_loopback(access.host):
        raise ConfigError(
            f"--host {access.host} is not of this machine alone, and whoever reaches the API runs code. "
            f"Add --shared: it asks for a password and refuses forged requests. And {_DOCS}"
        )
    if not access.is_shared and access.url:
        raise ConfigError("--url says what others type to reach the server; it goes with --shared")
    if access.is_shared and not has_database:
        raise ConfigError(
            "--shared needs --postgres: with SQLite the server stalls and answers 503 as soon as several people and "
            "runs use it at once"
        )
    if access.is_shared and _is_any(access.host) and not access.url:
        raise ConfigError(
            f"--host {access.host} says no name that a browser could type. Add --url, as in "
            "--url https://prefect.example.org, or name one address of this machine"
        )
    parts = urlsplit(access.url)
    if access.url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/")):
        raise ConfigError(f"--url {access.url!r} is not like https://prefect.example.org")


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address_of(port: int, host: str = LOOPBACK) -> str:
    """Return the address at which clients on this machine reach what listens."""
    name = LOOPBACK if _is_any(host) else host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def origin_of(access: Access, port: int) -> str:
    """Return the origin that browsers send: only pages of it may call the server."""
    if access.url:
        parts = urlsplit(access.url)
        return f"{parts.scheme}://{parts.netloc}"
    return address_of(port, access.host)


def free_port(first: int = FIRST_PORT, host: str = LOOPBACK) -> int:
    """Return the first port from `first` on that nobody listens at."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(first, first + NUM_PORTS):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except socket.gaierror as error:
                raise ConfigError(f"--host {host}: no such address ({error})") from error
            except OSError as error:
                if not _is_taken(error):
                    raise ConfigError(f"--host {host}: cannot listen there ({error})") from error
                continue
            return port
    raise ConfigError(f"no free port from {first} to {first + NUM_PORTS - 1}; choose one with --port")


def _is_taken(error: OSError) -> bool:
    return error.errno in (errno.EADDRINUSE, errno.EACCES)


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == ""
