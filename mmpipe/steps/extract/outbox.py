"""Between workers and a remote store: a worker has no network, so its parent brings what it reuses and sends its shard.

With a local store nothing of this happens: a worker makes its objects where they stay.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from mmpipe.io import local_file, make_directory, replace_bytes, replace_with_link
from mmpipe.remote import RemotePath
from mmpipe.steps.plan.shard_work import FeatureDone, ReusedValue, ShardDone, ShardWork
from mmpipe.store.commit import list_revisions, read_head
from mmpipe.store.holder import process_start
from mmpipe.store.layout import StoreLayout
from mmpipe.store.objects import put_object
from mmpipe.store.receipt import Receipt, put_receipt
from mmpipe.store.revisions import manifest_name

_Other = TypeVar("_Other")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """A store on this machine that the workers of one batch write to, and the remote one that it stands for."""

    far: StoreLayout
    near: StoreLayout

    def address(self, works: Sequence[ShardWork]) -> list[ShardWork]:
        """Return the works as workers can do them, with what they reuse brought here."""
        for place in sorted({(work.corpus, each.feature, each.partition) for work in works for each in work.reused}):
            self._bring(*place, {each.shard for work in works for each in work.reused if _place(work, each) == place})
        return [replace(work, store=self.near.root) for work in works]

    def send(self, work: ShardWork, done: ShardDone) -> None:
        """Put a finished shard's objects and receipts where they belong."""
        fingerprints = {each.feature: each.fingerprint for each in work.features}
        for feature in done.features:
            self._send(work, fingerprints[feature.feature], feature)

    def _bring(self, corpus: str, feature: str, partition: str, shards: set[int]) -> None:
        far, near = self.far.dataset(corpus, feature), self.near.dataset(corpus, feature)
        head = read_head(far, partition)
        if head is None:
            return
        meta = make_directory(near.meta(partition))
        for revision in list_revisions(far, partition):
            name = manifest_name(revision)
            replace_bytes(meta / name, (far.meta(partition) / name).read_bytes())
        for file in (file for shard in head.shards if shard.number in shards for file in shard.files):
            target = near.object(file.sha256)
            make_directory(target.parent)
            replace_with_link(local_file(far.object(file.sha256)), target, make_directory(near.staging))

    def _send(self, work: ShardWork, fingerprint: str, done: FeatureDone) -> None:
        far = self.far.dataset(work.corpus, done.feature)
        for file in done.entry.files:
            made = self.near.dataset(work.corpus, done.feature).object(file.sha256)
            put_object(far, _named_anew(made, self.near.staging))
        put_receipt(far, work.partition, fingerprint, Receipt(entry=done.entry, drops=done.drops))


@contextmanager
def open_outbox(layout: StoreLayout) -> Iterator[Outbox | None]:
    """Open an outbox for a batch, None where the store is local; what a killed batch has left is removed."""
    if not isinstance(layout.root, RemotePath):
        yield None
        return
    folder = layout.local / "_outbox"
    _sweep(folder)
    pid = os.getpid()
    root = make_directory(folder / f"{pid}-{process_start(pid)}-{uuid.uuid4().hex}")
    try:
        yield Outbox(far=layout, near=StoreLayout(root))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def deliver(
    outbox: Outbox | None, works: Sequence[ShardWork], settled: Iterable[ShardDone | _Other]
) -> Iterator[ShardDone | _Other]:
    """Yield what workers answer, each shard once it is in the store."""
    by_place = {(work.partition, work.shard): work for work in works}
    for done in settled:
        if outbox is not None and isinstance(done, ShardDone):
            outbox.send(by_place[done.partition, done.shard], done)
        yield done


def _place(work: ShardWork, reused: ReusedValue) -> tuple[str, str, str]:
    return work.corpus, reused.feature, reused.partition


def _named_anew(path: Path, staging: Path) -> Path:
    """Return another name of an object: the first stays for shards that have the same bytes."""
    name = make_directory(staging) / uuid.uuid4().hex
    replace_with_link(path, name, staging)
    return name


def _sweep(folder: Path) -> None:
    for left in folder.glob("*-*-*"):
        pid, started, _ = left.name.split("-", 2)
        if str(process_start(int(pid))) != started:
            shutil.rmtree(left, ignore_errors=True)
