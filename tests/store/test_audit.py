from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from mmpipe.errors import StoreError
from mmpipe.store.audit import AuditEvent, append_event, find_audit_faults, read_events, this_person
from mmpipe.store.layout import StoreLayout, create_store


@pytest.fixture
def layout(fast_path: Path) -> StoreLayout:
    layout = create_store(fast_path / "store")
    for subject in ("one", "two", "three"):
        append_event(layout, "gc", subject, "a reason", {"bytes": 3}, result="abc")
    return layout


def test_says_what_who_when_and_why(layout: StoreLayout) -> None:
    first, second, _ = read_events(layout)
    assert (first.kind, first.subject, first.reason, first.facts, first.result) == (
        "gc",
        "one",
        "a reason",
        {"bytes": 3},
        "abc",
    )
    assert first.who == this_person() and "@" in first.who
    assert first.when.endswith("+00:00")
    assert (first.previous, second.previous) == ("", first.digest())
    assert not list(layout.staging.glob("audit*"))


def test_an_empty_log_is_no_fault(tmp_path: Path) -> None:
    layout = create_store(tmp_path / "store")
    assert read_events(layout) == ()
    assert not list(find_audit_faults(layout))


@pytest.mark.parametrize("number", [1, 2])
def test_a_changed_record_shows(layout: StoreLayout, number: int) -> None:
    path = layout.audit / f"{number:06d}.json"
    path.write_bytes(path.read_bytes().replace(b"a reason", b"a seas0n"))
    with pytest.raises(StoreError, match=f"{number:06d}.json, a record of the audit log, is damaged"):
        read_events(layout)
    assert [found.name for found, _ in find_audit_faults(layout)] == [f"{number:06d}.json"]


def test_a_record_that_was_written_anew_shows(layout: StoreLayout) -> None:
    path = layout.audit / "000002.json"
    path.write_bytes(replace(AuditEvent.from_bytes(path.read_bytes(), path.name), reason="another").to_bytes())
    with pytest.raises(StoreError, match=r"000003.json: the record before it"):
        read_events(layout)
    assert [found.name for found, _ in find_audit_faults(layout)] == ["000003.json"]


@pytest.mark.parametrize("number", [1, 2])
def test_a_missing_record_shows(layout: StoreLayout, number: int) -> None:
    (layout.audit / f"{number:06d}.json").unlink()
    with pytest.raises(StoreError, match=f"record {number} of the audit log is missing"):
        read_events(layout)
    assert list(find_audit_faults(layout))


def test_a_damaged_record_shows(layout: StoreLayout) -> None:
    path = layout.audit / "000003.json"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(StoreError, match=r"000003.json, a record of the audit log, is damaged"):
        read_events(layout)
    assert [found.name for found, _ in find_audit_faults(layout)] == ["000003.json"]


def test_swapped_records_show(layout: StoreLayout) -> None:
    one, two = layout.audit / "000001.json", layout.audit / "000002.json"
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)
    assert list(find_audit_faults(layout))


def test_many_writers_lose_no_event(layout: StoreLayout) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: append_event(layout, "promote", str(number), ""), range(20)))
    events = read_events(layout)
    assert sorted(event.subject for event in events[3:]) == sorted(map(str, range(20)))
    assert json.loads((layout.audit / "000023.json").read_bytes())["number"] == 23
