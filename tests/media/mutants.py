"""Make broken, foreign and hostile files from good ones: mutant i depends on (seed, i, the good files) alone."""

from __future__ import annotations

import io
import json
import os
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

OLD_S = 1_700_000_000  # a file as fresh as the run would be looked at again
HOSTILE_NAMES = (
    b"-version%d", b"-i%d", b"pipe:%d", b"concat:a|b%d", b"http:x%d", b"data:x,y%d", b"img%%03d-%d", b"img*%d",
    b"new\nline%d", b"\xff\xfe%d", b"'[]:,%d", b"<img src=x onerror=alert(%d)>", b"=cmd|' -C calc'!A%d", b"@sum%d",
    b"\xe2\x80\xaegpj%d", b"\x1b[2J%d", b"a b%d", b"%%2e%%2e%d", b"$(touch x)%d", b"`id`%d", b"sub;rm %d", b"\x7f%d",
    b"<\\script>%d", b"\"quote%d", b"tab\t%d", b"~%d", b"con.%d", b"\\\\host\\%d", b"file:\\x%d", b"{{7*7}}%d",
)  # fmt: skip
_KNOWN_TAGS = (
    *(b"mvhd", b"tkhd", b"mdhd", b"stsd", b"stsz", b"stts", b"stsc", b"stco", b"ctts", b"elst", b"trun", b"tfhd"),
    *(b"fmt ", b"data", b"strh", b"strf", b"avih", b"idx1", b"IHDR", b"IDAT", b"VP8 ", b"fLaC", b"OggS", b"NUMPY"),
    *(b"\x1a\x45\xdf\xa3", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75"),
)
_BOUNDARIES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF)
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One file to write."""

    name: bytes
    data: bytes
    kind: str


def make_mutants(seeds: Mapping[str, bytes], seed: int, count: int) -> Iterator[Mutant]:
    """Yield so many mutants of good files, by suffix: about one in seven is changed twice."""
    suffixes = sorted(seeds)
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")
        suffix = chance.choice(suffixes)
        kinds = [chance.choice(sorted(KINDS))] + ([chance.choice(sorted(KINDS))] if chance.random() < 0.15 else [])
        data = seeds[suffix]
        for kind in kinds:
            data = KINDS[kind](chance, data, seeds)[:_MAX_BYTES]
        if "wrong extension" in kinds or chance.random() < 0.02:
            suffix = chance.choice(suffixes)
        stem = HOSTILE_NAMES[number // 10 % len(HOSTILE_NAMES)] if number % 10 == 0 else b"mutant%d"
        yield Mutant(name=stem % number + b"." + suffix.encode(), data=data, kind="+".join(kinds))


def write_mutants(root: Path, seeds: Mapping[str, bytes], seed: int, count: int) -> dict[bytes, str]:
    """Write mutants into a folder; return the kind of each by its name."""
    root.mkdir(parents=True, exist_ok=True)
    kinds = {}
    for mutant in make_mutants(seeds, seed, count):
        path = os.path.join(os.fsencode(root), mutant.name)
        with open(path, "wb") as file:
            file.write(mutant.data)
        os.utime(path, (OLD_S, OLD_S))
        kinds[mutant.name] = mutant.kind
    return kinds


# --------------------------------------------------------------------------- the good files


def make_seeds() -> dict[str, bytes]:
    """Return one small good file of every kind, by suffix."""
    films = {
        "mp4": ("mp4", "mpeg4", "aac", {}),
        "mov": ("mp4", "mpeg4", "aac", {"movflags": "frag_keyframe+empty_moov"}),  # fragmented
        "mkv": ("matroska", "mpeg4", "aac", {}),
        "webm": ("webm", "libvpx", "libopus", {}),
        "ts": ("mpegts", "mpeg2video", "mp2", {}),
        "avi": ("avi", "mpeg4", "pcm_s16le", {}),
    }
    sounds = {
        "wav": ("wav", "pcm_s16le"),
        "mp3": ("mp3", "libmp3lame"),
        "flac": ("flac", "flac"),
        "ogg": ("ogg", "libopus"),
        "m4a": ("ipod", "aac"),
    }
    seeds = {suffix: film(*how) for suffix, how in films.items()}
    seeds |= {suffix: film(container, None, codec, {}) for suffix, (container, codec) in sounds.items()}
    seeds |= {suffix: _picture(kind) for suffix, kind in (("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP"))}
    seeds["gif"] = _picture("GIF", number=4)
    seeds["vtt"] = b"WEBVTT\n\n00:00.000 --> 00:00.400\nhello\n\n00:00.500 --> 00:00.900\nworld\n"
    seeds["json"] = json.dumps({"text": "hello world"}).encode()
    array = io.BytesIO()
    np.save(array, np.arange(60, dtype=np.float32).reshape(20, 3), allow_pickle=False)
    return seeds | {"npy": array.getvalue()}


def film(container: str, picture: str | None, sound: str | None, options: Mapping[str, str]) -> bytes:
    """Return a second of film or sound."""
    target = io.BytesIO()
    with av.open(target, "w", format=container, options={"fflags": "+bitexact", **options}) as output:
        video = output.add_stream(picture, rate=25, options={"flags": "+bitexact"}) if picture else None
        audio = output.add_stream(sound, rate=48_000, layout="mono") if sound else None
        if video is not None:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            pixels = np.indices((48, 64, 3)).sum(axis=0)
            for index in range(25):
                frame = av.VideoFrame.from_ndarray(((pixels * 3 + index * 9) % 256).astype(np.uint8), format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                output.mux(video.encode(frame))
            output.mux(video.encode(None))
        if audio is not None:
            _write_sound(output, audio)
    return target.getvalue()


def _write_sound(output: av.container.OutputContainer, audio: av.AudioStream) -> None:
    resampler = av.AudioResampler(audio.format, "mono", 48_000, audio.frame_size or 1024)
    wave_N = (np.sin(np.arange(48_000) / 17) * 12_000).astype(np.int16)
    heard = av.AudioFrame.from_ndarray(wave_N[None], format="s16", layout="mono")
    heard.sample_rate, heard.pts, heard.time_base = 48_000, 0, Fraction(1, 48_000)
    for frame in (*resampler.resample(heard), *resampler.resample(None)):
        output.mux(audio.encode(frame))
    output.mux(audio.encode(None))


def _picture(kind: str, number: int = 1) -> bytes:
    """Return a still, or so many pictures that are shown one after the other."""
    target = io.BytesIO()
    pixels = (np.indices((48, 64, 3)).sum(axis=0) * 3 % 256).astype(np.uint8)
    first, *others = (Image.fromarray(np.roll(pixels, 5 * place, axis=1)) for place in range(number))
    more: dict[str, Any] = {"save_all": True, "append_images": others, "duration": 100} if others else {}
    first.save(target, kind, **more)
    return target.getvalue()


# --------------------------------------------------------------------------- what is done to them

Change = Callable[[random.Random, bytes, Mapping[str, bytes]], bytes]


def _place(chance: random.Random, data: bytes, longest: int) -> tuple[int, int]:
    start = chance.randrange(len(data) + 1)
    return start, min(len(data), start + chance.randrange(1, longest))


def _truncate(chance: random.Random, data: bytes, _: Mapping[str, bytes]) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _cut_head(chance: random.Random, data: bytes, _: Mapping[str, bytes]) -> bytes:
    return data[chance.randrange(min(len(data), 2_000) + 1) :]


def _cut_middle(chance: random.Random, data: bytes, _: Mapping[str, bytes]) -> bytes:
    start, end = _place(chance, data, 4_000)
    return data[:start] + data[end:]


def _flip(chance: random.Random, data: bytes, first: int, last: int) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8, 40)) if last > first else 0):
        changed[chance.randrange(first, last)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _flip_header(chance: random.Random, data: bytes, _: Mapping[str, bytes]) -> bytes:
    return _flip(chance, data, 0, min(len(data), 512))


def _flip_body(chance: random.Random, data: bytes, _: Mapping[str, bytes]) -> bytes:
    return _flip(chance, data, min(len(data), 512), len(data))


def _zero_run(chance: random.Random, data: bytes, _: Mapping[str, bytes]) -> bytes:
    start, end = _place(chance, data, 3_000)
    return data[:start] + bytes(end - start) + data[end:]


def _random_run(chance: random.Random, data: bytes, _: Mapping[str, bytes]) -> bytes:
    start, end = _place(chance, data, 3_000)
    return data[:start] + chance.randbytes(end - start) + data[end:]


def _insert(chance: random.Random, data: bytes, _: Mapping[str, bytes]) -> bytes:
    start, _end = _place(chance, data, 2)
    return data[:start] + chance.randbytes(chance.randrange(1, 600)) + data[start:]


def _boxes(data: bytes) -> list[bytes]:
    """Return the top-level boxes of an MP4; of anything else, eighths."""
    boxes, at = [], 0
    while data[4:8] in (b"ftyp", b"moov", b"mdat", b"free") and at + 8 <= len(data):
        size = max(8, int.from_bytes(data[at : at + 4], "big"))
        boxes.append(data[at : at + size])
        at += size
    step = max(1, len(data) // 8)
    return boxes if len(boxes) > 1 else [data[at : at + step] for at in range(0, len(data), step)]


def _swap_boxes(chance: random.Random, data: bytes, _: Mapping[str, bytes]) -> bytes:
    boxes = _boxes(data)
    chance.shuffle(boxes)
    return b"".join(boxes)


def _drop_box(chance: random.Random, data: bytes, _: Mapping[str, bytes]) -> bytes:
    boxes = _boxes(data)
    if boxes:
        boxes.pop(chance.randrange(len(boxes)))
    return b"".join(boxes)


def _duplicate_box(chance: random.Random, data: bytes, _: Mapping[str, bytes]) -> bytes:
    boxes = _boxes(data)
    at = chance.randrange(len(boxes)) if boxes else 0
    return b"".join(boxes[:at]) + (b"".join(boxes[at : at + 1]) * 50) + b"".join(boxes[at + 1 :])


def _write_number(chance: random.Random, data: bytes, numbers: tuple[int, ...], at: int) -> bytes:
    value = chance.choice(numbers).to_bytes(4, chance.choice(("big", "little")))
    return data[:at] + value + data[at + 4 :]


def _giant_size(chance: random.Random, data: bytes, _: Mapping[str, bytes]) -> bytes:
    places = [at - 4 for tag in _KNOWN_TAGS if (at := data.find(tag)) >= 4] or [0]
    return _write_number(chance, data, (0x7FFF_FFFF, 0xFFFF_FFFF, 0x4000_0000), chance.choice(places))


def _boundary_number(chance: random.Random, data: bytes, _: Mapping[str, bytes]) -> bytes:
    places = [at + 4 for tag in _KNOWN_TAGS if (at := data.find(tag)) >= 0] or [4]
    return _write_number(chance, data, _BOUNDARIES, chance.choice(places) + 4 * chance.randrange(8))


def _splice(chance: random.Random, data: bytes, seeds: Mapping[str, bytes]) -> bytes:
    other = seeds[chance.choice(sorted(seeds))]
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other)) :]


def _concatenate(chance: random.Random, data: bytes, seeds: Mapping[str, bytes]) -> bytes:
    return data + seeds[chance.choice(sorted(seeds))]


def _repeat(chance: random.Random, data: bytes, _: Mapping[str, bytes]) -> bytes:
    return data * chance.choice((2, 3, 10))


def _keep(_chance: random.Random, data: bytes, _: Mapping[str, bytes]) -> bytes:
    return data


def _trivial(chance: random.Random, _data: bytes, _: Mapping[str, bytes]) -> bytes:
    return chance.choice(
        (b"", b"\0", b"\n", b"RIFF", b"\x89PNG", b"OggS", b"\xff" * 64, bytes(4_096), "§ü".encode("latin-1"))
    )


def _noise(chance: random.Random, _data: bytes, _: Mapping[str, bytes]) -> bytes:
    return chance.randbytes(chance.randrange(1, 20_000))


def _reference(chance: random.Random, _data: bytes, _: Mapping[str, bytes]) -> bytes:
    return chance.choice(references("file:///etc/hostname", "http://127.0.0.1:9/canary"))


def references(path: str, url: str) -> tuple[bytes, ...]:
    """Return files that name other files and addresses."""
    texts = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:4,\n{path}\n#EXT-X-ENDLIST\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:4,\n{url}\n",  # without an end: "live"
        f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF:4,\n{path}\n#EXT-X-ENDLIST\n',
        f"ffconcat version 1.0\nfile {path}\n",
        f"ffconcat version 1.0\nfile '{url}'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
        f'<?xml version="1.0"?><MPD><Period><BaseURL>{url}</BaseURL></Period></MPD>',
        f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{path}"/><image href="{url}"/></svg>',
        f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "{path}">]><x>&e;</x>',
        f"[playlist]\nFile1={path}\n",
        f"[Reference]\nRef1={url}\n",
    )
    return tuple(text.encode() for text in texts)


KINDS: dict[str, Change] = {
    "truncate": _truncate,
    "cut head": _cut_head,
    "cut middle": _cut_middle,
    "flip header": _flip_header,
    "flip body": _flip_body,
    "zero run": _zero_run,
    "random run": _random_run,
    "insert": _insert,
    "swap boxes": _swap_boxes,
    "drop box": _drop_box,
    "duplicate box": _duplicate_box,
    "giant size": _giant_size,
    "boundary number": _boundary_number,
    "splice": _splice,
    "concatenate": _concatenate,
    "wrong extension": _keep,
    "repeat": _repeat,
    "trivial": _trivial,
    "noise": _noise,
    "reference": _reference,
}
