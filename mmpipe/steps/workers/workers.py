"""The one worker pool of a process, shared by its threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from mmpipe.config import Config
from mmpipe.engine.device.process import DeviceSpec
from mmpipe.engine.engine import Engine
from mmpipe.engine.local import LocalEngine
from mmpipe.engine.ray.cluster import RaySettings
from mmpipe.engine.ray.engine import RayEngine
from mmpipe.steps.ground.watching import worker_log_level
from mmpipe.steps.workers.device_pool import DevicePool, shared_devices
from mmpipe.steps.workers.picture_pool import shared_pictures
from mmpipe.steps.workers.reach import StoreReach

WORKER_SETUP = "mmpipe.steps.workers.worker:set_up"
_lock = threading.Lock()
_engine: Engine | None = None
_users = 0
_devices: DevicePool | None = None
_pictures: DevicePool | None = None
_beside = ExitStack()  # what ends with the engine


@contextmanager
def shared_engine(config: Config) -> Iterator[Engine]:
    """Enter the process's engine: the first one in starts it, the last one out leaves no worker behind."""
    global _engine, _devices, _pictures, _users
    with _lock:
        if _engine is None:
            _engine = make_engine(config)
        engine = _engine
        _users += 1
    try:
        yield engine
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _engine = None
                _devices = _pictures = None
                try:
                    engine.close()
                finally:
                    _beside.close()


@contextmanager
def devices_beside(device: str) -> Iterator[DevicePool]:
    """Enter the devices of a run; inside `shared_engine` they live as long as the engine: models are loaded once."""
    global _devices
    with _lock:
        if _engine is not None and _devices is None:
            _devices = _beside.enter_context(shared_devices(device))
        devices = _devices
    if devices is not None:
        yield devices
        return
    with shared_devices(device) as devices:
        yield devices


@contextmanager
def pictures_beside(specs: Sequence[DeviceSpec]) -> Iterator[DevicePool]:
    """Enter the decoder processes of a run; inside `shared_engine` they live as long as the engine."""
    global _pictures
    with _lock:
        if _engine is not None and _pictures is None and specs:
            _pictures = _beside.enter_context(shared_pictures(specs))
        pictures = _pictures if specs else None
    if pictures is not None:
        yield pictures
        return
    with shared_pictures(specs) as pictures:
        yield pictures


def make_engine(config: Config) -> Engine:
    """Make the engine that the config names, of as many workers as it says; none is started before there is work."""
    memory = max((corpus.limits.memory_bytes for corpus in config.corpora.values()), default=2 << 30)
    level = worker_log_level(config.watch)
    if config.engine.kind == "local":
        return LocalEngine(num_workers(config), memory, worker_setup=WORKER_SETUP, log_level=level)
    return RayEngine(ray_settings(config), memory, WORKER_SETUP, StoreReach(config), level)


def ray_settings(config: Config) -> RaySettings:
    """Return what the config says of the Ray cluster."""
    ray = config.engine.ray
    return RaySettings(
        address=ray.address,
        num_workers=config.engine.workers,
        cpus=ray.cpus_per_worker,
        gpus=ray.gpus_per_worker,
        memory_bytes=ray.memory_per_worker_bytes,
        ship_code=ray.ship_code,
        start_timeout_s=ray.start_timeout_s,
    )


def num_workers(config: Config) -> int:
    """Return how many workers the config asks for: one per core where it leaves it open."""
    return config.engine.workers or len(os.sched_getaffinity(0))
