"""The parts of an extraction one after the other in one process: decode, then extract, nothing is written.

What this takes, over the cores, and one start-up are the floor: no run of the same work can be faster.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

PART_CLIPS = 32  # decoded before they are extracted: in memory at once


def main() -> None:
    """Do it, and say the seconds of both parts."""
    os.environ["OMP_NUM_THREADS"] = "1"
    from benchmarks.extracting.ours_job import BENCH
    from mmpipe.config import load_config
    from mmpipe.features.extractor import feature_name
    from mmpipe.steps.extract.shard_plan import plan_works
    from mmpipe.steps.ground.wire import decode
    from mmpipe.steps.plan.feature_set import resolve_features
    from mmpipe.steps.plan.plan import plan_corpus
    from mmpipe.steps.speed.speed import StageSample
    from mmpipe.steps.speed.speed_choice import SampleWork, choose_sample
    from mmpipe.steps.speed.speed_sample import time_stages
    from mmpipe.store.layout import open_store

    config = load_config(Path(sys.argv[1]))
    layout = open_store(config.store)
    extractors = {feature_name(extractor): extractor for extractor in resolve_features(config, BENCH)}
    works = plan_works(config, layout, BENCH, plan_corpus(config, BENCH).shards, extractors)
    total = sum(work.num_clips for work in works)
    endless_s = 1e9
    first = choose_sample(works, 1, 1, most_s=endless_s)
    time_stages(first[0], _quiet, {})  # loads the models
    found = StageSample()
    for part in choose_sample(works, total, max(1, -(-total // PART_CLIPS)), most_s=endless_s):
        found += decode(StageSample, time_stages(SampleWork(shards=part.shards, most_s=endless_s), _quiet, {}))
    if found.clips != total:
        raise SystemExit(f"{found.clips} of {total} clips could be decoded")
    print(json.dumps({"work_s": found.decode_s + found.encode_s, "decode_s": found.decode_s, "clips": found.clips}))


def _quiet(part: str) -> None:
    """Say nothing."""


if __name__ == "__main__":
    main()
