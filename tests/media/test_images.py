from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.media.images import look_at_image, read_image
from mmpipe.types import ImageNeeds


@pytest.fixture
def read(tmp_path):
    def read(name: str, needs: ImageNeeds, **limits: int) -> np.ndarray:
        descriptor = os.open(tmp_path / name, os.O_RDONLY)
        try:
            look_at_image(descriptor, LimitsConfig(**limits))
            return read_image(descriptor, needs, LimitsConfig(**limits)).image
        finally:
            os.close(descriptor)

    return read


def test_sizes_and_colours(tmp_path, read):
    Image.new("RGB", (30, 20), (255, 0, 0)).save(tmp_path / "a.png")
    image = read("a.png", ImageNeeds(width_px=12, height_px=8))
    assert image.shape == (8, 12, 3) and image.dtype == np.uint8 and image[0, 0].tolist() == [255, 0, 0]
    assert read("a.png", ImageNeeds(width_px=12, height_px=8, gray=True)).shape == (8, 12)


def test_orientation_is_applied(tmp_path, read):
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:10, :20] = 255  # bright upper left; turned clockwise it is upper right
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    upright = read("a.png", ImageNeeds(width_px=20, height_px=40, gray=True))
    assert upright[2, -2] == 255 and upright[2, 2] == 0


def test_sixteen_bits_keep_their_shades(tmp_path, read):
    Image.fromarray(np.full((8, 8), 32768, np.uint16)).save(tmp_path / "a.png")
    assert read("a.png", ImageNeeds(width_px=8, height_px=8, gray=True))[0, 0] == 128


@pytest.mark.parametrize("suffix", ["gif", "bmp", "webp", "tiff", "jpg"])
def test_formats(tmp_path, read, suffix):
    Image.new("L", (16, 16), 200).save(tmp_path / f"a.{suffix}")
    assert abs(int(read(f"a.{suffix}", ImageNeeds(width_px=4, height_px=4, gray=True))[2, 2]) - 200) < 4


def test_broken_and_large_ones_are_refused(tmp_path, read):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "a.jpg")
    needs = ImageNeeds(width_px=8, height_px=8)
    with pytest.raises(SampleError, match="limit_pixels"):
        read("a.jpg", needs, pixels=1000)
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:1500])
    with pytest.raises(SampleError, match="decode_error"):
        read("a.jpg", needs)


def test_the_limit_of_pixels_is_the_configs_and_not_pillows(tmp_path, read):
    """Pillow refuses 179 million pixels by itself, twice as many for good: a released picture has more."""
    before = Image.MAX_IMAGE_PIXELS
    Image.new("1", (19_000, 19_000)).save(tmp_path / "a.png")
    needs = ImageNeeds(width_px=8, height_px=8, gray=True)
    assert read("a.png", needs, pixels=361_000_000).shape == (8, 8)
    with pytest.raises(
        SampleError, match=r"19000 x 19000 pixels, limits.pixels allows 360999999: .*quarantine release"
    ):
        read("a.png", needs, pixels=360_999_999)
    with pytest.raises(SampleError, match=r"limit_pixels: .*361000000 pixels, limits.pixels allows 33177600"):
        read("a.png", needs)
    assert before == Image.MAX_IMAGE_PIXELS
