"""Indexes miss nothing within their radius, and of twins the stated one stays."""

from __future__ import annotations

import numpy as np
import pytest

from mmpipe.signals.near import Matches, agree, remove_twins
from mmpipe.signals.near_pictures import HashIndex, VideoIndex
from mmpipe.signals.near_sounds import SoundIndex, SoundPrints
from mmpipe.signals.near_texts import TextIndex
from mmpipe.signals.text_prints import estimate_resemblance

GENERATOR = np.random.default_rng(0)


def pairs_of(matches: Matches) -> list[tuple[int, int, float]]:
    return list(zip(matches.new_K.tolist(), matches.kept_K.tolist(), matches.distance_K.tolist(), strict=True))


def random_hashes(count: int) -> np.ndarray:
    return GENERATOR.integers(0, 2**64, count, dtype=np.uint64)


def flip(hashes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    flipped = hashes.copy()
    for place, count in enumerate(counts):
        for bit in GENERATOR.choice(64, count, replace=False):
            flipped[place] ^= np.uint64(1) << np.uint64(bit)
    return flipped


@pytest.mark.parametrize("crowded", [False, True], ids=["spread", "crowded"])
@pytest.mark.parametrize("radius", [0, 3, 7, 10, 14])
def test_every_hash_within_the_radius_is_found(radius: int, crowded: bool) -> None:
    kept = random_hashes(1_500)
    if crowded:
        kept = kept & np.uint64(0x8000_0301_0000_00FF)
    new = flip(kept[:160], np.arange(160) % 20)
    expected = [
        (item, int(other), float(distance))
        for item, hash_ in enumerate(new)
        for distances in [np.bitwise_count(kept ^ hash_)]
        for other, distance in zip(np.flatnonzero(distances <= radius), distances[distances <= radius], strict=True)
    ]
    assert pairs_of(HashIndex(kept, radius).query(new)) == expected


def test_empty_indexes_find_nothing() -> None:
    nothing = np.zeros(0, np.uint64)
    assert pairs_of(HashIndex(nothing, 5).query(random_hashes(3))) == []
    assert pairs_of(HashIndex(random_hashes(3), 5).query(nothing)) == []
    assert pairs_of(VideoIndex((nothing, np.zeros(1, np.int64)), 5, 0.5).query((nothing, np.zeros(1, np.int64)))) == []
    empty = np.zeros((0, 128), np.uint32)
    assert pairs_of(TextIndex(empty, 0.8).query(empty)) == []


def test_videos_with_enough_common_frames_are_found() -> None:
    frames = random_hashes(40)
    kept = np.concatenate((frames[:10], frames[10:14]))
    new = np.concatenate((frames[5:10], frames[:5], frames[10:12], frames[20:24], frames[30:33]))
    index = VideoIndex((kept, np.array([0, 10, 14])), 4, 0.5)
    matches = index.query((flip(new, np.full(len(new), 3)), np.array([0, 10, 12, 16, 16, 19])))
    # The second shares two of its two frames with four: 4 of 6.
    assert pairs_of(matches) == [(0, 0, 0.0), (1, 1, pytest.approx(1 / 3))]


@pytest.mark.parametrize("least", [0.5, 0.8, 0.95, 1.0])
def test_every_text_over_the_threshold_is_found(least: float) -> None:
    kept = GENERATOR.integers(0, 2**32 - 1, (500, 128), dtype=np.uint32)
    new = kept[:129].copy()
    for item, signature in enumerate(new):
        signature[GENERATOR.choice(128, item, replace=False)] += 1
    new = np.concatenate((new, np.full((2, 128), 2**32 - 1, np.uint32)))
    expected = [(item, item, 1 - estimate_resemblance(new[item], kept[item])) for item in range(129)]
    assert pairs_of(TextIndex(kept, least).query(new)) == [row for row in expected if row[2] <= 1 - least + 1e-12]


def test_sounds_are_found_with_wrong_bits_and_a_shift() -> None:
    words = GENERATOR.integers(0, 2**32, (200, 120), dtype=np.uint64).astype(np.uint32)
    noise = np.packbits(GENERATOR.random((200, 120, 32)) < 0.05, axis=2).view(">u4").astype(np.uint32)[..., 0]
    shifted = np.roll(words ^ noise, 5, axis=1)[50:60]

    def pack(words_NT: np.ndarray) -> SoundPrints:
        return SoundPrints(
            words_T=words_NT.ravel(),
            heard_T=np.ones(words_NT.size, bool),
            offsets=np.arange(0, words_NT.size + 1, words_NT.shape[1]),
        )

    matches = SoundIndex(pack(words)).query(pack(shifted))
    assert (matches.new_K.tolist(), matches.kept_K.tolist()) == (list(range(10)), list(range(50, 60)))
    assert np.all((matches.distance_K > 0.03) & (matches.distance_K < 0.07))


def matches_of(*rows: tuple[int, int, float]) -> Matches:
    columns = np.array(rows, float).reshape(-1, 3).T
    return Matches(new_K=columns[0].astype(int), kept_K=columns[1].astype(int), distance_K=columns[2])


def test_the_kept_and_then_the_least_key_stay() -> None:
    new, kept = ["d", "a", "c", "b"], ["z", "y"]
    among = matches_of((1, 3, 2), (3, 1, 2), (3, 2, 1), (2, 3, 1), (0, 0, 0))
    # b goes for a; c is near b alone, which is gone, and stays.
    assert remove_twins(new, kept, matches_of(), among) == {"b": ("a", 2.0)}
    # a goes for what is kept, the nearest and then the least key of it; b then stays and c goes for it.
    against = matches_of((1, 0, 3), (1, 1, 3))
    assert remove_twins(new, kept, against, among) == {"a": ("y", 3.0), "c": ("b", 1.0)}


def test_pairs_on_which_pictures_and_sound_agree() -> None:
    pictures = matches_of((0, 1, 0.1), (0, 2, 0.2), (3, 1, 0))
    sound = matches_of((0, 2, 0.1), (2, 2, 0), (3, 1, 0.3))
    assert pairs_of(agree([pictures, sound])) == [(0, 2, 0.2), (3, 1, 0.3)]
    assert pairs_of(agree([pictures, matches_of()])) == []


def test_the_order_of_arrival_is_of_no_account() -> None:
    hashes, keys = (
        flip(np.repeat(random_hashes(20), 10), GENERATOR.integers(0, 6, 200)),
        [f"{n:03}" for n in range(200)],
    )
    results = []
    for order in (np.arange(200), GENERATOR.permutation(200)):
        among = HashIndex(hashes[order], 8).query(hashes[order])
        results.append(remove_twins([keys[place] for place in order], [], matches_of(), among))
    assert results[0] == results[1]
    assert list(results[0]) == sorted(results[0])
    assert all(twin not in results[0] and twin < key for key, (twin, _) in results[0].items())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HashIndex(random_hashes(1), 65), "radius must be 0 to 64 bits, got 65"),
        (
            lambda: VideoIndex((random_hashes(1), np.array([0, 1])), 5, 0),
            "min_share must be over 0 and at most 1, got 0",
        ),
        (
            lambda: TextIndex(np.zeros((1, 128), np.uint32), 1.5),
            "min_resemblance must be over 0 and at most 1, got 1.5",
        ),
    ],
)
def test_impossible_radii_are_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()
