"""Check the notes of what fingerprints stand for."""

from __future__ import annotations

import json

from mmpipe.io import canonical_json
from mmpipe.store.identity import Identity, note_bytes
from mmpipe.store.layout import DatasetLayout
from mmpipe.types import digest_of


def note_fault(dataset: DatasetLayout, fingerprint: str, data: bytes) -> str:
    """Say what is wrong with the note of a fingerprint, "" where it is as written.

    A fingerprint is the digest of the note's parts; that of values which another team publishes is in it as weights.
    The dataset has the extractor's version, but may have a name of its own.
    """
    try:
        note = Identity(**json.loads(data))
        if note_bytes(note) != data:
            return "it is not canonical JSON"
        params = canonical_json(note.params)
        found = digest_of("extractor", note.extractor, note.version, params, note.dtype, note.weights)
        if note.rendition:
            found = digest_of("rendition", found, canonical_json(note.rendition))
        pinned = (note.weights, note.params, note.dtype) == (fingerprint, {}, "float32")
        own = dataset.name == f"{note.extractor}@{note.version}"
        made = found == fingerprint and dataset.name.endswith(f"@{note.version}")
        if made or (own and pinned):
            return ""
    except (ValueError, TypeError) as error:
        return f"it is damaged: {error}"
    return "it is the note of another fingerprint"
