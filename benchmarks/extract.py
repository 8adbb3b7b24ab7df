"""How fast is extraction, against ffmpeg, against what the parts take alone, and against other engines on one job?

Decoding and log-mel run in this process, in interleaved rounds after one that warms; a ratio is the median over rounds
of CPU time, children included. The whole stage runs as jobs in processes of their own, timed by the clock with their
start-up; `vs_ceiling` compares it with the floor: the bare parts over the cores and one start-up. Peers do one job with
the same clips, frames, model and dtype; whose embeddings differ from ours, or who is not installed, is left out with
the reason. Clips are made with ffmpeg's test sources, or are those of --corpus (MMPIPE_BENCH_CORPUS): files with
pictures and, beside them, captions.

What holds the ratios that are not met on two cores is printed beside them. `vs_ffmpeg_python`: both `_limit` ratios
are a bare PyAV loop in the same race, which nothing that decodes every picture in this process passes; a statically
linked ffmpeg starts in a seventh of the time of a distribution's, so the pipes lose less. `vs_daft` and `vs_ray_data`:
jobs of some seconds, where `vs_plain` shows two bare processes with no engine at all; every worker imports torch and
transformers, as in those, and what is left between us and them is the parent's own second of imports and planning.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.extracting import decoding, sound
from benchmarks.extracting.figures import RATIOS, figures
from benchmarks.extracting.media import make_clips, make_film
from benchmarks.extracting.memory import memory_growth
from benchmarks.extracting.models import save_text, save_vision
from benchmarks.extracting.stage import ALL, Stage, race_jobs
from benchmarks.readers.figures import Figure
from benchmarks.readers.race import Outcome, race, reason_of

PARTS = ("decode", "sound", "stage", "engines", "peers", "memory")
QUICK_PARTS = ("decode", "sound", "stage")  # the others start clusters and models again and again
WARM_CLIPS = 4
_FILMS = (".mp4", ".mpg", ".mkv", ".webm", ".avi", ".mov")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured."""

    clips: int
    rounds: int
    job_rounds: int  # of what starts processes and loads models
    film_s: int
    long_s: int
    memory_clips: int
    decoded_clips: int  # of each kind, a round
    small: bool  # two layers of the vision model instead of twelve


FULL = Size(clips=200, rounds=5, job_rounds=5, film_s=30, long_s=300, memory_clips=2000, decoded_clips=20, small=False)
QUICK = Size(clips=8, rounds=3, job_rounds=1, film_s=10, long_s=60, memory_clips=100, decoded_clips=4, small=True)


def main() -> None:
    """Run the benchmark and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 clips, a small model, no peers: under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--samples", type=int, help="so many clips and one round: shows that it runs, no more")
    parser.add_argument("--rounds", type=int, help="how often; 5")
    parser.add_argument("--corpus", type=Path, default=os.environ.get("MMPIPE_BENCH_CORPUS") or None)
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="only these")
    asked = parser.parse_args()
    size = QUICK if asked.quick else FULL
    if asked.samples:
        size = Size(
            clips=asked.samples,
            rounds=1,
            job_rounds=1,
            film_s=4,
            long_s=8,
            memory_clips=50,
            decoded_clips=asked.samples,
            small=True,
        )
    if asked.rounds:
        size = Size(
            **{
                **{name: getattr(size, name) for name in Size.__slots__},
                "rounds": asked.rounds,
                "job_rounds": asked.rounds,
            }
        )
    parts = asked.parts or (QUICK_PARTS if asked.quick else PARTS)
    with tempfile.TemporaryDirectory(prefix="mmpipe-bench-") as folder:
        os.environ["MMPIPE_CACHE"] = str(Path(folder) / "cache")  # nothing of an earlier run makes this one faster
        result = measure(Path(folder), size, asked.corpus, parts)
    print(json.dumps(result, indent=1)) if asked.json else print_table(result)


def measure(folder: Path, size: Size, corpus: Path | None, parts: Sequence[str]) -> dict[str, Any]:
    """Run the parts, and return medians, ratios and what was aimed at."""
    cores = len(os.sched_getaffinity(0))
    clips, warm = make_corpora(folder, size, corpus)
    outcome = Outcome(left_out={name: "not asked for" for ratio in RATIOS for name in (ratio.ours, *ratio.others)})
    if "decode" in parts:
        outcome = _replace(outcome, race(decoding.film_contestants(*make_films(folder, size)), size.rounds))
        made = clips if corpus is None else make_clips(folder / "h264", size.decoded_clips)
        for suffix, root in (("", clips), ("_h264", made)):
            files = films_in(root)[: size.decoded_clips]
            outcome = _replace(outcome, race(decoding.clip_contestants(suffix, files), size.rounds))
    if "sound" in parts:
        outcome = _replace(outcome, race(sound.contestants(), size.rounds))
    told: dict[str, Any] = {}
    if {"stage", "engines", "peers"} & set(parts):
        stage = make_stage(folder, size, clips, warm, cores)
        jobs = {name: job for part in parts for name, job in jobs_of(stage, part).items()}
        outcome = _replace(outcome, race_jobs(jobs, lambda: stage.clips, size.job_rounds))
        told = stage.told | {"ingest_s": stage.ingest_s}
    growth, peak, why = (
        _memory(folder, size, clips, warm, cores) if "memory" in parts else (None, None, "not asked for")
    )
    found = figures(outcome, {name: one for name, one in told.items() if isinstance(one, list)}, growth, why)
    return report(size, cores, corpus, parts, outcome, told, found, peak)


def jobs_of(stage: Stage, part: str) -> dict[str, Callable[[], float]]:
    """Return the jobs of a part, in the order in which they run in a round."""
    both = stage.cores
    jobs: dict[str, dict[str, Callable[[], float]]] = {
        "stage": {"floor": stage.floor, "stage": lambda: stage.ours("stage", ALL, workers=both)},
        "engines": {
            "one_warm": lambda: stage.ours("one_warm", ALL, workers=1, warm=True),
            "two_warm": lambda: stage.ours("two_warm", ALL, workers=2, warm=True),
            "ray_warm": lambda: stage.ours("ray_warm", ALL, workers=2, kind="ray", warm=True),
        },
        "peers": {
            "ours_job": lambda: stage.ours("ours_job", ("video-hf",), workers=both),
            "daft": lambda: stage.peer("daft"),
            "ray_data": lambda: stage.peer("ray_data"),
            "plain": lambda: stage.peer("plain"),
        },
    }
    return jobs.get(part, {})


def make_corpora(folder: Path, size: Size, corpus: Path | None) -> tuple[Path, Path]:
    """Return a folder of so many clips, and one of a few others to warm up on."""
    total = size.clips + WARM_CLIPS
    source = corpus or make_clips(folder / "made", total)
    films = films_in(source)
    if len(films) < total:
        raise SystemExit(f"{source} has {len(films)} files with pictures; {total} are needed")
    places = folder / "clips", folder / "warm"
    for place, chosen in zip(places, (films[: size.clips], films[size.clips : total]), strict=True):
        place.mkdir()
        for film in chosen:
            for path in sorted(film.parent.glob(f"{film.stem}.*")):
                shutil.copy2(path, place / path.name)
    return places


def make_films(folder: Path, size: Size) -> tuple[Path, Path]:
    """Return a file of 720p, and a long one to take few frames out of."""
    print("making films", file=sys.stderr)
    return make_film(folder / "films", size.film_s), make_film(folder / "films", size.long_s, height_px=360)


def make_stage(folder: Path, size: Size, clips: Path, warm: Path, cores: int) -> Stage:
    """Save the models and say where all is."""
    return Stage(
        folder=folder,
        corpus=clips,
        warm=warm,
        vision=save_vision(folder / "vit", size.small),
        peers_vision=save_vision(folder / "vit-tiny", size.small, heads=3),
        text=save_text(folder / "text"),
        cores=cores,
        # Twelve shards: each worker has several, and the last one does not run alone for long.
        shard_clips=max(1, -(-size.clips // 12)),
    )


def films_in(folder: Path) -> list[Path]:
    """Return the files with pictures."""
    return sorted(path for path in folder.rglob("*") if path.suffix in _FILMS)


def _memory(folder: Path, size: Size, clips: Path, warm: Path, cores: int) -> tuple[float | None, float | None, str]:
    try:
        growth, peak, _ = memory_growth(folder / "memory", clips, warm, size.memory_clips, cores)
    except Exception as error:  # noqa: BLE001  what fails is left out with its reason, as everywhere here
        return None, None, reason_of(error)
    return growth, peak, ""


def _replace(before: Outcome, found: Outcome) -> Outcome:
    """Return both; who was left out before and ran now is not left out."""
    ran = found.per_cpu_s.keys() | found.per_wall_s.keys()
    kept = Outcome(
        per_cpu_s=before.per_cpu_s,
        per_wall_s=before.per_wall_s,
        left_out={name: why for name, why in before.left_out.items() if name not in ran},
    )
    return kept | found


def report(
    size: Size,
    cores: int,
    corpus: Path | None,
    parts: Sequence[str],
    outcome: Outcome,
    told: dict[str, Any],
    found: Sequence[Figure],
    peak: float | None,
) -> dict[str, Any]:
    """Return all of it as plain JSON values; null where there is no figure, with the reason under `why`."""
    goals = [figure for figure in found if figure.goal is not None]
    return {
        "benchmark": "extract",
        "goals": {figure.name: figure.goal for figure in goals},
        "at_most": [figure.name for figure in found if figure.at_most],
        "ratios": {figure.name: figure.value for figure in found},
        "spread": {figure.name: [figure.low, figure.high] for figure in found if figure.low is not None},
        "met": {figure.name: figure.met for figure in goals},
        "why": {figure.name: figure.why for figure in found if figure.value is None},
        "per_cpu_s": {name: statistics.median(rates) for name, rates in outcome.per_cpu_s.items()},
        "clips_per_wall_s": {
            name: statistics.median(rates) for name, rates in outcome.per_wall_s.items() if name in told
        },
        "raw_per_cpu_s": outcome.per_cpu_s,
        "raw_per_wall_s": outcome.per_wall_s,
        "left_out": outcome.left_out,
        "told": told,
        "peak_bytes": peak,
        "setting": {
            "clips": size.clips,
            "rounds": size.rounds,
            "job_rounds": size.job_rounds,
            "parts": list(parts),
            "corpus": corpus.name if corpus else "made",
            "film_s": size.film_s,
            "small_model": size.small,
            "cpus": cores,
            "machine": platform.machine(),
        },
    }


def print_table(result: dict[str, Any]) -> None:
    """Print the figures for a person."""
    for title in ("per_cpu_s", "clips_per_wall_s"):
        print(title)
        for name, figure in result[title].items():
            print(f"  {name:34s} {figure:14,.2f}")
    print("ratios, with the lowest and highest round")
    for name, figure in result["ratios"].items():
        low, high = result["spread"].get(name, (None, None))
        spread = "" if low is None else f"[{low:,.3f} - {high:,.3f}]"
        shown = "-" if figure is None else f"{figure:,.3f}"
        print(f"  {name:34s} {shown:>10s} {spread:22s} {_judgement(result, name)}")
    for name, why in result["why"].items():
        print(f"no figure: {name}: {why}")


def _judgement(result: dict[str, Any], name: str) -> str:
    if name not in result["goals"]:
        return ""
    sign = "<=" if name in result["at_most"] else ">="
    met = {True: "met", False: "NOT MET", None: "no figure"}[result["met"][name]]
    return f"goal {sign} {result['goals'][name]:g}: {met}"


if __name__ == "__main__":
    main()
