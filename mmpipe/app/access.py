"""Where the app listens and whom it answers: this machine alone, or others with a password."""

from __future__ import annotations

import base64
import hmac
import ipaddress
import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from mmpipe.errors import ConfigError

LOOPBACK = "127.0.0.1"
_LEAST_LETTERS = 8  # of a password that strangers may try


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may look."""

    host: str = LOOPBACK
    password: str = field(default="", repr=False)  # "": none is asked for

    def lets_in(self, authorization: str) -> bool:
        """Say whether a header carries the password; any name goes with it."""
        if not self.password:
            return True
        scheme, _, given = authorization.partition(" ")
        try:
            _, _, word = base64.b64decode(given, validate=True).partition(b":")
        except ValueError:
            return False
        return scheme.lower() == "basic" and hmac.compare_digest(word, self.password.encode())

    def knows(self, host_header: str) -> bool:
        """Say whether a request came under a name of ours.

        A page of the web whose name was pointed at this machine would come with its own name. Where a password is
        asked for, such a page has none.
        """
        if self.password:
            return True
        try:
            name = urlsplit(f"//{host_header}").hostname or ""
        except ValueError:
            return False
        return is_loopback(name) or name == self.host


def access_for(host: str, password_env: str | None) -> Access:
    """Return who may look; ConfigError: others could reach it, and nothing would ask them for a password."""
    password = os.environ.get(password_env, "") if password_env else ""
    if password_env and len(password) < _LEAST_LETTERS:
        raise ConfigError(
            f"--password-env {password_env}: the environment has no password of {_LEAST_LETTERS} letters or more "
            "under this name. Set it first; it is never written on the command line, where others could read it."
        )
    if not password and not is_loopback(host):
        raise ConfigError(
            f"--host {host} is not of this machine alone, and the app shows all that the store holds. Add "
            "--password-env NAME, and put a proxy with TLS before it: the app itself speaks plain HTTP."
        )
    return Access(host=host, password=password)


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
