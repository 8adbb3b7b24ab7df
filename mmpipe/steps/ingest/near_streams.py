"""Which recordings share one stream and differ in another: a sound under other pictures, a film under another sound."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from mmpipe.signals.near import Matches
from mmpipe.types import Modality

Shared = tuple[str, str, float]  # modality, the other asset, distance
_Found = tuple[int, bool, float, str, str]  # place among the new, whether the other is new, distance, other, modality


def find_shared(
    rows: pl.DataFrame, new: list[str], kept: list[str], stays: list[int], sounds: tuple[Matches, Matches]
) -> dict[int, Shared]:
    """Return with which asset each new one that stays shares a stream: kept ones first, then by distance.

    `stays` are places among the new, which come in the order of their rank; `sounds` the near sounds of pairs that are
    no twins, against what is kept and among the new.
    """
    staying = set(stays)
    found = [*_by_sound(new, kept, staying, sounds), *_by_digest(rows, new, kept, staying)]
    best: dict[int, Shared] = {}
    for place, _, distance, twin, role in sorted(found):
        if place in staying:
            best.setdefault(place, (role, twin, distance))
    return best


def _by_sound(new: list[str], kept: list[str], stays: set[int], sounds: tuple[Matches, Matches]) -> Iterator[_Found]:
    """Yield what has the sound of another and not its pictures."""
    against, among = sounds
    for one, other, distance in zip(against.new_K, against.kept_K, against.distance_K, strict=True):
        yield int(one), False, float(distance), kept[int(other)], str(Modality.AUDIO)
    for one, other, distance in zip(among.new_K, among.kept_K, among.distance_K, strict=True):
        first, second = sorted((int(one), int(other)))
        if first != second and first in stays:
            yield second, True, float(distance), new[first], str(Modality.AUDIO)


def _by_digest(rows: pl.DataFrame, new: list[str], kept: list[str], stays: set[int]) -> Iterator[_Found]:
    """Yield what holds the very stream of another: of several the one that was there first."""
    places, known = {key: place for place, key in enumerate(new)}, set(kept)
    told = rows.filter(
        (pl.col("print") != b"")
        & (pl.col("role") == pl.col("modality"))
        & (pl.col("role") != Modality.TEXT.value)
        & pl.col("digest").is_in(rows.filter(pl.col("asset_id").is_in(new))["digest"].to_list())
    )
    same = told.filter(pl.len().over("role", "digest") > 1).sort("role", "digest", "asset_id")
    for (role, _), group in same.group_by("role", "digest", maintain_order=True):
        holders = [key for key in group["asset_id"] if key in known or places.get(key) in stays]
        leader = min(holders, key=lambda key: (key in places, places.get(key, 0), key), default="")
        for key in holders:
            if key in places and key != leader:
                yield places[key], leader in places, 0.0, leader, str(role)
