"""What spoils media on purpose: levels are exact, and what is drawn depends on the seed and the place alone."""

from __future__ import annotations

import numpy as np
import pytest

from mmpipe.media.noise import add_noise, babble, block_mask, blur, cover, resample

RATE_HZ = 16_000


def tones(number: int, seconds: float = 0.3, level: float = 0.3) -> np.ndarray:
    times_N = np.arange(int(RATE_HZ * seconds)) / RATE_HZ
    return (level * np.sin(2 * np.pi * (200 + 130 * number) * times_N)).astype(np.float32)


def power(wave: np.ndarray) -> float:
    return float(np.mean(np.square(wave, dtype=np.float64)))


BABBLE = babble([tones(number, 0.2 + 0.1 * number) for number in range(5)], voices=3, num_samples=20_000, seed=7)


@pytest.mark.parametrize("snr_db", [-20.0, -5.0, 0.0, 5.0, 12.5, 60.0])
@pytest.mark.parametrize("seconds", [0.05, 0.4, 3.0])  # the last is longer than the babble
def test_the_level_is_exact(snr_db: float, seconds: float) -> None:
    clean = tones(9, seconds)
    mixed = add_noise(clean, BABBLE, snr_db, 3, "a clip").astype(np.float64)
    assert mixed.dtype == np.float64
    assert np.abs(mixed).max() <= 1.0
    # The mix may be quieter as a whole: its share of the clean sound says by how much.
    design = np.stack([clean.astype(np.float64), noise_part(clean, snr_db)])
    shares, *_ = np.linalg.lstsq(design.T, mixed, rcond=None)
    found_db = 10 * np.log10(power(shares[0] * design[0]) / power(mixed - shares[0] * design[0]))
    assert found_db == pytest.approx(snr_db, abs=0.01)


def noise_part(clean: np.ndarray, snr_db: float) -> np.ndarray:
    """Return the noise that was mixed in: from a clip so quiet that nothing is scaled down."""
    quiet = clean.astype(np.float64) * 1e-4
    return add_noise(quiet, BABBLE, snr_db, 3, "a clip").astype(np.float64) - quiet


def test_noise_depends_on_seed_and_place_alone() -> None:
    clean = tones(9)
    again = [add_noise(clean, BABBLE, 0, 3, "a clip") for _ in range(2)]
    assert again[0].dtype == np.float32
    assert again[0].tobytes() == again[1].tobytes()
    assert (add_noise(clean, BABBLE, 0, 3, "another") != again[0]).any()
    assert (add_noise(clean, BABBLE, 0, 4, "a clip") != again[0]).any()


def test_silence_stays_silent() -> None:
    assert not add_noise(np.zeros(100, np.float32), BABBLE, 0, 3, "a clip").any()
    with pytest.raises(ValueError, match="not silent"):
        babble([np.zeros(10, np.float32)], 2, 100, 0)


def test_a_babble_has_power_one_and_many_voices() -> None:
    assert power(BABBLE) == pytest.approx(1.0)
    one = babble([tones(1), 100 * tones(2)], voices=1, num_samples=9_600, seed=0)
    halves = power(one[:4_800]), power(one[4_800:])
    assert halves[0] == pytest.approx(halves[1], rel=0.01)  # the loud clip does not drown the other
    assert power(resample(BABBLE, 16_000, 25_000)) == pytest.approx(1.0, rel=0.02)


def test_blocks_cover_their_share_and_are_the_same_in_every_frame() -> None:
    mask_HW = block_mask(48, 64, 0.25, 5, "a clip")
    assert mask_HW.mean() == pytest.approx(0.25)
    assert (mask_HW != block_mask(48, 64, 0.25, 5, "another")).any()
    frames = np.random.default_rng(0).integers(0, 100, (4, 48, 64), dtype=np.uint8)
    covered = cover(frames, mask_HW, gray=True)
    assert (covered[:, mask_HW] == 128).all()
    assert (covered[:, ~mask_HW] == frames[:, ~mask_HW]).all()
    colours = np.repeat(frames[..., None], 3, axis=-1)
    assert (cover(colours, mask_HW, gray=False)[..., 1] == covered).all()
    assert block_mask(48, 64, 1.0, 5, "x").all() and not block_mask(3, 2, 0.0, 5, "x").any()


def test_blur_takes_detail_and_keeps_light() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 40, 100), dtype=np.uint8)
    blurred = blur(frames, 2.0, gray=True)
    assert blurred.shape == frames.shape and blurred.dtype == np.uint8
    assert blurred.std() < frames.std() / 3
    assert blurred.mean() == pytest.approx(frames.mean(), abs=1)
    assert (blur(frames[0], 2.0, gray=True) == blurred[0]).all()  # frames do not touch
    colours = np.repeat(frames[..., None], 3, axis=-1)
    assert (blur(colours, 2.0, gray=False)[..., 2] == blurred).all()
