"""The job that every engine does: 8 frames of a clip, a vision transformer in bf16 on each, a row of Parquet.

Plain PyAV and transformers, one thread each; frames are chosen and scaled as mmpipe does, so that embeddings agree.
A job is a JSON file: {"clips": [{"key", "path", "start_ns", "end_ns"}], "model": folder, "out": folder, "workers": n}.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

NUM_FRAMES, SIDE_PX = 8, 224
BATCH_CLIPS, BATCH_PICTURES = 8, 16
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be done."""

    clips: tuple[dict[str, Any], ...]
    model: str
    out: str
    workers: int


def run_job(work: Callable[[Job], None], version: str) -> None:
    """Do the job that the command line names, and say on stdout how long it took from the first line of this file."""
    job = Job(**json.loads(Path(sys.argv[1]).read_text()))
    Path(job.out).mkdir(parents=True, exist_ok=True)
    began_s = time.perf_counter()
    work(job)
    print(json.dumps({"seconds": time.perf_counter() - began_s, "version": version}))


def decode(path: str, start_ns: int, end_ns: int) -> np.ndarray:
    """Return the frames nearest to the middles of 8 equal parts of a clip, uint8 [T, 224, 224, 3]."""
    import av
    from av.video.reformatter import Interpolation, VideoReformatter

    scaling = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
    scaler, kept, kept_ns = VideoReformatter(), [], -1
    middles_ns = [start_ns + (2 * n + 1) * (end_ns - start_ns) // (2 * NUM_FRAMES) for n in range(NUM_FRAMES)]
    before: tuple[int, Any] | None = None

    def keep(time_ns: int, frame: Any) -> None:
        nonlocal kept_ns
        if time_ns > kept_ns:
            kept_ns = time_ns
            small = scaler.reformat(frame, SIDE_PX, SIDE_PX, "rgb24", interpolation=scaling, threads=1)
            kept.append(small.to_ndarray())

    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            if frame.pts is None or stream.time_base is None:
                continue
            now = round(frame.pts * stream.time_base * 1_000_000_000), frame
            while middles_ns and middles_ns[0] <= now[0]:
                around = [shot for shot in (before, now) if shot and start_ns <= shot[0] < end_ns]
                if around:
                    keep(*min(around, key=lambda shot: abs(shot[0] - middles_ns[0])))
                middles_ns.pop(0)
            before = now
            if not middles_ns:
                break
        if before and middles_ns:
            keep(*before)
    return np.stack(kept)


class Embedder:
    """The model, loaded once."""

    def __init__(self, folder: str) -> None:
        import torch

        from mmpipe.weights.loading import quiet_transformers

        torch.set_num_threads(1)
        with quiet_transformers():  # it also hides a torchvision that does not fit torch
            from transformers import ViTModel

            self.model = ViTModel.from_pretrained(folder, dtype=torch.bfloat16, local_files_only=True).eval()
        self.mean = torch.tensor(MEAN)
        self.std = torch.tensor(STD)

    def embed(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the class token of every frame, float32 [T, D] for each clip."""
        import torch

        frames = np.concatenate(clips)
        rows = []
        with torch.inference_mode():
            for start in range(0, len(frames), BATCH_PICTURES):
                pixels = torch.from_numpy(frames[start : start + BATCH_PICTURES]).float() / 255
                pixels = ((pixels - self.mean) / self.std).to(torch.bfloat16).permute(0, 3, 1, 2)
                rows.append(self.model(pixel_values=pixels).last_hidden_state[:, 0].float().numpy())
        return np.split(np.concatenate(rows), np.cumsum([len(clip) for clip in clips])[:-1])


def write(path: Path, keys: Sequence[str], arrays: Sequence[np.ndarray]) -> None:
    """Write rows of a key and its embedding, flattened."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    flat = pa.array([array.ravel() for array in arrays], pa.list_(pa.float32()))
    pq.write_table(pa.table({"key": pa.array(keys), "embedding": flat}), path)


def read(out: Path) -> dict[str, np.ndarray]:
    """Return the embedding of every key, flattened."""
    import pyarrow.parquet as pq

    tables = [pq.read_table(path) for path in sorted(out.rglob("*.parquet"))]
    return {
        key: np.asarray(value, np.float32)
        for table in tables
        for key, value in zip(
            table["key"].to_pylist(), table["embedding"].combine_chunks().to_numpy(zero_copy_only=False), strict=True
        )
    }
