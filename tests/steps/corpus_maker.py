"""Make tiny corpora in code, and say what became of them."""

from __future__ import annotations

import os
import wave
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import Config, parse_config
from mmpipe.io import sha256_file
from mmpipe.steps.extract.commit import CommitReport
from mmpipe.steps.extract.extract import ExtractReport, extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.ingest.ingest_report import IngestReport
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.store.commit import read_head
from mmpipe.store.layout import CLIPS, StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.snapshot import Snapshot, take_snapshot

CORPUS = "sounds"
DT = "2026-11-20"
LATER = "2026-11-21"
SOUND, TEXT = "audio-mfccseg@1", "text-ngrams@1"
RATE_HZ = 8_000
OLD_S = 1_700_000_000  # long before the run: a file as fresh as the run is looked at again


def write_tone(path: Path | str | bytes, hz: float = 440.0, seconds: float = 0.5) -> None:
    """Write a WAV file with one tone."""
    times_N = np.arange(int(RATE_HZ * seconds)) / RATE_HZ
    with open(os.fsencode(path), "wb") as file, wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE_HZ)
        sound.writeframes((np.sin(2 * np.pi * hz * times_N) * 12_000).astype("<i2").tobytes())
    _age(path)


def write_text(path: Path | str | bytes, text: str | bytes) -> None:
    """Write a text file, or any bytes."""
    with open(os.fsencode(path), "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    _age(path)


def write_film(path: Path, picture: bool = True, sound: bool = True, hz: float = 440.0) -> None:
    """Write half a second of film, with or without picture and sound."""
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("mpeg4", rate=8, options={"flags": "+bitexact"}) if picture else None
        audio = container.add_stream("aac", rate=RATE_HZ, layout="mono") if sound else None
        if video is not None:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            for index in range(4):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 * index, np.uint8), format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 8)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio is not None:
            wave_N = np.sin(np.arange(RATE_HZ // 2) * 2 * np.pi * hz / RATE_HZ).astype(np.float32)
            heard = av.AudioFrame.from_ndarray(wave_N[None], format="fltp", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
            container.mux(audio.encode(heard))
            container.mux(audio.encode(None))
    _age(path)


def write_damaged(path: Path, broken: range) -> None:
    """Write four seconds of film, some of whose hundred packets hold nothing that can be decoded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25, options={"g": "10"})
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        scene = np.random.default_rng(len(path.name)).integers(20, 236, (6, 10, 3), np.uint8)
        for number in range(100):
            pixels = np.roll(scene.repeat(16, axis=0).repeat(16, axis=1), 2 * number, axis=1)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for place, size in (packets[number] for number in broken):
        data[place + size // 4 : place + size] = bytes(size - size // 4)
    path.write_bytes(data)


def _age(path: Path | str | bytes) -> None:
    """Give a file an old time stamp that tells its content: a second look may trust the first, but sees a change."""
    with open(path, "rb") as file:
        stamp_s = OLD_S + zlib.crc32(file.read()) % 1_000_000
    os.utime(path, (stamp_s, stamp_s))


def write_picture(path: Path) -> None:
    """Write a small PNG."""
    Image.fromarray(np.arange(32 * 24 * 3, dtype=np.uint8).reshape(24, 32, 3)).save(path, "PNG")
    _age(path)


def write_pairs(root: Path, names: Iterable[str], captions: Mapping[str, str] | None = None) -> None:
    """Write a tone and a caption under each name; every name has a tone of its own."""
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_tone(root / f"{name}.wav", hz=300 + sum(name.encode()) * 7 % 2_000)
        write_text(root / f"{name}.txt", (captions or {}).get(name, f"the caption of {name}\n"))


def config_table(folder: Path, **corpus: Any) -> dict[str, Any]:
    """Return a config as a plain table: sounds with captions under `folder/media`."""
    settings = {"root": str(folder / "media"), "features": ["audio-mfccseg", "text-ngrams"], **corpus}
    fast = {"engine": {"workers": 2}, "release": {"onnx": False}}  # tests/train has what takes seconds
    return {"store": str(folder / "store"), **fast, "corpora": {CORPUS: settings}}


def make_config(folder: Path, models: Mapping[str, Any] | None = None, **corpus: Any) -> Config:
    """Return a config of sounds with captions under `folder/media`."""
    return parse_config(config_table(folder, **corpus) | ({"models": dict(models)} if models else {}))


def ingest(config: Config, dt: str = DT) -> IngestReport:
    """Ingest, and hold the accounting of every partition."""
    report = ingest_corpus(config, CORPUS, dt)
    require_accounts(report)
    return report


def extract(config: Config) -> tuple[ExtractReport, CommitReport]:
    """Extract all that is due."""
    return extract_plan(config, plan_corpus(config, CORPUS))


def require_accounts(report: IngestReport) -> None:
    """Hold that every file went to exactly one place."""
    for count in report.partitions:
        fates = count.used + count.quarantined + count.duplicates + count.filtered + count.tombstoned
        assert count.files == fates, count


def drops(config: Config, stage: str = "") -> dict[str, str]:
    """Return the reason for every quarantined file or, where there is no file, source id."""
    rows = read_quarantine(StoreLayout(config.store), CORPUS).to_dicts()
    return {row["file"] or row["source_id"]: row["code"] for row in rows if stage in ("", row["stage"])}


def reasons(config: Config) -> Counter[str]:
    """Return how often each reason stands in the quarantine."""
    return Counter(read_quarantine(StoreLayout(config.store), CORPUS)["code"].to_list())


def shards(config: Config, dataset: str, dt: str = DT) -> dict[int, tuple[str, ...]]:
    """Return the digests of the files of every shard of a partition's head."""
    head = read_head(StoreLayout(config.store).dataset(CORPUS, dataset), dt)
    return {shard.number: tuple(file.sha256 for file in shard.files) for shard in head.shards} if head else {}


def values(config: Config, snapshot: Snapshot | None = None) -> dict[tuple[str, str], bytes]:
    """Return the value of every clip and feature, in the order of the clips, as heads or a snapshot have it."""
    layout = StoreLayout(config.store)
    pinned = snapshot or take_snapshot(layout, CORPUS, (SOUND, TEXT))
    reader = AlignedReader(layout, pinned, (SOUND, TEXT))
    batches = (reader.gather(np.array([row])) for row in range(len(reader)))
    return {
        (key, name): feature.x_BTD.tobytes()
        for key, batch in zip(reader.spine["key"], batches, strict=True)
        for name, feature in batch.features.items()
    }


def partitions(config: Config) -> tuple[str, ...]:
    """Return the dates that have clips."""
    return StoreLayout(config.store).dataset(CORPUS, CLIPS).partitions()


def tree(folder: Path) -> dict[str, str]:
    """Return every name under a folder with the digest of its bytes: equal before and after means nothing happened.

    How often stages ran is left out: it is counted also where they found nothing to do.
    """
    return {
        os.fsdecode(os.path.relpath(path, folder)): sha256_file(path) if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
        if "_runs/watch" not in path.as_posix()
    }
