"""GIFs that move are films with their true times; other pictures that move are stills, and say what is left out."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw

from mmpipe.config import LimitsConfig
from mmpipe.media.decode import decode_clips
from mmpipe.media.filters import parse_filter
from mmpipe.media.gifs import read_gif_blocks
from mmpipe.media.preview import PreviewKind, render_preview
from mmpipe.media.probe import probe_file
from mmpipe.media.renditions import prepared_source
from mmpipe.sources.stems import AssetFiles
from mmpipe.steps.ingest.acceptance import accept_asset
from mmpipe.steps.quarantine.releasable import can_be_let_in, why_not
from mmpipe.types import COVER, ImageNeeds, Modality, RawFile, VideoClip, VideoNeeds, digest_of

SIZE = (48, 32)
ALL = VideoNeeds(width_px=SIZE[0], height_px=SIZE[1])
DELAYS_MS = (30, 10, 0, 70, 330, 500, 40, 20)


def pictures(number: int, clear: bool = False) -> list[Image.Image]:
    """Return pictures of a square that goes to the right, on a ground or on nothing."""
    made = []
    for place in range(number):
        picture = Image.new("RGBA", SIZE, (0, 0, 0, 0) if clear else (20, 90, 160, 255))
        left = 3 + 4 * place
        ImageDraw.Draw(picture).rectangle((left, 6, left + 10, 20), fill=(250 - 20 * place, 40, 40, 255))
        made.append(picture)
    return made


@pytest.fixture
def gif(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a GIF: how long each picture lasts, what of it stays, and whether it has a hole."""

    def gif(name: str, delays_ms: Sequence[int] = DELAYS_MS, disposal: int = 0, clear: bool = False) -> Path:
        first, *others = pictures(len(delays_ms), clear)
        options: dict[str, Any] = {"duration": list(delays_ms), "disposal": disposal, "loop": 0} if others else {}
        first.save(tmp_path / name, save_all=True, append_images=others, **options)
        return tmp_path / name

    return gif


def decode(sources: Any, clips: Sequence[Any], need: VideoNeeds) -> list[VideoClip]:
    found = {one.clip.key: one.media[need] for one in decode_clips(sources, clips, [need], (), LimitsConfig())}
    return [found[clip.key] for clip in clips]  # type: ignore[misc]


def as_ffmpeg_has_it(path: Path) -> tuple[list[int], np.ndarray]:
    """Return the times in ns and the pictures as FFmpeg's own conversion flattens them."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        times_ns = [round((frame.pts or 0) * 1_000_000_000 * (frame.time_base or 1)) for frame in frames]
        return times_ns, np.stack([frame.to_ndarray(format="rgb24") for frame in frames])


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("disposal", [0, 1, 2, 3])
def test_a_gif_that_moves_is_a_film(disposal: int, clear: bool, gif: Any, probe: Any, opened: Any, clip: Any) -> None:
    path = gif("a.gif", disposal=disposal, clear=clear)
    (stream,) = probe("a.gif").streams
    assert (stream.modality, stream.role, stream.codec) == (Modality.VIDEO, "video", "gif")
    assert (stream.width_px, stream.height_px) == SIZE
    times_ns, expected = as_ffmpeg_has_it(path)
    (found,) = decode(opened(probe("a.gif")), [clip(0.0, 2.0)], ALL)
    assert found.times_ns.tolist() == times_ns and len(times_ns) == len(DELAYS_MS)
    np.testing.assert_array_equal(found.frames, expected)
    # A delay of nothing is a tenth of a second, as in FFmpeg and in browsers.
    lasts_ms = [delay or 100 for delay in DELAYS_MS]
    assert times_ns == [1_000_000 * sum(lasts_ms[:number]) for number in range(len(lasts_ms))]
    assert stream.duration_ns == 1_000_000 * sum(lasts_ms)


@pytest.mark.parametrize("disposal", [1, 2])
def test_what_is_clear_becomes_white(disposal: int, gif: Any, probe: Any, opened: Any, clip: Any) -> None:
    path = gif("a.gif", disposal=disposal, clear=True)
    (found,) = decode(opened(probe("a.gif")), [clip(0.0, 2.0)], ALL)
    with Image.open(path) as image:
        for number, frame in enumerate(found.frames):
            image.seek(number)
            seen = image.convert("RGBA")
            ground = Image.new("RGBA", SIZE, (255, 255, 255, 255))
            ground.alpha_composite(seen)
            np.testing.assert_array_equal(frame, np.asarray(ground.convert("RGB")))


@pytest.mark.parametrize("clear", [False, True])
def test_few_pictures_are_those_of_a_full_decode(clear: bool, gif: Any, probe: Any, opened: Any, clip: Any) -> None:
    """Each rests on all before it, so none may be passed over."""
    path = gif("a.gif", disposal=1, clear=clear)
    times_ns, expected = as_ffmpeg_has_it(path)
    place = {time_ns: number for number, time_ns in enumerate(times_ns)}
    sources = opened(probe("a.gif"))
    clips = [clip(0.0, 1.1), clip(0.25, 0.6), clip(0.95, 1.1)]
    for need in (
        VideoNeeds(width_px=SIZE[0], height_px=SIZE[1], num_frames=1),
        VideoNeeds(width_px=SIZE[0], height_px=SIZE[1], frame_rate=3),
        ALL,
    ):
        for found in (*decode(sources, clips, need), *decode(sources, clips[2:], need)):
            numbers = [place[time_ns] for time_ns in found.times_ns.tolist()]
            np.testing.assert_array_equal(found.frames, expected[numbers])
    keys = VideoNeeds(width_px=SIZE[0], height_px=SIZE[1], only_keyframes=True)
    for found in decode(sources, clips, keys):
        assert found.times_ns.tolist() == [0]
        np.testing.assert_array_equal(found.frames, expected[:1])


def test_two_gifs_in_one_file_are_seen_one_after_the_other(gif: Any, probe: Any, opened: Any, clip: Any) -> None:
    """FFmpeg calls the last picture of the first a key frame; it is none."""
    path = gif("a.gif", disposal=1, clear=True)
    path.write_bytes(path.read_bytes() * 2)
    times_ns, expected = as_ffmpeg_has_it(path)
    assert len(times_ns) == 2 * len(DELAYS_MS)
    sources = opened(probe("a.gif"))
    for start_s in (0.0, 1.07, 1.4):
        for need in (ALL, VideoNeeds(width_px=SIZE[0], height_px=SIZE[1], frame_rate=2)):
            (found,) = decode(sources, [clip(start_s, 2.2)], need)
            numbers = [times_ns.index(time_ns) for time_ns in found.times_ns.tolist()]
            np.testing.assert_array_equal(found.frames, expected[numbers])


def test_a_gif_is_covered_as_any_film(gif: Any, probe: Any, opened: Any, clip: Any) -> None:
    gif("a.gif")
    (found,) = decode(opened(probe("a.gif")), [clip(0.0, 2.0)], VideoNeeds(width_px=16, height_px=16, fit=COVER))
    assert found.frames.shape == (len(DELAYS_MS), 16, 16, 3)


def test_a_gif_of_one_picture_stays_the_still_that_it_was(gif: Any, probe: Any, opened: Any, clip: Any) -> None:
    path = gif("one.gif", delays_ms=(100,))
    (stream,) = probe("one.gif").streams
    assert stream.modality is Modality.IMAGE
    assert stream.digest == digest_of("mmpipe-stream-1", Modality.IMAGE, stream.file_sha256)
    need = ImageNeeds(width_px=SIZE[0], height_px=SIZE[1])
    (found,) = decode_clips(opened(probe("one.gif")), [clip(0.0, 0.1)], [need], (), LimitsConfig())
    with Image.open(path) as image:
        np.testing.assert_array_equal(found.media[need].image, np.asarray(image.convert("RGB")))  # type: ignore[union-attr]


def test_limits_hold(gif: Any, probe: Any, tmp_path: Path) -> None:
    path = gif("a.gif")
    for limit in ({"frames": 5}, {"duration_s": 0.5}, {"pixels": SIZE[0] * SIZE[1] - 1}):
        (drop,) = probe("a.gif", **limit).drops
        assert drop.code == f"limit_{next(iter(limit))}".removesuffix("_s")
        assert json.loads(drop.facts) | {"kind": "video", "pictures": 8, "width_px": 48} == json.loads(drop.facts)
    data = bytearray(path.read_bytes())
    data[6:10] = struct.pack("<2H", 65_000, 65_000)  # a screen of 17 GB
    (tmp_path / "bomb.gif").write_bytes(data)
    assert [drop.code for drop in probe("bomb.gif").drops] == ["limit_pixels"]


def test_a_gif_that_was_cut_off_is_refused_or_marked(
    gif: Any, probe: Any, opened: Any, clip: Any, tmp_path: Path
) -> None:
    data = gif("a.gif").read_bytes()
    last = data.rindex(b"\x21\xf9")  # the last picture begins behind this
    (tmp_path / "cut.gif").write_bytes(data[: last + 40])
    (drop,) = probe("cut.gif").drops
    assert drop.code == "decode_error" and "breaks off in picture 8" in drop.detail
    row = {"code": drop.code, "facts": drop.facts, "detail": drop.detail, "file": drop.file}
    assert can_be_let_in(row)
    status = (tmp_path / "cut.gif").stat()
    raw = RawFile(name="cut.gif", nbytes=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)
    lenient = probe_file(tmp_path, raw, LimitsConfig(), max_missing=0.5)
    assert 0 < lenient.streams[0].lost_share < 0.5
    (found,) = decode(opened(lenient), [clip(0.0, 0.5)], ALL)
    np.testing.assert_array_equal(found.frames, as_ffmpeg_has_it(tmp_path / "a.gif")[1][: len(found.frames)])
    (tmp_path / "open.gif").write_bytes(data[:-1])  # without the byte that ends it: nothing is lost
    (tmp_path / "padded.gif").write_bytes(data[:-1] + bytes(10_000))
    for name in ("open.gif", "padded.gif"):
        assert [stream.lost_share for stream in probe(name).streams] == [0.0]


def test_blocks_are_counted_as_pillow_counts_pictures(gif: Any, tmp_path: Path) -> None:
    for delays in ((100,), (100, 100), DELAYS_MS):
        path = gif("a.gif", delays_ms=delays)
        with path.open("rb") as file, Image.open(path) as image:
            blocks = read_gif_blocks(file.fileno())
            assert blocks and (blocks.num_pictures, blocks.lost_share) == (getattr(image, "n_frames", 1), 0.0)
            assert (blocks.width_px, blocks.height_px) == image.size
    for data in (b"", b"GIF89a", b"GIF89a" + bytes(7), b"RIFF" + bytes(20)):
        (tmp_path / "b").write_bytes(data)
        with (tmp_path / "b").open("rb") as file:
            assert read_gif_blocks(file.fileno()) is None


@pytest.mark.parametrize("kind", ["webp", "png"])
def test_other_pictures_that_move_are_stills_that_say_so(kind: str, tmp_path: Path, probe: Any) -> None:
    first, *others = (picture.convert("RGB") for picture in pictures(3))
    first.save(tmp_path / f"one.{kind}")
    first.save(tmp_path / f"a.{kind}", save_all=True, append_images=others, duration=100)
    assert not probe(f"one.{kind}").drops
    found = probe(f"a.{kind}")
    (stream,), (note,) = found.streams, found.drops
    assert stream.modality is Modality.IMAGE
    assert stream.digest == digest_of("mmpipe-stream-1", Modality.IMAGE, stream.file_sha256)
    assert note.kept and note.code == "first_picture_only" and "first of 3 pictures" in note.detail
    assert json.loads(note.facts)["pictures"] == 3
    row = {"code": note.code, "facts": note.facts, "detail": note.detail, "file": note.file}
    assert not can_be_let_in(row) and "in use as a still" in why_not("c", row)


def test_previews_are_made_from_anywhere(gif: Any, probe: Any, opened: Any, clip: Any, tmp_path: Path) -> None:
    gif("a.gif")
    source = opened(probe("a.gif"))[Modality.VIDEO]
    for number, (start_s, end_s) in enumerate(((0.0, 1.1), (0.3, 1.0), (0.6, 0.9), (1.08, 1.1))):
        for kind in (PreviewKind.MP4, PreviewKind.WEBP, PreviewKind.STRIP, PreviewKind.STILL):
            target = tmp_path / f"{number}.{kind}"
            render_preview(source.descriptor, source.stream, clip(start_s, end_s), kind, target)
        with Image.open(tmp_path / f"{number}.png") as strip:
            pixels = np.asarray(strip.convert("RGB")).astype(int)
        assert pixels.shape == (80, 6 * 120, 3)
        wanted = (250, 170, 150, 110)[number]  # red of the square that is there first
        assert np.abs(pixels[5, ::120] - (20, 90, 160)).max() < 24, number
        assert np.abs(pixels[30, :120, 0] - wanted).min() < 24


@pytest.mark.parametrize("clear", [False, True])
def test_a_prepared_gif_keeps_its_times(
    clear: bool, gif: Any, probe: Any, opened: Any, clip: Any, tmp_path: Path
) -> None:
    path = gif("a.gif", disposal=2, clear=clear)
    times_ns, expected = as_ffmpeg_has_it(path)
    source = opened(probe("a.gif"))[Modality.VIDEO]
    with prepared_source(source, [parse_filter("hflip", Modality.VIDEO)], tmp_path, LimitsConfig()) as prepared:
        (found,) = decode({Modality.VIDEO: prepared}, [clip(0.0, 2.0)], ALL)
    assert found.times_ns.tolist() == times_ns
    np.testing.assert_array_equal(found.frames, expected[:, :, ::-1])


def test_beside_a_film_a_gif_is_its_preview(gif: Any, film: Any, probe: Any) -> None:
    gif("a.gif")
    film("a.mp4", 10)
    files = tuple(RawFile(name=name, nbytes=0, mtime_ns=0, inode=0) for name in ("a.gif", "a.mp4"))
    accepted = accept_asset(AssetFiles(source_id="a", files=files), {name: probe(name) for name in ("a.gif", "a.mp4")})
    assert accepted.asset is not None
    assert {stream.role: stream.codec for stream in accepted.asset.streams} == {"video": "h264", "video.1": "gif"}
