"""What a fingerprint stands for, noted once beside the manifests, so that a change can be called by its name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mmpipe.io import canonical_json, make_durable_directory, put_if_absent, remove_file, write_durable
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.objects import stage_path

FINGERPRINTS = "fingerprints"  # the folder of the notes, below _meta


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """All that decides the values of a feature."""

    extractor: str
    version: int
    params: Mapping[str, Any]  # plain JSON values
    dtype: str
    weights: str  # sha256, "" where there are none


def note_identity(dataset: DatasetLayout, fingerprint: str, identity: Identity) -> None:
    """Note what a fingerprint stands for; the first note stays."""
    path = dataset.root / "_meta" / FINGERPRINTS / f"{fingerprint}.json"
    if path.exists():
        return
    make_durable_directory(path.parent)
    staged = stage_path(dataset)
    try:
        write_durable(staged, canonical_json(asdict(identity)))
        put_if_absent(staged, path)
    finally:
        remove_file(staged)


def read_identity(dataset: DatasetLayout, fingerprint: str) -> Identity | None:
    """Return what a fingerprint stands for; None where nobody noted it, or the note is damaged."""
    try:
        found = Identity(**json.loads((dataset.root / "_meta" / FINGERPRINTS / f"{fingerprint}.json").read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return found if isinstance(found.params, dict) else None


def name_changes(before: Identity, now: Identity) -> str:
    """Say what differs: "params: n_mels 64 -> 80, version 1 -> 2"; "" where nothing does."""
    return ", ".join(_changes(before, now))


def _changes(before: Identity, now: Identity) -> Iterator[str]:
    params = [
        f"{name} {_shown(before.params, name)} -> {_shown(now.params, name)}"
        for name in sorted({*before.params, *now.params})
        if _shown(before.params, name) != _shown(now.params, name)
    ]
    if params:
        yield f"params: {', '.join(params)}"
    for name in ("extractor", "version", "dtype"):
        if getattr(before, name) != getattr(now, name):
            yield f"{name} {getattr(before, name)} -> {getattr(now, name)}"
    if before.weights != now.weights:
        yield "weights changed"


def _shown(params: Mapping[str, Any], name: str) -> str:
    return json.dumps(params[name], sort_keys=True) if name in params else "(none)"
