"""Brightness, contrast, sharpness and motion of frames whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from mmpipe.signals.gray import gray_of_rgb
from mmpipe.signals.picture import PictureMeter, PictureSeries, sharpness_of, summarise_pictures

FRAME_NS, SECOND_NS = 40_000_000, 1_000_000_000


def gray(level: int) -> np.ndarray:
    return np.full((90, 160, 3), level, np.uint8)


def measure(frames: list[np.ndarray], step_ns: int = FRAME_NS) -> PictureSeries:
    meter = PictureMeter()
    for place, frame in enumerate(frames):
        meter.push(frame, place * step_ns)
    return meter.finish()


def test_means_over_a_range() -> None:
    series = measure([gray(0), gray(51), gray(102), gray(102), gray(255)])
    summary = summarise_pictures(series, FRAME_NS, 4 * FRAME_NS)
    assert summary.brightness == pytest.approx((0.2 + 0.4 + 0.4) / 3)
    assert summary.contrast == pytest.approx(0, abs=1e-5)
    assert summary.black_share == 0
    # 0.2 in 40 ms and then nothing; the change into the range's first frame is not the range's.
    assert summary.motion == pytest.approx((0.2 / 0.04 + 0) / 2)
    assert summary.frozen_share == 0.5


def test_motion_is_per_second() -> None:
    frames = [gray(level) for level in range(0, 100, 10)]
    slow, fast = measure(frames, 2 * FRAME_NS), measure(frames)
    assert np.isnan(slow.motion_T[0])
    np.testing.assert_allclose(fast.motion_T[1:], 2 * slow.motion_T[1:], rtol=1e-5)


def test_black_allows_for_noise_and_a_logo() -> None:
    logo = gray(5)
    logo[:10, :20] = 255
    assert measure([gray(16), logo, gray(40)]).black_T.tolist() == [True, True, False]


def test_contrast_of_a_checkerboard_is_half() -> None:
    board = np.where(np.indices((90, 160)).sum(axis=0)[..., None] % 2, 255, 0).repeat(3, axis=2).astype(np.uint8)
    assert measure([board]).contrast_T[0] == pytest.approx(0.5)


def test_sharpness_is_opencvs_and_falls_with_blur() -> None:
    cv2 = pytest.importorskip("cv2")
    picture = np.random.default_rng(0).integers(0, 256, (90, 160), np.uint8)
    expected = cv2.Laplacian(picture, cv2.CV_64F)[1:-1, 1:-1].var()
    assert sharpness_of(picture.astype(np.float32)) == pytest.approx(expected, rel=1e-4)
    assert sharpness_of(cv2.GaussianBlur(picture, (5, 5), 1).astype(np.float32)) < expected / 5


def test_ranges_without_frames_say_nothing() -> None:
    assert summarise_pictures(measure([]), 0, FRAME_NS).brightness is None
    one = summarise_pictures(measure([gray(9)]), 0, FRAME_NS)
    assert (one.motion, one.frozen_share, one.black_share) == (0.0, 1.0, 1.0)
    assert summarise_pictures(measure([gray(9)]), FRAME_NS, FRAME_NS).brightness is None


def test_gray_is_pillows() -> None:
    image = pytest.importorskip("PIL.Image")
    frame = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    np.testing.assert_array_equal(gray_of_rgb(frame), np.asarray(image.fromarray(frame).convert("L")))


@pytest.mark.parametrize("frame", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3)), np.zeros((0, 2, 3), np.uint8)])
def test_other_arrays_are_refused(frame: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8 \\[H, W, 3\\]"):
        gray_of_rgb(frame)


def slides(levels: list[int], stands_ns: list[int], step_ns: int | None = None) -> PictureSeries:
    """Measure pictures that stand for some time each, once or again every step."""
    meter, start_ns = PictureMeter(), 0
    for level, stand_ns in zip(levels, stands_ns, strict=True):
        for time_ns in range(start_ns, start_ns + stand_ns, step_ns or stand_ns):
            meter.push(gray(level), time_ns)
        start_ns += stand_ns
    return meter.finish(start_ns)


def test_a_picture_that_stands_in_a_film_is_frozen_for_that_time() -> None:
    levels = [(7 * number) % 200 + 30 for number in range(50)]
    series = slides(levels, [*[FRAME_NS] * 24, 10 * SECOND_NS, *[FRAME_NS] * 25])
    whole = summarise_pictures(series, 0, 12 * SECOND_NS)
    assert whole.frozen_share == pytest.approx(10 / (10 + 48 * 0.04), abs=0.01)
    inside = summarise_pictures(series, 3 * SECOND_NS, 5 * SECOND_NS)  # no picture comes there: one stands
    assert (inside.frozen_share, inside.black_share, inside.motion) == (1.0, 0.0, 0.0)
    assert inside.brightness == pytest.approx(levels[24] / 255)
    after = summarise_pictures(series, 11 * SECOND_NS, 12 * SECOND_NS)
    assert after.frozen_share == 0.0


def test_shares_do_not_depend_on_how_often_a_picture_is_repeated() -> None:
    levels, stands_ns = [0, 60, 0, 120, 180], [number * SECOND_NS for number in (4, 2, 1, 2, 3)]
    often, once = slides(levels, stands_ns, FRAME_NS), slides(levels, stands_ns)
    for start_s, end_s, black in ((0, 12, 5 / 12), (0, 4, 1.0), (3, 5, 0.5), (1, 7, 4 / 6), (7, 12, 0.0)):
        for series in (often, once):
            found = summarise_pictures(series, start_s * SECOND_NS, end_s * SECOND_NS)
            assert found.black_share == pytest.approx(black, abs=0.01), (start_s, end_s)
            assert found.frozen_share == pytest.approx(1.0, abs=0.05), (start_s, end_s)


def test_a_picture_counts_for_its_time_only_where_it_is_shown() -> None:
    series = slides([0, 200, 100], [SECOND_NS, 3 * SECOND_NS, 2 * SECOND_NS])
    assert summarise_pictures(series, 8 * SECOND_NS, 9 * SECOND_NS).black_share is None
    alone = slides([9], [FRAME_NS])
    assert summarise_pictures(alone, SECOND_NS, 2 * SECOND_NS).brightness is None
