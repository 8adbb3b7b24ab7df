from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmpipe.engine.local import LocalEngine
from mmpipe.engine.work import Event, SaidLine, WorkItem
from mmpipe.engine.worker_log import (
    MOST_LETTERS,
    MOST_OF_ITEM,
    MOST_OF_PART,
    LineCutter,
    LineLimit,
    mark_part,
    parse_line,
    tell,
)
from mmpipe.errors import TransientError

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:  # workers get our sys.path, and find talking_work by it
    sys.path.insert(0, str(HERE))
FUNCTION = "talking_work:talk"


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    with LocalEngine(1, 400 << 20, log_level=logging.WARNING) as engine:
        yield engine


def said(engine: LocalEngine, caplog: pytest.LogCaptureFixture, *ways: str) -> list[logging.LogRecord]:
    """The records of one item whose parts do what they are named after."""
    payload = [(way, way) for way in ways]
    with caplog.at_level(logging.DEBUG, "mmpipe.worker"):
        (outcome,) = engine.run(FUNCTION, [WorkItem(name="shard 7", payload=payload, timeout_s=60)])
    assert outcome.failure is None and outcome.result == b"done"
    return [record for record in caplog.records if record.name == "mmpipe.worker"]


def test_what_is_logged_and_warned_says_where_it_was(engine: LocalEngine, caplog: pytest.LogCaptureFixture) -> None:
    logged, wrong, warned = said(engine, caplog, "log", "log_wrongly", "warn")
    assert (logged.levelno, logged.shard, logged.clip, logged.origin) == (  # type: ignore[attr-defined]
        logging.WARNING, "shard 7", "log", "anybody.else"
    )  # fmt: skip
    assert logged.getMessage().startswith("shard 7, log: anybody.else: one of a")
    assert wrong.levelno == logging.ERROR and "is no number" in wrong.getMessage()
    assert warned.clip == "warn" and "UserWarning: this is deprecated by its maker" in warned.getMessage()  # type: ignore[attr-defined]


def test_what_is_said_cannot_forge_a_line(engine: LocalEngine, caplog: pytest.LogCaptureFixture) -> None:
    (record,) = said(engine, caplog, "log")
    assert record.getMessage().isprintable() and r"a\n2026-11-20" in record.getMessage()


def test_what_goes_to_the_terminal_is_heard(engine: LocalEngine, caplog: pytest.LogCaptureFixture) -> None:
    lines = [record.getMessage() for record in said(engine, caplog, "terminal", "terminal")]
    heard = [line.partition("output: ")[2] for line in lines]
    assert heard.count("said by a C library") == 2 and heard[0] == "said on standard output"
    assert heard.count("and without an end") == 2
    assert all(line.startswith("shard 7, terminal: output: ") for line in lines)


def test_nobody_is_drowned(engine: LocalEngine, caplog: pytest.LogCaptureFixture) -> None:
    records = said(engine, caplog, "flood", "log")
    origins = [record.origin for record in records]  # type: ignore[attr-defined]
    assert origins.count("loud") == MOST_OF_PART and 0 < origins.count("output") <= 2 * MOST_OF_PART
    assert "anybody.else" in origins, "what is rare is not lost beside it"
    assert max(len(record.getMessage()) for record in records) < MOST_LETTERS + 100
    assert "more lines were left out" in records[-1].getMessage()


def test_a_fork_of_a_worker_does_not_speak_for_it(engine: LocalEngine, caplog: pytest.LogCaptureFixture) -> None:
    assert not said(engine, caplog, "fork")


def test_what_a_worker_said_before_it_died_is_kept(engine: LocalEngine, caplog: pytest.LogCaptureFixture) -> None:
    lines = [record.getMessage() for record in said(engine, caplog, "log", "crash")]
    assert any("crash: output: last words" in line for line in lines)
    assert any("crash: crash: it begins to shake" in line for line in lines)
    assert any("Fatal Python error: Aborted" in line for line in lines), "where it was, as faulthandler says it"
    assert any("a worker was lost: worker_killed: the worker was killed by SIGABRT" in line for line in lines)
    assert any("left out" in line for line in lines)


def test_why_a_worker_cannot_start_is_in_the_error() -> None:
    item = WorkItem(name="shard 7", payload=[], timeout_s=60)
    said = r"It said at last: libmissing\.so: cannot open shared object file"
    with (
        LocalEngine(1, 400 << 20, "talking_work:complain_and_die", log_level=logging.WARNING) as broken,
        pytest.raises(TransientError, match=said),
    ):
        list(broken.run(FUNCTION, [item]))


def test_an_engine_that_is_not_asked_to_hears_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with LocalEngine(1, 400 << 20) as deaf:
        assert not said(deaf, caplog, "log", "terminal")


def test_the_limit_counts_parts_and_the_item() -> None:
    limit = LineLimit(most_of_part=2, most_of_item=5)
    wanted = [limit.wants(part) for part in "aaabbbccc"]
    assert wanted == [True, True, False, True, True, False, True, False, False]
    assert limit.num_left_out == 4 and MOST_OF_PART < MOST_OF_ITEM


def test_lines_are_cut_at_their_ends_and_where_they_get_too_long() -> None:
    cutter = LineCutter("token")
    assert cutter.feed(b"on") == [] and cutter.feed(b"e\r\n\n  \ntwo") == [("", "one")]
    assert cutter.feed(b"\xff\n") == [("", "two\\xff")]
    assert [len(line) for _, line in cutter.feed(b"x" * 5000)] == [MOST_LETTERS]
    assert cutter.feed(b"rest") == [] and cutter.rest() == [("", "rest")] and cutter.rest() == []


def test_a_line_belongs_to_the_part_that_it_was_printed_in_however_late_it_is_read() -> None:
    cutter = LineCutter("token")
    data = b"before" + mark_part("token", "a\nb") + b"one" + mark_part("token", "\u202ec") + b"two\n"
    data += mark_part("other", "x") + mark_part("token", "y" * 9000) + b"three"
    lines = [line for start in range(0, len(data), 7) for line in cutter.feed(data[start : start + 7])]
    assert [*lines, *cutter.rest()] == [
        ("", "before"),
        ("a\nb", "one"),
        ("\u202ec", "two"),
        ("\u202ec", 'other"x"'),
        ("y" * 100, "three"),
    ]
    assert cutter.feed(b'token"cut sh\nfour\n') == [("", "four")], "of no part is better than of a wrong one"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b'["30", "a", "b"]', b'[30, 1, "b"]', b"\xff", b"[" * 100_000, b'[true, "a", "b"]']
)
def test_what_is_no_line_is_none(body: bytes) -> None:
    assert parse_line(body, "part") is None


def test_a_line_is_bounded_on_this_side_too() -> None:
    line = parse_line(json.dumps([30, "o" * 9000, "t" * 9000]).encode(), "part")
    assert line is not None and len(line.text) == MOST_LETTERS and len(line.origin) == 100


def test_hostile_names_are_written_out(caplog: pytest.LogCaptureFixture) -> None:
    line = SaidLine(level=30, origin="o\n", text="t\n", part="p\n\u202e")
    with caplog.at_level(logging.DEBUG, "mmpipe.worker"):
        assert tell(Event(item="i\n", kind="said", text="", line=line))
        assert not tell(Event(item="i\n", kind="died", text="d\n"))
        assert not tell(Event(item="i", kind="part", text="p"))
    assert len(caplog.records) == 2
    assert all(record.getMessage().isprintable() for record in caplog.records)
