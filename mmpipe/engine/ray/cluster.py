"""This process's connection to a Ray cluster: made when there is work, shared by engines, ended with the last of them.

Ray is a thing of the whole process, so this module holds the one connection of it.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpipe.errors import ConfigError, MmpipeError, TransientError

_OBJECT_STORE_BYTES = 128 << 20  # of a private cluster: what travels is work and receipts, never media
_ANSWER_S = 20.0  # longest wait for a cluster to take a call
_LONGEST_FOLDER = 16  # characters: Ray makes sockets far below it, whose names may have 107
_lock = threading.Lock()
_keeper: _Keeper | None = None
_users = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RaySettings:
    """Where the cluster is, and what each worker asks of it."""

    address: str = ""  # "": a cluster of this machine alone
    num_workers: int = 0  # 0: as many as the cluster has room for
    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: int = 0  # 0: Ray does not count it
    ship_code: bool = False  # bring this process's mmpipe to the nodes
    start_timeout_s: float = 900.0  # longest wait for the first worker: a cluster may have to grow

    @property
    def is_private(self) -> bool:
        """Say whether the cluster is made here and for this process alone."""
        return not self.address


def import_ray() -> Any:
    """Return the package; ConfigError where it is not installed."""
    # Ray takes these from the environment alone, and reads them when it is imported.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # a worker without a GPU of its own sees none
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            'engine.kind is "ray", but Ray is not installed: pip install "mmpipe[ray]", or set engine.kind = "local"'
        ) from error
    return ray


def enter_cluster(settings: RaySettings) -> Any:
    """Return Ray, connected; call `leave_cluster` once for it. ConfigError, TransientError: there is no way to it."""
    global _keeper, _users
    if settings.is_private:
        _require_token()
    ray = import_ray()
    with _lock:
        if _keeper is not None and _keeper.address != settings.address:
            raise ConfigError(
                f"engine.ray.address = {settings.address!r}: this process works on {_keeper.address!r} already; Ray "
                "allows one cluster a process"
            )
        if _keeper is None and not ray.is_initialized():  # else somebody else's, who also ends it
            keeper = _Keeper(ray, settings)
            keeper.connect()
            _keeper = keeper
        _users += 1
    return ray


def leave_cluster() -> None:
    """Give a connection up; the last one ends it, and a private cluster with it."""
    global _keeper, _users
    with _lock:
        _users -= 1
        if _users == 0 and _keeper is not None:
            _keeper.disconnect()
            _keeper = None


def room_for_workers(nodes: list[dict[str, Any]], settings: RaySettings) -> int:
    """Return how many workers fit on the living nodes as Ray describes them."""
    asked = {"CPU": settings.cpus, "GPU": settings.gpus, "memory": float(settings.memory_bytes)}
    room = 0
    for node in nodes:
        if node.get("Alive"):
            has = node.get("Resources", {})
            room += min(int(has.get(name, 0.0) / each + 1e-9) for name, each in asked.items() if each)
    return room


class _Keeper:
    """The thread that Ray is started in.

    The kernel ends the processes of a private cluster with the thread that started them, and tasks' threads come and
    go. It also keeps Ray from taking SIGTERM, which it does in a main thread.
    """

    def __init__(self, ray: Any, settings: RaySettings) -> None:
        self._ray = ray
        self._settings = settings
        self._folder: Path | None = None
        self._error: BaseException | None = None
        self._connected = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._live, name="ray", daemon=True)

    @property
    def address(self) -> str:
        """Return where the cluster is, as the config says it."""
        return self._settings.address

    def connect(self) -> None:
        """Return when the connection stands."""
        self._thread.start()
        self._connected.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error

    def disconnect(self) -> None:
        """Return when it is ended."""
        self._done.set()
        self._thread.join()

    def _live(self) -> None:
        try:
            self._start()
        except Exception as error:  # noqa: BLE001 - crosses the thread: `connect` raises it
            self._error = self._explained(error)
            self._stop()
            self._connected.set()
            return
        self._connected.set()
        self._done.wait()
        self._stop()

    def _start(self) -> None:
        _keep_quiet(self._ray)
        options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if self._settings.ship_code:
            options["runtime_env"] = {"py_modules": [str(Path(__file__).resolve().parents[2])]}
        if self._settings.is_private:
            self._folder = _make_folder()
            workers = self._settings.num_workers or len(os.sched_getaffinity(0))
            options |= {
                "address": "local",
                "num_cpus": math.ceil(workers * self._settings.cpus),
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE_BYTES,
                "_temp_dir": str(self._folder),
            }
        else:
            _require_listener(self._settings.address)
            options["address"] = self._settings.address
        self._ray.init(**options)

    def _stop(self) -> None:
        with suppress(Exception):  # the cluster may be gone already, and there is nothing to do about it
            self._ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _explained(self, error: Exception) -> MmpipeError:
        place = f"engine.ray.address = {self._settings.address!r}"
        text = str(error).strip()
        if "ersion mismatch" in text:
            return ConfigError(f"{place}: the cluster runs another Ray or Python than this process. {text}")
        if isinstance(error, ImportError):
            return ConfigError(f'{place}: {text}. For ray:// addresses: pip install "mmpipe[ray]"')
        if isinstance(error, ConnectionError) and self._settings.address != "auto":
            return TransientError(
                f"{place}: no cluster answers: {text}. One that asks for a token needs RAY_AUTH_MODE=token and "
                "RAY_AUTH_TOKEN_PATH in the environment"
            )
        return ConfigError(f"{place}: Ray cannot be reached: {type(error).__name__}: {text}")


def _keep_quiet(ray: Any) -> None:
    """Leave standard output to results: Ray tells there of lost nodes, whatever its options say of logs.

    What it told is no loss: the engine has events for it.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    ray._private.worker._worker_logs_enabled = False  # a test sees it, should a newer Ray know no such thing


def _require_listener(address: str) -> None:
    """Raise ConnectionError where nobody listens: Ray itself goes on trying for a quarter of an hour."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():  # "auto", or a name that only Ray understands
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except OSError as error:
        raise ConnectionError(str(error)) from error


def _make_folder() -> Path:
    """Return a new folder for a private cluster; those that killed processes have left are removed."""
    usual = tempfile.gettempdir()
    base = Path(usual if len(usual) <= _LONGEST_FOLDER else "/tmp")
    for left in base.glob("mmray-*-*"):
        if not Path("/proc", left.name.split("-")[1]).exists():
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"mmray-{os.getpid()}-", dir=base))


def _require_token() -> None:
    """Have a private cluster ask for a token of this process, where the user has not decided about that.

    Without one, whoever is on this machine may run code in it; Ray's own way leaves one in the user's home for good.
    """
    if "RAY_AUTH_MODE" not in os.environ:  # stays for later clusters: Ray reads it once a process
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


Callback = Callable[[Any, BaseException | None], None]


def when_done(reference: Any, callback: Callback) -> None:
    """Call back, in a thread of Ray, with the value of a reference or what it failed with."""

    def hand_on(future: Any) -> None:
        error = future.exception()
        callback(None if error else future.result(), error)

    reference.future().add_done_callback(hand_on)
