from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mmpipe.engine.engine import Engine
from mmpipe.engine.inline import InlineEngine
from mmpipe.engine.local import LocalEngine
from mmpipe.engine.work import Event, WorkItem
from mmpipe.errors import TransientError

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))


def story(engine: Engine, function: str, payload: object) -> tuple:
    """Return all that a caller sees of one item, without what is bound to processes."""
    events: list[Event] = []
    with engine:
        (outcome,) = engine.run(function, [WorkItem(name="a", payload=payload, timeout_s=30)], events.append)
    failure = outcome.failure and (outcome.failure.code, outcome.failure.part, outcome.failure.detail.split("\n")[-2:])
    return outcome.result, failure, [event for event in events if event.kind != "started"]


@pytest.mark.parametrize(
    ("function", "payload"),
    [
        ("echo", b"data"),
        ("work", [("a/0", "fine"), ("a/1", "refuse")]),
        ("work", [("a/0", "fine"), ("a/1", "crash")]),
        ("not_bytes", None),
        ("absent", None),
    ],
)
def test_tells_the_same_story_as_the_engine_with_processes(function: str, payload: object) -> None:
    inline, local = (
        story(engine, f"faulty_work:{function}", payload) for engine in (InlineEngine(), LocalEngine(1, 1 << 30))
    )
    assert inline == local


def test_set_up_is_called_once_and_lazily() -> None:
    import faulty_work

    before = faulty_work.setups
    engine = InlineEngine(worker_setup="faulty_work:count_setup")
    items = [WorkItem(name=str(number), payload=b"", timeout_s=30) for number in range(3)]
    assert list(engine.run("faulty_work:echo", [])) == [] and faulty_work.setups == before
    assert [outcome.name for outcome in engine.run("faulty_work:echo", items)] == ["0", "1", "2"]
    assert faulty_work.setups == before + 1


def test_a_payload_that_cannot_travel_raises_here_too() -> None:
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        list(InlineEngine().run("faulty_work:echo", [WorkItem(name="a", payload=lambda: None, timeout_s=30)]))


def test_cancel_raises_at_the_next_item() -> None:
    engine = InlineEngine()
    items = [WorkItem(name=str(number), payload=b"", timeout_s=30) for number in range(3)]
    outcomes = engine.run("faulty_work:echo", items)
    next(outcomes)
    engine.cancel()
    with pytest.raises(TransientError, match="cancelled"):
        next(outcomes)
