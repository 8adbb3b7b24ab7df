"""Which recordings are near twins: all that both show and sound agrees, not a part of it.

Pictures alone do not tell takes of one speaker before one wall apart, so where something is heard the sound leads. A
sound in which nothing changes tells as little as silence: there the pictures decide, of videos whose scenes change, and
the pitch of both must be one. Axes: N items, T hashes of a video, K pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmpipe.signals.near import Matches, collect
from mmpipe.signals.near_pictures import HashIndex, VideoIndex
from mmpipe.signals.near_sounds import SoundIndex, SoundPrints
from mmpipe.signals.near_texts import TextIndex
from mmpipe.signals.sound_prints import MAX_ERROR_SHARE, SoundPrint, compare_sound_prints

_HASH_BITS = 64
_LEAST_ONES, _MOST_ONES = 24, 40  # about half of a pHash's bits are ones, but of a flat picture's
_MIN_SCENES = 3  # frames that differ from each other by more than the radius: less tells no recordings apart
_PITCH_SLACK = 1  # a sixteenth of an octave: a pitch may lie between two steps
AUDIO, VIDEO, IMAGE, TEXT = "audio", "video", "image", "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class NearLimits:
    """What counts as near."""

    image_bits: int
    video_share: float
    audio_share: float
    text_jaccard: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetPool:
    """Recordings in plain arrays; `places` say whose each print is."""

    compared: Sequence[frozenset[str]]  # per asset: the modalities that have a print
    shapes: Sequence[str]  # per asset: what else must be equal, such as its tracks
    shared: Sequence[frozenset[str]]  # per asset: digests of its picture streams that several assets hold
    heard_with: Mapping[str, Sequence[SoundPrint]]  # by such a digest: what is heard with it, whoever holds it
    image_places: np.ndarray
    image_hashes: np.ndarray  # uint64 [N]
    video_places: np.ndarray
    video_hashes: np.ndarray  # uint64, one video after the other
    video_offsets: np.ndarray  # int64 [N + 1]
    sound_places: np.ndarray
    sounds: SoundPrints
    pitches: np.ndarray  # int64, of sounds in which nothing changes; 0 for any other
    text_places: np.ndarray
    texts_NP: np.ndarray  # uint32 signatures

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self.shapes)

    def image(self, asset: int) -> np.ndarray:
        """Return the hash of an asset's picture, [1]; [0] where it has none."""
        place = np.searchsorted(self.image_places, asset)
        return self.image_hashes[place : place + 1] if IMAGE in self.compared[asset] else self.image_hashes[:0]

    def video(self, asset: int) -> np.ndarray:
        """Return the hashes of an asset's video, [T]."""
        if VIDEO not in self.compared[asset]:
            return self.video_hashes[:0]
        place = np.searchsorted(self.video_places, asset)
        return self.video_hashes[self.video_offsets[place] : self.video_offsets[place + 1]]

    def sound(self, asset: int) -> SoundPrint:
        """Return the print of an asset's sound, which it must have."""
        return self.sounds[int(np.searchsorted(self.sound_places, asset))]

    def pitch(self, asset: int) -> int:
        """Return the pitch of an asset's steady sound; 0 where its sound changes or it has none."""
        if AUDIO not in self.compared[asset]:
            return 0
        return int(self.pitches[np.searchsorted(self.sound_places, asset)])


@dataclass(frozen=True, slots=True, kw_only=True)
class NearAssets:
    """Pairs of recordings that are twins, and pairs that have only their sound in common."""

    twins: Matches
    same_sound: Matches


def tells_something(hashes_T: np.ndarray) -> np.ndarray:
    """Return which hashes are of pictures with something in them: flat ones are all alike."""
    ones_T = np.bitwise_count(hashes_T)
    return (ones_T >= _LEAST_ONES) & (ones_T <= _MOST_ONES)


def find_near(new: AssetPool, kept: AssetPool, limits: NearLimits) -> NearAssets:
    """Return the near pairs of new and kept recordings; distances are shares, 0 for equal prints."""
    twins, same_sound = [], []
    for one, other, distance in _near_sounds(new, kept, limits):
        alike = _are_alike(new, one, kept, other) and not _are_told_apart(new, one, kept, other)
        seen = _picture_distance(new, one, kept, other, limits) if alike else None
        if seen is None:
            same_sound.append((one, other, distance))
        else:
            twins.append((one, other, max(distance, seen)))
    twins += _near_still_sounds(new, kept, limits)
    twins += _near_images(new, kept, limits)
    twins += _near_texts(new, kept, limits)
    return NearAssets(twins=_to_matches(twins), same_sound=_to_matches(same_sound))


_Pair = tuple[int, int, float]


def _to_matches(pairs: Sequence[_Pair]) -> Matches:
    columns = np.array(pairs, np.float64).reshape(-1, 3).T
    return collect([(columns[0], columns[1], columns[2])])


def _are_alike(new: AssetPool, one: int, kept: AssetPool, other: int) -> bool:
    return new.compared[one] == kept.compared[other] and new.shapes[one] == kept.shapes[other]


def _are_told_apart(new: AssetPool, one: int, kept: AssetPool, other: int) -> bool:
    """Say whether the pictures of one are exactly those of a third that sounds otherwise.

    Prints of one speaker's takes are too alike to tell. A third that sounds the same, or not at all, is its own twin.
    """
    differing = new.shared[one] ^ kept.shared[other]
    return any(
        compare_sound_prints(pool.sound(asset), sound) > MAX_ERROR_SHARE
        for pool, asset in ((new, one), (kept, other))
        for digest in sorted(differing & pool.shared[asset])
        for sound in pool.heard_with.get(digest, ())
    )


def _pairs(matches: Matches, new_places: np.ndarray, kept_places: np.ndarray) -> Iterator[_Pair]:
    new_K, kept_K = new_places[matches.new_K], kept_places[matches.kept_K]
    yield from zip(new_K.tolist(), kept_K.tolist(), matches.distance_K.tolist(), strict=True)


def _near_sounds(new: AssetPool, kept: AssetPool, limits: NearLimits) -> Iterator[_Pair]:
    """Yield pairs that sound the same over enough of the longer one: a jingle in a film does not count."""
    if not len(new.sounds) or not len(kept.sounds):
        return
    matches = SoundIndex(kept.sounds).query(new.sounds)
    new_lengths, kept_lengths = np.diff(new.sounds.offsets), np.diff(kept.sounds.offsets)
    one_K, other_K = new_lengths[matches.new_K], kept_lengths[matches.kept_K]
    long = np.minimum(one_K, other_K) >= limits.audio_share * np.maximum(one_K, other_K)
    fits = Matches(new_K=matches.new_K[long], kept_K=matches.kept_K[long], distance_K=matches.distance_K[long])
    yield from _pairs(fits, new.sound_places, kept.sound_places)


def _picture_distance(new: AssetPool, one: int, kept: AssetPool, other: int, limits: NearLimits) -> float | None:
    """Return how far the pictures of two recordings are apart, 0 where they have none; None where too far."""
    image = _image_distance(new.image(one), kept.image(other), limits)
    video = _video_distance(new.video(one), kept.video(other), limits)
    return None if image is None or video is None else max(image, video)


def _image_distance(one: np.ndarray, other: np.ndarray, limits: NearLimits) -> float | None:
    if not len(one) and not len(other):
        return 0.0
    bits = int(np.bitwise_count(one[0] ^ other[0]))
    return bits / _HASH_BITS if bits <= limits.image_bits else None


def _video_distance(one_T: np.ndarray, other_T: np.ndarray, limits: NearLimits) -> float | None:
    if not len(one_T) and not len(other_T):
        return 0.0
    near = np.bitwise_count(one_T[:, None] ^ other_T) <= limits.image_bits
    share = float((near.any(axis=1).sum() + near.any(axis=0).sum()) / (len(one_T) + len(other_T)))
    return 1 - share if share >= limits.video_share else None


def _near_images(new: AssetPool, kept: AssetPool, limits: NearLimits) -> list[_Pair]:
    """Return near pairs of still pictures that nothing is heard with."""
    mine, theirs = (_only(pool, pool.image_places, {IMAGE}) for pool in (new, kept))
    if not mine.any() or not theirs.any():
        return []
    matches = HashIndex(kept.image_hashes[theirs], limits.image_bits).query(new.image_hashes[mine])
    pairs = _pairs(matches, new.image_places[mine], kept.image_places[theirs])
    return [(one, other, bits / _HASH_BITS) for one, other, bits in pairs if _are_alike(new, one, kept, other)]


def _near_texts(new: AssetPool, kept: AssetPool, limits: NearLimits) -> list[_Pair]:
    """Return near pairs of texts without media."""
    if not len(new.text_places) or not len(kept.text_places):
        return []
    matches = TextIndex(kept.texts_NP, limits.text_jaccard).query(new.texts_NP)
    pairs = _pairs(matches, new.text_places, kept.text_places)
    return [pair for pair in pairs if _are_alike(new, pair[0], kept, pair[1])]


def _near_still_sounds(new: AssetPool, kept: AssetPool, limits: NearLimits) -> list[_Pair]:
    """Return near pairs of videos in which nothing is heard, or nothing that changes, but whose scenes do."""
    mine, theirs = (_still(pool, limits.image_bits) for pool in (new, kept))
    if not len(mine[0]) or not len(theirs[0]):
        return []
    index = VideoIndex((theirs[1], theirs[2]), limits.image_bits, limits.video_share)
    pairs = _pairs(index.query((mine[1], mine[2])), mine[0], theirs[0])
    found = []
    for one, other, distance in pairs:
        alike = _are_alike(new, one, kept, other) and abs(new.pitch(one) - kept.pitch(other)) <= _PITCH_SLACK
        image = _image_distance(new.image(one), kept.image(other), limits) if alike else None
        if image is not None:
            found.append((one, other, max(distance, image)))
    return found


def _still(pool: AssetPool, radius: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return places, hashes and offsets of the videos with scenes enough whose sound, if any, tells nothing."""
    chosen = [
        place
        for place in pool.video_places.tolist()
        if (AUDIO not in pool.compared[place] or pool.pitch(place))
        and _num_scenes(pool.video(place), radius) >= _MIN_SCENES
    ]
    hashes = [pool.video(place) for place in chosen]
    offsets = np.concatenate(((0,), np.cumsum([len(each) for each in hashes], dtype=np.int64))).astype(np.int64)
    return np.array(chosen, np.int64), np.concatenate([pool.video_hashes[:0], *hashes]), offsets


def _num_scenes(hashes_T: np.ndarray, radius: int) -> int:
    """Return how many frames differ from each other, counted up to what is enough."""
    scenes: list[np.uint64] = []
    for value in hashes_T:
        if all(int(np.bitwise_count(value ^ scene)) > radius for scene in scenes):
            scenes.append(value)
        if len(scenes) == _MIN_SCENES:
            break
    return len(scenes)


def _only(pool: AssetPool, places: np.ndarray, compared: set[str]) -> np.ndarray:
    """Return which of the places are of assets with prints of these modalities alone."""
    return np.array([pool.compared[place] == compared for place in places.tolist()], np.bool_)
