"""The job on Ray Data, fused: one pool of two actors, each decodes and embeds, batches of 8 clips."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.peers import common


class Embed:
    """An actor's work: decoding and embedding in one, so that no frames cross a process."""

    def __init__(self, model: str) -> None:
        self.embedder = common.Embedder(model)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return keys and embeddings of a batch."""
        rows = zip(batch["path"], batch["start_ns"], batch["end_ns"], strict=True)
        arrays = self.embedder.embed([common.decode(str(path), int(start), int(end)) for path, start, end in rows])
        return {"key": batch["key"], "embedding": [array.ravel() for array in arrays]}


def work(job: common.Job) -> None:
    """Decode, embed and write with Ray Data."""
    import ray

    ray.init(num_cpus=job.workers, include_dashboard=False, log_to_driver=False, logging_level="error")
    data = ray.data.from_items(list(job.clips), override_num_blocks=max(job.workers, len(job.clips) // 8))
    data = data.map_batches(
        Embed,
        fn_constructor_args=(job.model,),
        batch_size=common.BATCH_CLIPS,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=job.workers),
    )
    data.write_parquet(job.out)
    ray.shutdown()


if __name__ == "__main__":
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    common.run_job(work, f"ray {ray.__version__}")
