"""The golden of an extractor: what it gave when its version was recorded, and whether it still does.

A stored value is trusted by its version. Code that gives another value under the same version mixes two meanings in
one dataset, which no digest sees: so what an extractor makes of small made clips is kept beside its tests, as
NAME@VERSION.json, and replayed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.errors import ConfigError, SampleError
from mmpipe.features.extractor import Extractor, feature_name, fingerprint
from mmpipe.features.golden_media import even_noise, make_clips
from mmpipe.io import canonical_json
from mmpipe.types import ClipMedia, FeatureValue

_TOLERANCE, _EXACT = 1e-4, 1e-6  # shares of a number: what instruction sets may differ by, and what whole ones may
_SMALL = 1e-2  # of a value's largest number: below it, a number is the rest of larger ones, and rounded as they are
_NOTHING = 1e-9  # the size of what is zero throughout
_FOLDS = 64  # numbers that are kept of a value
_TIME_NS = 1_000
Maker = Callable[[Mapping[str, Any]], Extractor]  # makes the extractor with parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """What one version of an extractor gave."""

    extractor: str
    version: int
    params: dict[str, Any]
    fingerprint: str
    schema: dict[str, Any]
    tolerance: float
    clips: dict[str, dict[str, Any]]  # of each: shape, values, times, or the code of the SampleError that it raises

    @property
    def feature(self) -> str:
        """Return the name with the version, as the store has it."""
        return f"{self.extractor}@{self.version}"


def take_golden(extractor: Extractor, tolerance: float | None = None) -> Golden:
    """Return what an extractor gives now; without a tolerance, that of its dtype."""
    extractor.setup("cpu")
    schema = extractor.schema
    usual = _TOLERANCE if np.issubdtype(schema.dtype, np.floating) else _EXACT
    return Golden(
        extractor=extractor.name,
        version=extractor.version,
        params=extractor.params.model_dump(mode="json"),
        fingerprint=fingerprint(extractor),
        schema={"kind": str(schema.kind), "dim": schema.dim, "dtype": schema.dtype, "modality": str(schema.modality)},
        tolerance=usual if tolerance is None else tolerance,
        clips={name: _answer(extractor, clip) for name, clip in make_clips(extractor.needs).items()},
    )


def record_golden(make: Maker, folder: Path, tolerance: float | None = None, *, dry_run: bool = False) -> Path:
    """Write the golden of the version that the code has; return its file. One that is there is never changed.

    Raise ConfigError where the version has a golden that says otherwise: what changed is a new version.
    """
    golden = take_golden(make({}), tolerance)
    path = folder / f"{golden.feature}.json"
    if path.exists():
        if faults := replay_golden(make, folder):
            raise ConfigError("\n".join(faults))
        return path
    if not dry_run:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_to_bytes(golden))
    return path


def replay_golden(make: Maker, folder: Path) -> tuple[str, ...]:
    """Return what is wrong: another value under the same version, a version without a golden; nothing where all is."""
    extractor = make({})
    versions = _recorded(extractor.name, folder)
    here = f"mmpipe check extractor {extractor.name} --golden {folder} --record"
    if not versions:
        return (f"{feature_name(extractor)} has no golden in {folder}. Record what it gives: {here}",)
    if max(versions) > extractor.version:
        newest = f"{extractor.name}@{max(versions)}"
        return (f"{feature_name(extractor)} is older than {newest}, which has a golden: versions only go up.",)
    if extractor.version not in versions:
        return (f"{feature_name(extractor)} is new and has no golden yet. Record what it gives: {here}",)
    golden = _read(versions[extractor.version])
    try:
        again = make(golden.params)
    except ConfigError as error:
        return (f"{golden.feature} refuses the parameters of its golden: {error}\n{_way_out(golden, here)}",)
    return _compare(golden, again, here)


def _compare(golden: Golden, extractor: Extractor, here: str) -> tuple[str, ...]:
    now = take_golden(extractor, golden.tolerance)
    faults = []
    if now.schema != golden.schema:
        faults.append(f"{golden.feature}: its values are {now.schema} now, and were {golden.schema}")
    changed = [_difference(name, golden.clips[name], now.clips.get(name), golden.tolerance) for name in golden.clips]
    faults += [f"{golden.feature}: {fault}" for fault in changed if fault]
    faults += [f"{golden.feature}: {fault}" for fault in _mixed_up(extractor, golden.tolerance)]
    if faults:
        return (*faults, _way_out(golden, here))
    if now.fingerprint != golden.fingerprint:
        return (
            f"{golden.feature} gives the same values under another fingerprint: all that is stored of it would be "
            "called stale and made again. Leave a new parameter out of it where it is at its default, by "
            "Field(..., exclude_if=lambda value: value == DEFAULT); or mean it, as a new version.",
        )
    return ()


def _way_out(golden: Golden, here: str) -> str:
    return (
        f"Stored shards of {golden.feature} would hold both. If the change is meant, set version = "
        f"{golden.version + 1} and record it: {here}"
    )


def _difference(name: str, then: Mapping[str, Any], now: Mapping[str, Any] | None, tolerance: float) -> str:
    """Say how what comes of a clip differs; "" where it does not."""
    if now is None:
        return f"the clip {name!r} of the golden is not made any more"
    if then.get("refused") != now.get("refused"):
        said = [f"refused as {one['refused']}" if "refused" in one else "accepted" for one in (now, then)]
        return f"the clip {name!r} is {said[0]} now, and was {said[1]}"
    if then.get("shape") != now.get("shape"):
        return f"of the clip {name!r} it makes the shape {now['shape']}, and made {then['shape']}"
    times_then, times_now = (np.array(one.get("times_ns", []), np.float64) for one in (then, now))
    if times_then.shape != times_now.shape or (np.abs(times_then - times_now) > _TIME_NS).any():
        return f"of the clip {name!r} the times are others"
    values_then, values_now = (np.array(one.get("values", []), np.float64) for one in (then, now))
    off_K = np.abs(values_now - values_then) / _sizes(values_then)
    if not (off_K <= tolerance).all():
        worst = int(np.nanargmax(np.where(np.isfinite(off_K), off_K, np.inf)))
        was, is_now = values_then[worst], values_now[worst]
        count = int((~(off_K <= tolerance)).sum())
        return (
            f"of the clip {name!r} {count} of {len(off_K)} numbers are others, the most at {worst}: "
            f"{is_now:.6g}, was {was:.6g} (allowed: {tolerance:g})"
        )
    return ""


def _sizes(values_K: np.ndarray) -> np.ndarray:
    """Return what each number's difference is a share of: units are the extractor's own, so nothing absolute."""
    sizes_K = np.abs(values_K)
    return np.maximum(sizes_K, max(_SMALL * sizes_K.max(initial=0), _NOTHING))


def _mixed_up(extractor: Extractor, tolerance: float) -> list[str]:
    """Say of which clips the value depends on those beside it: it must not."""
    clips = make_clips(extractor.needs)
    alone = {name: answer for name, clip in clips.items() if "refused" not in (answer := _answer(extractor, clip))}
    if len(alone) < 2:
        return []
    values = extractor.extract([clips[name] for name in alone])
    together = {name: _described(value) for name, value in zip(alone, values, strict=True)}
    return [
        f"the value of the clip {name!r} depends on what it is computed beside"
        for name in alone
        if _difference(name, alone[name], together[name], tolerance)
    ]


def _answer(extractor: Extractor, clip: ClipMedia) -> dict[str, Any]:
    try:
        (value,) = extractor.extract([clip])
    except SampleError as error:
        return {"refused": error.code}
    return _described(value)


def _described(value: FeatureValue) -> dict[str, Any]:
    answer: dict[str, Any] = {"shape": list(value.array.shape), "values": _fold(value.array)}
    if value.times_ns is not None:
        answer["times_ns"] = [round(time_ns) for time_ns in _fold(value.times_ns)]
    return answer


def _fold(array: np.ndarray) -> list[float]:
    """Return few numbers that all numbers of an array and their order take part in; as they are where they are few."""
    flat_N = array.reshape(-1).astype(np.float64)
    weights_N = 1 + even_noise(len(flat_N))  # without a period: a swap at any distance is another number
    parts = np.array_split(np.arange(len(flat_N)), min(_FOLDS, len(flat_N)) or 1)
    return [float(f"{np.average(flat_N[part], weights=weights_N[part]):.7g}") for part in parts if len(part)]


def _recorded(name: str, folder: Path) -> dict[int, Path]:
    found = ((re.fullmatch(r"(.+)@(\d+)\.json", path.name), path) for path in sorted(folder.glob("*.json")))
    return {int(match[2]): path for match, path in found if match and match[1] == name}


def _read(path: Path) -> Golden:
    try:
        return Golden(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} is no golden: {error}. Restore it from the repository.") from error


def _to_bytes(golden: Golden) -> bytes:
    """Return a file of one line per clip: small, and a change of it can be read."""
    table = {name: getattr(golden, name) for name in Golden.__dataclass_fields__}
    clips = ",\n".join(f"  {json.dumps(name)}: {json.dumps(answer)}" for name, answer in table.pop("clips").items())
    head = canonical_json(table).decode().rstrip().removesuffix("}").rstrip()
    return f'{head},\n "clips": {{\n{clips}\n }}\n}}\n'.encode()
