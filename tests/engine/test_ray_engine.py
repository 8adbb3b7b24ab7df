"""Items on a real Ray cluster of two nodes: as on one machine, whatever is lost."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from ray_nodes import HERE, REPOSITORY, RayNodes, free_port, is_alive, wait_until

from mmpipe.engine.local import LocalEngine
from mmpipe.engine.ray.cluster import RaySettings
from mmpipe.engine.ray.engine import RayEngine
from mmpipe.engine.work import Event, Outcome, WorkItem
from mmpipe.errors import ConfigError, TransientError

pytestmark = pytest.mark.slow

MEMORY_BYTES = 200 << 20
WORK = "faulty_work:work"
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="the extra mmpipe[ray] is not installed")


@pytest.fixture(scope="module")
def engine(ray_nodes: RayNodes) -> Iterator[RayEngine]:
    settings = RaySettings(address=ray_nodes.address, num_workers=2)
    with RayEngine(settings, MEMORY_BYTES, "faulty_work:count_setup", log_level=logging.WARNING) as engine:
        yield engine


def item(name: str, *actions: str, timeout_s: float = 60) -> WorkItem:
    payload = [(f"{name}/{number}", action) for number, action in enumerate(actions)]
    return WorkItem(name=name, payload=payload, timeout_s=timeout_s)


def story(outcome: Outcome) -> tuple:
    """What an outcome says but for the process that made it."""
    answer = json.loads(outcome.result) if outcome.result else {}
    failure = outcome.failure and (outcome.failure.code, outcome.failure.part)
    return outcome.name, answer.get("done"), answer.get("left_out"), failure, outcome.poisoned


def driver(code: str, path: Path = REPOSITORY) -> list[str]:
    """Return the command of another process with an engine."""
    head = f"import sys; sys.path[:0] = [{str(path)!r}, {str(HERE)!r}]\n"
    imports = (
        "from mmpipe.engine.ray.engine import RayEngine\n"
        "from mmpipe.engine.ray.cluster import RaySettings\n"
        "from mmpipe.engine.work import WorkItem\n"
        "from mmpipe.errors import MmpipeError\n"
    )
    return [sys.executable, "-P", "-c", head + imports + code]


# --------------------------------------------------------------------------- as on one machine


def test_what_a_worker_says_is_logged_by_the_driver(engine: RayEngine, caplog: pytest.LogCaptureFixture) -> None:
    payload = [("c1", "log"), ("c2", "terminal")]
    with caplog.at_level(logging.WARNING, "mmpipe.worker"):
        list(engine.run("talking_work:talk", [WorkItem(name="shard 7", payload=payload, timeout_s=60)]))
    told = [record.getMessage() for record in caplog.records if record.name == "mmpipe.worker"]
    assert any(line.startswith("shard 7, c1: anybody.else: one of a") for line in told)
    assert "shard 7, c2: output: said by a C library" in told


def test_every_way_to_end_is_told_as_locally(engine: RayEngine) -> None:
    items = [
        item("good", "fine", "fine"),
        item("killed", "fine", "segfault", "fine"),
        item("hung", "fine", "sleep", timeout_s=0.6),
        item("big", "allocate", "fine"),
        item("starved", "starve"),
        item("refused", "refuse"),
        item("crashed", "crash"),
    ]
    with LocalEngine(2, MEMORY_BYTES, "faulty_work:count_setup") as local:
        expected = sorted(story(outcome) for outcome in local.run(WORK, items))
    assert sorted(story(outcome) for outcome in engine.run(WORK, items)) == expected


def test_large_payloads_and_results_come_through_and_workers_are_kept(engine: RayEngine) -> None:
    payload = os.urandom(3_000_000)
    (echo,) = engine.run("faulty_work:echo", [WorkItem(name="a", payload=payload, timeout_s=60)])
    assert echo.result == payload
    for _ in range(2):
        answers = [json.loads(outcome.result or b"") for outcome in engine.run(WORK, [item("a", "fine")] * 8)]
        assert {answer["setups"] for answer in answers} == {1}
        assert len({answer["pid"] for answer in answers}) <= 2


def test_events_come_in_order_and_in_the_callers_thread(engine: RayEngine) -> None:
    events: list[Event] = []
    threads = set()

    def note(event: Event) -> None:
        events.append(event)
        threads.add(threading.get_ident())

    list(engine.run(WORK, [item("a", "fine", "nap", "nap", "fine")], note))
    assert threads == {threading.get_ident()}
    assert [event.text for event in events if event.kind == "part"] == ["a/0", "a/1", "a/2", "a/3"]


def test_threads_share_an_engine_and_get_their_own(engine: RayEngine) -> None:
    found: dict[str, list[str]] = {}

    def task(name: str) -> None:
        found[name] = sorted(
            outcome.name for outcome in engine.run(WORK, [item(f"{name}{n}", "fine") for n in range(9)])
        )

    threads = [threading.Thread(target=task, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {name: [f"{name}{n}" for n in range(9)] for name in "abc"}


def test_a_payload_that_cannot_travel_raises(engine: RayEngine) -> None:
    with pytest.raises(Exception, match="pickle"):
        list(engine.run(WORK, [WorkItem(name="a", payload=threading.Lock(), timeout_s=10)]))


# --------------------------------------------------------------------------- what is lost


def test_a_worker_that_is_killed_costs_one_attempt(engine: RayEngine) -> None:
    victims: list[int] = []

    def kill_first(event: Event) -> None:
        if event.kind == "started" and not victims:
            victims.append(int(event.text))
            os.kill(victims[0], signal.SIGKILL)

    (outcome,) = engine.run(WORK, [item("a", *["nap"] * 5)], kill_first)
    assert story(outcome) == ("a", [f"a/{n}" for n in range(5)], {}, None, ())
    assert victims and json.loads(outcome.result or b"")["pid"] != victims[0]


def test_an_abandoned_run_frees_its_workers(engine: RayEngine) -> None:
    run = engine.run(WORK, [item("good", "fine"), *(item(f"hung{n}", "hang") for n in range(6))])
    next(run)
    run.close()  # type: ignore[attr-defined]
    assert len(list(engine.run(WORK, [item(f"i{n}", "fine") for n in range(4)]))) == 4


def test_the_items_of_a_lost_node_go_to_another(
    engine: RayEngine, ray_nodes: RayNodes, capsys: pytest.CaptureFixture[str]
) -> None:
    lost: list[str] = []
    workers: dict[str, int] = {}

    def lose_one(event: Event) -> None:
        if event.kind == "started":
            workers[event.item] = int(event.text)
        if event.kind == "part" and not lost:
            lost.append(event.item)
            ray_nodes.lose(workers[event.item])
        if event.kind == "died" and event.text.startswith("worker_lost"):
            lost.append(event.item)

    items = [item(f"i{n}", *["nap"] * 4) for n in range(6)]
    outcomes = list(engine.run(WORK, items, lose_one))
    assert sorted(story(outcome)[:2] for outcome in outcomes) == [
        (f"i{n}", [f"i{n}/{p}" for p in range(4)]) for n in range(6)
    ]
    assert all(outcome.poisoned == () for outcome in outcomes)
    assert lost[0] in lost[1:]
    assert capsys.readouterr().out == ""  # which belongs to results
    ray_nodes.add()


# --------------------------------------------------------------------------- ends


def test_a_cancel_ends_running_work_at_once(ray_nodes: RayNodes) -> None:
    workers: list[int] = []
    engine = RayEngine(RaySettings(address=ray_nodes.address, num_workers=2), MEMORY_BYTES)

    def cancel_in_the_loop(event: Event) -> None:
        if event.kind == "started":
            workers.append(int(event.text))
        if event.kind == "part":
            engine.cancel()

    with engine, pytest.raises(TransientError, match="cancelled"):
        list(engine.run(WORK, [item(f"i{n}", "hang") for n in range(3)], cancel_in_the_loop))
    assert workers and not any(is_alive(pid) for pid in workers)
    with pytest.raises(TransientError, match="cancelled or closed"):
        list(engine.run(WORK, [item("late", "fine")]))


def test_actors_die_with_a_killed_driver(ray_nodes: RayNodes) -> None:
    code = f"""
tell = lambda event: print(event.kind, event.text, flush=True)
engine = RayEngine(RaySettings(address={ray_nodes.address!r}, num_workers=2), 1 << 30)
list(engine.run({WORK!r}, [WorkItem(name="a", payload=[("a", "hang")], timeout_s=1000)], tell))
"""
    with subprocess.Popen(driver(code), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        kind, pid = process.stdout.readline().split()
        assert kind == "started" and is_alive(int(pid))
        actor = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        process.kill()
        process.wait()
    wait_until(lambda: not is_alive(int(pid)) and not is_alive(actor))


# --------------------------------------------------------------------------- the cluster


@needs_ray
def test_a_private_cluster_leaves_nothing_and_says_nothing(tmp_path: Path) -> None:
    code = f"""
with RayEngine(RaySettings(num_workers=1), 1 << 30) as engine:
    (outcome,) = engine.run({WORK!r}, [WorkItem(name="a", payload=[("a", "fine")], timeout_s=60)])
import json, os; from pathlib import Path; from mmpipe.engine.tree import descendants
left = [*os.listdir({str(tmp_path)!r}), *Path("/tmp").glob(f"mmray-{{os.getpid()}}-*")]
print(json.loads(outcome.result)["done"], len(descendants(os.getpid())), left)
"""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(driver(code), capture_output=True, text=True, timeout=200, env=environment)
    assert (done.stdout, done.returncode) == ("['a'] 0 []\n", 0), done.stderr
    assert done.stderr == ""


def test_other_code_on_the_nodes_is_refused_unless_it_is_brought(ray_nodes: RayNodes, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "mmpipe", tmp_path / "mmpipe", ignore=shutil.ignore_patterns("__pycache__"))
    changed = tmp_path / "mmpipe" / "engine" / "call.py"
    changed.write_text(changed.read_text() + "\n# another commit\n")
    code = f"""
for ship in (False, True):
    engine = RayEngine(RaySettings(address={ray_nodes.address!r}, num_workers=1, ship_code=ship), 1 << 30)
    try:
        with engine:
            for outcome in engine.run({WORK!r}, [WorkItem(name="a", payload=[("a", "fine")], timeout_s=60)]):
                print("made")
    except MmpipeError as error:
        print(type(error).__name__, error)
"""
    done = subprocess.run(driver(code, path=tmp_path), capture_output=True, text=True, timeout=200, cwd="/")
    refused, made = done.stdout.splitlines()
    assert refused.startswith("ConfigError") and "would make other bytes: mmpipe " in refused, done.stderr
    assert made == "made"


class NotHere:
    """A node check that every node fails."""

    function = "faulty_work:miss"
    cleared = False

    def prepare(self) -> bytes:
        return b"the store"

    def clear(self) -> None:
        self.cleared = True


def test_a_node_that_lacks_something_is_named(ray_nodes: RayNodes) -> None:
    check = NotHere()
    with (
        RayEngine(RaySettings(address=ray_nodes.address, num_workers=2), MEMORY_BYTES, node_check=check) as engine,
        pytest.raises(ConfigError, match="is not fit for this work: missing: there is no the store here"),
    ):
        list(engine.run(WORK, [item("a", "fine")]))
    assert check.cleared


def test_a_set_up_that_refuses_is_a_config_error(ray_nodes: RayNodes) -> None:
    with (
        RayEngine(
            RaySettings(address=ray_nodes.address, num_workers=2), MEMORY_BYTES, "faulty_work:refuse_setup"
        ) as engine,
        pytest.raises(ConfigError, match="there is no model here"),
    ):
        list(engine.run(WORK, [item("a", "fine")]))


def test_what_asks_for_more_than_there_is_gives_up_and_says_so(ray_nodes: RayNodes) -> None:
    settings = RaySettings(address=ray_nodes.address, num_workers=1, cpus=64, start_timeout_s=0.01)
    with (
        RayEngine(settings, MEMORY_BYTES) as engine,
        pytest.raises(TransientError, match="each asks for 64 CPU, 0 GPU"),
    ):
        list(engine.run(WORK, [item("a", "fine")]))


def test_a_client_address_works(ray_nodes: RayNodes) -> None:
    pytest.importorskip("grpc", reason="ray:// needs grpcio, which the extra mmpipe[ray] brings")
    code = f"""
items = [WorkItem(name=str(number), payload=[("a", "fine")], timeout_s=60) for number in range(4)]
with RayEngine(RaySettings(address={ray_nodes.client_address!r}), {MEMORY_BYTES}) as engine:
    print(sorted(outcome.name for outcome in engine.run({WORK!r}, items) if outcome.result is not None))
"""
    for _ in range(3):  # on a busy machine Ray may give up on a client's own server: an error that says to try again
        done = subprocess.run(driver(code), capture_output=True, text=True, timeout=90)
        if "TransientError" not in done.stderr:
            break
    assert done.stdout == "['0', '1', '2', '3']\n", done.stderr


@needs_ray
def test_an_address_where_nobody_listens_is_told_at_once() -> None:
    port = free_port()
    code = f"""
for address in ("127.0.0.1:{port}", "ray://127.0.0.1:{port}"):
    try:
        with RayEngine(RaySettings(address=address), 1 << 30) as engine:
            list(engine.run({WORK!r}, [WorkItem(name="a", payload=[("a", "fine")], timeout_s=60)]))
    except MmpipeError as error:
        print(type(error).__name__, error)
"""
    done = subprocess.run(driver(code), capture_output=True, text=True, timeout=100)
    direct, client = done.stdout.splitlines()
    assert direct.startswith(f"TransientError engine.ray.address = '127.0.0.1:{port}': no cluster answers"), done.stderr
    assert client.startswith(f"TransientError engine.ray.address = 'ray://127.0.0.1:{port}': no cluster answers")


def test_one_process_works_on_one_cluster(engine: RayEngine) -> None:
    list(engine.run(WORK, [item("a", "fine")]))
    with (
        RayEngine(RaySettings(address="192.0.2.7:6379"), MEMORY_BYTES) as other,
        pytest.raises(ConfigError, match="allows one cluster a process"),
    ):
        list(other.run(WORK, [item("a", "fine")]))
