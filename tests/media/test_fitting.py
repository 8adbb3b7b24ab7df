"""Pictures that keep their shape: scaled until they cover a box, and the middle cut out, of stills as of frames."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.media.decode import decode_clips
from mmpipe.media.fitting import Size, cut_middle, scaled_size
from mmpipe.media.images import read_image
from mmpipe.types import COVER, STRETCH, Fit, ImageNeeds, VideoNeeds

BOX_40, BOX_24 = (Fit(keeps_shape=True, box_px=(side, side)) for side in (40, 24))
# A picture's size, what is wanted, what it is scaled to, and where the middle of that begins: across, down.
CASES: list[tuple[Size, Size, Fit, Size, tuple[int, int]]] = [
    ((96, 64), (32, 32), COVER, (48, 32), (8, 0)),
    ((64, 96), (32, 32), COVER, (32, 48), (0, 8)),
    ((64, 64), (32, 32), COVER, (32, 32), (0, 0)),
    ((97, 61), (33, 31), BOX_40, (63, 40), (15, 4)),
    ((61, 97), (33, 30), BOX_40, (40, 63), (3, 16)),
    ((20, 30), (32, 32), COVER, (32, 48), (0, 8)),  # smaller than what is wanted
    ((96, 64), (48, 24), COVER, (48, 32), (0, 4)),  # no square
    ((96, 40), (24, 20), COVER, (48, 20), (12, 0)),
    ((96, 64), (32, 31), BOX_24, (36, 24), (2, -4)),  # more is wanted than there is: black comes first
    ((96, 64), (32, 32), Fit(box_px=(40, 36)), (40, 36), (4, 2)),  # stretched, and then cut
]


@pytest.mark.parametrize(("size", "out", "fit", "scaled", "start"), CASES)
def test_what_is_scaled_to_and_cut(size: Size, out: Size, fit: Fit, scaled: Size, start: tuple[int, int]) -> None:
    assert scaled_size(size, out, fit) == scaled
    rows, columns = np.mgrid[1 : scaled[1] + 1, 1 : scaled[0] + 1]
    cut = cut_middle(np.stack([columns, rows], axis=-1), out)
    assert cut.shape == (out[1], out[0], 2)
    expected = [[(x + start[0] + 1, y + start[1] + 1) for x in range(out[0])] for y in range(out[1])]
    places_HWC = np.array(expected)
    is_black_HW = np.any((places_HWC < 1) | (places_HWC > np.array(scaled)), axis=-1)
    places_HWC[is_black_HW] = 0
    np.testing.assert_array_equal(cut, places_HWC)


def test_a_box_holds_a_pixel() -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        Fit(box_px=(0, 8))


@pytest.fixture
def grained(tmp_path: Path) -> Callable[[str, Size], Path]:
    """Return a function that writes a film of four frames that are noise all over, or such a still."""

    def grained(name: str, size: Size) -> Path:
        pictures = np.random.default_rng(size[0]).integers(0, 256, (4, size[1], size[0], 3), np.uint8)
        if name.endswith(".png"):
            Image.fromarray(pictures[0]).save(tmp_path / name)
            return tmp_path / name
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height = size
            stream.pix_fmt = "yuv444p" if size[0] % 2 else "yuv420p"
            for pixels in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
            container.mux(stream.encode(None))
        return tmp_path / name

    return grained


def frames_of(sources: Any, clip: Any, *needs: VideoNeeds) -> list[np.ndarray]:
    (found,) = decode_clips(sources, [clip], needs, (), LimitsConfig())
    return [found.media[need].frames for need in needs]  # type: ignore[union-attr]


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize(("size", "out", "fit", "scaled", "start"), CASES)
def test_frames_are_the_middle_of_what_scaling_gives(
    grained: Any, probe: Any, opened: Any, clip: Any, gray: bool,
    size: Size, out: Size, fit: Fit, scaled: Size, start: tuple[int, int],
) -> None:  # fmt: skip
    grained("a.mp4", size)
    whole, squeezed, cut = frames_of(
        opened(probe("a.mp4")), clip(0.0, 0.16),
        VideoNeeds(width_px=scaled[0], height_px=scaled[1], gray=gray),
        VideoNeeds(width_px=out[0], height_px=out[1], gray=gray),
        VideoNeeds(width_px=out[0], height_px=out[1], gray=gray, fit=fit),
    )  # fmt: skip
    assert cut.shape == squeezed.shape and len(cut) == 4
    np.testing.assert_array_equal(cut, np.stack([cut_middle(frame, out) for frame in whole]))
    if scaled != out:
        assert (cut != squeezed).any()


def test_a_turned_film_is_cut_upright(grained: Any, probe: Any, opened: Any, clip: Any, tmp_path: Path) -> None:
    data = grained("a.mp4", (97, 62)).read_bytes()
    upright = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    quarter = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)  # 90 degrees clockwise
    start = data.index(upright, data.index(b"tkhd"))
    (tmp_path / "b.mp4").write_bytes(data[:start] + quarter + data[start + len(quarter) :])
    one = clip(0.0, 0.16)
    (lying,) = frames_of(opened(probe("a.mp4")), one, VideoNeeds(width_px=62, height_px=40))
    need = VideoNeeds(width_px=33, height_px=30, fit=BOX_40)
    whole, cut = frames_of(opened(probe("b.mp4")), one, VideoNeeds(width_px=40, height_px=62), need)
    np.testing.assert_array_equal(
        cut, whole[:, 16:46, 3:36]
    )  # of 7 columns too many the fourth goes on the right, as upright
    np.testing.assert_array_equal(whole, np.rot90(lying, -1, axes=(1, 2)))


def test_a_film_without_height_is_not_scaled_to_gigabytes(grained: Any, probe: Any, opened: Any, clip: Any) -> None:
    grained("a.mp4", (4000, 2))
    sources, need = opened(probe("a.mp4")), VideoNeeds(width_px=64, height_px=64, fit=COVER)
    with pytest.raises(SampleError, match="too long to cut their middle out"):
        frames_of(sources, clip(0.0, 0.16), need)
    assert frames_of(sources, clip(0.0, 0.16), VideoNeeds(width_px=64, height_px=64))[0].shape == (4, 64, 64, 3)


def still(path: Path, needs: ImageNeeds) -> np.ndarray:
    with path.open("rb") as file:
        return read_image(file.fileno(), needs, LimitsConfig()).image


def test_frames_are_close_to_what_pillow_gives(tmp_path: Path, probe: Any, opened: Any, clip: Any) -> None:
    """Light to a shade; of colours libswscale makes one for two pixels, so they differ more where they change."""
    coarse = np.random.default_rng(0).integers(70, 190, (9, 16, 3), np.uint8)
    picture = Image.fromarray(coarse).resize((320, 180), Image.Resampling.BICUBIC)
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode(None))
    for gray, mean, most in ((True, 0.6, 2), (False, 3, 16)):
        fit = Fit(keeps_shape=True, box_px=(72, 72))
        whole, cut = frames_of(
            opened(probe("a.mp4")), clip(0.0, 0.04),
            VideoNeeds(width_px=320, height_px=180, gray=gray),
            VideoNeeds(width_px=64, height_px=64, gray=gray, fit=fit),
        )  # fmt: skip
        scaled = Image.fromarray(whole[0]).resize((128, 72), Image.Resampling.BILINEAR)
        apart = np.abs(np.asarray(scaled)[4:68, 32:96].astype(int) - cut[0])
        assert apart.mean() < mean and apart.max() <= most, (gray, apart.mean(), apart.max())


@pytest.mark.parametrize("filter", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("size", "out", "fit", "scaled", "start"), CASES)
def test_a_still_is_the_middle_of_what_pillow_gives(
    grained: Any, filter: Any, size: Size, out: Size, fit: Fit, scaled: Size, start: tuple[int, int]
) -> None:
    path = grained("a.png", size)
    found = still(path, ImageNeeds(width_px=out[0], height_px=out[1], fit=fit, filter=filter))
    with Image.open(path) as image:
        whole = np.asarray(image.resize(scaled, Image.Resampling[filter.upper()]))
    np.testing.assert_array_equal(found, cut_middle(whole, out))


def test_a_turned_still_is_cut_upright(tmp_path: Path) -> None:
    bands = np.zeros((30, 90), np.uint8)
    bands[:, 30:60] = 255  # the middle third is bright, along the longer side
    image = Image.fromarray(bands)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    needs = ImageNeeds(width_px=30, height_px=30, gray=True, fit=COVER)
    assert (still(tmp_path / "a.png", needs) == 255).all()


def test_a_long_strip_gives_its_middle_without_being_scaled_whole(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, 30_000).astype(np.uint8), (2, 1))
    Image.fromarray(ramp).save(tmp_path / "a.png")
    for filter in ("bilinear", "bicubic"):
        needs = ImageNeeds(width_px=64, height_px=64, gray=True, fit=COVER, filter=filter)
        found = still(tmp_path / "a.png", needs)
        assert found.shape == (64, 64) and np.abs(found.astype(int) - 127).max() <= 1


def test_what_was_wanted_before_there_was_a_fit_is_stretched() -> None:
    assert VideoNeeds(width_px=4, height_px=4).fit == ImageNeeds(width_px=4, height_px=4).fit == STRETCH
    assert ImageNeeds(width_px=4, height_px=4).filter == "bilinear"
