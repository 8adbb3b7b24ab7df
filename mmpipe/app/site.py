"""The door to a store: every question that a page asks. `mmpipe/steps/app` has the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from mmpipe.app.values.clips import ClipPage, PreviewKind, Samples, SamplesAsk
from mmpipe.app.values.datasets import Dataset, DatasetList
from mmpipe.app.values.matrix import Matrix, MatrixAsk
from mmpipe.app.values.models import ModelList, ModelVersion, SnapshotList, SnapshotPage
from mmpipe.app.values.overview import Overview
from mmpipe.app.values.quarantine import Quarantine, QuarantineAsk
from mmpipe.app.values.runs import Runs
from mmpipe.errors import MmpipeError


class NotHereError(MmpipeError):
    """There is no such thing in the store; the text names what there is."""


class BusyError(MmpipeError):
    """Too many previews are being made at once: ask again in a moment."""


class Site(Protocol):
    """Answers with plain values; every name that it is given comes from a URL, and is held against what there is.

    NotHereError: there is no such thing. TransientError: ask again. StoreError: bytes are damaged.
    """

    def overview(self) -> Overview:
        """Return all there is at a glance; also where there is no store yet."""
        ...

    def matrix(self, corpus: str, ask: MatrixAsk) -> Matrix:
        """Return dates x features."""
        ...

    def quarantine(self, corpus: str, ask: QuarantineAsk) -> Quarantine:
        """Return what cannot be used."""
        ...

    def datasets(self, corpus: str) -> DatasetList:
        """Return the datasets of a corpus."""
        ...

    def dataset(self, corpus: str, name: str, page: int) -> Dataset:
        """Return one dataset."""
        ...

    def samples(self, corpus: str, ask: SamplesAsk) -> Samples:
        """Return clips of a date."""
        ...

    def clip(self, corpus: str, key: str, dt: str) -> ClipPage:
        """Return one clip; `key` may be an asset or a source too, `dt` says where to look first."""
        ...

    def value_picture(self, corpus: str, key: str, dt: str, feature: str) -> bytes:
        """Return a PNG of a clip's value: time from left to right, numbers from bottom to top."""
        ...

    def preview(self, corpus: str, key: str, dt: str, kind: PreviewKind) -> Path:
        """Return a file of ours with the preview of a clip; BusyError where too many are being made."""
        ...

    def models(self) -> ModelList:
        """Return every published model."""
        ...

    def version(self, model: str, label: str) -> ModelVersion:
        """Return one version; `label` may be a number or an alias too."""
        ...

    def snapshots(self, page: int) -> SnapshotList:
        """Return the snapshots that are kept."""
        ...

    def snapshot(self, reference: str, page: int) -> SnapshotPage:
        """Return one snapshot, by name or digest."""
        ...

    def runs(self) -> Runs:
        """Return what ran, and the reports."""
        ...

    def report(self, name: str) -> tuple[bytes, str]:
        """Return a report's bytes and media type."""
        ...
