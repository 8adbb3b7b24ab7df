from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmpipe.engine.local import LocalEngine
from mmpipe.engine.work import Event, Outcome, WorkItem
from mmpipe.errors import ConfigError, TransientError

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:  # workers get our sys.path, and find faulty_work by it
    sys.path.insert(0, str(HERE))

MEMORY_BYTES = 200 << 20


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    with LocalEngine(2, MEMORY_BYTES, worker_setup="faulty_work:count_setup") as engine:
        yield engine


def item(name: str, *actions: str, timeout_s: float = 30) -> WorkItem:
    """Return an item whose parts are named after it: a/0, a/1, ..."""
    payload = [(f"{name}/{number}", action) for number, action in enumerate(actions)]
    return WorkItem(name=name, payload=payload, timeout_s=timeout_s)


def run(engine: LocalEngine, *items: WorkItem, function: str = "faulty_work:work") -> dict[str, Outcome]:
    outcomes = list(engine.run(function, items))
    assert sorted(outcome.name for outcome in outcomes) == sorted(item.name for item in items)
    return {outcome.name: outcome for outcome in outcomes}


def answer(outcome: Outcome) -> dict:
    assert outcome.failure is None and outcome.result is not None
    return json.loads(outcome.result)


def wait_until(true: Callable[[], bool], limit_s: float = 10) -> None:
    deadline_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children() -> set[int]:
    """Return all processes that call this one their parent, zombies too."""
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1] == str(os.getpid()):
                found.add(int(name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


# --------------------------------------------------------------------------- good work


def test_every_item_has_one_outcome_and_workers_are_kept(engine: LocalEngine) -> None:
    first = run(engine, *(item(f"i{number}", "fine", "fine") for number in range(50)))
    second = run(engine, *(item(f"i{number}", "fine") for number in range(50)))
    answers = [answer(outcome) for outcome in (*first.values(), *second.values())]
    assert len({done["pid"] for done in answers}) <= 2
    assert {done["setups"] for done in answers} == {1}
    assert answer(first["i7"])["done"] == ["i7/0", "i7/1"]


def test_large_payloads_and_results_come_through(engine: LocalEngine) -> None:
    payload = os.urandom(5_000_000)
    outcomes = run(engine, WorkItem(name="a", payload=payload, timeout_s=30), function="faulty_work:echo")
    assert outcomes["a"].result == payload


def test_nothing_to_do_starts_nothing() -> None:
    with LocalEngine(2, MEMORY_BYTES) as engine:
        before = children()
        assert list(engine.run("faulty_work:work", [])) == []
        assert children() == before


def test_threads_share_an_engine_and_get_their_own(engine: LocalEngine) -> None:
    found: dict[str, dict[str, Outcome]] = {}

    def task(name: str) -> None:
        found[name] = run(engine, *(item(f"{name}{number}", "fine") for number in range(40)))

    threads = [threading.Thread(target=task, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found) == ["a", "b", "c", "d"]
    assert all(len(outcomes) == 40 for outcomes in found.values())


def test_events_tell_the_story_in_the_callers_thread(engine: LocalEngine) -> None:
    events: list[Event] = []
    threads = set()

    def note(event: Event) -> None:
        events.append(event)
        threads.add(threading.get_ident())

    list(engine.run("faulty_work:work", [item("a", "fine", "abort", "fine")], note))
    assert threads == {threading.get_ident()}
    assert [(event.kind, event.text) for event in events if event.kind != "started"] == [
        ("part", "a/0"), ("part", "a/1"), ("died", "worker_killed: the worker was killed by SIGABRT"),
        ("part", "a/0"), ("part", "a/1"), ("died", "worker_killed: the worker was killed by SIGABRT"),
        ("poisoned", "a/1"),
        ("part", "a/0"), ("part", "a/2"),
    ]  # fmt: skip


# --------------------------------------------------------------------------- parts that end their worker


@pytest.mark.parametrize(
    ("action", "code", "detail"),
    [
        ("segfault", "worker_killed", "the worker was killed by SIGSEGV"),
        ("exit", "worker_killed", "the worker ended with exit code 0 and without a result"),
        ("sys_exit", "worker_killed", "the worker ended with exit code 0 and without a result"),
        ("hang", "timeout", "no report for 0.6 s"),
        ("sleep", "timeout", "no report for 0.6 s"),
        ("allocate", "memory", f"more than {MEMORY_BYTES} bytes resident"),
        ("allocate_in_child", "memory", f"more than {MEMORY_BYTES} bytes resident"),
        ("starve", "memory", "the worker ran into MemoryError"),
    ],
)
def test_a_deadly_part_is_left_out_and_neighbours_are_unaffected(
    engine: LocalEngine, action: str, code: str, detail: str
) -> None:
    timeout_s = 0.6 if code == "timeout" else 30
    bad = item("bad", "fine", action, "fine", timeout_s=timeout_s)
    good = [item(f"good{number}", "fine", "fine") for number in range(10)]
    outcomes = run(engine, *good[:5], bad, *good[5:])
    assert answer(outcomes["bad"])["done"] == ["bad/0", "bad/2"]
    assert answer(outcomes["bad"])["left_out"] == {"bad/1": code}
    (poisoned,) = outcomes["bad"].poisoned
    assert (poisoned.part, poisoned.code, poisoned.detail) == ("bad/1", code, detail)
    for neighbour in good:
        assert answer(outcomes[neighbour.name])["done"] == [f"{neighbour.name}/0", f"{neighbour.name}/1"]
        assert outcomes[neighbour.name].poisoned == ()


def test_several_deadly_parts_are_found_one_by_one(engine: LocalEngine) -> None:
    outcome = run(engine, item("a", "exit", "fine", "abort", "starve", "fine"))["a"]
    assert answer(outcome)["done"] == ["a/1", "a/4"]
    assert [(poison.part, poison.code) for poison in outcome.poisoned] == [
        ("a/0", "worker_killed"),
        ("a/2", "worker_killed"),
        ("a/3", "memory"),
    ]


def test_the_timeout_counts_from_report_to_report(engine: LocalEngine) -> None:
    outcome = run(engine, item("a", *["nap"] * 8, timeout_s=1))["a"]  # 1.6 s in all
    assert len(answer(outcome)["done"]) == 8 and outcome.poisoned == ()


def test_one_death_may_be_chance(engine: LocalEngine, tmp_path: Path) -> None:
    once = WorkItem(name="a", payload=str(tmp_path / "marker"), timeout_s=30)
    outcome = run(engine, once, function="faulty_work:die_once")["a"]
    assert outcome.result == b"second time lucky" and outcome.poisoned == ()


@pytest.mark.parametrize("function", ["die_before_any_part", "die_between_parts"])
def test_two_deaths_outside_any_part_fail_the_item(engine: LocalEngine, function: str) -> None:
    outcome = run(engine, WorkItem(name="a", payload=None, timeout_s=30), function=f"faulty_work:{function}")["a"]
    assert outcome.result is None and outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.part) == ("worker_killed", "")
    assert outcome.failure.detail == "the worker ended with exit code 7 and without a result"


def test_a_function_that_does_not_leave_out_poison_fails_and_does_not_loop(engine: LocalEngine) -> None:
    outcome = run(engine, WorkItem(name="a", payload=None, timeout_s=30), function="faulty_work:ignore_poison")["a"]
    assert outcome.failure is not None and outcome.failure.part == "a"
    assert outcome.failure.detail == "the worker was killed by SIGKILL"
    assert [poison.part for poison in outcome.poisoned] == ["a"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 64,
        b"\x05" + b"\xff" * 8,
        b"\x06" + (2).to_bytes(8, "big") + b"[]",
        b"\x03" + bytes(8),
        b"\x02" + bytes(8),
    ],
    ids=["no frame", "no length", "no failure", "ready twice", "a task for the parent"],
)
def test_a_worker_that_speaks_garbage_is_lost_like_a_dead_one(engine: LocalEngine, garbage: bytes) -> None:
    outcome = run(engine, WorkItem(name="a", payload=garbage, timeout_s=30), function="faulty_work:speak_garbage")["a"]
    assert outcome.failure is not None and outcome.failure.code == "worker_killed"
    assert [poison.part for poison in outcome.poisoned] == ["a"]


def test_a_worker_killed_while_idle_is_replaced(engine: LocalEngine) -> None:
    pids = {answer(outcome)["pid"] for outcome in run(engine, *(item(f"i{n}", "fine") for n in range(20))).values()}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not is_alive(pid))
    events: list[Event] = []
    outcomes = list(engine.run("faulty_work:work", [item(f"i{n}", "fine") for n in range(20)], events.append))
    assert pids.isdisjoint(answer(outcome)["pid"] for outcome in outcomes)
    assert "died" not in {event.kind for event in events}  # no item pays for it


# --------------------------------------------------------------------------- exceptions


def test_our_errors_come_back_by_class_and_text(engine: LocalEngine) -> None:
    failure = run(engine, item("a", "fine", "refuse"))["a"].failure
    assert failure is not None
    assert (failure.code, failure.detail, failure.part) == ("SampleError", "bad_sample: the sample is bad", "a/1")


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("faulty_work:work", "ZeroDivisionError: a fault of the programmer"),
        ("faulty_work:absent", "has no attribute 'absent'"),
        ("absent_module:work", "No module named 'absent_module'"),
        ("faulty_work:not_bytes", "TypeError: faulty_work:not_bytes must return bytes, not dict"),
    ],
)
def test_other_exceptions_come_back_with_their_traceback(engine: LocalEngine, function: str, text: str) -> None:
    outcomes = run(engine, item("a", "crash"), function=function)
    failure = outcomes["a"].failure
    assert failure is not None and failure.code == "crashed"
    assert text in failure.detail and "Traceback" in failure.detail


def test_a_payload_that_cannot_travel_raises(engine: LocalEngine) -> None:
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        run(engine, WorkItem(name="a", payload=lambda: None, timeout_s=30))
    run(engine, item("a", "fine"))


# --------------------------------------------------------------------------- start and surroundings


@pytest.mark.parametrize(
    ("setup", "error", "text"),
    [
        ("refuse_setup", ConfigError, "faulty_work:refuse_setup, failed: no_model: there is no model here"),
        ("crash_setup", RuntimeError, "ZeroDivisionError: in set-up"),
        ("absent", RuntimeError, "has no attribute 'absent'"),
        (
            "die_in_setup",
            TransientError,
            "could not start: the worker ended with exit code 3 and without a result; then",
        ),
    ],
)
def test_a_set_up_that_fails_raises(setup: str, error: type[Exception], text: str) -> None:
    before = children()
    with LocalEngine(1, MEMORY_BYTES, worker_setup=f"faulty_work:{setup}") as engine, pytest.raises(error, match=text):
        run(engine, item("a", "fine"))
    assert children() == before


def test_surroundings_of_a_worker(tmp_path: Path) -> None:
    with LocalEngine(1, MEMORY_BYTES, log_folder=tmp_path) as engine:
        names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED", "PATH"]
        wish = WorkItem(name="a", payload=names, timeout_s=30)
        facts = answer(run(engine, wish, function="faulty_work:environment")["a"])
        run(engine, item("b", "segfault"))
    assert facts == {
        "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PATH": os.environ["PATH"],
        "stdin": "", "own_session": True,
    }  # fmt: skip
    log = (tmp_path / "worker-0.log").read_text()
    assert log.startswith("said on standard output\n") and "Segmentation fault" in log
    assert os.environ.get("PYTHONHASHSEED") != "0"


# --------------------------------------------------------------------------- ends


def test_cancel_from_another_thread_raises_and_kills() -> None:
    before = children()
    engine = LocalEngine(2, MEMORY_BYTES)
    started = []

    def cancel_when_running(event: Event) -> None:
        if event.kind == "started":
            started.append(int(event.text))
        if len(started) == 2:
            threading.Thread(target=engine.cancel).start()

    items = [item(f"i{number}", "hang", timeout_s=1000) for number in range(5)]
    with pytest.raises(TransientError, match="cancelled"):
        list(engine.run("faulty_work:work", items, cancel_when_running))
    wait_until(lambda: not any(is_alive(pid) for pid in started))
    with pytest.raises(TransientError, match="cancelled or closed"):
        list(engine.run("faulty_work:work", items))
    engine.close()
    engine.close()
    engine.cancel()
    assert children() == before


def test_cancel_from_a_signal_handler_reaches_a_waiting_run() -> None:
    engine = LocalEngine(1, MEMORY_BYTES)
    previous = signal.signal(signal.SIGUSR1, lambda *_: engine.cancel())

    def interrupt(event: Event) -> None:
        if event.kind == "part":
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()

    try:
        with engine, pytest.raises(TransientError, match="cancelled"):
            list(engine.run("faulty_work:work", [item("a", "sleep", timeout_s=1000)], interrupt))
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_close_leaves_no_process_behind() -> None:
    before = children()
    with LocalEngine(2, MEMORY_BYTES) as engine:
        run(engine, *(item(f"i{number}", "fine") for number in range(50)))
        assert 1 <= len(children() - before) <= 2
    assert children() == before


def test_an_abandoned_run_frees_its_workers(engine: LocalEngine) -> None:
    items = [item("fast", "fine"), *(item(f"i{number}", "sleep", timeout_s=1000) for number in range(6))]
    outcomes = engine.run("faulty_work:work", items)
    assert next(outcomes).name == "fast"
    outcomes.close()
    assert answer(run(engine, item("after", "fine"))["after"])["done"] == ["after/0"]


@pytest.mark.parametrize("action", ["segfault", "sleep", "fine"])
def test_what_a_worker_started_ends_with_it(tmp_path: Path, action: str) -> None:
    with LocalEngine(1, 1 << 30) as engine:
        payload = (str(tmp_path), action)
        run(engine, WorkItem(name="a", payload=payload, timeout_s=1), function="faulty_work:leave_children")
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 4
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_workers_die_with_a_killed_parent(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
from mmpipe.engine.local import LocalEngine
from mmpipe.engine.work import WorkItem
items = [WorkItem(name=str(n), payload=[("a", "hang")], timeout_s=1000) for n in range(4)]
tell = lambda event: print(event.kind, event.text, flush=True)
list(LocalEngine(2, 1 << 30).run("faulty_work:work", items, tell))
"""
    repository = HERE.parent.parent
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=repository) as parent:
        assert parent.stdout is not None
        lines = [parent.stdout.readline().split() for _ in range(4)]
        workers = [int(text) for kind, text in lines if kind == "started"]
        assert [kind for kind, _ in lines].count("part") == 2  # both are in their endless loop
        assert all(is_alive(pid) for pid in workers)
        parent.kill()
        parent.wait()
        wait_until(lambda: not any(is_alive(pid) for pid in workers))


def test_an_engine_that_nobody_closed_keeps_no_program_alive() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
from mmpipe.engine.local import LocalEngine
from mmpipe.engine.work import WorkItem
(outcome,) = LocalEngine(1, 1 << 30).run("faulty_work:work", [WorkItem(name="a", payload=[], timeout_s=10)])
import json; print(json.loads(outcome.result)["pid"])
"""
    # No guard for __main__ is needed: workers do not import the caller's script.
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=HERE.parent.parent, check=True
    )
    wait_until(lambda: not is_alive(int(done.stdout)))
