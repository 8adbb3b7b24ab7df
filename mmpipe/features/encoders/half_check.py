"""Whether a network's layers compute in bf16 what they compute in float32: tried once for a model on a kind of machine.

A library's bf16 kernels can be plainly wrong at some sizes: oneDNN's grouped convolutions with less than 16 channels a
group, on processors with AMX, left a small wav2vec2 with values at a cosine of 0.07 to its own in float32. Nothing
falls back in silence: what a fingerprint calls bf16 is bf16 on every machine, or it is refused with the way out.

While some made-up input goes through, each kind of convolution and of matrix product is done again in float32, from
the numbers that it was given: one layer at a time, since two whole networks may not fit into a worker.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmpipe.errors import ConfigError
from mmpipe.features.encoders.device import TorchDevice
from mmpipe.remote import cache_root
from mmpipe.types import digest_of

LEAST_COSINE = 0.99  # of what a layer gives to the same in float32; where its kernel is right it is 0.9999 and more
_VERSION = 1  # another one tries again what was tried before


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The layer that comes out least well, by its name in the network."""

    layer: str = ""  # "": there is none that could
    cosine: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What is tried: named as the config does, and known by all that decides which layers run."""

    table: str
    model: str
    weights_sha256: str
    settings: str  # parameters, as the fingerprint has them


_tried: dict[str, Worst] = {}


def require_right_half(on: TorchDevice, tried: Tried, network: Any, run: Callable[[], object]) -> None:
    """Raise ConfigError where a layer gives other numbers in bf16 on this CPU than in float32.

    `run` sends something through the network, which is torch's. What came out is remembered in this process and in the
    cache, by weights, settings, torch and processor: a later load pays for the reading of a small file.
    """
    if on.is_gpu or on.dtype != "bfloat16" or network is None:
        return
    key = _key(tried)
    if key not in _tried:
        record = cache_root() / "bf16" / f"{key}.json"
        worst = _read(record)
        if worst is None:
            with watched(network) as found:
                run()
            worst = min(found, key=lambda layer: layer.cosine, default=Worst())
            _write(record, worst)
        _tried[key] = worst
    worst = _tried[key]
    if worst.cosine < LEAST_COSINE:
        raise ConfigError(
            f"{tried.table}: {tried.model!r} cannot be trusted in bfloat16 on this machine: its layer {worst.layer} "
            f"gives other numbers than in float32 (cosine {worst.cosine:.2f}, at least {LEAST_COSINE} is asked for), "
            f'because torch has a wrong kernel for its size. Set dtype = "float32" in [{tried.table}]'
        )


@contextmanager
def watched(network: Any) -> Iterator[list[Worst]]:
    """Yield a list that fills with the layers that run in bf16, one of each kind and size, and how near they come."""
    import torch
    from torch import nn

    found: list[Worst] = []
    seen: set[tuple[object, ...]] = set()

    def look(name: str, layer: Any, given: tuple[Any, ...], gave: Any) -> None:
        if len(given) != 1 or given[0].dtype != torch.bfloat16:  # float32: it is the second time
            return
        size = tuple(getattr(layer, what, None) for what in ("stride", "padding", "dilation", "groups"))
        kind = type(layer), tuple(layer.weight.shape), *map(str, size), tuple(given[0].shape)
        if kind in seen:
            return
        seen.add(kind)
        whole = {key: tensor.float() for key, tensor in (*layer.named_parameters(), *layer.named_buffers())}
        wanted = torch.func.functional_call(layer, whole, (given[0].float(),))
        found.append(Worst(layer=name, cosine=_cosine(gave.float(), wanted)))

    hooks = [
        layer.register_forward_hook(lambda layer, given, gave, name=name: look(name, layer, given, gave))
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _cosine(half: Any, whole: Any) -> float:
    """Return the cosine of two tensors; 1 where the one in float32 says nothing: not finite, or none but zeros."""
    import torch

    half_N, whole_N = half.double().flatten(), whole.double().flatten()
    if not torch.isfinite(whole_N).all() or not whole_N.any():
        return 1.0
    found = float(torch.nn.functional.cosine_similarity(half_N, whole_N, dim=0))
    return 0.0 if math.isnan(found) else found  # an overflow of half the bits


def _key(tried: Tried) -> str:
    import torch

    return digest_of("bf16", _VERSION, tried.weights_sha256, tried.settings, torch.__version__, _processor())


def _processor() -> str:
    """Return what kind of processor this is: which kernels are taken depends on its flags."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    said = [next((line for line in lines if line.startswith(name)), "") for name in ("model name", "flags")]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


def _read(record: Path) -> Worst | None:
    try:
        said = json.loads(record.read_bytes())
        return Worst(layer=str(said["layer"]), cosine=float(said["cosine"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(record: Path, worst: Worst) -> None:
    """Put a record in place at once; without a cache the next process tries again, no more."""
    temporary = record.with_name(f".{uuid.uuid4().hex}.part")
    with suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(asdict(worst)))
        os.replace(temporary, record)
