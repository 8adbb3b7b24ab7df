"""The numbered manifests of a partition: the highest number is the head, and each names the one before."""

from __future__ import annotations

import re
from functools import lru_cache

from mmpipe.errors import StoreError
from mmpipe.io import list_names
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.manifest import Manifest

_MANIFEST_NAME = re.compile(r"(\d{6})\.json")


def read_head(dataset: DatasetLayout, partition: str) -> Manifest | None:
    """Return the newest manifest, or None before the first; StoreError where it is damaged.

    The revisions before it are not looked at: a head names all its bytes and carries its own checksum, so damage to
    an old manifest must not take the newest data from its readers. The chain is the matter of `mmpipe verify`.
    """
    numbers = list_revisions(dataset, partition)
    return read_manifest(dataset, partition, numbers[-1]) if numbers else None


def read_manifest(dataset: DatasetLayout, partition: str, revision: int) -> Manifest:
    """Return one revision; StoreError where it is missing, damaged, or of another place."""
    path = dataset.meta(partition) / manifest_name(revision)
    try:
        manifest = _parse(path.read_bytes(), str(path))
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing. Run `mmpipe verify`.") from error
    place = (manifest.corpus, manifest.dataset, manifest.partition, manifest.revision)
    if place != (dataset.corpus, dataset.name, partition, revision):
        raise StoreError(f"{path} speaks of another place, {place}. Run `mmpipe verify`.")
    return manifest


@lru_cache(maxsize=4)  # one step looks at a head several times, and to check one of 10,000 shards takes seconds
def _parse(data: bytes, where: str) -> Manifest:
    return Manifest.from_bytes(data, where=where)


def list_revisions(dataset: DatasetLayout, partition: str) -> tuple[int, ...]:
    """Return the numbers of a partition's manifests, lowest first."""
    names = list_names(dataset.meta(partition))
    return tuple(sorted(int(match[1]) for match in map(_MANIFEST_NAME.fullmatch, names) if match))


def manifest_name(revision: int) -> str:
    """Return a manifest's file name."""
    return f"{revision:06d}.json"
