"""One value of theirs made one of ours: float32, finite, of the pinned shape, or a reason why not."""

from __future__ import annotations

import numpy as np

from mmpipe.errors import ConfigError, SampleError
from mmpipe.external.pin import Shape
from mmpipe.types import FeatureKind, FeatureValue

_FLOATS = ("float16", "float32", "float64")


def shape_of(shape: tuple[int, ...], dtype: np.dtype, where: str) -> Shape:
    """Return the shape of a feature from one array's; ConfigError where no feature looks so."""
    if dtype.hasobject:
        raise ConfigError(
            f"{where} holds Python objects: reading them would run code that is in the file, so it is refused. "
            "Ask for plain float arrays."
        )
    if dtype.name not in _FLOATS:
        raise ConfigError(f"{where} holds {dtype.name}; a feature is one of {', '.join(_FLOATS)}")
    if len(shape) not in (1, 2) or shape[-1] < 1:
        raise ConfigError(f"{where} has the shape {list(shape)}; a feature is [D] or [T, D] with D >= 1")
    kind = FeatureKind.VECTOR if len(shape) == 1 else FeatureKind.SEQUENCE
    return Shape(kind=kind, dim=int(shape[-1]), dtype=dtype.name)


def to_value(array: np.ndarray, shape: Shape, start_ns: int, end_ns: int) -> FeatureValue:
    """Return a row as a value; the steps of a sequence, which has no times of its own, are spread over the clip."""
    if array.dtype.name not in _FLOATS:
        raise SampleError("wrong_dtype", f"their row holds {array.dtype.name}, pinned is {shape.dtype}")
    wanted = 1 if shape.kind is FeatureKind.VECTOR else 2
    if array.ndim != wanted or array.shape[-1] != shape.dim or not array.shape[0]:
        axes = f"[{shape.dim}]" if wanted == 1 else f"[T, {shape.dim}]"
        raise SampleError("wrong_shape", f"their row has the shape {list(array.shape)}, pinned is {axes}")
    with np.errstate(over="ignore"):
        floats = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(floats).all():
        bad = int(floats.size - np.isfinite(floats).sum())
        raise SampleError("nonfinite", f"their row has {bad} NaN or infinite of {floats.size} numbers, as float32")
    if wanted == 1:
        return FeatureValue(array=floats)
    steps = len(floats)
    times_ns = np.array([start_ns + (end_ns - start_ns) * step // steps for step in range(steps)], dtype=np.int64)
    return FeatureValue(array=floats, times_ns=times_ns)
