"""How fast does the server answer beside the bare network, and beside decoding and the network without HTTP?

Trains a small model over sound and pictures in a temporary store, serves it by uvicorn in this process, and asks it
with 1, 8 and 32 clients: for clips of the store (features are there) and with uploads (they are decoded). In the same
run and interleaved: the same network in a loop over the same features, one clip a call, and the same workers with the
same files and then the network, without HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn

from mmpipe.config import Config, parse_config
from mmpipe.serve.app import make_app
from mmpipe.serve.limits import ServeLimits
from mmpipe.serve.predictor import Question, Upload, UploadedFile
from mmpipe.serve.service import Service
from mmpipe.steps.ask.predict import find_askable
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.release.release import release_model
from mmpipe.steps.serve.released import ReleasedPredictor, UploadLimits, open_released
from mmpipe.steps.serve.server import address_of, listen, suffixes_by_role
from mmpipe.steps.train.train import train_model
from mmpipe.store.layout import StoreLayout
from mmpipe.store.spine import read_spine

CORPUS, MODEL, DT = "talks", "tone", "2026-11-20"
CLIENTS = (1, 8, 32)
ROUNDS = 5
# Of the bare work, where every core is free for it; a server in the same process as its clients gives up some.
GOALS = {
    "uploads_over_bare_decode_and_network": 0.8,  # throughput, 8 clients
    "p50_of_one_upload_over_bare": 1.5,  # at most
    "keys_over_bare_network": 0.2,  # throughput, 32 clients: HTTP beside a network of a millisecond
}
Ask = Callable[[httpx.AsyncClient, int], Awaitable[httpx.Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """What some questions took."""

    seconds: tuple[float, ...]
    wall_s: float

    def figures(self) -> dict[str, float]:
        """Return the throughput and the latencies."""
        ordered = sorted(self.seconds)
        return {
            "per_s": len(ordered) / self.wall_s,
            "p50_ms": 1_000 * statistics.median(ordered),
            "p95_ms": 1_000 * ordered[min(int(len(ordered) * 0.95), len(ordered) - 1)],
        }


def main() -> None:
    """Run the benchmark and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few questions: under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mmpipe-bench-") as folder:
        result = measure(
            Path(folder), questions=24 if arguments.quick else 160, rounds=2 if arguments.quick else ROUNDS
        )
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        print_table(result)


def measure(folder: Path, questions: int, rounds: int) -> dict[str, Any]:
    """Train, serve and ask; return figures, ratios and goals."""
    config = make_store(folder)
    version = find_askable(config, MODEL)
    workers = len(os.sched_getaffinity(0))
    limits = ServeLimits(workers=workers, queue=1_000, timeout_s=120)
    bounds = UploadLimits(nbytes=limits.upload_bytes, duration_s=60, seconds=limits.timeout_s)
    files = sorted((folder / "media").glob("*.mp4"))
    keys = read_spine(StoreLayout(config.store), CORPUS)["key"].to_list()
    predictor = open_released(config, version, "cpu", workers, bounds, folder)
    predictor.warm_up()
    stored = [predictor.find(key, None) for key in keys]
    runs: dict[str, list[Timed]] = {}
    with serving(predictor, limits, folder) as address:
        log(f"{rounds} rounds of {questions} questions")
        for _ in range(rounds):
            add(runs, "bare network", bare_network(predictor, stored, questions * 4))
            add(runs, "bare decode and network", bare_reading(predictor, files, folder, questions, workers))
            add(runs, "the same, one at a time", bare_reading(predictor, files, folder, questions // 2, 1))
            for clients in CLIENTS:
                add(runs, f"uploads, {clients} clients", ask(address, uploads(files), questions, clients))
                add(runs, f"keys, {clients} clients", ask(address, by_key(keys), questions * 2, clients))
    figures = {name: {key: median(run, key) for key in run[0].figures()} for name, run in runs.items()}
    bare = figures["bare decode and network"]
    return {
        "machine": {"cores": workers, "python": platform.python_version(), "rounds": rounds, "questions": questions},
        "figures": figures,
        "ratios": {
            "uploads_over_bare_decode_and_network": figures["uploads, 8 clients"]["per_s"] / bare["per_s"],
            "p50_of_one_upload_over_bare": figures["uploads, 1 clients"]["p50_ms"]
            / figures["the same, one at a time"]["p50_ms"],
            "keys_over_bare_network": figures["keys, 32 clients"]["per_s"] / figures["bare network"]["per_s"],
        },
        "goals": GOALS,
    }


def add(runs: dict[str, list[Timed]], name: str, timed: Timed) -> None:
    """Keep a round."""
    runs.setdefault(name, []).append(timed)
    log(f"  {name:28s} {timed.figures()['per_s']:9.1f}/s")


def median(rounds: Sequence[Timed], figure: str) -> float:
    """Return the median of a figure over rounds."""
    return statistics.median(one.figures()[figure] for one in rounds)


def make_store(folder: Path) -> Config:
    """Write small films whose tone and colour tell their class, and train a model on them."""
    (folder / "media").mkdir()
    rows = []
    for number in range(48):
        hz, grey = 320 + 540 * (number % 2) + 3 * number, 60 + 120 * (number // 2 % 2)
        write_film(folder / "media" / f"clip-{number:02d}.mp4", hz, grey)
        rows.append(
            {"id": f"clip-{number:02d}", "kind": f"{'ab'[number % 2]}{'xy'[number // 2 % 2]}", "room": number // 4}
        )
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    features = ["audio-mfccseg", "video-hogdct"]
    config = parse_config(
        {
            "store": str(folder / "store"),
            "release": {"onnx": False},
            "corpora": {
                CORPUS: {
                    "root": str(folder / "media"),
                    "features": features,
                    "labels": {"file": str(folder / "labels.jsonl"), "key": "id", "group": "room"},
                }
            },
            "models": {
                MODEL: {
                    "corpus": CORPUS,
                    "target": "kind",
                    "inputs": features,
                    "fusions": ["concat"],
                    "folds": 3,
                    "encoder": {"components": 8, "width": 8, "segments": 2},
                    "train": {"epochs": 20, "learning_rate": 0.02},
                }
            },
            "gate": {"draws": 200, "max_calibration_error": 1.0},
        }
    )
    log("training a small model")
    ingest_corpus(config, CORPUS, DT)
    extract_plan(config, plan_corpus(config, CORPUS))
    made = release_model(config, MODEL, train_model(config, MODEL).checkpoint)
    if not made.production:
        from mmpipe.registry.aliases import promote

        promote(StoreLayout(config.store).models, MODEL, "1", why="a benchmark", force=True)
    return config


def write_film(path: Path, hz: float, grey: int) -> None:
    """Write two seconds of film with a tone."""
    import av

    random = np.random.default_rng(round(hz))
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        audio = container.add_stream("aac", rate=16_000, layout="mono")
        for _ in range(50):
            picture = np.clip(random.normal(grey, 30, (240, 320, 3)), 0, 255).astype(np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        wave_N = (np.sin(2 * np.pi * hz * np.arange(32_000) / 16_000) * 9_000).astype(np.int16)
        for start in range(0, len(wave_N), 1_024):
            frame = av.AudioFrame.from_ndarray(wave_N[None, start : start + 1_024], format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16_000, start
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))


def bare_network(predictor: ReleasedPredictor, stored: Sequence[Question], count: int) -> Timed:
    """Call the network in a loop, a clip a call."""
    began_s, seconds = time.perf_counter(), []
    for number in range(count):
        at_s = time.perf_counter()
        predictor.answer([stored[number % len(stored)]])
        seconds.append(time.perf_counter() - at_s)
    return Timed(seconds=tuple(seconds), wall_s=time.perf_counter() - began_s)


def bare_reading(predictor: ReleasedPredictor, files: Sequence[Path], folder: Path, count: int, threads: int) -> Timed:
    """Read files by the same workers, and call the network, in as many threads as there are workers."""
    seconds: list[float] = []
    numbers, lock = iter(range(count)), threading.Lock()

    def work(place: int) -> None:
        for number in numbers:
            at_s = time.perf_counter()
            file = files[number % len(files)]
            alone = folder / f"alone-{place}"
            alone.mkdir(exist_ok=True)
            target = alone / "video.mp4"
            target.write_bytes(file.read_bytes())
            held = UploadedFile(role="video", path=target, nbytes=target.stat().st_size)
            question = predictor.read(Upload(folder=alone, files=(held,), timeout_s=120))
            with lock:
                predictor.answer([question])
            seconds.append(time.perf_counter() - at_s)

    began_s = time.perf_counter()
    running = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return Timed(seconds=tuple(seconds), wall_s=time.perf_counter() - began_s)


@contextmanager
def serving(predictor: ReleasedPredictor, limits: ServeLimits, folder: Path) -> Iterator[str]:
    """Serve on a free port, in a thread."""
    made: list[Service] = []

    def service() -> Service:
        made.append(Service(limits, suffixes_by_role(), folder))
        return made[0]

    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(make_app(service), log_config=None, access_log=False))

    async def run() -> None:
        await made[0].take_over(predictor)
        await server.serve([listening])

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield address_of(listening)
    server.should_exit = True
    thread.join()


def ask(address: str, question: Ask, count: int, clients: int) -> Timed:
    """Ask from so many clients at once, each one question after the other."""
    seconds: list[float] = []

    async def client(http: httpx.AsyncClient, numbers: Iterator[int]) -> None:
        for number in numbers:
            at_s = time.perf_counter()
            (await question(http, number)).raise_for_status()
            seconds.append(time.perf_counter() - at_s)

    async def run() -> None:
        async with httpx.AsyncClient(base_url=address, timeout=120) as http:
            numbers = iter(range(count))
            await asyncio.gather(*(client(http, numbers) for _ in range(clients)))

    began_s = time.perf_counter()
    asyncio.run(run())
    return Timed(seconds=tuple(seconds), wall_s=time.perf_counter() - began_s)


def uploads(files: Sequence[Path]) -> Ask:
    """Return what sends a film."""
    films = [file.read_bytes() for file in files]

    async def send(http: httpx.AsyncClient, number: int) -> httpx.Response:
        return await http.post("/v1/predict", files={"video": ("x.mp4", films[number % len(films)])})

    return send


def by_key(keys: Sequence[str]) -> Ask:
    """Return what asks about a clip of the store."""

    async def send(http: httpx.AsyncClient, number: int) -> httpx.Response:
        return await http.post("/v1/predict", json={"key": keys[number % len(keys)]})

    return send


def print_table(result: dict[str, Any]) -> None:
    """Print the figures for a person."""
    for name, figures in result["figures"].items():
        told = "  ".join(f"{key} {value:9.1f}" for key, value in figures.items())
        print(f"{name:28s} {told}")
    for name, ratio in result["ratios"].items():
        print(f"{name:40s} {ratio:6.2f}   goal {result['goals'][name]}")


def log(line: str) -> None:
    """Say on stderr how far it is."""
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
