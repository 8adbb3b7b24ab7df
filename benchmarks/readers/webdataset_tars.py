"""webdataset's own reader, on the very tars that the store published, and on a joined export of all features.

It is so much slower that a round in this process reads a single tar.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from benchmarks.readers.bench import AUDIO, BATCH_CLIPS, CORPUS, SEQUENCE, TEXT, Bench
from benchmarks.readers.race import Visit

_BUFFER_CLIPS = 1000


def epoch(tars: Sequence[Path], fields: Sequence[str]) -> Visit:
    """Read a tar in this process, shuffled in a buffer."""
    import webdataset

    def visit(number: int) -> int:
        chosen = [str(tars[number % len(tars)])]
        samples = (
            webdataset.WebDataset(chosen, shardshuffle=False, select_files=_is_array).shuffle(_BUFFER_CLIPS).decode()
        )
        return sum(len(batch[0]) for batch in samples.to_tuple(*fields).batched(BATCH_CLIPS))

    return visit


def loader(tars: Sequence[Path], fields: Sequence[str]) -> Visit:
    """Read all tars with a DataLoader of two workers, tars shuffled and clips in a buffer, into tensors."""
    import torch
    import webdataset
    from torch.utils.data import DataLoader

    def visit(number: int) -> int:
        named = [str(tar) for tar in tars]
        samples = webdataset.WebDataset(named, shardshuffle=len(tars), seed=number, select_files=_is_array)
        fielded = samples.shuffle(_BUFFER_CLIPS).decode().to_tuple(*fields)
        batches = fielded.map_tuple(*[torch.from_numpy] * len(fields)).batched(BATCH_CLIPS)
        return sum(len(batch[0]) for batch in DataLoader(batches, num_workers=2, batch_size=None))

    return visit


def _is_array(name: str) -> bool:
    """Skip what is no value: an export has a JSON beside every clip."""
    return name.endswith(".npy")


FIELDS = ("npy",)
EXPORTED = tuple(f"{feature}.npy" for feature in (SEQUENCE, AUDIO, TEXT))


@lru_cache
def exported_tars(bench: Bench) -> list[Path]:
    """Export all features joined, as `mmpipe export --to webdataset --split val` does, once, and return the tars."""
    from mmpipe.config import Config
    from mmpipe.steps.share.export import Target, plan_export, write_export

    out = bench.folder / "exported"
    config = Config(store=bench.layout.root)
    plan = plan_export(config, CORPUS, Target.WEBDATASET, out, (SEQUENCE, AUDIO, TEXT), splits=["val"])
    write_export(plan, max(1, bench.clips // 20))  # a split of a fifth: every worker has tars
    return sorted(out.glob("*.tar"))
