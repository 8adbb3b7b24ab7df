"""Hashes agree with the imagehash package bit for bit, and survive what copies go through."""

from __future__ import annotations

import numpy as np
import pytest

from mmpipe.signals.picture_prints import (
    RADIUS,
    VideoPrint,
    VideoPrinter,
    compare_video_prints,
    cosine_hash,
    cut_video_print,
    difference_hash,
)

SECOND_NS = 1_000_000_000


def picture(seed: int, height: int = 90, width: int = 160) -> np.ndarray:
    image = pytest.importorskip("PIL.Image")
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return np.asarray(image.fromarray(coarse).resize((width, height), image.Resampling.BICUBIC))


def bits(one: int, other: int) -> int:
    return (one ^ other).bit_count()


@pytest.mark.parametrize(("height", "width"), [(90, 160), (288, 360), (7, 5), (32, 32), (1, 1)])
def test_hashes_are_those_of_imagehash(height: int, width: int) -> None:
    imagehash = pytest.importorskip("imagehash")
    image = pytest.importorskip("PIL.Image")
    for seed in range(5):
        frame = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
        for pixels in (frame, picture(seed, height, width)):
            theirs = image.fromarray(pixels)
            # Pillow resamples in whole numbers: where neighbours are equal but for rounding, a bit may flip.
            assert bits(difference_hash(pixels), int(str(imagehash.dhash(theirs)), 16)) <= 2
            assert bits(cosine_hash(pixels), int(str(imagehash.phash(theirs)), 16)) <= 2


@pytest.mark.parametrize("hash_of", [difference_hash, cosine_hash])
def test_hashes_tell_copies_from_others(hash_of: object) -> None:
    assert callable(hash_of)
    for seed in range(8):
        frame = picture(seed)
        darker = (frame * 0.8).astype(np.uint8)
        noisy = np.clip(frame + np.random.default_rng(seed).normal(0, 8, frame.shape), 0, 255).astype(np.uint8)
        assert bits(hash_of(frame), hash_of(picture(seed, 180, 320))) <= RADIUS
        assert bits(hash_of(frame), hash_of(darker)) <= RADIUS
        assert bits(hash_of(frame), hash_of(noisy)) <= RADIUS
        assert bits(hash_of(frame), hash_of(picture(seed + 100))) > RADIUS


def test_flat_pictures_have_one_hash() -> None:
    flat = {
        (difference_hash(frame), cosine_hash(frame))
        for level in (9, 77)
        for frame in [np.full((9, 11, 3), level, np.uint8)]
    }
    assert flat == {(0, 1 << 63)}


def print_of(seeds: list[int], fps: int = 4, start_ns: int = 0) -> VideoPrint:
    printer = VideoPrinter()
    for place in range(len(seeds) * fps):
        printer.push(picture(seeds[place // fps]), start_ns + place * SECOND_NS // fps)
    return printer.finish()


def test_one_hash_a_second() -> None:
    whole = print_of([1, 2, 3, 4])
    assert whole.times_ns.tolist() == [0, SECOND_NS, 2 * SECOND_NS, 3 * SECOND_NS]
    part = cut_video_print(whole, SECOND_NS, 3 * SECOND_NS)
    assert part.hashes_T.tolist() == whole.hashes_T[1:3].tolist()


def test_videos_are_compared_in_any_order() -> None:
    assert compare_video_prints(print_of([1, 2, 3, 4]), print_of([3, 4, 1, 2])) == 1
    assert compare_video_prints(print_of([1, 2, 3, 4]), print_of([1, 2, 7, 8])) == 0.5
    assert compare_video_prints(print_of([1, 2]), print_of([7, 8])) == 0
    assert compare_video_prints(print_of([1, 2]), print_of([])) == 0


def test_other_frame_rates_make_the_same_print() -> None:
    assert compare_video_prints(print_of([1, 2, 3]), print_of([1, 2, 3], fps=3)) == 1
