"""Time a night stage by stage on a corpus, with its peak memory, against the bare decoding of the same files.

benchmarks/night.py --quick                      a made corpus of 24 clips
benchmarks/night.py --corpus FOLDER --clips cues  a real one
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from examples.demo_corpus import make_corpus  # noqa: E402
from mmpipe.config import ClipRule, Config, load_config  # noqa: E402
from mmpipe.errors import MmpipeError  # noqa: E402

# Extraction also computes five features and writes them; with both on the same cores it cannot reach 1.
GOALS = {"bare decode / extract": 0.2}
ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one stage cost."""

    name: str
    wall_s: float
    peak_bytes: int  # resident memory of this process and all its children together


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small corpus, and no training")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--clips", type=ClipRule, default=ClipRule.WHOLE)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="mmpipe-night-") as folder:
        result = measure(Path(folder), options)
    if options.json:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
    else:
        show(result)
    return 0


def measure(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """Return ratios, goals and raw figures."""
    from mmpipe.steps.ingest.init import propose_config

    root = options.corpus or make_corpus(folder / "corpus", num_clips=24 if options.quick else 96)
    (folder / "mmpipe.toml").write_text(
        propose_config(root, clips=options.clips, store=folder / "store", beside=folder, name="night").toml, "utf-8"
    )
    config = load_config(folder / "mmpipe.toml")
    stages = run_stages(config, train=not options.quick)
    files = sorted(path for path in config.corpora["night"].root.rglob("*") if path.suffix in (".mp4", ".mpg", ".wav"))
    decode_s = statistics.median(decode_all(files) for _ in range(2 if options.quick else ROUNDS))
    extract_s = next(stage.wall_s for stage in stages if stage.name == "extract")
    return {
        "ratios": {"bare decode / extract": decode_s / extract_s},
        "goals": GOALS,
        "stages": [asdict(stage) for stage in stages],
        "bare_decode_s": decode_s,
        "files": len(files),
        "cores": len(os.sched_getaffinity(0)),
    }


def run_stages(config: Config, train: bool) -> list[Stage]:
    """Run a night stage by stage."""
    from mmpipe.steps.extract.extract import extract_plan
    from mmpipe.steps.ingest.ingest import ingest_corpus
    from mmpipe.steps.night.night import what_is_due
    from mmpipe.steps.plan.plan import plan_corpus
    from mmpipe.steps.release.release import release_model
    from mmpipe.steps.train.train import newest_checkpoint, train_model

    stages = [
        timed("ingest", lambda: ingest_corpus(config, "night", "2026-11-20")),
        timed("extract", lambda: extract_plan(config, plan_corpus(config, "night"))),
    ]
    if train and config.models:
        stages += [
            timed("train", lambda: train_model(config, "night")),
            timed("release", lambda: release_model(config, "night", newest_checkpoint(config, "night"))),
        ]
    return [*stages, timed("again, nothing to do", lambda: what_is_due(config, "night", "2026-11-20"))]


def timed(name: str, work: Callable[[], object]) -> Stage:
    """Run a stage under a watch and a memory gauge."""
    peak, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            peak[0] = max(peak[0], resident_bytes(os.getpid()))

    gauge = threading.Thread(target=watch, daemon=True)
    gauge.start()
    started = time.perf_counter()
    try:
        work()
    except MmpipeError as error:
        sys.stderr.write(f"{name}: {error}\n")
    wall_s = time.perf_counter() - started
    stop.set()
    gauge.join()
    return Stage(name=name, wall_s=wall_s, peak_bytes=peak[0])


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process and of all below it."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = [
            child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
        ]
    except (OSError, ValueError):
        return 0  # it ended while we looked
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(resident_bytes(int(child)) for child in children)


def decode_all(files: Sequence[Path]) -> float:
    """Decode every frame and sample of all files with bare PyAV, one process per core; return the wall time."""
    workers = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(decode_one, files[:workers]))  # start the processes outside the watch
        started = time.perf_counter()
        list(pool.map(decode_one, files, chunksize=4))
        return time.perf_counter() - started


def decode_one(path: Path) -> int:
    """Decode a file; return the number of frames."""
    import av

    try:
        with av.open(str(path)) as container:
            for stream in container.streams.video:
                stream.thread_type = "NONE"
            return sum(1 for _ in container.decode())
    except av.error.FFmpegError:
        return 0


def show(result: dict[str, object]) -> None:
    """Print the figures for a person."""
    for stage in result["stages"]:  # type: ignore[attr-defined]
        print(f"{stage['name']:<22} {stage['wall_s']:8.2f} s  peak {stage['peak_bytes'] / 2**20:8.0f} MiB")
    print(f"bare decode            {result['bare_decode_s']:8.2f} s  {result['files']} files, {result['cores']} cores")
    for name, ratio in result["ratios"].items():  # type: ignore[attr-defined]
        print(f"{name}: {ratio:.2f}, goal {GOALS[name]}")


if __name__ == "__main__":
    sys.exit(main())
