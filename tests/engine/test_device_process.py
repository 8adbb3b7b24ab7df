"""The whole way: workers' ends, shared memory, encoder processes that die, hang and run out of memory."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import device_fakes
import numpy as np
import pytest

from mmpipe.engine.device.culprits import settle
from mmpipe.engine.device.link import DeviceLink, Encoded
from mmpipe.engine.device.output import MOST_PRINTED
from mmpipe.engine.device.process import DeviceProcesses, DeviceSpec
from mmpipe.engine.device.serve import MOST_SAID
from mmpipe.engine.device.wire import Fault, FaultKind
from mmpipe.errors import ConfigError, SampleError, TransientError
from mmpipe.types import AudioClip, ClipMedia, FeatureValue, TextClip, VideoClip

HERE = Path(__file__).resolve().parent
CPU = DeviceSpec(device="cpu", name="a processor")
PLAIN = json.dumps({"name": "plain", "factor": 2.0})


def wave(first: float, length: int = 10) -> AudioClip:
    samples = np.arange(length, dtype=np.float32)
    samples[0] = first
    return AudioClip(wave_N=samples, sample_rate_hz=16_000, start_ns=0)


@contextmanager
def processes(
    *devices: DeviceSpec, opener: str = "open_encoder", setup: str = "", **more: object
) -> Iterator[DeviceProcesses]:
    setup = setup and f"device_fakes:{setup}"
    with DeviceProcesses(devices or (CPU,), f"device_fakes:{opener}", setup, **more) as running:  # type: ignore[arg-type]
        yield running
    assert not running.folder.exists()


@pytest.fixture(scope="module")
def running() -> Iterator[DeviceProcesses]:
    with processes() as one:
        yield one


_links: list[DeviceLink] = []
_run_of_test: ContextVar[str] = ContextVar("_run_of_test", default="")


def open_link(folder: Path, on_wait: Callable[[], None] = lambda: None) -> DeviceLink:
    """Return a link that is closed when the test ends."""
    _links.append(DeviceLink(folder, on_wait))
    return _links[-1]


@pytest.fixture(autouse=True)
def close_links() -> Iterator[None]:
    yield
    while _links:
        _links.pop().close()


@pytest.fixture
def link(running: DeviceProcesses) -> DeviceLink:
    return open_link(running.folder)


def encode(link: DeviceLink, feature: int, media: Sequence[ClipMedia]) -> list[FeatureValue]:
    outcome = link.collect(link.submit(feature, media))
    assert isinstance(outcome, Encoded), outcome
    return outcome.values


def check(media: Sequence[ClipMedia], values: Sequence[FeatureValue], factor: float = 2.0) -> None:
    assert len(values) == len(media)
    for clip, value in zip(media, values, strict=True):
        expected = device_fakes.value_of(clip, factor)
        assert value.array.dtype == expected.array.dtype and np.array_equal(value.array, expected.array)
        assert (value.times_ns is None) == (expected.times_ns is None)


def settled(link: DeviceLink, feature: int, media: Sequence[ClipMedia]) -> list[FeatureValue | SampleError]:
    return settle(link, feature, media, link.collect(link.submit(feature, media))).clips


# --------------------------------------------------------------------------- good work


def test_what_is_logged_while_a_request_is_computed_is_said_to_who_asked(
    link: DeviceLink, caplog: pytest.LogCaptureFixture
) -> None:
    feature = link.announce(PLAIN)
    with caplog.at_level(logging.WARNING, "mmpipe.device"):
        check([wave(device_fakes.TALKING)], encode(link, feature, [wave(device_fakes.TALKING)]))
    told = [record.getMessage() for record in caplog.records if record.name == "mmpipe.device"]
    assert told == [f"the.model: odd weights {number}" for number in range(MOST_SAID)], "and no more than that"


def test_what_native_code_prints_is_logged_with_the_name_of_the_process(caplog: pytest.LogCaptureFixture) -> None:
    """In the context of who started it: the log of a flow run knows its lines by that."""
    heard_in: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard_in.append(_run_of_test.get())

    listener, before = Listener(), _run_of_test.set("a run")
    logging.getLogger("mmpipe.device").addHandler(listener)
    try:
        with caplog.at_level(logging.WARNING, "mmpipe.device"), processes(kind="decoder") as one:
            link = open_link(one.folder)
            check([wave(device_fakes.PRINTING)], encode(link, link.announce(PLAIN), [wave(device_fakes.PRINTING)]))
            check([wave(device_fakes.FLOODING)], encode(link, link.announce(PLAIN), [wave(device_fakes.FLOODING)]))
            link.close()
    finally:
        logging.getLogger("mmpipe.device").removeHandler(listener)
        _run_of_test.reset(before)
    told = [record.getMessage() for record in caplog.records if record.name == "mmpipe.device"]
    assert told[:2] == [
        "decoder 0 on cpu: output: said by a C library\\x1b[31m",
        "decoder 0 on cpu: output: on standard output",
    ]
    assert len(told) == MOST_PRINTED + 1 and told[-1] == "decoder 0 on cpu: 402 more lines were left out"
    assert set(heard_in) == {"a run"}


def test_values_come_back_in_order_while_two_requests_are_on_their_way(link: DeviceLink) -> None:
    feature = link.announce(PLAIN)
    batches: list[list[ClipMedia]] = [[wave(number + 1000), TextClip(text="x" * number)] for number in range(20)]
    tickets = [link.submit(feature, batches[0]), link.submit(feature, batches[1])]
    for batch in batches[2:]:
        tickets.append(link.submit(feature, batch))  # waits for a free block, not for `collect`
    for ticket, batch in reversed(list(zip(tickets, batches, strict=True))):
        outcome = link.collect(ticket)
        assert isinstance(outcome, Encoded)
        check(batch, outcome.values)
        assert (outcome.used_units, outcome.padded_units) == (2, 1)


def test_values_that_are_views_of_their_media_and_larger_than_a_block(link: DeviceLink) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (400, 64, 200), np.uint8)
    clip = VideoClip(frames=frames, times_ns=np.arange(400))
    check([clip, clip], encode(link, link.announce(PLAIN), [clip, clip]))


def test_several_features_and_workers_do_not_mix(running: DeviceProcesses) -> None:
    faults: list[BaseException] = []

    def work(number: int) -> None:
        try:
            link = open_link(running.folder)
            factors = [1.0 + number, 10.0 + number]
            features = [link.announce(json.dumps({"name": f"f{factor}", "factor": factor})) for factor in factors]
            for turn in range(30):
                batch = [wave(2000 + turn, 5 + number), wave(3000 + turn)]
                tickets = [link.submit(feature, batch) for feature in features]
                for ticket, factor in zip(tickets, factors, strict=True):
                    outcome = link.collect(ticket)
                    assert isinstance(outcome, Encoded)
                    check(batch, outcome.values, factor)
            link.close()
        except BaseException as error:  # noqa: BLE001 - crosses the thread
            faults.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not faults


def test_the_meter_counts_work_and_bytes() -> None:
    with processes() as one:
        link = open_link(one.folder)
        feature = link.announce(PLAIN)
        for _ in range(5):
            encode(link, feature, [wave(7000.0), wave(1.5)])
        link.close()
        (meter,) = one.meters()
    assert (meter.requests, meter.clips, meter.loads, meter.starts, meter.faults) == (5, 10, 1, 1, 0)
    assert meter.media_bytes == link.meter.media_bytes > 5 * 2 * 40
    assert meter.value_bytes == link.meter.value_bytes > 5 * 2 * 8
    assert meter.busy_ns > 0 and meter.load_ns > 0 and 0 < meter.busy_share < 1
    assert one.meters() == (meter,)  # also when all is over


def test_workers_spread_over_devices_and_take_the_places_of_dead_ones() -> None:
    with processes(CPU, CPU, CPU) as one:
        links = [open_link(one.folder) for _ in range(6)]
        features = [link.announce(PLAIN) for link in links]
        for link, feature in zip(links, features, strict=True):
            encode(link, feature, [wave(5.0)])
        assert sorted(link.meter.devices[0] for link in links) == [0, 0, 1, 1, 2, 2]
        left = links[1].meter.devices
        links[1].close()
        late = open_link(one.folder)
        encode(late, late.announce(PLAIN), [wave(6.0)])
        assert late.meter.devices == left
        assert all(meter.requests >= 2 for meter in one.meters())


def test_media_are_staged_ahead_and_give_the_same_values() -> None:
    with processes(opener="open_staging") as one:
        link = open_link(one.folder)
        feature = link.announce(PLAIN)
        batches = [[wave(4000.0 + number, 100_000)] for number in range(12)]
        for first, second in zip(batches[::2], batches[1::2], strict=True):
            tickets = link.submit(feature, first), link.submit(feature, second)
            for ticket, batch in zip(tickets, (first, second), strict=True):
                outcome = link.collect(ticket)
                assert isinstance(outcome, Encoded)
                check(batch, outcome.values)
        (meter,) = one.meters()
    assert 0 < meter.staged <= 12


# --------------------------------------------------------------------------- exceptions and memory


def test_exceptions_come_back_by_class_and_text(link: DeviceLink) -> None:
    feature = link.announce(PLAIN)
    sample = link.collect(link.submit(feature, [wave(1.0), wave(device_fakes.BAD)]))
    crash = link.collect(link.submit(feature, [wave(device_fakes.CRASHING)]))
    assert isinstance(sample, Fault) and isinstance(crash, Fault)
    assert (sample.kind, sample.code, sample.detail) == (FaultKind.SAMPLE, "too_odd", "this clip is too odd")
    assert (crash.kind, crash.code, crash.detail) == (
        FaultKind.CRASHED,
        "ZeroDivisionError",
        "a fault of the programmer",
    )
    check([wave(1.0)], encode(link, feature, [wave(1.0)]))


def test_what_cannot_be_loaded_is_no_clip_s_fault(link: DeviceLink) -> None:
    outcome = link.collect(link.submit(link.announce(json.dumps({"name": "absent"})), [wave(1.0)]))
    assert isinstance(outcome, Fault) and outcome.kind is FaultKind.CONFIG
    assert outcome.detail == "it cannot be loaded on cpu: OSError: no such folder: absent"


def test_a_batch_that_memory_does_not_suffice_for_is_done_in_halves() -> None:
    with processes() as one:
        link = open_link(one.folder)
        feature = link.announce(json.dumps({"name": "small", "most": 2}))
        batch = [wave(float(number)) for number in (1, 2, 3, device_fakes.LARGE, 5, 6, 7)]
        found = settled(link, feature, batch)
        (meter,) = one.meters()
    errors = [one for one in found if isinstance(one, SampleError)]
    assert [error.code for error in errors] == ["device_memory"] and found[3] is errors[0]
    check(batch[:3] + batch[4:], [one for one in found if isinstance(one, FeatureValue)], factor=1.0)
    assert meter.out_of_memory >= 2 and meter.starts == 1  # the process lived through it


def test_models_that_do_not_fit_together_take_turns() -> None:
    with processes() as one:
        link = open_link(one.folder)
        room = {"room": 100}
        specs = [json.dumps({"name": name, "size": size, **room}) for name, size in [("a", 40), ("b", 50), ("c", 60)]]
        features = [link.announce(spec) for spec in specs]
        for feature in (0, 1, 0, 2, 0, 1, 2):
            check([wave(8.0)], encode(link, features[feature], [wave(8.0)]), factor=1.0)
        (meter,) = one.meters()
    # a, b fit; c evicts b, used longest ago, and keeps a; b evicts c and a's turn was before; c evicts both
    assert meter.loads == meter.evictions + 2 - 1 and meter.evictions == 4 and meter.starts == 1


def test_a_model_that_never_fits_is_said_to(link: DeviceLink) -> None:
    spec = json.dumps({"name": "huge", "size": 1 << 40, "room": 1 << 30})
    outcome = link.collect(link.submit(link.announce(spec), [wave(1.0)]))
    assert isinstance(outcome, Fault) and outcome.kind is FaultKind.CONFIG and "out of memory" in outcome.detail


# --------------------------------------------------------------------------- deaths


def test_a_process_killed_from_outside_costs_nothing() -> None:
    with processes() as one:
        link = open_link(one.folder)
        feature = link.announce(PLAIN)
        for number in range(9):
            batch = [wave(20.0 + number), wave(30.0)]
            ticket = link.submit(feature, batch)
            if number % 3 == 1:
                (pid,) = one.pids()
                assert pid  # 0 would be this very group
                os.kill(pid, signal.SIGKILL)
            outcome = link.collect(ticket)
            assert isinstance(outcome, Encoded)
            check(batch, outcome.values)
        (meter,) = one.meters()
    assert meter.starts == 4 and link.meter.reconnects == 3


def test_the_clip_that_kills_is_found_and_the_others_have_values() -> None:
    with processes() as one:
        link = open_link(one.folder)
        feature = link.announce(PLAIN)
        batch = [wave(float(number)) for number in (1, 2, device_fakes.DEADLY, 4)]
        innocent = link.submit(feature, [wave(50.0)])
        found = settled(link, feature, batch)
        outcome = link.collect(innocent)
        (meter,) = one.meters()
    assert isinstance(outcome, Encoded)
    check([wave(50.0)], outcome.values)
    assert [isinstance(clip, SampleError) for clip in found] == [False, False, True, False]
    assert isinstance(found[2], SampleError) and found[2].code == "device_killed"
    check([batch[0], batch[1], batch[3]], [clip for clip in found if isinstance(clip, FeatureValue)])
    assert meter.starts == 1 + 2 + 1 + 2  # the batch twice, its half once, the clip alone twice


def test_another_worker_s_deadly_request_is_not_blamed_on_this_one() -> None:
    with processes() as one:
        mine, theirs = open_link(one.folder), open_link(one.folder)
        my_feature, their_feature = mine.announce(PLAIN), theirs.announce(PLAIN)
        deadly = theirs.submit(their_feature, [wave(device_fakes.DEADLY)])
        waiting = mine.submit(my_feature, [wave(60.0)]), mine.submit(my_feature, [wave(61.0)])
        (clip,) = settle(theirs, their_feature, [wave(device_fakes.DEADLY)], theirs.collect(deadly)).clips
        outcomes = [mine.collect(ticket) for ticket in waiting]
    assert isinstance(clip, SampleError)
    for outcome, first in zip(outcomes, (60.0, 61.0), strict=True):
        assert isinstance(outcome, Encoded)
        check([wave(first)], outcome.values)


def test_a_batch_that_died_by_chance_is_computed_as_a_whole(tmp_path: Path) -> None:
    spec = json.dumps({"name": "once", "marker": str(tmp_path / "marker")})
    with processes() as one:
        link = open_link(one.folder)
        batch = [wave(1.0), wave(device_fakes.ONCE), wave(3.0)]
        feature = link.announce(spec)
        ticket = link.submit(feature, batch, strikes=1)  # its one death counts as two
        found = settle(link, feature, batch, link.collect(ticket))
    check(batch, [clip for clip in found.clips if isinstance(clip, FeatureValue)], factor=1.0)
    assert (found.used_units, found.padded_units) == (3, 1)  # one request of three, not three requests


def test_a_request_that_hangs_is_ended() -> None:
    with processes(request_timeout_s=0.5) as one:
        link = open_link(one.folder)
        (clip,) = settled(link, link.announce(PLAIN), [wave(device_fakes.HANGING)])
    assert isinstance(clip, SampleError) and clip.code == "device_killed"


def test_a_worker_that_dies_or_talks_nonsense_leaves_the_others_alone(
    running: DeviceProcesses, link: DeviceLink
) -> None:
    feature = link.announce(PLAIN)
    encode(link, feature, [wave(1.0)])
    starts = running.meters()[0].starts
    code = f"""
import sys
sys.path[:0] = [{str(HERE)!r}]
import os, signal
from pathlib import Path
from test_device_process import PLAIN, wave
from mmpipe.engine.device.link import DeviceLink
link = DeviceLink(Path({str(running.folder)!r}))
feature = link.announce(PLAIN)
link.submit(feature, [wave(1.0)])
link.submit(feature, [wave(2.0)])
os.kill(os.getpid(), signal.SIGKILL)
"""
    dead = subprocess.run([sys.executable, "-c", code], cwd=HERE.parent.parent, timeout=60)
    assert dead.returncode == -signal.SIGKILL
    liar = open_link(running.folder)
    encode(liar, liar.announce(PLAIN), [wave(1.0)])
    assert liar._connection is not None
    liar._connection.send(b'{"is": "Request", "number": 1, "feature": 9, "slot": 0, "nbytes": 1}')
    check([wave(9.0)], encode(liar, liar.announce(PLAIN), [wave(9.0)]))  # it was hung up on, and came again
    assert liar.meter.reconnects == 1
    liar.close()
    check([wave(2.0)], encode(link, feature, [wave(2.0)]))
    assert link.meter.reconnects == 0 and running.meters()[0].starts == starts


# --------------------------------------------------------------------------- start and end


@pytest.mark.parametrize(
    ("setup", "error", "text"),
    [
        ("refuse", ConfigError, "no device can be used: cpu: there is no cpu here"),
        ("die", TransientError, "cpu: its process ended with code 9. It said at last: no device here"),
        ("absent", TransientError, "has no attribute 'absent'"),
    ],
)
def test_a_device_that_cannot_start_is_given_up(setup: str, error: type[Exception], text: str) -> None:
    with processes(setup=setup) as one:
        link = open_link(one.folder)
        with pytest.raises(error, match=text):
            link.collect(link.submit(link.announce(PLAIN), [wave(1.0)]))
        with pytest.raises(error, match=text):  # for good
            link.submit(link.announce(PLAIN), [wave(1.0)])
        link.close()


def test_a_device_that_is_given_up_leaves_its_work_to_another() -> None:
    broken = DeviceSpec(device="cuda:0", name="a broken one", environment={"BROKEN": "1"})
    with processes(broken, CPU, setup="die_if_broken") as one:
        links = [open_link(one.folder) for _ in range(4)]
        for link in links:
            check([wave(4.0)], encode(link, link.announce(PLAIN), [wave(4.0)]))
        assert {link.meter.devices[-1] for link in links} == {1}


def test_nobody_is_left_when_it_closes_and_a_late_worker_is_told() -> None:
    with processes(CPU, CPU) as one:
        link = open_link(one.folder)
        encode(link, link.announce(PLAIN), [wave(4.0)])
        pids = one.pids()
    assert not any(is_alive(pid) for pid in pids)
    with pytest.raises(TransientError, match="is over"):
        link.collect(link.submit(0, [wave(1.0)]))


def test_who_waits_says_so(running: DeviceProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmpipe.engine.device.link.TICK_S", 0.001)
    told: list[int] = []

    def wake() -> None:
        told.append(1)
        for pid in running.pids():
            os.kill(pid, signal.SIGCONT)

    link = open_link(running.folder, on_wait=wake)
    feature = link.announce(json.dumps({"name": "other"}))
    encode(link, feature, [wave(1.0)])
    for pid in running.pids():
        os.kill(pid, signal.SIGSTOP)  # however quick a device is, this one is waited for
    told.clear()
    encode(link, feature, [wave(1.0)])
    assert told
    link.close()


def test_processes_die_with_a_killed_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"""
import sys
sys.path[:0] = [{str(HERE)!r}]
from test_device_process import CPU, PLAIN, DeviceLink, DeviceProcesses, encode, wave
one = DeviceProcesses([CPU], "device_fakes:open_encoder")
link = DeviceLink(one.folder)
encode(link, link.announce(PLAIN), [wave(1.0)])
print(*one.pids(), one.folder, flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent.parent
    ) as parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()
        assert is_alive(int(pid))
        parent.kill()
        parent.wait()
        wait_until(lambda: not is_alive(int(pid)))
    monkeypatch.setattr("mmpipe.engine.device.process._SWEEP_S", 0.0)
    with processes() as other, processes() as later:  # tidies up after those that could not
        assert later.folder.exists() and other.folder.exists() and not Path(folder).exists()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(true: Callable[[], bool], limit_s: float = 10) -> None:
    waiting = threading.Event()
    for _ in range(int(limit_s * 100)):
        if true():
            return
        waiting.wait(0.01)
    raise AssertionError("waited in vain")
