"""Check everything that the registry keeps: versions against their sums, the aliases against the log of moves."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

from mmpipe.errors import ConfigError, StoreError
from mmpipe.io import canonical_json
from mmpipe.registry.aliases import line_fault, read_aliases
from mmpipe.registry.bucket import event_numbers, event_path
from mmpipe.registry.moves import aliases_to_bytes, move_of
from mmpipe.registry.oldmoves import is_unsigned
from mmpipe.registry.signature import parse_signature, signature_fault, signature_files
from mmpipe.registry.sums import SUMS_NAME
from mmpipe.registry.versions import Version, extra_files, list_versions_loosely, verify_published
from mmpipe.remote import RemotePath

Fault = tuple[str, Path, str]  # code, path, detail


def verify_models(models_root: Path) -> Iterator[Fault]:
    """Yield what is wrong with any model."""
    for model in sorted(path for path in models_root.glob("*") if path.is_dir()):
        for path, opened in list_versions_loosely(models_root, model.name):
            try:
                version = opened()
                for name in extra_files(version):
                    yield "unexpected_file", path / name, "it was not published with the version"
                verify_published(version)
                yield from _verify_signatures(version)
            except (StoreError, ConfigError) as error:
                yield "version_damaged", path, str(error)
            except (ValueError, KeyError, TypeError) as error:
                yield "version_damaged", path, f"its version.json is not what was published: {error}"
        yield from _verify_moves(models_root, model.name)


def _verify_signatures(version: Version) -> Iterator[Fault]:
    """Check each signature over the sums as they are; one over sums of before a redaction is a record of then."""
    sums = (version.path / SUMS_NAME).read_bytes()
    now = hashlib.sha256(sums).hexdigest()
    known = {now, version.digest, *(version.redaction.sums if version.redaction else ())}
    can_verify = importlib.util.find_spec("cryptography") is not None
    for path in signature_files(version):
        try:
            found = parse_signature(path.read_bytes(), path)
        except StoreError as error:
            yield "signature_damaged", path, str(error)
            continue
        if found.sums_sha256 not in known:
            yield "signature_damaged", path, "it is over the sums of another version"
        elif found.sums_sha256 == now and can_verify and (fault := signature_fault(found, sums)):
            yield "signature_damaged", path, fault


def _verify_moves(models_root: Path, name: str) -> Iterator[Fault]:
    """Check that each line of the log is as written, that none is missing, and that the last one is in the aliases."""
    if isinstance(models_root, RemotePath) and event_numbers(models_root / name):
        yield from _verify_far_moves(models_root / name)
        return
    log, truth = models_root / name / "events.jsonl", models_root / name / "aliases.json"
    lines = log.read_bytes().split(b"\n") if log.exists() else [b""]
    if lines.pop():
        yield "events_torn", log, "its last line was never finished; the next move finishes it"
    last: dict[str, object] = {}
    for number, line in enumerate(lines, start=1):
        if fault := line_fault(line, number):
            yield "events_unsigned" if is_unsigned(line) else "events_damaged", log, f"line {number} {fault}"
            return
        last = json.loads(line)
    try:
        aliases = read_aliases(models_root, name)
    except StoreError as error:
        yield "aliases_damaged", truth, str(error)
        return
    if not truth.exists():
        if lines:
            yield "aliases_missing", truth, f"the log knows {len(lines)} moves"
        return
    if canonical_json(json.loads(truth.read_bytes())) != truth.read_bytes():
        yield "aliases_damaged", truth, "it is not what was written"
    elif not len(lines) <= aliases.revision <= len(lines) + 1:
        yield "events_damaged", log, f"it has {len(lines)} moves, the aliases are at {aliases.revision}"
    elif lines and aliases.revision == len(lines) and json.loads(truth.read_bytes()) != _aliases_after(last):
        yield "aliases_damaged", truth, "it is not what the last line of events.jsonl says"


def _verify_far_moves(model: RemotePath) -> Iterator[Fault]:
    """Check that each move is as it was made and that none is missing; what is made from them is looked at last."""
    numbers = event_numbers(model)
    for number, wanted in zip(numbers, range(numbers[0], numbers[0] + len(numbers)), strict=True):
        path = event_path(model, number)
        if number != wanted:
            yield "events_damaged", event_path(model, wanted), "this move is missing"
            return
        if fault := line_fault(path.read_bytes().removesuffix(b"\n"), number):
            yield "events_damaged", path, f"it {fault}"
            return
    last, truth = move_of(event_path(model, numbers[-1]).read_bytes()), model / "aliases.json"
    if numbers[0] > 1 and not truth.exists():
        yield "events_damaged", event_path(model, 1), "this move is missing"
    elif not truth.is_file() or truth.read_bytes() != aliases_to_bytes(last):
        yield "aliases_damaged", truth, "it is not what the last move says; the next move writes it anew"


def _aliases_after(event: dict[str, object]) -> dict[str, object]:
    move = {key: value for key, value in event.items() if key not in ("when", "checksum")}
    return {"format": 1, "revision": move["revision"], "aliases": move["after"], "last_move": move}
