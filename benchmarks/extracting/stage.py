"""The whole stage as jobs in processes of their own, round after round: ours, its floor, and other engines.

Every job is timed by the clock from the start of its process to its end, since the start is what a nightly run pays
too. Jobs called warm are not: there the workers have started and hold their models when the watch does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.extracting.ours_job import BENCH, WARM
from benchmarks.peers import common
from benchmarks.readers.race import Outcome, cpu_seconds, reason_of

DAY = "2026-11-20"
ALL = ("video-hf", "audio-logmel", "text-hf")
_LEAST_COSINE = 0.999
_ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(slots=True, kw_only=True)
class Stage:
    """A corpus of clips with a few more to warm up on, models, a folder for stores, and what was told so far."""

    folder: Path
    corpus: Path
    warm: Path
    vision: Path
    peers_vision: Path  # smaller: what an engine adds shows
    text: Path
    cores: int
    shard_clips: int
    clips: int = 0
    ingest_s: float = 0.0
    told: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def ingested(self, features: Sequence[str]) -> Path:
        """Return a store in which both corpora are ingested for some features, made once."""
        name = "-".join(features)
        template = self.folder / f"template-{name}"
        if not template.exists():
            from mmpipe.config import load_config
            from mmpipe.steps.ingest.ingest import ingest_corpus
            from mmpipe.steps.workers.workers import shared_engine

            config = load_config(self._config(template, features, workers=self.cores, kind="local"))
            began_s = time.perf_counter()
            with shared_engine(config):
                for corpus in (BENCH, WARM):
                    ingest_corpus(config, corpus, DAY)
            self.ingest_s = time.perf_counter() - began_s
        return template

    def ours(
        self, name: str, features: Sequence[str], *, workers: int, kind: str = "local", warm: bool = False
    ) -> float:
        """Extract on a fresh copy of the store; return the seconds."""
        place = self.folder / f"run-{name}"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.ingested(features), place)
        config = self._config(place, features, workers=workers, kind=kind)
        began_s = time.perf_counter()
        asked = json.dumps({"config": str(config), "warm": warm})
        told = run_python("benchmarks.extracting.ours_job", asked)
        seconds = time.perf_counter() - began_s
        self.clips = int(told["clips"])
        self.told.setdefault(name, []).append(told)
        # The ceilings are measured when all is done: no part of the work.
        return float(told["seconds"]) if warm else seconds - float(told["speed"]["sampling_s"])

    def floor(self) -> float:
        """Return the seconds of the bare parts over the cores, and of one start-up."""
        place = self.folder / "run-floor"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.ingested(ALL), place)
        config = self._config(place, ALL, workers=1, kind="local")
        began_s = time.perf_counter()
        told = run_python("benchmarks.extracting.floor_job", str(config))
        start_s = time.perf_counter() - began_s - told["work_s"]
        self.clips = int(told["clips"])
        self.told.setdefault("floor", []).append({**told, "start_s": start_s})
        return float(told["work_s"]) / self.cores + start_s

    def peer(self, name: str) -> float:
        """Let another engine do the job on the same clips; return the seconds. ValueError: its values differ."""
        store = self.folder / "run-ours_job"
        out, job = self.folder / f"out-{name}", self.folder / f"{name}.json"
        shutil.rmtree(out, ignore_errors=True)
        clips = clips_of(store / "store", self.corpus)
        asked = {"clips": clips, "model": str(self.peers_vision), "out": str(out), "workers": self.cores}
        job.write_text(json.dumps(asked))
        began_s = time.perf_counter()
        told = run_python(f"benchmarks.peers.{name}_job", str(job))
        seconds = time.perf_counter() - began_s
        told["cosine"] = least_cosine(embeddings_of(store / "store"), common.read(out))
        self.told.setdefault(name, []).append(told)
        if not told["cosine"] > _LEAST_COSINE:
            raise ValueError(f"its embeddings are not ours: cosine {told['cosine']:.5f}")
        return seconds

    def _config(self, place: Path, features: Sequence[str], *, workers: int, kind: str) -> Path:
        place.mkdir(parents=True, exist_ok=True)
        corpora = "".join(
            f"[corpora.{name}]\nroot = {json.dumps(str(root))}\nfeatures = {json.dumps(list(features))}\n"
            f"shard_clips = {shard_clips}\n"
            for name, root, shard_clips in (
                (BENCH, self.corpus, self.shard_clips),
                (WARM, self.warm, 1),  # so that every worker gets one
            )
        )
        vision = self.vision if tuple(features) == ALL else self.peers_vision
        path = place / "mmpipe.toml"
        path.write_text(
            f'store = "store"\n[engine]\nkind = "{kind}"\nworkers = {workers}\n{corpora}'
            f'[features.video-hf]\nmodel = {json.dumps(str(vision))}\npool = "cls"\nnum_frames = 8\n'
            f"[features.text-hf]\nmodel = {json.dumps(str(self.text))}\n"
        )
        return path


def race_jobs(jobs: Mapping[str, Callable[[], float]], clips: Callable[[], int], rounds: int) -> Outcome:
    """Run jobs in turns; who fails is left out, with the reason. Rates are clips a second, by the clock and the CPU.

    The CPU's is of all that a job did, its start and what comes before the watch of a warm one included.
    """
    outcome = Outcome()
    for number in range(rounds):
        for name, job in jobs.items():
            if name in outcome.left_out:
                continue
            try:
                before_s = cpu_seconds()
                seconds = job()
                outcome.per_wall_s.setdefault(name, []).append(clips() / seconds)
                outcome.per_cpu_s.setdefault(name, []).append(clips() / max(cpu_seconds() - before_s, 1e-6))
                print(f"round {number + 1}: {name}: {seconds:.1f} s", file=sys.stderr)
            except Exception as error:  # noqa: BLE001  a peer that fails is a result, and is listed with its reason
                outcome.left_out[name] = reason_of(error)
                outcome.per_wall_s.pop(name, None)
                outcome.per_cpu_s.pop(name, None)
                print(f"left out: {name}: {outcome.left_out[name]}", file=sys.stderr)
    return outcome


def run_python(module: str, argument: str) -> dict[str, Any]:
    """Run a module in a process of its own, and return the JSON object on its last line."""
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", module, argument], capture_output=True, text=True, env=environment, cwd=_ROOT
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        missing = next((line for line in reversed(lines) if "No module named" in line), "")
        raise RuntimeError(f"{module}: {(missing or lines[-1] if lines else '')[-250:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def clips_of(store: Path, root: Path) -> list[dict[str, Any]]:
    """Return key, file and range of every clip: the list that other engines start from."""
    from mmpipe.store.assets import assets_of, read_assets
    from mmpipe.store.layout import StoreLayout
    from mmpipe.store.spine import read_spine
    from mmpipe.types import Modality

    layout = StoreLayout(store)
    assets = {asset.asset_id: asset for asset in assets_of(read_assets(layout, BENCH))}
    rows = read_spine(layout, BENCH).sort("key").iter_rows(named=True)
    found = []
    for row in rows:
        video = next(one for one in assets[row["asset_id"]].streams if one.modality is Modality.VIDEO)
        found.append(
            {
                "key": row["key"],
                "path": str(root / video.file),
                "start_ns": row["start_ns"],
                "end_ns": row["end_ns"],
            }
        )
    return found


def embeddings_of(store: Path) -> dict[str, np.ndarray]:
    """Return what we stored for every clip, flattened."""
    import mmpipe

    reader = mmpipe.open(store / BENCH, ["video-hf@1"])
    values = {sample.key: sample.values["video-hf@1"] for sample in map(reader.__getitem__, range(len(reader)))}
    return {key: value.array.ravel() for key, value in values.items() if value}


def least_cosine(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> float:
    """Return the lowest cosine between two sets of embeddings; -1 where keys or shapes differ."""
    if ours.keys() != theirs.keys() or any(ours[key].shape != theirs[key].shape for key in ours):
        return -1.0
    pairs = [(ours[key].astype(np.float64), theirs[key].astype(np.float64)) for key in ours]
    return min(float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other))) for one, other in pairs)
