"""Bring pools, queues, automations and deployments to a server that runs elsewhere: in containers, on a cluster.

The environment says which server (PREFECT_API_URL, PREFECT_API_AUTH_STRING), which config (MMPIPE_CONFIG), and where
the heavy runs go (MMPIPE_HEAVY_POOL). A pool that is there already keeps its type and its template.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deployments.api import ServerApi
from deployments.credentials import CLIENT_AUTH
from deployments.deploy import deploy
from deployments.queues import CPU, GPU
from deployments.settings import base_environment, client_environment
from deployments.up import read_nights
from mmpipe.config import CONFIG_NAME
from mmpipe.errors import ConfigError, MmpipeError

URL, HEAVY = "PREFECT_API_URL", "MMPIPE_HEAVY_POOL"
_PATH = "/api"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A server that others keep, and what it is to hold."""

    address: str  # without /api
    auth: str
    config: Path
    heavy_pool: str

    @property
    def pools(self) -> tuple[str, ...]:
        """Return the pools that there must be."""
        return (CPU, GPU) if self.heavy_pool == GPU else (CPU,)


def main() -> int:
    """Run the command and return its exit code."""
    try:
        apply(read_place(os.environ), os.environ)
    except MmpipeError as error:
        print(f"apply: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


def read_place(environment: Mapping[str, str]) -> Place:
    """Return where to, as the environment says."""
    url = environment.get(URL, "")
    if not url.startswith(("http://", "https://")) or not url.endswith(_PATH):
        raise ConfigError(f"{URL} must be the address of a Prefect server's API, such as http://server:4200/api")
    heavy = environment.get(HEAVY) or CPU
    if heavy not in (CPU, GPU):
        raise ConfigError(f"{HEAVY} must be {CPU} or {GPU}, got {heavy!r}")
    config = Path(environment.get("MMPIPE_CONFIG") or CONFIG_NAME).resolve()
    if not config.is_file():
        raise ConfigError(f"there is no config at {config}; MMPIPE_CONFIG names it")
    return Place(
        address=url.removesuffix(_PATH), auth=environment.get(CLIENT_AUTH, ""), config=config, heavy_pool=heavy
    )


def apply(place: Place, inherited: Mapping[str, str]) -> None:
    """Bring everything there; what is so already stays."""
    zone, nights = read_nights(place.config)
    with tempfile.TemporaryDirectory(prefix="mmpipe-apply-") as folder:
        home = Path(inherited.get("PREFECT_HOME") or folder)
        environment = base_environment(place.config, zone, home, inherited)
        environment |= client_environment(place.address, place.auth) | {HEAVY: place.heavy_pool}
        api = ServerApi(place.address, place.auth)
        deploy(api, place.pools, nights, environment, Path(folder), _say)


def _say(text: str) -> None:
    print(f"apply: {text}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
