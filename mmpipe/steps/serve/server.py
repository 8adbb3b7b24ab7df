"""Run the server: what is refused before a port is opened, and an end that answers what was begun."""

from __future__ import annotations

import asyncio
import importlib.util
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.registry.aliases import ALIASES, parse_reference, read_aliases
from mmpipe.registry.versions import Version
from mmpipe.serve.limits import ServeLimits
from mmpipe.serve.temporary import OwnFolder
from mmpipe.sources.suffixes import MODALITY_OF_SUFFIX, TABLES
from mmpipe.steps.ask.predict import find_askable
from mmpipe.steps.ask.settings import asked_config
from mmpipe.steps.serve.released import ReleasedPredictor, UploadLimits, open_released
from mmpipe.store.layout import StoreLayout

if TYPE_CHECKING:
    from mmpipe.serve.service import Service
    from mmpipe.steps.serve.follow import Follower

_LOG = logging.getLogger(__name__)
_PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
_USUAL = {"video": ".mp4", "audio": ".wav", "image": ".png", "text": ".txt"}  # of a file without a known suffix
_HEADER_BYTES = 32 << 10
_KEEP_ALIVE_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """Where and how a model is served."""

    reference: str  # NAME, NAME@VERSION or NAME@ALIAS; an alias is followed
    limits: ServeLimits
    host: str = "127.0.0.1"
    port: int = 8765
    api_key: str = ""  # "": none is asked for, which only this machine may reach
    device: str = "auto"
    duration_s: float = 600.0  # longest recording
    look_every_s: float = 2.0  # at where the alias points


def serve_model(config: Config, settings: ServeSettings, say: Callable[[str], None]) -> None:
    """Serve until the process is told to stop; what is under way then is answered. Raise ConfigError before that."""
    require_packages()
    require_guarded(settings.host, settings.api_key)
    version = find_askable(config, settings.reference)
    with OwnFolder("asked") as staging:
        asked_config(version, config, staging, staging)  # refuses at once what cannot be asked here
        _run(config, settings, version, staging, say)


def require_guarded(host: str, api_key: str) -> None:
    """Refuse to listen where others reach it without a key."""
    if api_key:
        return
    try:
        is_ours = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_ours = False
    if not is_ours:
        raise ConfigError(
            f"--host {host} lets other machines ask, and there is no API key. Put one into the environment variable "
            "that --api-key-env names (MMPIPE_API_KEY), or listen on 127.0.0.1."
        )


def require_packages() -> None:
    """Refuse an installation without what serves."""
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"{missing[0]} is not installed. Run: pip install 'mmpipe[pipeline,serve]'")


def suffixes_by_role() -> dict[str, tuple[str, ...]]:
    """Return the suffixes that an uploaded file may keep; a table of many texts is none of one asset."""
    return {
        role: (
            usual,
            *(s for s, modality in MODALITY_OF_SUFFIX.items() if modality == role and s not in (usual, *TABLES)),
        )
        for role, usual in _USUAL.items()
    }


def make_follower(config: Config, settings: ServeSettings, staging: Path) -> Follower:
    """Return what loads the version that a reference names, now and whenever its alias moves."""
    from mmpipe.steps.serve.follow import Follower

    named = parse_reference(settings.reference)
    models = StoreLayout(config.store).models

    @cache
    def fixed_label() -> str:
        """Return what is no alias, once: to find it is to check the digest of every file."""
        return find_askable(config, settings.reference).label

    def label_now() -> str:
        return read_aliases(models, named.name).names[named.ref] if named.ref in ALIASES else fixed_label()

    def load(label: str) -> ReleasedPredictor:
        limits = UploadLimits(
            nbytes=settings.limits.upload_bytes,
            duration_s=settings.duration_s,
            seconds=settings.limits.timeout_s,
        )
        version = find_askable(config, f"{named.name}@{label}")
        return open_released(config, version, settings.device, settings.limits.workers, limits, staging)

    return Follower(label_now=label_now, load=load, every_s=settings.look_every_s)


def _run(config: Config, settings: ServeSettings, version: Version, staging: Path, say: Callable[[str], None]) -> None:
    import uvicorn

    from mmpipe.serve.app import make_app
    from mmpipe.serve.service import Service

    follower = make_follower(config, settings, staging)
    failed: list[BaseException] = []

    @asynccontextmanager
    async def life(service: Service) -> AsyncIterator[None]:
        task = asyncio.create_task(_live(follower, service))
        task.add_done_callback(ended)
        yield
        service.stop()
        task.cancel()
        await asyncio.wait([task])

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            failed.append(error)
            server.should_exit = True

    app = make_app(lambda: Service(settings.limits, suffixes_by_role()), settings.api_key, life)

    class Server(uvicorn.Server):
        """Says by /readyz that it stops as soon as it is told to."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            app.state.service.stop()
            super().handle_exit(sig, frame)

    server = Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(round(settings.limits.drain_s), 1),
            h11_max_incomplete_event_size=_HEADER_BYTES,
        )
    )
    with listen(settings.host, settings.port) as listening:
        say(f"{version.name}@{version.label} at {address_of(listening)}; /readyz says when it is warm")
        if not settings.api_key:
            say("no API key is asked for: every process and user of this machine may ask")
        try:
            server.run([listening])
        except KeyboardInterrupt:
            _LOG.info("told to stop; what was under way is answered")  # uvicorn raises the signal again, after its end
    if failed:
        raise failed[0]
    say("stopped")


def listen(host: str, port: int) -> socket.socket:
    """Open a port; 0 takes one that is free. ConfigError where it cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(f"--host {host} --port {port}: {error.strerror or error}. Take another.") from error
    # asyncio sets it only where the socket names its protocol; without it every answer waits 40 ms for an ACK.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def address_of(listening: socket.socket) -> str:
    """Return where a port is asked."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _live(follower: Follower, service: Service) -> None:
    await follower.begin(service)
    await follower.follow(service)
