"""The GPUs of this machine, by what its driver says: no CUDA is started only to be counted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_DRIVER = Path("/proc/driver/nvidia/gpus")


def num_gpus(environment: Mapping[str, str], driver: Path = _DRIVER) -> int:
    """Return how many GPUs may be used: those of the driver, unless CUDA_VISIBLE_DEVICES names fewer."""
    found = len(list(driver.iterdir())) if driver.is_dir() else 0
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return found
    devices = [device for device in named.split(",") if device.strip() and not device.strip().startswith("-")]
    return min(found, len(devices))
