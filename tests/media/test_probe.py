from __future__ import annotations

import io
import os
import struct
import wave
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mmpipe.config import LimitsConfig
from mmpipe.io import escape_name, unescape_name
from mmpipe.media.probe import ProbedFile, probe_file
from mmpipe.types import Modality, RawFile, digest_of


def code(probed) -> str:
    assert not probed.streams
    (drop,) = probed.drops
    assert drop.stage == "probe" and drop.file == probed.name and drop.file_sha256 == probed.sha256 and drop.detail
    return drop.code


def digests(probed) -> dict[str, str]:
    assert not probed.drops, probed.drops
    return {stream.role: stream.digest for stream in probed.streams}


# --------------------------------------------------------------------------- what is found


def test_a_film_has_its_streams(film, noise, probe):
    film("a.mp4", 50, wave_N=noise(2.0, 44100), rate_hz=44100, sound_codec="aac")
    video, sound = sorted(probe("a.mp4").streams, key=lambda stream: stream.role, reverse=True)
    assert (video.role, video.modality, video.codec) == ("video", Modality.VIDEO, "h264")
    assert (video.width_px, video.height_px, video.frame_rate, video.duration_ns) == (64, 48, 25.0, 2_000_000_000)
    assert (sound.role, sound.codec, sound.sample_rate_hz, sound.channels) == ("audio", "aac", 44100, 1)
    assert abs(sound.duration_ns - 2_000_000_000) < 30_000_000 and sound.start_ns == video.start_ns == 0
    assert video.file == sound.file == "a.mp4" and video.file_sha256 == probe("a.mp4").sha256


def test_identity_is_the_content_not_the_name(film, noise, probe, tmp_path):
    film("a.mp4", 25, wave_N=noise(1.0), sound_codec="aac")
    first = digests(probe("a.mp4"))
    os.rename(tmp_path / "a.mp4", tmp_path / "no suffix at all")
    assert digests(probe("no suffix at all")) == first
    film("b.mp4", 24, wave_N=noise(1.0), sound_codec="aac")
    other = digests(probe("b.mp4"))
    assert other["video"] != first["video"] and other["audio"] == first["audio"]


def test_another_sound_track_leaves_the_video_alone(film, noise, probe, tmp_path):
    film("a.mp4", 50, wave_N=noise(2.0), sound_codec="aac")
    with av.open(str(tmp_path / "a.mp4")) as source, av.open(str(tmp_path / "b.mp4"), "w") as target:
        copies = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        extra = target.add_stream("flac", rate=16000, layout="mono")
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                target.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.int16), "s16", "mono")
        frame.sample_rate, frame.pts = 16000, 0
        target.mux(extra.encode(frame))
        target.mux(extra.encode(None))
    before, after = digests(probe("a.mp4")), digests(probe("b.mp4"))
    assert probe("a.mp4").sha256 != probe("b.mp4").sha256
    assert set(after) == {"video", "audio", "audio.1"}
    assert {role: after[role] for role in before} == before


def test_sound_at_another_rate_is_another_stream(tmp_path, probe):
    for name, rate in (("a.wav", 8000), ("b.wav", 16000)):
        write_wav(tmp_path / name, rate=rate, samples=1000)
    assert digests(probe("a.wav")) != digests(probe("b.wav"))


def test_a_picture_is_probed_upright(tmp_path, probe):
    image = Image.new("RGB", (40, 20), "red")
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    (stream,) = probe("a.jpg").streams
    assert (stream.role, stream.codec, stream.width_px, stream.height_px) == ("image", "jpeg", 20, 40)
    os.rename(tmp_path / "a.jpg", tmp_path / "b.mp4")  # what it is, its content says
    assert digests(probe("b.mp4")) == {"image": stream.digest}


def test_text_has_its_cues(tmp_path, probe):
    (tmp_path / "a.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.500\nhello\n")
    probed = probe("a.vtt")
    assert [(cue.start_ns, cue.end_ns, cue.text) for cue in probed.cues] == [(1_000_000_000, 2_500_000_000, "hello")]
    assert probed.streams[0].duration_ns == 2_500_000_000


def test_a_text_that_every_reader_reads_alike_is_the_stream_that_it_was(
    tmp_path: Path, probe: Callable[..., ProbedFile]
) -> None:
    words = "1\n00:00:00,000 --> 00:00:01,000\n<i>hello</i>\n"
    (tmp_path / "a.srt").write_text(words)
    (tmp_path / "b.srt").write_text(words.replace(",000", ""))
    (old,), (new,) = probe("a.srt").streams, probe("b.srt").streams
    assert old.digest == digest_of("mmpipe-stream-1", Modality.TEXT, ".srt", old.file_sha256)
    assert new.digest == digest_of("mmpipe-stream-1", Modality.TEXT, ".srt", new.file_sha256, "captions-2")


def test_cover_art_is_no_film(corpora):
    root = corpora / "media_zoo"
    name = "mutagen__tests__data__silence-44-s.flac"
    status = (root / name).stat()
    file = RawFile(name=name, nbytes=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)
    assert [stream.role for stream in probe_file(root, file, LimitsConfig()).streams] == ["audio"]


# --------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("empty.mp4", b"", "empty_file"),
        ("text.mp4", b"this is no film\n" * 50, "not_media"),
        ("noise.mp4", bytes(range(256)) * 64, "not_media"),
        ("zeros.wav", bytes(5000), "not_media"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n", "format_not_allowed"),
        ("list2.ts", b"\n\xef\xbb\xbf#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "format_not_allowed"),
        ("concat.mp4", b"ffconcat version 1.0\nfile passwd\n", "format_not_allowed"),
        ("talk.mp4", b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=audio 49170 RTP/AVP 0\r\n", "format_not_allowed"),
        ("dash.mp4", b'<?xml version="1.0"?><MPD></MPD>', "format_not_allowed"),
        ("x.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "format_not_allowed"),
        ("midi.mp3", b"wvpk" + bytes(60), "not_media"),
        ("heif.jpg", b"\x00\x00\x00\x18ftypheic" + bytes(100), "format_not_allowed"),
        ("zip.json", b"PK\x03\x04\x00\x00\x00", "not_media"),
        ("nul.txt", b"a\x00b", "encoding"),
        ("nothing.txt", b"\x00", "encoding"),
        ("utf16.txt", "no mark".encode("utf-16-le"), "encoding"),
        ("binary.txt", b"caf\xe9 \x81\x8d\x8f", "encoding"),
        ("bell.txt", b"a\x07b", "encoding"),
        ("utf16.srt", b"\xff\xfea", "encoding"),
        ("half.json", b'{"text": "\\ud800"}', "encoding"),
        ("bad.json", b'{"text": ', "decode_error"),
        ("deep.json", b"[" * 200_000, "decode_error"),
        ("blank.txt", b" \n ", "no_streams"),
        ("broken.png", b"\x89PNG\r\n\x1a\n" + bytes(50), "not_media"),
    ],
)
def test_foreign_content_is_dropped_with_its_code(tmp_path, probe, name, content, expected):
    (tmp_path / name).write_bytes(content)
    assert code(probe(name)) == expected


def test_bombs_are_dropped_by_limit(tmp_path, probe):
    (tmp_path / "big.png").write_bytes(png_bomb(30_000, 30_000))
    assert code(probe("big.png")) == "limit_pixels"
    write_wav(tmp_path / "slow.wav", rate=1, samples=50_000)  # 14 hours in 100 kB
    assert code(probe("slow.wav")) == "limit_rate"
    write_wav(tmp_path / "wide.wav", rate=8000, samples=100, channels=65)
    assert code(probe("wide.wav")) == "limit_channels"
    (tmp_path / "many.ogg").write_bytes(ogg_of(20_000))
    assert code(probe("many.ogg")) == "limit_streams"


def test_limits_come_from_the_config(film, noise, tmp_path, probe):
    film("a.mp4", 50, wave_N=noise(2.0, 44100), rate_hz=44100, sound_codec="aac")
    (tmp_path / "a.txt").write_text("words")
    assert code(probe("a.mp4", duration_s=1)) == "limit_duration"
    assert code(probe("a.mp4", frames=10)) == "limit_frames"
    assert code(probe("a.mp4", pixels=1000)) == "limit_pixels"
    assert code(probe("a.mp4", sample_rate_hz=16000)) == "limit_rate"
    assert code(probe("a.mp4", streams=1)) == "limit_streams"
    assert code(probe("a.mp4", file_bytes=100)) == "limit_file"
    assert code(probe("a.txt", text_bytes=3)) == "limit_text"


def test_a_cut_file_is_refused(film, noise, probe, tmp_path):
    path = film("a.wav", 0, wave_N=noise(2.0))
    path.write_bytes(path.read_bytes()[:-20_000])
    assert code(probe("a.wav")) == "decode_error"
    path = film("a.flac", 0, wave_N=noise(2.0), sound_codec="flac")
    path.write_bytes(path.read_bytes()[:-20_000])
    assert code(probe("a.flac")) == "decode_error"
    path = film("a.mp4", 50)  # its table of contents is at the end
    path.write_bytes(path.read_bytes()[:-200])
    assert code(probe("a.mp4")) == "not_media"


def test_pixels_beyond_the_header_are_not_decoded(tmp_path, film, probe, opened, clip):
    """The header of the container may lie about the size; the decoder has a limit of its own."""
    from mmpipe.errors import SampleError
    from mmpipe.media.decode import decode_clips
    from mmpipe.types import VideoNeeds

    film("a.mp4", 10, size=(320, 240))
    sources = opened(probe("a.mp4"))
    needs = [VideoNeeds(width_px=8, height_px=8)]
    with pytest.raises(SampleError, match="decode_error"):
        list(decode_clips(sources, [clip(0, 0.4)], needs, (), LimitsConfig(pixels=1000)))


def test_a_file_that_changed_since_it_was_listed(film, tmp_path):
    path = film("a.mp4", 5)
    status = path.stat()
    file = RawFile(name="a.mp4", nbytes=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)
    for changed in (replace(file, nbytes=1), replace(file, mtime_ns=1), replace(file, inode=1)):
        assert code(probe_file(tmp_path, changed, LimitsConfig())) == "changed_while_reading"


@pytest.mark.parametrize(
    "name",
    [
        *(b"-i.mp4", b"-version", b"concat:a|b.mp4", b"pipe:0", b"http:x.mp4", b"data:x,y.mp4", b"img%03d.png"),
        *(b"img*.png", b"new\nline.mp4", b"caf\xe9.mp4", b"'[]:,;.mp4", b"\xe2\x80\xae.mp4", b"a.mp4.", b"%41.mp4"),
    ],
)
def test_hostile_names_are_plain_data(film, probe, tmp_path, name):
    film("plain.mp4", 5).rename(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
    probed = probe(name)
    assert unescape_name(probed.name) == name and list(digests(probed)) == ["video"]


def test_only_regular_files_below_the_root(film, probe, tmp_path):
    def probe_name(name: str) -> str:
        file = RawFile(name=escape_name(name), nbytes=1, mtime_ns=1, inode=1)
        return code(probe_file(tmp_path / "root", file, LimitsConfig()))

    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    film("secret.mp4", 5)
    (root / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (root / "linked").symlink_to(tmp_path)
    os.mkfifo(root / "fifo.mp4")
    names = [
        "link.mp4",
        "linked/secret.mp4",
        "fifo.mp4",
        "folder",
        "folder/..",
        "../secret.mp4",
        "/etc/passwd",
        "gone.mp4",
    ]
    expected = ["not_regular"] * 4 + ["outside_root"] * 3 + ["unreadable"]
    assert [probe_name(name) for name in names] == expected


# --------------------------------------------------------------------------- makers of hostile files


def write_wav(path, rate: int, samples: int, channels: int = 1) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(bytes(2 * samples * channels))


def png_bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, packed = zlib.compressobj(9), io.BytesIO()
    for _ in range(height // 100):
        packed.write(packer.compress(bytes((width // 8 + 1) * 100)))
    packed.write(packer.flush())
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed.getvalue()) + chunk(b"IEND", b"")


def ogg_of(num_streams: int) -> bytes:
    payload = b"\x01vorbis" + struct.pack("<IBIiiiBB", 0, 1, 8000, 0, 0, 0, 0xB8, 1)
    pages = (
        b"OggS" + struct.pack("<BBqIIIB", 0, 2, 0, serial, 0, 0, 1) + bytes([len(payload)]) + payload
        for serial in range(num_streams)
    )
    return b"".join(pages)
