"""Files that are made to do harm: each ends with its code, soon, and none reaches beyond itself."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import time
import wave
import zlib
from dataclasses import dataclass
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import av
import mutants
import numpy as np
import pytest
from corpus_maker import (
    CORPUS,
    DT,
    drops,
    ingest,
    make_config,
    write_pairs,
    write_picture,
    write_text,
    write_tone,
)

from mmpipe.cli.show import plain
from mmpipe.config import ArraysConfig, Config, LimitsConfig
from mmpipe.io import escape_name
from mmpipe.media import probe as probing
from mmpipe.media.probe import probe_file
from mmpipe.steps.ingest import ingest_corpus
from mmpipe.steps.markdown import as_block, inert
from mmpipe.steps.report import write_report
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.spine import read_spine
from mmpipe.types import RawFile

pytestmark = pytest.mark.usefixtures("warm_workers")
LONGEST_REFUSAL_S = 3.0
SECRETS = ("canary-secret-123", "canary-password-456")


def listed(path: Path) -> RawFile:
    status = path.stat()
    return RawFile(name=escape_name(path.name), nbytes=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)


def fate(path: Path, **limits: float) -> str:
    """Return the code that a file is refused by, or its streams."""
    probed = probe_file(path.parent, listed(path), LimitsConfig(**limits))
    return probed.drops[0].code if probed.drops else " ".join(str(stream.modality) for stream in probed.streams)


# --------------------------------------------------------------------------- bombs


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


def wav_of(rate_hz: int, channels: int, samples: int) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(1)
        sound.setframerate(rate_hz)
        sound.writeframes(bytes(samples * channels))
    return target.getvalue()


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


# --------------------------------------------------------------------------- references


@pytest.mark.parametrize("suffix", ["mp4", "ts", "png", "wav", "webm"])
def test_files_that_name_others_are_refused_whatever_they_are_called(tmp_path, suffix):
    (tmp_path / "canary.wav").write_bytes(wav_of(8_000, 1, 800))
    for number, data in enumerate(mutants.references("canary.wav", "http://127.0.0.1:9/x")):
        path = tmp_path / f"{number}.{suffix}"
        path.write_bytes(data)
        assert fate(path) in ("format_not_allowed", "not_media"), data


# --------------------------------------------------------------------------- what is no plain file


def test_links_pipes_devices_and_ways_out_are_never_opened(tmp_path):
    outside = tmp_path / "secret.wav"
    outside.write_bytes(wav_of(8_000, 1, 800))
    root = tmp_path / "media"
    (root / "deep").mkdir(parents=True)
    os.symlink(outside, root / "link.wav")
    os.symlink(tmp_path, root / "way")
    os.mkfifo(root / "pipe.wav")
    (root / "folder.wav").mkdir()
    names = {
        "link.wav": "not_regular",
        "pipe.wav": "not_regular",
        "way/secret.wav": "not_regular",
        "folder.wav": "not_regular",
        "../secret.wav": "outside_root",
        "deep/../../secret.wav": "outside_root",
        "/etc/passwd": "outside_root",
        "gone.wav": "unreadable",
    }
    if os.geteuid() == 0:
        os.mknod(root / "zero.wav", 0o20666, os.makedev(1, 5))
        names["zero.wav"] = "not_regular"
    for name, code in names.items():
        file = RawFile(name=name, nbytes=1, mtime_ns=0, inode=0)
        (drop,) = probe_file(root, file, LimitsConfig()).drops
        assert drop.code == code, name


def test_a_hard_link_is_one_recording_with_two_names(tmp_path):
    write_pairs(tmp_path / "media", ["one"])
    os.link(tmp_path / "media" / "one.wav", tmp_path / "media" / "two.wav")
    os.link(tmp_path / "media" / "one.txt", tmp_path / "media" / "two.txt")
    config = make_config(tmp_path)
    ingest(config)
    assert drops(config) == {"two.wav": "duplicate", "two.txt": "duplicate"}
    assert read_spine(StoreLayout(config.store), CORPUS)["source_id"].to_list() == ["one"]


def test_a_file_swapped_while_it_is_read_is_refused(tmp_path, monkeypatch):
    write_tone(tmp_path / "a.wav")
    write_tone(tmp_path / "b.wav", 900)
    file = listed(tmp_path / "a.wav")
    read = probing._probe_content

    def swap_and_read(*arguments, **named):
        os.replace(tmp_path / "b.wav", tmp_path / "a.wav")
        with open(tmp_path / "a.wav", "r+b") as now:
            now.truncate(100)
        return read(*arguments, **named)

    monkeypatch.setattr(probing, "_probe_content", swap_and_read)
    first = probe_file(tmp_path, file, LimitsConfig())
    assert [stream.modality for stream in first.streams] == ["audio"]  # the bytes that were opened, to the end
    assert probe_file(tmp_path, file, LimitsConfig()).drops[0].code == "changed_while_reading"


def test_a_file_written_to_while_it_is_read_is_refused(tmp_path, monkeypatch):
    write_tone(tmp_path / "a.wav")
    file = listed(tmp_path / "a.wav")
    read = probing._probe_content

    def write_and_read(*arguments, **named):
        with open(tmp_path / "a.wav", "ab") as now:
            now.write(b"more")
        return read(*arguments, **named)

    monkeypatch.setattr(probing, "_probe_content", write_and_read)
    assert probe_file(tmp_path, file, LimitsConfig()).drops[0].code == "changed_while_reading"


# --------------------------------------------------------------------------- odd but honest media


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


@dataclass(frozen=True)
class Night:
    """What a child process did in a folder, what it printed, and what it left of its standard input."""

    folder: Path
    printed: bytes
    left: bytes


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> Night:
    """Return what a few verbs did in a process of their own, with secrets about and something piped in."""
    folder = tmp_path_factory.mktemp("night")
    write_pairs(folder / "media", ["one"])
    write_text(folder / "media" / "pipe:0.wav", wav_of(8_000, 1, 800))
    write_text(folder / "media" / "bad.wav", "no sound")
    (folder / "mmpipe.toml").write_text(
        f'store = "store"\nengine = {{workers = 1}}\n[corpora.{CORPUS}]\nroot = "media"\nmax_quarantined = 1\n'
        'features = ["audio-mfccseg"]\n'
        f'[corpora.away]\nroot = "https://user:{SECRETS[1]}@127.0.0.1:9/folder"\n'
    )
    verbs = [
        ["ingest", "--corpus", CORPUS, "--dt", DT],
        ["quarantine", "show", "--corpus", CORPUS, "--json"],
        ["ingest", "--corpus", "away", "--dt", DT],
    ]
    script = (
        "from contextlib import suppress\nfrom mmpipe.cli import main\n"
        f"for words in {verbs!r}:\n    with suppress(SystemExit):\n        main(words)\n"
    )
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" >&2; cat', sys.executable, script],
        input=b"left alone",
        capture_output=True,
        cwd=folder,
        env={**os.environ, "AWS_SECRET_ACCESS_KEY": SECRETS[0]},
    )
    return Night(folder=folder, printed=done.stderr, left=done.stdout)


def test_nothing_a_reader_runs_takes_the_standard_input(night):
    """A worker has /dev/null there: what is piped into a run stays for who it is for."""
    assert night.left == b"left alone", night.printed


# --------------------------------------------------------------------------- names and tags


PAYLOADS = (
    "<img src=x onerror=alert(1)>",
    "<\\script>alert(1)",
    "<\u2215script><script>alert(1)<\u2215script>",
    "=cmd|' -C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\tTAB",
    "\u202egpj.exe",
    "\x1b[2J\x1b[31m",
    "a\rb",
    "a\nb",
    "\x07bell",
    "\u2066iso",
    '" onmouseover="x',
    "' or 1=1 --",
    "{{7*7}}",
    "${7*7}",
    "$(id)",
    "`id`",
    "%s%n%x",
    "x\u2215..\u2215..\u2215etc\u2215passwd",
    "|pipe|",
    "[link](javascript:alert(1))",
    "![img](x)",
    "# heading",
    "&lt;b&gt;",
    "\x01start",
    "\u200bzero",
    "😀\u0301é",
)


_NO_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32)))  # a text with these is no text


class Seen(HTMLParser):
    """Counts what a page runs."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.handlers = 0, 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count scripts, and attributes that run something."""
        self.scripts += tag == "script"
        self.handlers += sum(name.startswith("on") for name, _ in attrs)
        self.handlers += sum("javascript:" in (value or "") for name, value in attrs if name in ("href", "src"))


@pytest.fixture(scope="module")
def hostile_names(tmp_path_factory, warm_workers) -> Config:
    """Return the config of a corpus whose good and bad files have the names, texts and tags of an attacker."""
    folder = tmp_path_factory.mktemp("names")
    root = folder / "media"
    root.mkdir()
    assert len(PAYLOADS) == 30
    for number, payload in enumerate(PAYLOADS):
        write_tone(root / f"{payload}{number}.wav", 300 + 40 * number)
        write_text(root / f"{payload}{number}.txt", f"{payload.translate(_NO_CONTROLS)} said {number}")
        write_text(root / f"{payload}bad{number}.mp4", f"no film {number}\n")
    title = (PAYLOADS[0] + PAYLOADS[9]).encode()
    text = b"TIT2" + struct.pack(">I", len(title) + 1) + b"\x00\x00\x03" + title
    id3 = b"ID3\x03\x00\x00" + bytes((len(text) >> shift) & 0x7F for shift in (21, 14, 7, 0)) + text
    write_text(root / "tagged.mp3", id3 + mutants.film("mp3", None, "libmp3lame", {}))
    config = make_config(folder, max_quarantined=1)
    ingest_corpus(config, CORPUS, DT)
    return config


def test_every_hostile_name_is_plain_data(hostile_names):
    spine = read_spine(StoreLayout(hostile_names.store), CORPUS)
    assert spine.height == len(PAYLOADS) + 1
    assert sum(code == "not_media" for code in drops(hostile_names).values()) == len(PAYLOADS)
    controls = {chr(code) for code in (*range(32), 127)}
    assert not any(controls & set(name) for name in spine["source_id"])


def test_a_report_of_hostile_names_runs_nothing(hostile_names):
    page = Path(write_report(hostile_names, CORPUS, DT, "", "")).read_text(encoding="utf-8")
    seen = Seen()
    seen.feed(page)
    harmless = Seen()
    harmless.feed(page.replace("onerror", "").replace("onmouseover", ""))
    assert (seen.scripts, seen.handlers) == (harmless.scripts, harmless.handlers) and seen.handlers == 0
    assert "default-src 'none'" in page and "\x1b" not in page and "<img src=x" not in page


def test_a_terminal_is_not_steered_by_names(hostile_names):
    for row in read_quarantine(StoreLayout(hostile_names.store), CORPUS).to_dicts():
        for value in row.values():
            shown = plain(value)
            assert shown.isprintable() and not any(character in shown for character in "\x1b\r\n\u202e\u2066")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_name_in_markdown_is_only_text(payload):
    shown = inert(payload)
    assert "\n" not in shown and "<" not in shown and "](" not in shown and "\x1b" not in shown
    block = as_block(f"{payload}\n```\n# {payload}")
    assert all(line.startswith("    ") for line in block.splitlines())


def test_rows_with_hostile_names_are_plain_json(hostile_names):
    rows = read_quarantine(StoreLayout(hostile_names.store), CORPUS).to_dicts()
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert all(json.loads(row["facts"])["bytes"] for row in rows)


# --------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("grüße".encode(), "text"),
        ("grüße".encode("utf-16"), "text"),
        (b"\xff\xfe\x00", "encoding"),
        (b"a\x00b", "encoding"),
        (b"\xed\xa0\x80 lone", ("encoding", "text")),
        (b"caf\xe9 \x81\x8d\x8f", "encoding"),
        (b"", "empty_file"),
    ],
)
def test_text_is_read_in_its_encoding_or_refused(tmp_path, data, code):
    (tmp_path / "a.txt").write_bytes(data)
    assert fate(tmp_path / "a.txt") in code if isinstance(code, tuple) else fate(tmp_path / "a.txt") == code


def test_a_line_of_a_hundred_megabytes_is_refused_unread(tmp_path):
    with open(tmp_path / "a.txt", "wb") as file:
        file.truncate(100 << 20)
    started = time.monotonic()
    assert fate(tmp_path / "a.txt") in ("limit_text", "not_media")
    assert time.monotonic() - started < LONGEST_REFUSAL_S


def test_values_that_are_not_finite_never_reach_a_shard(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.0, np.inf], [0.0, 1.0]], np.float32), allow_pickle=False)
    arrays = ArraysConfig(suffixes=("npy",), rate_hz=10)
    (drop,) = probe_file(tmp_path, listed(tmp_path / "a.npy"), LimitsConfig(), arrays).drops
    assert drop.code == "nonfinite"


def test_an_array_of_objects_is_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'ran'}",))

    np.save(tmp_path / "a.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    arrays = ArraysConfig(suffixes=("npy",), rate_hz=1)
    (drop,) = probe_file(tmp_path, listed(tmp_path / "a.npy"), LimitsConfig(), arrays).drops
    assert drop.code in ("array_dtype", "not_media") and not (tmp_path / "ran").exists()


# --------------------------------------------------------------------------- secrets


def test_no_secret_of_the_environment_or_of_an_address_is_in_any_output(night):
    written = [path for path in (night.folder / "store").rglob("*") if path.is_file()]
    assert len(written) > 10 and b"bad.wav" in night.printed
    found = [str(path) for path in written if any(secret.encode() in path.read_bytes() for secret in SECRETS)]
    assert not found and not any(secret.encode() in night.printed for secret in SECRETS), (found, night.printed)
