"""The audit log: who created, dropped, collected, promoted or forgot what, when and why; nothing in it ever changes.

STORE/_audit/000001.json   one record per event, put-if-absent; each names the sha256 of the one before, so that a
changed, swapped or missing record shows. Only the newest records can be taken away unseen: keep a copy elsewhere
of the newest digest (`mmpipe audit` prints it) where that matters.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import socket
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from mmpipe.errors import StoreError, TransientError
from mmpipe.io import StorePath, canonical_json, make_directory, put_if_absent, remove_file, write_durable
from mmpipe.store.layout import StoreLayout

MAX_ATTEMPTS = 100
_NAME = re.compile(r"\d{6}\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One thing that somebody did to the store."""

    number: int  # 1, 2, ... without gaps
    kind: str  # "snapshot-create", "snapshot-drop", "gc", "promote", "rollback", "forget", "compact", ...
    subject: str  # what it was done to, as a person would name it
    reason: str
    when: str  # UTC
    who: str  # user@host
    previous: str  # sha256 of the record before; "" for the first
    facts: Mapping[str, Any] = field(default_factory=dict)  # plain JSON values, for people
    result: str = ""  # digest of what came of it, where there is one
    format: int = 1

    def to_bytes(self) -> bytes:
        """Return the canonical JSON; `checksum` is over the rest, since nothing names the digest of the newest one."""
        table = asdict(self)
        return canonical_json({**table, "checksum": hashlib.sha256(canonical_json(table)).hexdigest()})

    def digest(self) -> str:
        """Return what the next record calls this one."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> AuditEvent:
        """Read canonical JSON; raise StoreError on anything else."""
        try:
            table = json.loads(data)
            del table["checksum"]
            event = cls(**table)
            if event.to_bytes() != data:
                raise ValueError("it is not what was written")
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{where}, a record of the audit log, is damaged: {error}") from error
        return event


def append_event(
    layout: StoreLayout, kind: str, subject: str, reason: str, facts: Mapping[str, Any] | None = None, result: str = ""
) -> AuditEvent:
    """Add a record to the log, durably, and return it; whoever adds at the same time gets another number."""
    for _ in range(MAX_ATTEMPTS):
        records = _record_paths(layout)
        event = AuditEvent(
            number=int(records[-1].stem) + 1 if records else 1,
            kind=kind,
            subject=subject,
            reason=reason,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            who=this_person(),
            previous=hashlib.sha256(records[-1].read_bytes()).hexdigest() if records else "",
            facts=dict(facts or {}),
            result=result,
        )
        if _put(layout, event):
            return event
    raise TransientError(f"the audit log {layout.audit} is written by many at once. Nothing is lost: run again.")


def read_events(layout: StoreLayout) -> tuple[AuditEvent, ...]:
    """Return the log, oldest first; StoreError where a record is missing, damaged or not the one that was written."""
    events = tuple(AuditEvent.from_bytes(path.read_bytes(), str(path)) for path in _record_paths(layout))
    for path, detail in _chain_faults(layout, events):
        raise StoreError(f"{path}: {detail}. Restore it from a copy of the store.")
    return events


def find_audit_faults(layout: StoreLayout) -> Iterator[tuple[StorePath, str]]:
    """Yield (path, what is wrong) for every record of the log that is not as it was written."""
    events = []
    for path in _record_paths(layout):
        try:
            events.append(AuditEvent.from_bytes(path.read_bytes(), path.name))
        except StoreError as error:
            yield path, str(error)
            return  # what follows names a digest that nobody can compute any more
    yield from _chain_faults(layout, tuple(events))


def this_person() -> str:
    """Return who is at work, as user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _record_paths(layout: StoreLayout) -> list[StorePath]:
    return sorted(path for path in layout.audit.glob("*.json") if _NAME.fullmatch(path.name))


def _chain_faults(layout: StoreLayout, events: tuple[AuditEvent, ...]) -> Iterator[tuple[StorePath, str]]:
    previous = ""
    for number, (path, event) in enumerate(zip(_record_paths(layout), events, strict=False), start=1):
        if event.number != number or int(path.stem) != number:
            yield path, f"record {number} of the audit log is missing or has another number"
            return
        if event.previous != previous:
            yield path, "the record before it in the audit log is not the one that was written"
        previous = event.digest()


def _put(layout: StoreLayout, event: AuditEvent) -> bool:
    temporary = make_directory(layout.staging) / f"audit-{uuid.uuid4().hex}.json"
    target = make_directory(layout.audit) / f"{event.number:06d}.json"
    try:
        write_durable(temporary, event.to_bytes())
        return put_if_absent(temporary, target)
    finally:
        remove_file(temporary)
