"""The pins of a store: what was registered of other teams' datasets, numbered, never changed.

STORE/CORPUS/NAME@1/external-000001.json   put-if-absent; the highest number is what the feature is made from
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from mmpipe.errors import TransientError
from mmpipe.external.dataset import suffixes_of
from mmpipe.external.pin import PIN_NAME, Pin, parse_pin, pin_name
from mmpipe.external.source import Drift, ExternalSource, find_drift
from mmpipe.features.pinned import PinnedFeature
from mmpipe.io import (
    StorePath,
    canonical_json,
    make_directory,
    put_if_absent,
    remove_file,
    replace_bytes,
    write_durable,
)
from mmpipe.store.layout import DatasetLayout, StoreLayout
from mmpipe.types import FeatureSchema

VERSION = 1  # of every external feature: another shape is another name


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPin:
    """A pin and its number."""

    number: int
    pin: Pin


def registered_names(layout: StoreLayout, corpus: str) -> tuple[str, ...]:
    """Return the names under which datasets of other teams were registered for a corpus."""
    paths = (layout.root / corpus).glob(f"*@{VERSION}/external-*.json")
    return tuple(sorted({path.parent.name.rpartition("@")[0] for path in paths if PIN_NAME.fullmatch(path.name)}))


def read_pins(layout: StoreLayout, corpus: str, name: str) -> tuple[StoredPin, ...]:
    """Return the pins of a name, oldest first; none where it was never registered."""
    return tuple(_read(path) for path in _pin_paths(_dataset(layout, corpus, name)))


def newest_pin(layout: StoreLayout, corpus: str, name: str) -> StoredPin | None:
    """Return the pin that counts."""
    paths = _pin_paths(_dataset(layout, corpus, name))
    return _read(paths[-1]) if paths else None


def put_pin(layout: StoreLayout, corpus: str, name: str, stored: StoredPin) -> None:
    """Keep a pin durably; TransientError where somebody else took the number meanwhile."""
    root = make_directory(_dataset(layout, corpus, name).root)
    staged = make_directory(layout.staging) / f"pin-{uuid.uuid4().hex}.json"
    try:
        write_durable(staged, stored.pin.to_bytes())
        if not put_if_absent(staged, root / pin_name(stored.number)):
            raise TransientError(f"{name} was registered by somebody else meanwhile. See: mmpipe feature ls")
    finally:
        remove_file(staged)


def find_pinned(layout: StoreLayout, corpus: str, name: str, pin_sha256: str = "") -> PinnedFeature | None:
    """Return an external feature in the form of an extractor, of its newest pin or of a certain one.

    None where the name is none, or never had that pin.
    """
    if pin_sha256:
        stored = next((found for found in read_pins(layout, corpus, name) if found.pin.digest == pin_sha256), None)
    else:
        stored = newest_pin(layout, corpus, name)
    if stored is None:
        return None
    return PinnedFeature(name=name, schema=schema_of(stored.pin), pin_sha256=stored.pin.digest)


def schema_of(pin: Pin) -> FeatureSchema:
    """Return what the copied values look like."""
    return FeatureSchema(
        feature=pin.feature,
        modality=pin.modality,
        kind=pin.shape.kind,
        dim=pin.shape.dim,
        description=f"Published by another team at {pin.uri}; copied as it was when it was pinned.",
    )


def drift_of(layout: StoreLayout, corpus: str, stored: StoredPin) -> Drift | None:
    """Say how their files differ now from the pinned ones, if they do."""
    stamps = _read_stamps(_stamps_path(layout, corpus, stored))
    pin = stored.pin
    drift, seen = find_drift(ExternalSource(pin.uri), pin.files, suffixes_of(pin.selection), stamps)
    if seen and seen != stamps:
        with suppress(OSError):  # a store that may only be read costs another look, no more
            note_stamps(layout, corpus, stored, seen)
    return drift


def note_stamps(layout: StoreLayout, corpus: str, stored: StoredPin, stamps: dict[str, str]) -> None:
    """Remember when their files were last found as pinned: clock times, so it lies among the runs."""
    path = _stamps_path(layout, corpus, stored)
    make_directory(path.parent)
    replace_bytes(path, canonical_json({"pin": stored.pin.digest, "stamps": stamps}))


def held_features(layout: StoreLayout, corpus: str, wanted: Container[str]) -> dict[str, Drift]:
    """Return which of some features are held: their pinned files are not there as they were.

    Nothing is taken over by itself: what is copied stays, and whoever knows the other team decides.
    """
    names = [name for name in registered_names(layout, corpus) if f"{name}@{VERSION}" in wanted]
    pins = [stored for name in names if (stored := newest_pin(layout, corpus, name))]
    return {stored.pin.feature: drift for stored in pins if (drift := drift_of(layout, corpus, stored))}


def _dataset(layout: StoreLayout, corpus: str, name: str) -> DatasetLayout:
    return layout.dataset(corpus, f"{name}@{VERSION}")


def _pin_paths(dataset: DatasetLayout) -> list[StorePath]:
    return sorted(path for path in dataset.root.glob("external-*.json") if PIN_NAME.fullmatch(path.name))


def _read(path: StorePath) -> StoredPin:
    found = PIN_NAME.fullmatch(path.name)
    assert found
    return StoredPin(number=int(found[1]), pin=_parse(path.read_bytes(), str(path)))


_parse = lru_cache(maxsize=8)(parse_pin)  # the ledger asks for the same few again and again


def _stamps_path(layout: StoreLayout, corpus: str, stored: StoredPin) -> StorePath:
    return layout.runs / "external" / corpus / f"{stored.pin.feature}-{stored.number:06d}.json"


def _read_stamps(path: StorePath) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_bytes())["stamps"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
