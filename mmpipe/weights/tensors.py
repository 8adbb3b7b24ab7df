"""Weights in one safetensors file, or drawn at random by a seed: by name, and by a digest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmpipe.errors import ConfigError
from mmpipe.types import digest_of
from mmpipe.weights.digests import file_digests
from mmpipe.weights.header import require_whole, tensor_shapes

RANDOM = "random"
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """Where weights come from: a file of this machine, or a seed."""

    name: str
    path: Path | None
    seed: int
    sha256: str

    def read(self, shapes: Shapes) -> dict[str, np.ndarray]:
        """Return all tensors of the file as float32, or random ones of the shapes; nothing is unpickled."""
        if self.path is None:
            return _draw(shapes, self.seed)
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return {name: tensor.float().numpy() for name, tensor in load_file(self.path).items()}
        except (OSError, SafetensorError) as error:
            raise ConfigError(f"{self.path} cannot be read as safetensors: {error}") from error

    def outline(self, shapes: Shapes) -> dict[str, np.ndarray]:
        """Return a stand-in for every tensor of the file, of its shape and with one number in memory.

        So a file of another network is refused by whoever plans, not hours later by a worker.
        """
        found = shapes if self.path is None else tensor_shapes(self.path)
        return {name: np.broadcast_to(np.float32(0), shape) for name, shape in found.items()}


def find_weights(weights: str, seed: int, kind: str, table: str) -> WeightsFile:
    """Find a weights file, or name the random weights of a seed; raise ConfigError where there is no such file.

    The digest of random ones is over the kind of network and the seed: numpy draws the same numbers everywhere.
    """
    if weights == RANDOM:
        return WeightsFile(name=f"random {seed}", path=None, seed=seed, sha256=digest_of(RANDOM, 1, kind, seed))
    path = Path(weights).expanduser().resolve()
    if path.suffix != ".safetensors" or not path.is_file():
        raise ConfigError(
            f"{table}.weights = {weights!r}: no such .safetensors file (pickled weights are never read). "
            f'Give one, or "{RANDOM}"'
        )
    require_whole(path, f"{table}.weights = {weights!r}")
    (sha256,) = file_digests(path.parent, [path])
    return WeightsFile(name=path.name, path=path, seed=0, sha256=sha256)


def check_weights(found: Mapping[str, np.ndarray], shapes: Shapes, name: str, table: str) -> dict[str, np.ndarray]:
    """Return the tensors that a network needs; raise ConfigError naming one that is missing or of another shape."""
    for key, shape in shapes.items():
        if key not in found or found[key].shape != shape:
            has = list(found[key].shape) if key in found else "nothing"
            raise ConfigError(f"{table}.weights: {name} has {has} as {key}, expected {list(shape)}")
    return {key: found[key] for key in shapes}


def _draw(shapes: Shapes, seed: int) -> dict[str, np.ndarray]:
    """Draw weights that keep the size of what goes through (He), each tensor by a stream of its own."""
    drawn = {}
    for key, shape in shapes.items():
        if key.endswith(("running_var", "bn3.weight")) or (key.endswith("weight") and len(shape) == 1):
            # A fifth of each residual branch: the sum of sixteen whole ones would grow beyond half precision.
            drawn[key] = np.full(shape, 0.2 if key.endswith("bn3.weight") else 1.0, np.float32)
        elif len(shape) == 1:
            drawn[key] = np.zeros(shape, np.float32)
        else:
            stream = np.random.default_rng([seed, *digest_of(key).encode()])
            drawn[key] = stream.standard_normal(shape, np.float32) * np.float32(math.sqrt(2 / math.prod(shape[1:])))
    return drawn
