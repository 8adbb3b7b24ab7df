"""A corpus of N small real clips, laid out for a night and for a backfill, and the stores that nothing disturbed."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import shutil
import struct
import sys
import wave
from dataclasses import dataclass
from pathlib import Path

from mmpipe.config import load_config
from mmpipe.errors import PartialError
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus

CORPUS = "clips"
NIGHT = "2026-11-20"
DAYS = ("2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04")
POISONED = DAYS[1]
OLD_S = 1_700_000_000  # a file as fresh as the run is looked at again
_FILMS_IN = 10  # one clip of so many is a film: it takes some fifty times as long as a digit


@dataclass(frozen=True, slots=True, kw_only=True)
class Clips:
    """The files of both kinds of run, and where a store over them goes."""

    folder: Path

    def media(self, kind: str) -> Path:
        """Return the root of the corpus as a night or a backfill sees it."""
        return self.folder / "media" / kind

    def poison(self) -> None:
        """Put another broken file in the place of the last one: its day is due again, and fails again."""
        file = self.media("backfill") / POISONED / "poison.wav"
        file.parent.mkdir(exist_ok=True)
        size = file.stat().st_size if file.exists() else 0
        file.write_bytes(bytes(size) + b"RIFF....WAVEnonsense" * 9)
        os.utime(file, (OLD_S, OLD_S))

    def write_config(self, kind: str, name: str) -> Path:
        """Write the config of an empty store over the same files."""
        config = self.folder / name / "mmpipe.toml"
        config.parent.mkdir(parents=True)
        dates = f'[corpora.{CORPUS}.dates]\nrule = "path"\n' if kind == "backfill" else ""
        config.write_text(
            'store = "store"\ntimezone = "UTC"\n[engine]\nworkers = 2\n'
            f"[corpora.{CORPUS}]\nroot = {json.dumps(str(self.media(kind)))}\nshard_clips = 8\n"
            f"max_quarantined = 0.2\n{dates}"
        )
        return config


def make_clips(folder: Path, corpora: Path, num_clips: int, seed: int) -> Clips:
    """Lay out N clips: real films and digits where those are at hand, else tones with captions."""
    clips = Clips(folder=folder)
    takes = _real(corpora, num_clips, seed) if corpora.is_dir() else _made(folder / "made", num_clips)
    for number, files in enumerate(takes):
        good_days = [day for day in DAYS if day != POISONED]
        for home in (clips.media("nightly"), clips.media("backfill") / good_days[number % len(good_days)]):
            for file in files:
                _place(file, home)
    clips.poison()
    return clips


def fill_undisturbed(clips: Clips, kind: str) -> Path:
    """Fill a store through the library, in one process that nobody kills, and return it."""
    return fill(clips.write_config(kind, f"reference-{kind}"), kind)


def fill(path: Path, kind: str) -> Path:
    """Fill the store of a config through the library, and return it."""
    config = load_config(path)
    for dt in DAYS if kind == "backfill" else (NIGHT,):
        try:
            ingest_corpus(config, CORPUS, dt)
        except PartialError:
            if dt != POISONED:
                raise
        if not (plan := plan_corpus(config, CORPUS, (dt,))).is_empty:
            extract_plan(config, plan)
    return config.store


def content(store: Path) -> dict[str, str]:
    """Return the sha256 of what a store holds of the corpus: data, index and manifests, of the days that can be filled.

    The poisoned day is another each time it is tried, and the cards of the datasets count it.
    """
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((store / CORPUS).rglob("*"))
        if path.is_file() and _is_compared(path.relative_to(store))
    }


def _is_compared(path: Path) -> bool:
    """Say whether a file is one of data, index, manifests or clips, and of a day that can be filled."""
    day = next((part for part in path.parts if part.startswith("dt=")), "")
    return bool(day) and day != f"dt={POISONED}" and path.parts[1] != "quarantine"


def differing(left: dict[str, str], right: dict[str, str]) -> list[str]:
    """Return the names that two stores do not share."""
    return sorted(name for name in {*left, *right} if left.get(name) != right.get(name))


def _real(corpora: Path, num_clips: int, seed: int) -> list[list[Path]]:
    """Draw films with their captions, and spoken digits with their pictures."""
    draw = random.Random(seed)
    films = draw.sample(sorted((corpora / "grid" / "raw").glob("*.mpg")), max(1, num_clips // _FILMS_IN))
    digits = draw.sample(sorted((corpora / "av_digits" / "raw").glob("*.wav")), num_clips - len(films))
    takes = [[film, film.with_suffix(".vtt")] for film in films] + [[it, it.with_suffix(".png")] for it in digits]
    draw.shuffle(takes)
    return takes


def _made(folder: Path, num_clips: int) -> list[list[Path]]:
    """Write tones, each with a text."""
    folder.mkdir()
    takes = []
    for number in range(num_clips):
        sound, text = folder / f"tone-{number:04d}.wav", folder / f"tone-{number:04d}.txt"
        _write_tone(sound, 200 + 7 * number)
        text.write_text(f"tone number {number} of {num_clips}")
        takes.append([sound, text])
    return takes


def _write_tone(path: Path, frequency_hz: int) -> None:
    samples = (int(9000 * math.sin(2 * math.pi * frequency_hz * index / 8000)) for index in range(4000))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))


def _place(file: Path, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    target = home / file.name
    shutil.copyfile(file, target)
    os.utime(target, (OLD_S, OLD_S))


def main() -> None:
    """Fill a store in a process of its own: `python -m tests.faults.clips CONFIG KIND`."""
    fill(Path(sys.argv[1]), sys.argv[2])


if __name__ == "__main__":
    main()
