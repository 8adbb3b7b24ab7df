"""Extract a corpus that is ingested through the real engine, in a process of its own, and say what it took.

Called with a JSON object: {"config": path, "warm": bool}. Warm: the corpus `warm` is made first, so that workers have
started and loaded their models.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

BENCH, WARM = "bench", "warm"


def main() -> None:
    """Do it."""
    from mmpipe.config import load_config
    from mmpipe.steps.workers.workers import shared_engine

    asked = json.loads(sys.argv[1])
    config = load_config(Path(asked["config"]))
    with shared_engine(config):
        if asked["warm"]:
            _extract(config, WARM)
        told = _extract(config, BENCH)
    print(json.dumps(told))


def _extract(config: Any, corpus: str) -> dict[str, Any]:
    from mmpipe.steps.extract.extract import extract_plan
    from mmpipe.steps.plan.plan import plan_corpus

    began_s = time.monotonic()
    report, _ = extract_plan(config, plan_corpus(config, corpus))
    seconds = time.monotonic() - began_s
    meters = [asdict(meter) for meter in report.meters]
    speed = report.speed_report
    if report.quarantined or speed is None:
        raise SystemExit(f"clips fell out: {dict(report.quarantined)}")
    return {
        "seconds": seconds - speed.sampling_s,  # what says how fast it was is no part of it
        "clips": speed.clips,
        "per_shard_s": per_shard_s(meters, began_s, seconds - speed.sampling_s),
        "speed": asdict(speed),
    }


def per_shard_s(meters: Sequence[dict[str, Any]], began_s: float, seconds: float) -> float | None:
    """Return what a shard costs beside decoding, encoding and writing, on the machine's clock; None: too few to tell.

    That is the gap to the worker's shard before and what is left of its own time, on the average; the worker's first
    shard, which loads models, does not count. What the parent does alone before the first shard and after the last is
    shared by all.
    """
    workers: dict[str, list[dict[str, Any]]] = {}
    for meter in sorted(meters, key=lambda meter: meter["started_s"]):
        workers.setdefault(meter["worker"], []).append(meter)
    costs = [
        (later["ended_s"] - before["ended_s"]) - later["decode_s"] - later["encode_s"] - later["write_s"]
        for own in workers.values()
        for before, later in pairwise(own)
    ]
    if not costs:
        return None
    first_s, last_s = min(meter["started_s"] for meter in meters), max(meter["ended_s"] for meter in meters)
    alone_s = (first_s - began_s) + (began_s + seconds - last_s)
    return sum(costs) / len(costs) + max(0.0, alone_s) / len(meters)


if __name__ == "__main__":
    main()
