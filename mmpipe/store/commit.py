"""Commit a partition: link the next numbered manifest, which exactly one writer can do, and bring the view after it.

What the caller made stays valid whatever happens here: objects are named by content, and before the link nothing
is visible to anybody. A writer that loses the race looks at what won: its own content, something beside it, or
something against it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from mmpipe.errors import StoreError, TransientError
from mmpipe.io import make_durable_directory, put_if_absent, remove_file, sync_directory, write_durable
from mmpipe.remote import RemotePath
from mmpipe.store.layout import DatasetLayout, check_partition
from mmpipe.store.manifest import Manifest, ShardEntry
from mmpipe.store.objects import OBJECT_MODE, has_object, stage_path
from mmpipe.store.receipt import drop_receipts
from mmpipe.store.revisions import list_revisions as list_revisions
from mmpipe.store.revisions import manifest_name
from mmpipe.store.revisions import read_head as read_head
from mmpipe.store.revisions import read_manifest as read_manifest
from mmpipe.store.view import heal_view

MAX_ATTEMPTS = 6  # one, and five after lost races
_Result = TypeVar("_Result")


def commit_partition(
    dataset: DatasetLayout,
    partition: str,
    *,
    schema: str,
    fingerprint: str,
    shards: Mapping[int, ShardEntry],
    totals: Mapping[str, int] | None = None,
    replace: bool = False,
    base_revision: int | None = None,
    then: Callable[[], object] | None = None,
) -> Manifest:
    """Make shards visible and return the head that shows them; content that is there already makes no revision.

    The shards join those of the head, or with `replace` stand alone; under another schema or fingerprint the head's
    shards are dropped, because a manifest never mixes two. `totals` of None keeps the head's. `base_revision` is the
    revision that the work was planned on (0: none yet); what was committed since counts as a lost race. `then` brings
    up what follows the head: it is called before the receipts are dropped, which say until then that it is due.
    TransientError: somebody committed against it, run again. StoreError: a named object is missing or cut.
    """
    change = _Change(
        schema=schema, fingerprint=fingerprint, shards=dict(shards), totals=totals and dict(totals), alone=replace
    )
    change.check(check_partition(partition))
    base = _read_base(dataset, partition, base_revision)
    for _ in range(MAX_ATTEMPTS):
        head = read_head(dataset, partition)
        following = change.after(head, dataset, partition)
        if head is not None and _same_content(head, following):
            sync_directory(dataset.meta(partition))  # its writer may have died before this
            return _finish(dataset, head, change, then)
        if clash := change.clash(base, head):
            raise TransientError(f"{_place(dataset, partition)}: {clash}. Nothing is lost: run the same again.")
        _require_objects(dataset, following)
        if _link_manifest(dataset, following):
            return _finish(dataset, following, change, then)
    raise TransientError(
        f"{_place(dataset, partition)}: lost {MAX_ATTEMPTS} races against other writers. Nothing is lost: run again."
    )


def retry_lost_race(work: Callable[[], _Result]) -> _Result:
    """Do read-change-commit work again when somebody committed in between; only for work that re-reads the head."""
    for _ in range(MAX_ATTEMPTS - 1):
        try:
            return work()
        except TransientError:
            continue
    return work()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What a commit asks for."""

    schema: str
    fingerprint: str
    shards: Mapping[int, ShardEntry]
    totals: Mapping[str, int] | None
    alone: bool

    def check(self, partition: str) -> None:
        """Refuse shards under wrong numbers, and two files that want one name in the view."""
        for number, entry in self.shards.items():
            if number != entry.number or not 0 <= number < 1_000_000:
                raise StoreError(f"dt={partition}: shard {entry.number} cannot be committed as number {number}")
        names = [(file.role, file.name) for entry in self.shards.values() for file in entry.files]
        if len(names) != len(set(names)):
            raise StoreError(f"dt={partition}: two shards want the same name in the view: {sorted(names)}")

    def after(self, head: Manifest | None, dataset: DatasetLayout, partition: str) -> Manifest:
        """Return the manifest that would follow the head."""
        kept = {} if self.alone else self.shards_of(head)
        merged = {**kept, **self.shards}
        totals = self.totals if self.totals is not None else (head.totals if head else {})
        return Manifest(
            corpus=dataset.corpus,
            dataset=dataset.name,
            partition=partition,
            revision=head.revision + 1 if head else 1,
            parent=head.digest() if head else "",
            schema=self.schema,
            fingerprint=self.fingerprint,
            shards=tuple(merged[number] for number in sorted(merged)),
            totals=dict(totals),
        )

    def shards_of(self, manifest: Manifest | None) -> dict[int, ShardEntry]:
        """Return the shards that these can stand beside: none of another schema or fingerprint."""
        if manifest is None or (manifest.schema, manifest.fingerprint) != (self.schema, self.fingerprint):
            return {}
        return {entry.number: entry for entry in manifest.shards}

    def clash(self, base: Manifest | None, head: Manifest | None) -> str:
        """Say what was committed between base and head that this would undo; "" where nothing was."""
        if head is None or (base is not None and base.revision == head.revision):
            return ""
        if (head.schema, head.fingerprint) != (self.schema, self.fingerprint):
            return f"revision {head.revision} was committed meanwhile, with another schema or fingerprint"
        before, now = self.shards_of(base), self.shards_of(head)
        fought = sorted(n for n, entry in self.shards.items() if now.get(n) not in (before.get(n), entry))
        if fought or self.alone:
            shards = f"shards {fought}" if fought else "the partition"
            return f"revision {head.revision} was committed meanwhile, with other content for {shards}"
        totals_before = base.totals if base else {}
        if self.totals is not None and head.totals not in (totals_before, self.totals):
            return f"revision {head.revision} was committed meanwhile, with other totals"
        return ""


def _read_base(dataset: DatasetLayout, partition: str, base_revision: int | None) -> Manifest | None:
    if base_revision is None:
        return read_head(dataset, partition)
    return read_manifest(dataset, partition, base_revision) if base_revision else None


def _same_content(head: Manifest, following: Manifest) -> bool:
    return head == dataclasses.replace(following, revision=head.revision, parent=head.parent)


def _require_objects(dataset: DatasetLayout, manifest: Manifest) -> None:
    """Refuse to name what is not there."""
    for shard in manifest.shards:
        for entry in shard.files:
            if not has_object(dataset, entry):
                raise StoreError(
                    f"{_place(dataset, manifest.partition)}: shard {shard.number} names {entry.name}, but "
                    f"{dataset.object(entry.sha256)} is missing or not {entry.nbytes} bytes. Run `mmpipe verify`."
                )


def _link_manifest(dataset: DatasetLayout, manifest: Manifest) -> bool:
    """Try to be the one that creates the revision; the name is durable when this returns True."""
    target = make_durable_directory(dataset.meta(manifest.partition)) / manifest_name(manifest.revision)
    _sync_parents(dataset)
    staged = stage_path(dataset)
    try:
        write_durable(staged, manifest.to_bytes())
        os.chmod(staged, OBJECT_MODE)
        return put_if_absent(staged, target)
    finally:
        remove_file(staged)


def _sync_parents(dataset: DatasetLayout) -> None:
    """Make the folders on the way durable, also where one that died has made them."""
    if isinstance(dataset.root, RemotePath):
        return  # it has no folders
    objects, store = dataset.root / "objects", dataset.root.parent.parent
    for folder in (objects, dataset.root / "_meta", dataset.root, dataset.root.parent, store):
        if folder.is_dir():
            sync_directory(folder)


def _finish(dataset: DatasetLayout, head: Manifest, change: _Change, then: Callable[[], object] | None) -> Manifest:
    heal_view(dataset, head.partition)
    if then is not None:
        then()
    drop_receipts(dataset, head.partition, change.fingerprint, change.shards.values())
    return head


def _place(dataset: DatasetLayout, partition: str) -> str:
    return f"{dataset.corpus}/{dataset.name} dt={partition}"
