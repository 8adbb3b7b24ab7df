"""The secrets of a server: from the environment, else made once and kept in a file that only its owner reads."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from mmpipe.errors import ConfigError

AUTH = "PREFECT_SERVER_API_AUTH_STRING"
CLIENT_AUTH = "PREFECT_API_AUTH_STRING"
DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
NOTIFY = "MMPIPE_NOTIFY_URL"
USER = "mmpipe"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def take_auth(given: str, file: Path) -> str:
    """Return the `user:password` of the server: the one that is given, else that of the file, made where it is not."""
    if not given:
        return f"{USER}:{kept_secret(file)}"
    user, _, password = given.partition(":")
    if not user or not password:
        raise ConfigError(f"{AUTH} must be user:password; it is not shown here")
    return given


def kept_secret(file: Path) -> str:
    """Return the secret of a file that only its owner can read; the file is made where there is none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_secret(file)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_urlsafe(32) + "\n")
    return _read_secret(file)


def _read_secret(file: Path) -> str:
    if file.stat().st_mode & _OTHERS:
        raise ConfigError(f"{file} can be read by others, and so can the secret in it. Remove it: up makes a new one")
    text = file.read_text().strip()
    if not text:
        raise ConfigError(f"{file} is empty where a secret should be. Remove it: up makes a new one")
    return text
