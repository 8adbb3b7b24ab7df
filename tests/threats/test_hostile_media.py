"""Bombs, files that name others, and odd but honest media: each ends with its code, soon."""

from __future__ import annotations

import io
import struct
import time
import zlib
from fractions import Fraction

import av
import mutants
import numpy as np
import pytest
from corpus_maker import write_picture
from hostile_makers import LONGEST_REFUSAL_S, fate, listed, wav_of

from mmpipe.config import LimitsConfig
from mmpipe.media.probe import probe_file


def png_of(width: int, height: int) -> bytes:
    """Return a picture of so many zero pixels, in a thousandth of its size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer, rows = zlib.compressobj(1), bytearray()
    for _ in range(height):
        rows += packer.compress(bytes(width + 1))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packed = bytes(rows) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def many_frames() -> bytes:
    """Return a film of 3,000 equal pictures of 16 x 16."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as output:
        video = output.add_stream("mpeg4", rate=1_000)
        video.width, video.height, video.pix_fmt = 16, 16, "yuv420p"
        for index in range(3_000):
            frame = av.VideoFrame(16, 16, "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 1_000)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return target.getvalue()


def large_film() -> bytes:
    """Return a film whose two pictures are larger than allowed."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as output:
        video = output.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 2_048, 2_048, "yuv420p"
        frame = av.VideoFrame(2_048, 2_048, "yuv420p")
        output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return target.getvalue()


def many_streams() -> bytes:
    """Return an Ogg file that announces 20,000 streams."""
    pages = io.BytesIO()
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 0, 48_000, 0, 0)
    for serial in range(20_000):
        pages.write(b"OggS\x00\x02" + bytes(8) + struct.pack("<III", serial, 0, 0) + bytes([1, len(head)]) + head)
    return pages.getvalue()


@pytest.mark.parametrize(
    ("name", "make", "limits", "code"),
    [
        ("a.png", lambda: png_of(12_000, 12_000), {}, "limit_pixels"),
        ("b.mp4", large_film, {"pixels": 1_000_000}, "limit_pixels"),
        ("c.wav", lambda: wav_of(1, 1, 100_000), {}, "limit_rate"),  # 27 hours in 100 kB
        ("d.wav", lambda: wav_of(4_000_000, 1, 1_000), {}, "limit_rate"),
        ("e.wav", lambda: wav_of(1_000, 1, 100_000), {"duration_s": 60}, "limit_duration"),
        ("f.wav", lambda: wav_of(8_000, 65, 100), {}, "limit_channels"),
        ("g.mp4", many_frames, {"frames": 1_000}, "limit_frames"),
        ("h.ogg", many_streams, {}, "limit_streams"),
        ("i.txt", lambda: b"a" * 5_000_000, {}, "limit_text"),  # one line without an end
        ("j.json", lambda: b"[" * 5_000_000, {}, "limit_text"),
        ("k.wav", lambda: wav_of(8_000, 1, 8_000), {"file_bytes": 1_000}, "limit_file"),
    ],
)
def test_a_bomb_is_refused_by_its_limit_within_three_seconds(tmp_path, name, make, limits, code):
    (tmp_path / name).write_bytes(make())
    started = time.monotonic()
    assert fate(tmp_path / name, **limits) == code
    assert time.monotonic() - started < LONGEST_REFUSAL_S


@pytest.mark.parametrize("suffix", ["mp4", "ts", "png", "wav", "webm"])
def test_files_that_name_others_are_refused_whatever_they_are_called(tmp_path, suffix):
    (tmp_path / "canary.wav").write_bytes(wav_of(8_000, 1, 800))
    for number, data in enumerate(mutants.references("canary.wav", "http://127.0.0.1:9/x")):
        path = tmp_path / f"{number}.{suffix}"
        path.write_bytes(data)
        assert fate(path) in ("format_not_allowed", "not_media"), data


def test_cover_art_is_no_film_and_cover_art_alone_is_nothing(tmp_path):
    picture = io.BytesIO()
    write_picture(tmp_path / "cover.png")
    picture.write((tmp_path / "cover.png").read_bytes())
    tag = b"\x00image/png\x00\x03\x00" + picture.getvalue()
    frame = b"APIC" + struct.pack(">I", len(tag)) + b"\x00\x00" + tag
    size = len(frame)
    synchsafe = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    id3 = b"ID3\x03\x00\x00" + synchsafe + frame
    seeds = mutants.film("mp3", None, "libmp3lame", {})
    (tmp_path / "song.mp3").write_bytes(id3 + seeds)
    (tmp_path / "cover.mp3").write_bytes(id3)
    assert fate(tmp_path / "song.mp3") == "audio"
    assert fate(tmp_path / "cover.mp3") in ("no_streams", "not_media")


def test_times_that_begin_below_zero_and_uneven_frames_are_taken_as_they_are(tmp_path):
    with av.open(str(tmp_path / "uneven.mkv"), "w") as output:
        video = output.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1_000)
        for pts in (0, 10, 200, 230, 900, 1_000):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), pts % 255, np.uint8))
            frame.pts, frame.time_base = pts, Fraction(1, 1_000)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    (stream,) = probe_file(tmp_path, listed(tmp_path / "uneven.mkv"), LimitsConfig()).streams
    assert 0.9e9 < stream.duration_ns < 1.2e9
    whole = mutants.film("mp4", "mpeg4", "aac", {})
    for tag, value in ((b"mvhd", b"\xff" * 4), (b"mdhd", b"\xff" * 4), (b"elst", b"\x80\x00\x00\x00")):
        at = whole.index(tag)
        broken = whole[: at + 16] + value + whole[at + 20 :]
        (tmp_path / "odd.mp4").write_bytes(broken)
        probed = probe_file(tmp_path, listed(tmp_path / "odd.mp4"), LimitsConfig())
        assert probed.drops or all(0 < stream.duration_ns < 4 * 3600e9 for stream in probed.streams)
