"""Anamorphic films: stored pixels that are wider or narrower than high are seen in their true shape, turned or not."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw

from mmpipe.config import LimitsConfig
from mmpipe.media.decode import decode_clips
from mmpipe.media.filters import parse_filter
from mmpipe.media.fitting import cut_middle
from mmpipe.media.picture_maker import PyAvMaker
from mmpipe.media.preview import PreviewKind, render_preview
from mmpipe.media.renditions import prepared_source
from mmpipe.types import COVER, Fit, Modality, VideoNeeds

STORED = (88, 72)
CODECS = {"mp4": "libx264", "mkv": "libx264", "ts": "mpeg2video"}
WIDE, NARROW = Fraction(16, 11), Fraction(3, 4)
UPRIGHT = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
CLOCKWISE = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
COVERED = VideoNeeds(width_px=36, height_px=36, fit=COVER)
SQUEEZED = VideoNeeds(width_px=36, height_px=36)


def as_seen(aspect: Fraction) -> Image.Image:
    """Return a picture in the shape in which it is meant to be seen: a round disc off its middle, and a bar."""
    picture = Image.new("RGB", (round(STORED[0] * aspect), STORED[1]), (40, 60, 90))
    draw, middle = ImageDraw.Draw(picture), picture.width // 2
    draw.ellipse((middle - 24, 12, middle + 16, 52), fill=(220, 210, 200))
    draw.rectangle((middle - 24, 58, middle + 30, 64), fill=(150, 30, 30))
    return picture


@pytest.fixture
def anamorphic(tmp_path: Path) -> Callable[[str, Fraction | None], Path]:
    """Return a function that writes a film of 6 frames; `shape` is that of its content, `said` what its header says."""

    def anamorphic(name: str, said: Fraction | None, shape: Fraction = WIDE) -> Path:
        path, suffix = tmp_path / name, name.rpartition(".")[2]
        stored = as_seen(shape).resize(STORED, Image.Resampling.LANCZOS)
        with av.open(str(path), "w", format={"mkv": "matroska", "ts": "mpegts"}.get(suffix, suffix)) as container:
            stream = container.add_stream(CODECS[suffix], rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = *STORED, "yuv420p"
            stream.options = {"qp": "4"} if suffix != "ts" else {"qmin": "1", "qmax": "1"}
            if said is not None:
                stream.codec_context.sample_aspect_ratio = said
            for _ in range(6):
                container.mux(stream.encode(av.VideoFrame.from_image(stored)))
            container.mux(stream.encode(None))
        return path

    return anamorphic


def turn(path: Path) -> None:
    data = path.read_bytes()
    start = data.index(UPRIGHT, data.index(b"tkhd"))
    path.write_bytes(data[:start] + CLOCKWISE + data[start + len(CLOCKWISE) :])


def say_aspect(path: Path, width: int, height: int) -> None:
    """Set what an mp4 says of its pixels, whatever its codec says."""
    data = path.read_bytes()
    start = data.index(b"pasp") + 4
    path.write_bytes(data[:start] + struct.pack(">2I", width, height) + data[start + 8 :])


def frames_of(sources: Any, clip: Any, *needs: VideoNeeds, maker: Any = None) -> list[np.ndarray]:
    (found,) = decode_clips(sources, [clip], needs, (), LimitsConfig(), maker=maker)
    return [found.media[need].frames for need in needs]  # type: ignore[union-attr]


def covered(picture: Image.Image, size: int) -> np.ndarray:
    """Return what Pillow makes of a picture of square pixels."""
    scale = size / min(picture.size)
    width, height = round(picture.width * scale), round(picture.height * scale)
    left, top = (width - size) // 2, (height - size) // 2
    whole = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(whole.crop((left, top, left + size, top + size))).astype(int)


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found.astype(int) - expected).mean())


# MPEG-2 knows some shapes of the whole picture only: 16:9 is one of them.
@pytest.mark.parametrize(
    ("name", "aspect"),
    [*((name, aspect) for name in ("a.mp4", "a.mkv") for aspect in (WIDE, Fraction(4, 3), NARROW)), ("a.ts", WIDE)],
)
def test_a_film_is_covered_in_the_shape_in_which_it_is_seen(
    name: str, aspect: Fraction, anamorphic: Any, probe: Any, opened: Any, clip: Any
) -> None:
    anamorphic(name, aspect, aspect)
    (found,) = frames_of(opened(probe(name)), clip(0.0, 0.2), COVERED)
    seen = as_seen(aspect)
    squeezed = covered(seen.resize(STORED), 36)
    assert apart(found[0], covered(seen, 36)) < 6 < apart(found[0], squeezed)
    width, height = probe(name).streams[0].width_px, probe(name).streams[0].height_px
    assert (width, height) == STORED  # what is stored is told as it is


def test_a_turned_film_is_seen_in_its_shape(anamorphic: Any, probe: Any, opened: Any, clip: Any) -> None:
    turn(anamorphic("a.mp4", WIDE))
    (found,) = frames_of(opened(probe("a.mp4")), clip(0.0, 0.2), COVERED)
    upright = as_seen(WIDE).transpose(Image.Transpose.ROTATE_270)  # clockwise
    assert apart(found[0], covered(upright, 36)) < 6 < apart(found[0], covered(upright.resize(STORED[::-1]), 36))
    assert [probe("a.mp4").streams[0].width_px, probe("a.mp4").streams[0].height_px] == [72, 88]


def test_pixels_are_the_middle_of_what_scaling_the_whole_gives(
    anamorphic: Any, probe: Any, opened: Any, clip: Any
) -> None:
    anamorphic("a.mp4", WIDE)  # seen as 128 x 72
    for fit, scaled in ((COVER, (64, 36)), (Fit(keeps_shape=True, box_px=(45, 45)), (80, 45))):
        whole, cut = frames_of(
            opened(probe("a.mp4")), clip(0.0, 0.2),
            VideoNeeds(width_px=scaled[0], height_px=scaled[1]), replace(COVERED, fit=fit),
        )  # fmt: skip
        np.testing.assert_array_equal(cut, np.stack([cut_middle(frame, (36, 36)) for frame in whole]))


def test_few_pictures_are_the_same_as_of_all(anamorphic: Any, probe: Any, opened: Any, clip: Any) -> None:
    anamorphic("a.mkv", WIDE)
    sources, one = opened(probe("a.mkv")), clip(0.0, 0.24)
    few = replace(COVERED, num_frames=2)
    (alone,), (among, _) = frames_of(sources, one, few), frames_of(sources, one, few, COVERED)
    np.testing.assert_array_equal(alone, among)


def test_what_is_squeezed_does_not_ask_for_the_shape(anamorphic: Any, probe: Any, opened: Any, clip: Any) -> None:
    found = {}
    for name, aspect in (("a.mp4", WIDE), ("b.mp4", Fraction(1)), ("c.mp4", None)):
        anamorphic(name, aspect)
        squeezed, boxed = frames_of(
            opened(probe(name)), clip(0.0, 0.2), SQUEEZED, replace(SQUEEZED, fit=Fit(box_px=(40, 40)))
        )
        found[name] = np.stack([squeezed, boxed])
    np.testing.assert_array_equal(found["a.mp4"], found["b.mp4"])
    np.testing.assert_array_equal(found["a.mp4"], found["c.mp4"])


def test_only_a_shape_that_counts_makes_other_content(anamorphic: Any, probe: Any, opened: Any, clip: Any) -> None:
    path = anamorphic("a.mp4", WIDE)
    marked = probe("a.mp4").streams[0].digest
    digests, pictures = {}, {}
    for said in ((16, 11), (3, 4), (1, 1), (9, 1), (1, 9), (0, 1)):
        say_aspect(path, *said)
        digests[said] = probe("a.mp4").streams[0].digest
        pictures[said] = frames_of(opened(probe("a.mp4")), clip(0.0, 0.2), COVERED)[0]
    assert digests[16, 11] == digests[0, 1] == marked  # where the container says nothing, the codec does
    assert digests[1, 1] == digests[9, 1] == digests[1, 9]  # beyond belief: not heard
    assert len(set(digests.values())) == 3
    np.testing.assert_array_equal(pictures[1, 1], pictures[9, 1])
    np.testing.assert_array_equal(pictures[16, 11], pictures[0, 1])
    assert (pictures[1, 1] != pictures[16, 11]).any()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("said", [WIDE, Fraction(1)])
def test_previews_have_the_shape(
    said: Fraction, turned: bool, anamorphic: Any, probe: Any, opened: Any, clip: Any, tmp_path: Path
) -> None:
    path = anamorphic("a.mp4", said)
    if turned:
        turn(path)
    source = opened(probe("a.mp4"))[Modality.VIDEO]
    ratio = float(said) * STORED[0] / STORED[1]
    for kind, width in ((PreviewKind.STRIP, 120), (PreviewKind.MP4, 320)):
        target = tmp_path / f"p.{kind}"
        render_preview(source.descriptor, source.stream, clip(0.0, 0.2), kind, target)
        with av.open(str(target)) as made:
            found = made.streams.video[0]
            assert found.sample_aspect_ratio in (None, 1)
            assert abs(found.height - width / (1 / ratio if turned else ratio)) <= 1
            assert found.width == (6 * width if kind is PreviewKind.STRIP else width)


def test_a_beyond_belief_shape_is_no_previews_either(
    anamorphic: Any, probe: Any, opened: Any, clip: Any, tmp_path: Path
) -> None:
    say_aspect(anamorphic("a.mp4", WIDE), 9, 1)
    source = opened(probe("a.mp4"))[Modality.VIDEO]
    render_preview(source.descriptor, source.stream, clip(0.0, 0.2), PreviewKind.STRIP, tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as strip:
        assert strip.size == (6 * 120, 98)  # 120 * 72 / 88, even


def test_a_gpus_decoder_leaves_them_to_the_cpu(anamorphic: Any, probe: Any, opened: Any, clip: Any) -> None:
    anamorphic("a.mp4", WIDE)
    sources, reasons = opened(probe("a.mp4")), []
    there = replace(COVERED, decoder="nvdec")
    (found,) = decode_clips(
        sources, [clip(0.0, 0.2)], [there], (), LimitsConfig(),
        maker=PyAvMaker(), note_fallback=lambda stream, reason: reasons.append(reason),
    )  # fmt: skip
    assert reasons == ["anamorphic"]
    np.testing.assert_array_equal(found.media[there].frames, frames_of(sources, clip(0.0, 0.2), COVERED)[0])  # type: ignore[union-attr]


@pytest.mark.parametrize(("said", "squeezed"), [(Fraction(1), True), (WIDE, False)])
def test_a_prepared_film_keeps_its_shape(
    said: Fraction, squeezed: bool, anamorphic: Any, probe: Any, opened: Any, clip: Any, tmp_path: Path
) -> None:
    """Scaled by a filter to a square: who says that pixels are square means it so, and an anamorphic film stays one."""
    anamorphic("a.mp4", said)
    source = opened(probe("a.mp4"))[Modality.VIDEO]
    steps = [parse_filter("scale=width=72:height=72", Modality.VIDEO)]
    with prepared_source(source, steps, tmp_path, LimitsConfig()) as prepared:
        (found,) = frames_of({Modality.VIDEO: prepared}, clip(0.0, 0.2), COVERED)
    seen = as_seen(WIDE)
    shaped, flat = covered(seen, 36), covered(seen.resize((72, 72)), 36)
    assert apart(found[0], flat if squeezed else shaped) < 6 < apart(found[0], shaped if squeezed else flat)


def test_facts_of_what_fell_out_tell_the_shape(anamorphic: Any, probe: Any) -> None:
    for name, said in (("a.mp4", WIDE), ("b.mp4", Fraction(1))):
        anamorphic(name, said)
        (drop,) = probe(name, pixels=1_000).drops
        (track,) = json.loads(drop.facts)["tracks"]
        assert track.get("sample_aspect") == ("16:11" if said == WIDE else None)
