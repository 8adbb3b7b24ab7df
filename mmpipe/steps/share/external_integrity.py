"""Check the pins of other teams' datasets: each as it was written, none missing, and our copies made under one of them.

A pin has no checksum of its own. What vouches for its digest is the audit record of its registration, and every
manifest whose values were copied under it: the pin's digest is their fingerprint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from mmpipe.errors import StoreError
from mmpipe.external.pin import PIN_NAME, Pin, parse_pin, pin_name
from mmpipe.io import StorePath
from mmpipe.store.audit import read_events
from mmpipe.store.layout import DatasetLayout, StoreLayout
from mmpipe.store.revisions import list_revisions, read_manifest
from mmpipe.store.schema import read_schema

Fault = tuple[str, StorePath, str]  # code, path, detail
_KINDS = ("feature-add", "feature-refresh")


def find_pin_faults(layout: StoreLayout, corpora: Sequence[str]) -> Iterator[Fault]:
    """Yield what is wrong with the pins of some corpora."""
    registered = registered_pins(layout)
    for corpus in corpora:
        pinned = {path.parent.name for path in (layout.root / corpus).glob("*/external-*.json")}
        told = {subject.partition("/")[2] for subject in registered if subject.startswith(f"{corpus}/")}
        for name in sorted(pinned | told):
            yield from _verify_dataset(layout.dataset(corpus, name), registered.get(f"{corpus}/{name}", {}))


def registered_pins(layout: StoreLayout) -> dict[str, dict[int, str]]:
    """Return the digest of each pin that the audit log tells of, by CORPUS/FEATURE and number."""
    found: dict[str, dict[int, str]] = {}
    try:
        events = read_events(layout)
    except StoreError:
        return {}  # a finding of its own
    for event in events:
        number = event.facts.get("pin")
        if event.kind in _KINDS and isinstance(number, int):
            found.setdefault(event.subject, {})[number] = event.result
    return found


def pin_fault(dataset: DatasetLayout, number: int, data: bytes, registered: Mapping[int, str]) -> str:
    """Say why bytes are not the pin with a number, "" where nothing speaks against it."""
    try:
        pin = parse_pin(data, pin_name(number))
        if pin.to_bytes() != data:
            return "it is not what was written"
    except StoreError as error:
        return str(error)
    if registered.get(number, pin.digest) != pin.digest:
        return "it is not the pin that the audit log says was registered"
    return _stranger(dataset, pin)


def _stranger(dataset: DatasetLayout, pin: Pin) -> str:
    """Say why a pin cannot be of a dataset."""
    if pin.feature != dataset.name:
        return f"it is a pin of {pin.feature}"
    try:
        schema = read_schema(dataset)
    except StoreError:
        return ""  # a finding of its own, or nothing is copied yet
    wanted = (schema.modality, schema.kind, schema.dim)
    said = (pin.modality, pin.shape.kind, pin.shape.dim)
    return "" if said == wanted else f"it speaks of {said}, the copied values are {wanted}"


def _verify_dataset(dataset: DatasetLayout, registered: Mapping[int, str]) -> Iterator[Fault]:
    paths = {
        int(match[1]): path for path in dataset.root.glob("external-*.json") if (match := PIN_NAME.fullmatch(path.name))
    }
    digests: dict[int, str] = {}
    is_whole = True
    for number in range(1, max([*paths, *registered], default=0) + 1):
        path = dataset.root / pin_name(number)
        if number not in paths:
            yield "pin_missing", path, "it was registered, and values may rest on it"
            is_whole = False
            continue
        data = path.read_bytes()
        if fault := pin_fault(dataset, number, data, registered):
            yield "pin_damaged", path, fault
            is_whole = False
        else:
            digests[number] = parse_pin(data, str(path)).digest
    if is_whole and paths:  # else the fault is named already
        yield from _verify_copies(dataset, digests, registered)


def _verify_copies(
    dataset: DatasetLayout, digests: Mapping[int, str], registered: Mapping[int, str]
) -> Iterator[Fault]:
    """Check that every revision's values were copied under one of the pins; blame those that nothing vouches for."""
    copied = copied_under(dataset)
    if strangers := sorted(copied.keys() - set(digests.values())):
        where = copied[strangers[0]]
        blamed = [number for number, digest in digests.items() if number not in registered and digest not in copied]
        for number in blamed or [max(digests)]:
            yield (
                "pin_damaged",
                dataset.root / pin_name(number),
                f"{where} was copied under {strangers[0]}, which is no pin",
            )


def copied_under(dataset: DatasetLayout) -> dict[str, str]:
    """Return the pins' digests under which values were copied, and where each was met first."""
    found: dict[str, str] = {}
    for partition in dataset.partitions():
        for number in list_revisions(dataset, partition):
            with suppress(StoreError):  # a finding of its own
                found.setdefault(
                    read_manifest(dataset, partition, number).fingerprint, f"revision {number} of {partition}"
                )
    return found


def vouched_fault(dataset: DatasetLayout, number: int, data: bytes, registered: Mapping[int, str]) -> str:
    """Say why bytes from elsewhere are not to be taken for a pin: here, something must vouch for their digest."""
    if fault := pin_fault(dataset, number, data, registered):
        return fault
    if number in registered or parse_pin(data, pin_name(number)).digest in copied_under(dataset):
        return ""
    return "neither the audit log nor a manifest here speaks of it"
