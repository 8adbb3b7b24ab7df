from __future__ import annotations

import json
import multiprocessing
import os
from itertools import pairwise
from pathlib import Path

import pytest

from mmpipe.errors import ConfigError, GateRefused, StoreError, TransientError
from mmpipe.registry.aliases import (
    Aliases,
    find_version,
    nominate,
    parse_reference,
    promote,
    read_aliases,
    read_events,
    rollback,
)
from mmpipe.registry.versions import publish_version

NAME = "digits"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a folder with three versions, the third refused."""
    for number, status in enumerate(("candidate", "candidate", "refused"), start=1):
        verdict = json.dumps({"sentence": f"sentence {number}"}).encode()
        files = {"model.safetensors": b"%d" % number, "verdict.json": verdict}
        publish_version(tmp_path, NAME, files, status=status, recipe_digest="r")
    return tmp_path


def label(models: Path, number: int) -> str:
    return find_version(models, NAME, str(number)).label


def test_promote_and_roll_back(models: Path) -> None:
    assert read_aliases(models, NAME) == Aliases()
    nominate(models, NAME, "1", why="passed the gate", who="nightly")
    promote(models, NAME, "candidate", why="first")
    promote(models, NAME, "2", why="better", who="ann")
    aliases = read_aliases(models, NAME)
    assert (aliases.candidate, aliases.production, aliases.previous) == (
        label(models, 1),
        label(models, 2),
        label(models, 1),
    )
    assert find_version(models, NAME, "production").number == 2
    rollback(models, NAME, why="slower")
    aliases = read_aliases(models, NAME)
    assert (aliases.production, aliases.previous) == (label(models, 1), "")
    with pytest.raises(ConfigError, match="no previous version"):
        rollback(models, NAME, why="again")
    events = read_events(models, NAME)
    assert [(event["revision"], event["action"]) for event in events] == [
        (1, "nominate"),
        (2, "promote"),
        (3, "promote"),
        (4, "rollback"),
    ]
    assert events[2]["who"] == "ann" and events[2]["why"] == "better" and events[2]["when"].endswith("+00:00")
    assert events[2]["before"]["production"] == label(models, 1)


def test_promoting_what_is_in_production_moves_nothing(models: Path) -> None:
    first = promote(models, NAME, "1", why="first")
    assert promote(models, NAME, "1", why="again") == first and len(read_events(models, NAME)) == 1


def test_a_refused_version_needs_force_and_leaves_a_trace(models: Path) -> None:
    with pytest.raises(GateRefused, match=r"sentence 3.*--force"):
        promote(models, NAME, "3", why="please")
    with pytest.raises(GateRefused, match="cannot be a candidate"):
        nominate(models, NAME, "3", why="please")
    assert read_events(models, NAME) == ()
    assert promote(models, NAME, "3", why="demo", force=True).production == label(models, 3)
    assert read_events(models, NAME)[0]["forced"] is True
    promote(models, NAME, "1", why="ordinary", force=True)
    assert read_events(models, NAME)[1]["forced"] is False


def test_a_damaged_version_is_neither_found_nor_promoted(models: Path) -> None:
    version = find_version(models, NAME, "1")
    (version.path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(StoreError, match="damaged"):
        promote(models, NAME, "1", why="x")
    assert find_version(models, NAME, "1", verify=False) == version


def test_the_aliases_must_be_those_one_decided_on(models: Path) -> None:
    seen = read_aliases(models, NAME)
    promote(models, NAME, "1", why="somebody was faster")
    with pytest.raises(TransientError, match="moved meanwhile"):
        promote(models, NAME, "2", why="decided before", expected=seen)
    promote(models, NAME, "2", why="decided again", expected=read_aliases(models, NAME))


def test_promotes_from_many_processes_make_one_chain(models: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_promote_in_turn, args=(models, start)) for start in (1, 2, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    events, aliases = read_events(models, NAME), read_aliases(models, NAME)
    assert [event["revision"] for event in events] == list(range(1, len(events) + 1))
    assert all(after["before"] == before["after"] for before, after in pairwise(events))
    assert events[-1]["after"] == aliases.names and aliases.revision == len(events) >= 10
    assert {aliases.production, aliases.previous} == {label(models, 1), label(models, 2)}


def _promote_in_turn(models: Path, start: int) -> None:
    for turn in range(10):
        promote(models, NAME, str(1 + (start + turn) % 2), why=f"turn {turn}")


def test_a_mover_that_dies_before_its_line_loses_nothing(models: Path) -> None:
    promote(models, NAME, "1", why="first")
    process = multiprocessing.get_context("spawn").Process(target=_promote_and_die, args=(models,))
    process.start()
    process.join()
    assert process.exitcode == -9
    assert read_aliases(models, NAME).production == label(models, 2) and len(read_events(models, NAME)) == 1
    with open(models / NAME / "events.jsonl", "ab") as file:
        file.write(b'{"torn')
    rollback(models, NAME, why="back")
    events = read_events(models, NAME)
    assert [(event["action"], event["why"]) for event in events] == [
        ("promote", "first"),
        ("promote", "fatal"),
        ("rollback", "back"),
    ]
    assert events[1]["when"] == ""


def _promote_and_die(models: Path) -> None:
    os.environ["MMPIPE_FAULT"] = "fsync:2:kill"  # the first is of the bytes, the second of the folder after the rename
    promote(models, NAME, "2", why="fatal")


@pytest.mark.parametrize(
    ("text", "name", "ref"),
    [("digits", "digits", "production"), ("digits@3", "digits", "3"), ("digits@3-0a1b2c3d", "digits", "3-0a1b2c3d")],
)
def test_references(text: str, name: str, ref: str) -> None:
    reference = parse_reference(text)
    assert (reference.name, reference.ref) == (name, ref)


@pytest.mark.parametrize("text", ["", "@1", "digits@", "digits@1@2"])
def test_bad_references(text: str) -> None:
    with pytest.raises(ConfigError, match="NAME@production"):
        parse_reference(text)


def test_an_alias_that_points_nowhere_says_how_to_set_it(models: Path) -> None:
    with pytest.raises(ConfigError, match="mmpipe models promote digits@NUMBER"):
        find_version(models, NAME, "production")
    (models / NAME / "aliases.json").write_text("{")
    with pytest.raises(StoreError, match=r"aliases\.json is damaged"):
        read_aliases(models, NAME)
