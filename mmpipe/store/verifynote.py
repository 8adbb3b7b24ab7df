"""Check the notes of what fingerprints stand for."""

from __future__ import annotations

import json

from mmpipe.store.identity import Identity, fingerprint_of, note_bytes
from mmpipe.store.layout import DatasetLayout


def note_fault(dataset: DatasetLayout, fingerprint: str, data: bytes) -> str:
    """Say what is wrong with the note of a fingerprint, "" where it is as written.

    A fingerprint is the digest of the note's parts; that of values which another team publishes is in it as weights.
    The dataset has the extractor's version, but may have a name of its own.
    """
    try:
        note = Identity(**json.loads(data))
        if note_bytes(note) != data:
            return "it is not canonical JSON"
        pinned = (note.weights, note.params, note.dtype) == (fingerprint, {}, "float32")
        own = dataset.name == f"{note.extractor}@{note.version}"
        made = fingerprint_of(note) == fingerprint and dataset.name.endswith(f"@{note.version}")
        if made or (own and pinned):
            return ""
    except (ValueError, TypeError) as error:
        return f"it is damaged: {error}"
    return "it is the note of another fingerprint"
