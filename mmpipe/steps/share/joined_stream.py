"""An opened corpus as a stock webdataset pipeline of joined samples: the ones that an export's tars would hold.

A pipeline begins with runs of clips, where webdataset begins with tars: its own splitters deal them to ranks and to
workers, so that together they see every clip once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from mmpipe.batches.feature_reader import FeatureReader
from mmpipe.batches.forked import leave_parents_services
from mmpipe.batches.order import epoch_order
from mmpipe.errors import ConfigError
from mmpipe.export.webdataset import encode, fields_of
from mmpipe.steps.share.join import GATHERED, Joiner
from mmpipe.store.assets import read_asset_rights

_Splitter = Callable[[Any], Any]


class CorpusReader(FeatureReader):
    """What `mmpipe.open` returns: a FeatureReader that is also a source of webdataset pipelines."""

    @cached_property
    def joiner(self) -> Joiner:
        """Return what joins the clips with their features, facts and rights."""
        layout = self._arguments[0]
        return Joiner(self, read_asset_rights(layout, self.snapshot.corpus, self.snapshot.partitions))

    def webdataset(
        self,
        *,
        decoded: bool = False,
        seed: int | None = None,
        epoch: int = 0,
        run_clips: int = GATHERED,
        nodesplitter: _Splitter | None = None,
        workersplitter: _Splitter | None = None,
    ) -> Any:
        """Return a pipeline of `__key__`, `FEATURE.npy`, `FEATURE.times.npy` and `json`: chain it as a WebDataset.

        Fields are bytes, as in a tar, for `.decode()`; with `decoded` they are arrays and a dict, which is faster.
        With a seed the runs of `run_clips` clips are shuffled, anew each time that a process iterates; add `.shuffle`
        for the clips. Workers that are started anew begin at `epoch` again: make the pipeline anew then. Ranks and
        workers share the runs as webdataset's `split_by_node` and `split_by_worker` do, unless others are given.
        """
        if run_clips < 1:
            raise ConfigError(f"run_clips must be >= 1, got {run_clips}")
        try:
            import webdataset
        except ModuleNotFoundError as error:
            raise ConfigError("a webdataset pipeline needs webdataset. Run: pip install webdataset") from error
        return webdataset.FluidWrapper(_Runs(self, run_clips, seed, epoch)).compose(
            nodesplitter or webdataset.split_by_node,
            workersplitter or webdataset.split_by_worker,
            _Samples(self, decoded),
        )


class _Runs:
    """The first stage: runs of clips under names, as a list of shards."""

    def __init__(self, reader: FeatureReader, run_clips: int, seed: int | None, epoch: int) -> None:
        self._reader, self._run_clips, self._seed, self._epoch = reader, run_clips, seed, epoch

    def __call__(self) -> Iterator[dict[str, Any]]:
        leave_parents_services()
        clips = len(self._reader)
        firsts = np.arange(0, clips, self._run_clips)
        if self._seed is not None:
            firsts = firsts[epoch_order(len(firsts), self._seed, self._epoch)]
            self._epoch += 1
        corpus = self._reader.snapshot.corpus
        for first in firsts.tolist():
            end = min(clips, first + self._run_clips)
            yield {"url": f"{corpus}/{first}-{end}", "first": first, "end": end}


class _Samples:
    """The last stage: what the runs hold."""

    def __init__(self, reader: CorpusReader, decoded: bool) -> None:
        self._reader, self._decoded = reader, decoded
        assert reader.joiner  # made here, before a DataLoader forks its workers

    def __call__(self, runs: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        joiner = self._reader.joiner
        for run in runs:
            for sample in joiner.join(np.arange(run["first"], run["end"])):
                fields = {
                    name: content if self._decoded else encode(content)
                    for name, content in fields_of(sample, joiner.shape)
                }
                yield {"__key__": sample.key, "__url__": run["url"], **fields}
