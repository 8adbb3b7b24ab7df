"""How work is done and how the store is kept."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from mmpipe.config.table import Table


class RayConfig(Table):
    """Where the Ray cluster is, and what a worker asks of it."""

    address: str = Field("", description="ray://HOST:10001, HOST:6379 or auto; empty: a cluster of this machine alone")
    cpus_per_worker: float = Field(1.0, gt=0, le=256, description="cores that a worker holds; fractions are allowed")
    gpus_per_worker: float = Field(0.0, ge=0, le=16, description="GPUs that a worker holds; 0.25: four share one")
    memory_per_worker_bytes: int = Field(0, ge=0, description="memory that a worker holds; 0: Ray does not count it")
    ship_code: bool = Field(
        False, description="bring this process's mmpipe to the nodes; what it builds on must be in their image"
    )
    start_timeout_s: float = Field(
        900.0, gt=0, description="longest wait for the first worker: a cluster may have to grow"
    )


DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


class EngineConfig(Table):
    """Who does the work on shards."""

    kind: Literal["local", "ray"] = Field("local", description="this machine, or a Ray cluster")
    workers: int = Field(0, ge=0, le=4096, description="worker processes; 0: one per core")
    device: str = Field(
        "auto",
        description="where encoders compute: auto (a GPU, if any), cpu, cuda, or one of several: cuda:1",
    )
    nvdec_sessions: int = Field(
        2, ge=1, le=16, description='decoder processes per GPU, where a feature has decoder = "nvdec"'
    )
    price_per_hour: float | None = Field(None, gt=0, description="what this machine costs, for the cost in reports")
    ray: RayConfig = RayConfig()

    @field_validator("device")
    @classmethod
    def _device_is_one(cls, device: str) -> str:
        if not DEVICE.fullmatch(device):
            raise ValueError('allowed are "auto", "cpu", "cuda", or one of several: "cuda:1"')
        return device


class RetentionConfig(Table):
    """What `mmpipe gc` keeps beside what snapshots and releases hold."""

    revisions: int = Field(3, ge=1, description="newest revisions of every partition whose bytes are kept")
    days: float = Field(7.0, ge=0, description="what is younger is never collected")
