"""The job without an engine: two symmetric processes that share the clips; what an engine should not fall behind."""

from __future__ import annotations

import platform
from multiprocessing import get_context
from pathlib import Path

from benchmarks.peers import common


def work(job: common.Job) -> None:
    """Start the processes and wait for them."""
    context = get_context("spawn")
    started = [context.Process(target=_share, args=(job, number)) for number in range(job.workers)]
    for process in started:
        process.start()
    for process in started:
        process.join()
        if process.exitcode:
            raise RuntimeError(f"a process ended with {process.exitcode}")


def _share(job: common.Job, number: int) -> None:
    embedder = common.Embedder(job.model)
    clips = job.clips[number :: job.workers]
    for start in range(0, len(clips), common.BATCH_CLIPS):
        batch = clips[start : start + common.BATCH_CLIPS]
        arrays = embedder.embed([common.decode(clip["path"], clip["start_ns"], clip["end_ns"]) for clip in batch])
        common.write(Path(job.out) / f"{number}-{start}.parquet", [clip["key"] for clip in batch], arrays)


if __name__ == "__main__":
    common.run_job(work, f"python {platform.python_version()}")
