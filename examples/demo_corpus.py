"""Make a small corpus on the spot: clips with moving picture, sound and caption.

Six events. The picture tells which of three pairs an event belongs to, the sound which of three other pairs, and the
caption leans towards one of two halves. So each modality alone leaves at least two events open, and together they
leave one: the evidence adds up. Every fourth clip shares a room (light, hum), so that the rooms must not be split.
Three files are broken on purpose, to show what the quarantine is for.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

EVENTS = ("kettle", "fan", "clock", "rain", "door", "bell")
MOTION_OF_EVENT = (0, 0, 1, 1, 2, 2)  # rolling disc, sweeping bar, growing square
SOUND_OF_EVENT = (0, 1, 1, 2, 2, 0)  # rising tone, falling tone, pulsed noise
HALF_OF_EVENT = (0, 1, 0, 1, 0, 1)
WORDS_OF_HALF = (
    ("warm", "slow", "near", "morning", "soft", "steam"),
    ("cold", "quick", "far", "evening", "sharp", "metal"),
)
MOODS = ("calm", "brisk")  # what the telling words say
FILLERS = ("something", "in", "the", "room", "by", "window", "again", "there", "it", "was", "and", "a")

WIDTH_PX, HEIGHT_PX, FRAME_RATE, SECONDS, SAMPLE_RATE_HZ = 96, 72, 12, 2, 16_000
CLIPS_PER_ROOM = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What one clip shows."""

    name: str
    event: int
    room: int
    seed: int


def make_corpus(folder: Path, num_clips: int = 96, seed: int = 7) -> Path:
    """Write the corpus and its labels under `folder`; the folder appears whole or not at all."""
    if folder.exists():
        return folder
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    media = temporary / "media"
    media.mkdir(parents=True)
    scenes = plan_scenes(num_clips, seed)
    for scene in scenes:
        write_scene(media, scene)
    with open(temporary / "labels.jsonl", "w", encoding="utf-8") as file:
        for scene in scenes:
            row = {
                "id": scene.name,
                "event": EVENTS[scene.event],
                "rolls": "yes" if MOTION_OF_EVENT[scene.event] == 0 else "no",
                "mood": MOODS[HALF_OF_EVENT[scene.event]],
                "room": f"room-{scene.room:02d}",
            }
            file.write(json.dumps(row) + "\n")
    write_broken_files(media, scenes[0].name)
    temporary.rename(folder)
    return folder


def plan_scenes(num_clips: int, seed: int) -> list[Scene]:
    """Deal events evenly over rooms."""
    random = np.random.default_rng(seed)
    events = np.arange(num_clips) % len(EVENTS)
    random.shuffle(events)
    return [
        Scene(name=f"scene-{number:03d}", event=int(event), room=number // CLIPS_PER_ROOM, seed=seed * 100_003 + number)
        for number, event in enumerate(events)
    ]


def write_scene(media: Path, scene: Scene) -> None:
    """Write one clip: `NAME.mp4` and `NAME.txt`."""
    random = np.random.default_rng(scene.seed)
    room = np.random.default_rng(scene.room)
    frames_THWC = draw_frames(scene, random, light=float(room.uniform(40, 90)))
    wave_N = play_sound(scene, random, hum_hz=float(room.uniform(60, 180)))
    write_video(media / f"{scene.name}.mp4", frames_THWC, wave_N)
    (media / f"{scene.name}.txt").write_text(write_caption(scene, random) + "\n", encoding="utf-8")


def draw_frames(scene: Scene, random: np.random.Generator, light: float) -> np.ndarray:
    """Draw one of three motions over a noisy background."""
    num_frames = FRAME_RATE * SECONDS
    ys, xs = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX]
    phase, height = random.uniform(0, 0.3), random.uniform(0.3, 0.7) * HEIGHT_PX
    frames = np.empty((num_frames, HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    for index in range(num_frames):
        along = index / num_frames + phase
        shape = [
            (xs - (along % 1) * WIDTH_PX) ** 2 + (ys - height) ** 2 < 12**2,
            np.abs(ys - (along % 1) * HEIGHT_PX) < 6,
            np.maximum(np.abs(xs - WIDTH_PX / 2), np.abs(ys - height)) < 4 + 24 * (along % 1),
        ][MOTION_OF_EVENT[scene.event]]
        picture = light + 120 * shape + random.normal(0, 12, (HEIGHT_PX, WIDTH_PX))
        frames[index] = np.clip(picture, 0, 255).astype(np.uint8)[..., None]
    return frames


def play_sound(scene: Scene, random: np.random.Generator, hum_hz: float) -> np.ndarray:
    """Play one of three sounds over the hum of the room; float32 mono."""
    seconds = np.arange(SAMPLE_RATE_HZ * SECONDS) / SAMPLE_RATE_HZ
    low, high = random.uniform(300, 500), random.uniform(1200, 1800)
    start_hz, end_hz = (low, high) if SOUND_OF_EVENT[scene.event] == 0 else (high, low)
    sweep = np.sin(2 * np.pi * (start_hz * seconds + (end_hz - start_hz) * seconds**2 / (2 * SECONDS)))
    pulses = random.normal(0, 1, seconds.size) * (np.sin(2 * np.pi * 4 * seconds) > 0.3)
    voice = 0.25 * (pulses if SOUND_OF_EVENT[scene.event] == 2 else sweep)
    hum = 0.1 * np.sin(2 * np.pi * hum_hz * seconds)
    return np.asarray(voice + hum + random.normal(0, 0.08, seconds.size), np.float32).clip(-1, 1)


def write_caption(scene: Scene, random: np.random.Generator) -> str:
    """Write a sentence in which most telling words lean towards the event's half."""
    half = HALF_OF_EVENT[scene.event]
    telling = [str(random.choice(WORDS_OF_HALF[half if random.random() < 0.85 else 1 - half])) for _ in range(3)]
    words = telling + [str(random.choice(FILLERS)) for _ in range(5)]
    random.shuffle(words)
    return " ".join(words)


def write_video(path: Path, frames_THWC: np.ndarray, wave_N: np.ndarray) -> None:
    """Encode picture and sound; bit-exact, so that two runs give the same files."""
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("mpeg4", rate=FRAME_RATE, options={"flags": "+bitexact", "threads": "1"})
        video.width, video.height, video.pix_fmt, video.bit_rate = WIDTH_PX, HEIGHT_PX, "yuv420p", 400_000
        audio = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono", options={"flags": "+bitexact"})
        for index, picture in enumerate(frames_THWC):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(wave_N[None], format="fltp", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = SAMPLE_RATE_HZ, 0, Fraction(1, SAMPLE_RATE_HZ)
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))


def write_broken_files(media: Path, twin_of: str) -> None:
    """Write what every real corpus has: an empty file, a file with the wrong name, the same file twice."""
    (media / "broken-empty.mp4").write_bytes(b"")
    (media / "broken-not-media.mp4").write_text("this was never a film\n", encoding="utf-8")
    shutil.copyfile(media / f"{twin_of}.mp4", media / "twin.mp4")
    shutil.copyfile(media / f"{twin_of}.txt", media / "twin.txt")
