"""Decode workers, shared memory, an encoder process and the store: the whole way of a GPU's work, on a CPU."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import wave
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import device_extractor
import numpy as np
import pytest
from corpus_maker import CORPUS, drops, extract, ingest, make_config, shards, tree
from device_extractor import LOUD, ODD, RATE_HZ, AudioNet, AudioNetParams

from mmpipe.config import Config
from mmpipe.engine.device.link import DeviceLink
from mmpipe.engine.device.process import DeviceProcesses, DeviceSpec
from mmpipe.errors import ConfigError, SampleError
from mmpipe.features.alias import Alias
from mmpipe.features.registry import extractor_names
from mmpipe.steps.extract.extract import ExtractReport
from mmpipe.steps.workers.device_client import open_device_client, open_encoder, spec_of
from mmpipe.steps.workers.device_pool import OPENER, SERVE_CPU, SETUP, device_specs, shared_devices
from mmpipe.store.layout import StoreLayout
from mmpipe.store.verify import verify_store
from mmpipe.types import AudioClip

FEATURE = "audio-net@1"
NUM_GOOD = 10


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    site = str(device_extractor.install(tmp_path_factory.mktemp("site")))
    sys.path.insert(0, site)
    yield
    sys.path.remove(site)


def write_sound(path: Path, hz: float, peak: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    times_N = np.arange(RATE_HZ // 2) / RATE_HZ
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE_HZ)
        sound.writeframes((np.sin(2 * np.pi * hz * times_N) * peak * 32_767).astype("<i2").tobytes())


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "media"
    for number in range(NUM_GOOD):
        write_sound(folder / f"good-{number}.wav", 300 + 31 * number, 0.4)
    return folder


def make_store(folder: Path, media: Path, *, served: int) -> tuple[Config, ExtractReport]:
    """Extract a corpus, with encoder processes or without."""
    folder.mkdir()
    config = make_config(folder, root=str(media), features=["audio-net", "audio-mfccseg"], shard_clips=6)
    config = config.model_copy(update={"features": {"audio-net": {"journal": str(folder / "journal")}}})
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(SERVE_CPU, str(served))
        ingest(config)
        return config, extract(config)[0]


def data_of(config: Config) -> dict[str, str]:
    """Return the shards and indices of the store."""
    root = config.store / CORPUS
    return {name: digest for name, digest in tree(root).items() if "/data/" in name or "/index/" in name}


@pytest.fixture(scope="module")
def in_worker(media: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    return make_store(tmp_path_factory.mktemp("in") / "worker", media, served=0)[0]


@pytest.mark.parametrize("served", [1, 2])
def test_a_store_is_the_same_where_an_encoder_process_computes(
    served: int, in_worker: Config, media: Path, tmp_path: Path
) -> None:
    config, report = make_store(tmp_path / "served", media, served=served)
    assert data_of(config) == data_of(in_worker) and shards(config, FEATURE) == shards(in_worker, FEATURE)
    assert verify_store(StoreLayout(config.store)) == ()
    meters = [device.meter for device in report.devices]
    assert len(meters) == served and sum(meter.clips for meter in meters) == NUM_GOOD
    assert sum(meter.loads for meter in meters) <= served and {meter.starts for meter in meters} == {1}
    pids = set((tmp_path / "served" / "journal").read_text().split())
    assert len(pids) <= served  # the workers loaded nothing
    assert sum(meter.used_units for meter in report.meters) == NUM_GOOD


@pytest.mark.slow
def test_a_store_is_the_same_where_encoder_processes_are_killed_again_and_again(
    in_worker: Config, media: Path, tmp_path: Path
) -> None:
    """As soon as one has loaded its model, and so in the middle of its first micro-batch: two kills look like guilt."""
    journal, stop, killed = tmp_path / "served" / "journal", threading.Event(), set[str]()

    def kill_each_once() -> None:
        while not stop.wait(0.001) and len(killed) < 3:
            pids = journal.read_text().split() if journal.exists() else []
            for pid in set(pids) - killed:
                killed.add(pid)
                os.kill(int(pid), signal.SIGKILL)

    killer = threading.Thread(target=kill_each_once)
    killer.start()
    try:
        config, report = make_store(tmp_path / "served", media, served=1)
    finally:
        stop.set()
        killer.join()
    assert len(killed) == 3 and report.devices[0].meter.starts == 4
    assert data_of(config) == data_of(in_worker) and drops(config) == {}


def test_clips_that_kill_or_are_refused_cost_themselves_alone(media: Path, in_worker: Config, tmp_path: Path) -> None:
    for number in range(NUM_GOOD):
        (tmp_path / "media").mkdir(exist_ok=True)
        (tmp_path / "media" / f"good-{number}.wav").write_bytes((media / f"good-{number}.wav").read_bytes())
    write_sound(tmp_path / "media" / "good-3-killer.wav", 400, LOUD + 0.05)
    write_sound(tmp_path / "media" / "good-7-odd.wav", 500, ODD + 0.05)
    config, report = make_store(tmp_path / "served", tmp_path / "media", served=1)
    assert drops(config, "extract") == {"good-3-killer.wav": "device_killed", "good-7-odd.wav": "too_loud"}
    assert report.computed == 2 * (NUM_GOOD + 2) - 2  # the killer's other feature is good: its worker lives
    assert verify_store(StoreLayout(config.store)) == ()
    assert report.devices[0].meter.starts > 2


def test_a_client_gives_what_the_extractor_gives_by_one_call_or_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SERVE_CPU, "1")
    extractor = AudioNet(AudioNetParams(seed=3))
    extractor.setup("cpu")
    rng = np.random.default_rng(0)
    batches = [
        [
            AudioClip(wave_N=rng.uniform(-0.5, 0.5, 3_000 + n).astype(np.float32), sample_rate_hz=RATE_HZ, start_ns=0)
            for n in range(1 + k % 3)
        ]
        for k in range(6)
    ]
    with shared_devices("cpu") as pool:
        client = open_device_client(Alias(name="mine", extractor=extractor), pool.address)
        tickets = [client.submit(batch) for batch in batches]
        for ticket, batch in zip(tickets, batches, strict=True):
            assert [value.array.tobytes() for value in client.collect(ticket)] == [
                value.array.tobytes() for value in extractor.extract(batch)
            ]
        assert client.units == extractor.units
        loud = AudioClip(wave_N=np.ones(100, np.float32), sample_rate_hz=RATE_HZ, start_ns=0)
        for batch in ([loud], [batches[0][0], loud]):
            with pytest.raises(SampleError, match="device_killed"):
                client.extract(batch)
        assert len(client.extract(batches[0])) == 1
        starts = pool.reports()[0].meter.starts
        client.link.close()
    assert starts == 1 + 2  # it died twice of the clip; asked for again, that was known


def test_a_specification_has_what_the_fingerprint_leaves_out() -> None:
    assert "audio-net" in extractor_names()
    extractor = AudioNet(AudioNetParams(seed=5, journal="somewhere"))
    again = open_encoder(spec_of(Alias(name="other", extractor=extractor)))
    assert isinstance(again, AudioNet) and again.params == extractor.params
    assert json.loads(spec_of(extractor))["extractor"] == "audio-net"


def test_an_encoder_process_is_confined() -> None:
    """No network of its own, no core dumps, no new rights: as a decode worker, though it sees no raw bytes."""
    spec = DeviceSpec(device="cpu", name="a processor")
    with DeviceProcesses([spec], OPENER, SETUP) as processes:
        link = DeviceLink(processes.folder)
        link.collect(link.submit(link.announce("{}"), []))  # it is ready
        proc = Path(f"/proc/{processes.pids()[0]}")
        status, limits = (proc / "status").read_text(), (proc / "limits").read_text()
        is_apart = os.readlink(proc / "ns/net") != os.readlink("/proc/self/ns/net")
        link.close()
    assert "NoNewPrivs:\t1" in status
    (core,) = [line.split() for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core[4:6] == ["0", "0"]
    assert is_apart or os.getuid() != 0  # a user without rights may be refused


def test_no_process_is_started_for_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SERVE_CPU, raising=False)
    with shared_devices("cpu") as pool:
        assert pool.address == "" and pool.reports() == ()
    monkeypatch.setenv(SERVE_CPU, "two")
    with pytest.raises(ConfigError, match="must be a number"):
        device_specs("cpu")


def test_tasks_of_one_process_share_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SERVE_CPU, "1")
    with shared_devices("cpu") as one:
        with shared_devices("cpu") as other:
            assert one.address == other.address
        assert Path(one.address).exists()
    assert not Path(one.address).exists()
    assert asdict(one.reports()[0])["device"] == "cpu"
