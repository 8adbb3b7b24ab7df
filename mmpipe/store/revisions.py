"""The numbered manifests of a partition: the highest number is the head, and each names the one before."""

from __future__ import annotations

import hashlib
import os
import re

from mmpipe.errors import StoreError
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.manifest import Manifest

_MANIFEST_NAME = re.compile(r"(\d{6})\.json")


def read_head(dataset: DatasetLayout, partition: str) -> Manifest | None:
    """Return the newest manifest, or None before the first; StoreError on a gap or a broken chain."""
    numbers = list_revisions(dataset, partition)
    if not numbers:
        return None
    if numbers != tuple(range(1, len(numbers) + 1)):
        raise StoreError(f"{dataset.meta(partition)} has a gap: it holds revisions {numbers}. Run `mmpipe verify`.")
    head = read_manifest(dataset, partition, numbers[-1])
    if head.parent != _parent_digest(dataset, partition, head.revision):
        raise StoreError(
            f"revision {head.revision} of {dataset.corpus}/{dataset.name} dt={partition} was not made from "
            f"revision {head.revision - 1} as it is now. Run `mmpipe verify`."
        )
    return head


def read_manifest(dataset: DatasetLayout, partition: str, revision: int) -> Manifest:
    """Return one revision; StoreError where it is missing, damaged, or of another place."""
    path = dataset.meta(partition) / manifest_name(revision)
    try:
        manifest = Manifest.from_bytes(path.read_bytes(), where=str(path))
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing. Run `mmpipe verify`.") from error
    place = (manifest.corpus, manifest.dataset, manifest.partition, manifest.revision)
    if place != (dataset.corpus, dataset.name, partition, revision):
        raise StoreError(f"{path} speaks of another place, {place}. Run `mmpipe verify`.")
    return manifest


def list_revisions(dataset: DatasetLayout, partition: str) -> tuple[int, ...]:
    """Return the numbers of a partition's manifests, lowest first."""
    try:
        names = os.listdir(dataset.meta(partition))
    except FileNotFoundError:
        return ()
    return tuple(sorted(int(match[1]) for match in map(_MANIFEST_NAME.fullmatch, names) if match))


def manifest_name(revision: int) -> str:
    """Return a manifest's file name."""
    return f"{revision:06d}.json"


def _parent_digest(dataset: DatasetLayout, partition: str, revision: int) -> str:
    if revision == 1:
        return ""
    return hashlib.sha256((dataset.meta(partition) / manifest_name(revision - 1)).read_bytes()).hexdigest()
