"""What a fingerprint stands for, noted once beside the manifests, so that a change can be called by its name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mmpipe.io import canonical_json, make_durable_directory, put_if_absent, remove_file, write_durable
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.objects import stage_path
from mmpipe.types import digest_of

FINGERPRINTS = "fingerprints"  # the folder of the notes, below _meta
_DIGEST_SHOWN = 12  # characters of a digest that a person reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """All that decides the values of a feature."""

    extractor: str
    version: int
    params: Mapping[str, Any]  # plain JSON values
    dtype: str
    weights: str  # sha256, "" where there are none
    rendition: Mapping[str, Any] = field(default_factory=dict)  # how media are prepared; empty where they are not


def note_identity(dataset: DatasetLayout, fingerprint: str, identity: Identity) -> None:
    """Note what a fingerprint stands for; the first note stays."""
    path = dataset.root / "_meta" / FINGERPRINTS / f"{fingerprint}.json"
    if path.exists():
        return
    make_durable_directory(path.parent)
    staged = stage_path(dataset)
    try:
        write_durable(staged, note_bytes(identity))
        put_if_absent(staged, path)
    finally:
        remove_file(staged)


def read_identity(dataset: DatasetLayout, fingerprint: str) -> Identity | None:
    """Return what a fingerprint stands for; None where nobody noted it, or the note is damaged."""
    try:
        found = Identity(**json.loads((dataset.root / "_meta" / FINGERPRINTS / f"{fingerprint}.json").read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return found if isinstance(found.params, dict) and isinstance(found.rendition, dict) else None


def fingerprint_of(identity: Identity) -> str:
    """Return the fingerprint of what an extractor of ours makes; `features.fingerprint` gives the same."""
    params = canonical_json(identity.params)
    found = digest_of("extractor", identity.extractor, identity.version, params, identity.dtype, identity.weights)
    return digest_of("rendition", found, canonical_json(identity.rendition)) if identity.rendition else found


def name_changes(before: Identity, now: Identity) -> str:
    """Say what differs: "params: n_mels 64 -> 80, version 1 -> 2"; "" where nothing does."""
    return ", ".join(_changes(before, now))


def note_bytes(identity: Identity) -> bytes:
    """Return an identity as its note has it; where nothing is prepared nothing is said of it."""
    return canonical_json({name: value for name, value in asdict(identity).items() if name != "rendition" or value})


def _changes(before: Identity, now: Identity) -> Iterator[str]:
    for what, old, new in (("params", before.params, now.params), ("rendition", before.rendition, now.rendition)):
        changes = [
            f"{name} {_shown(old, name)} -> {_shown(new, name)}"
            for name in sorted({*old, *new})
            if _shown(old, name) != _shown(new, name)
        ]
        if changes:
            yield f"{what}: {', '.join(changes)}"
    for name in ("extractor", "version", "dtype"):
        if getattr(before, name) != getattr(now, name):
            yield f"{name} {getattr(before, name)} -> {getattr(now, name)}"
    if before.weights != now.weights:
        yield "weights changed"


def _shown(params: Mapping[str, Any], name: str) -> str:
    value = params.get(name)
    if name.endswith("_sha256"):
        return str(value or "(none yet)")[:_DIGEST_SHOWN]
    return json.dumps(value, sort_keys=True) if name in params else "(none)"
