"""The job on Daft's native runner: a class with two instances, each in a process of its own, batches of 8 clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.peers import common


def work(job: common.Job) -> None:
    """Decode, embed and write with Daft."""
    import daft
    from daft import DataType

    @daft.cls(max_concurrency=job.workers, use_process=True)  # type: ignore[untyped-decorator,unused-ignore]
    class Embed:
        def __init__(self, model: str) -> None:
            self.embedder = common.Embedder(model)

        @daft.method.batch(  # type: ignore[untyped-decorator,unused-ignore]
            return_dtype=DataType.list(DataType.float32()), batch_size=common.BATCH_CLIPS
        )
        def embed(self, path: Any, start_ns: Any, end_ns: Any) -> list[Any]:
            rows = zip(path.to_pylist(), start_ns.to_pylist(), end_ns.to_pylist(), strict=True)
            return [array.ravel() for array in self.embedder.embed([common.decode(*row) for row in rows])]

    embed = Embed(job.model)
    frame = daft.from_pylist(list(job.clips))
    frame = frame.into_batches(common.BATCH_CLIPS)
    frame = frame.select("key", embed.embed(frame["path"], frame["start_ns"], frame["end_ns"]).alias("embedding"))
    frame.write_parquet(str(Path(job.out)))


if __name__ == "__main__":
    import daft

    common.run_job(work, f"daft {daft.__version__}")
