"""How much memory an extraction holds while it goes over many clips: the second half of the time against the first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.extracting.ours_job import BENCH, WARM
from benchmarks.extracting.stage import DAY

_EVERY_S = 0.2


def memory_growth(folder: Path, corpus: Path, warm: Path, num_clips: int, cores: int) -> tuple[float, float, int]:
    """Return the peak of the second half over that of the first, the peak in bytes, and the number of clips.

    Files are cut into windows, about so many clips in all, of which two features are made that need no model: their
    memory would hide the rest. The workers are warm when the watch starts.
    """
    from mmpipe.config import load_config
    from mmpipe.steps.ingest.ingest import ingest_corpus
    from mmpipe.store.layout import StoreLayout
    from mmpipe.store.spine import read_spine

    folder.mkdir(parents=True)
    config = _config(folder, corpus, warm, 1.0, cores)
    seconds = sum(_seconds(path) for path in sorted(corpus.rglob("*")))
    config = _config(folder, corpus, warm, max(0.1, round(seconds / num_clips, 3)), cores)
    settings = load_config(config)
    for name in (BENCH, WARM):
        ingest_corpus(settings, name, DAY)
    found = read_spine(StoreLayout(settings.store), BENCH).height
    seen = _watch(config)
    half = len(seen) // 2
    if half < 2:
        raise ValueError(f"{found} clips took too short to see the memory grow")
    return max(seen[half:]) / max(seen[:half]), float(max(seen)), found


def _watch(config: Path) -> list[int]:
    """Run the extraction and return the resident memory of it and its workers, at even times of the second corpus."""
    marker = config.parent / "store" / BENCH
    asked = json.dumps({"config": str(config), "warm": True})
    command = [sys.executable, "-m", "benchmarks.extracting.ours_job", asked]
    root = str(Path(__file__).resolve().parent.parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    seen: list[int] = []
    with (config.parent / "log").open("wb") as log:
        job = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=log, cwd=root, env={**os.environ, "PYTHONPATH": path}
        )
        while job.poll() is None:
            time.sleep(_EVERY_S)
            if any(marker.glob("*@*/schema.json")):  # the warm corpus is done
                seen.append(resident_bytes(job.pid))
    if job.returncode:
        raise RuntimeError(f"it ended with {job.returncode}: {(config.parent / 'log').read_text()[-250:]}")
    return [nbytes for nbytes in seen if nbytes]


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


def _seconds(path: Path) -> float:
    import av

    if path.suffix not in (".mp4", ".mpg", ".mkv", ".webm"):
        return 0.0
    with av.open(str(path)) as container:
        return (container.duration or 0) / 1e6


def _config(folder: Path, corpus: Path, warm: Path, length_s: float, cores: int) -> Path:
    corpora = "".join(
        f'[corpora.{name}]\nroot = {json.dumps(str(root))}\nfeatures = ["audio-logmel", "video-hogdct"]\n'
        f"shard_clips = {shard_clips}\n"
        f'[corpora.{name}.clips]\nrule = "window"\nlength_s = {length_s}\nhop_s = {length_s}\n'
        for name, root, shard_clips in ((BENCH, corpus, 64), (WARM, warm, 1))
    )
    path = folder / "mmpipe.toml"
    path.write_text(f'store = "store"\n[engine]\nworkers = {cores}\ndevice = "cpu"\n{corpora}')
    return path
