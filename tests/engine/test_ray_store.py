"""A corpus extracted on a Ray cluster: the very bytes that local workers make, also when a node is lost."""

from __future__ import annotations

import hashlib
import logging
import os
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ray_nodes import RayNodes

from mmpipe.config import Config, parse_config
from mmpipe.errors import ConfigError
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ground.wire import decode, encode
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.workers.reach import Landmarks, StoreReach, require_landmarks
from mmpipe.steps.workers.workers import make_engine, shared_engine
from mmpipe.store.layout import StoreLayout
from mmpipe.store.verify import verify_store

CORPUS, DT = "talk", "2026-11-20"
RATE_HZ = 8_000
FEATURES = ["audio-logmel", "text-ngrams"]
NUM_SOUNDS = 8
RUN_STATE = ("_staging", "_runs", "_leases", "_audit")


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of tones with a word each."""
    folder = tmp_path_factory.mktemp("media")
    for number in range(NUM_SOUNDS):
        times_N = np.arange(RATE_HZ // 2) / RATE_HZ
        with wave.open(str(folder / f"tone-{number}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            file.writeframes((np.sin(2 * np.pi * (300 + 37 * number) * times_N) * 9_000).astype("<i2").tobytes())
        (folder / f"tone-{number}.txt").write_text(f"tone number {number}")
    for path in folder.iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return folder


def config_of(folder: Path | str, media: Path, address: str | None) -> Config:
    engine = {"workers": 2} if address is None else {"workers": 2, "kind": "ray", "ray": {"address": address}}
    corpus = {"root": str(media), "max_quarantined": 1.0, "shard_clips": 2, "features": FEATURES}
    return parse_config({"store": str(folder), "engine": engine, "corpora": {CORPUS: corpus}})


def content(store: Path) -> dict[str, str]:
    """Return the digest of every file but those of runs."""
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.relative_to(store).parts[0] not in RUN_STATE
    }


def make(config: Config) -> dict[str, str]:
    with shared_engine(config):
        ingest_corpus(config, CORPUS, DT)
        extract_plan(config, plan_corpus(config, CORPUS))
    assert verify_store(StoreLayout(config.store)) == ()
    return content(config.store)


@pytest.mark.slow
def test_a_store_is_the_same_whoever_makes_it_and_whatever_is_lost(
    ray_nodes: RayNodes, media: Path, tmp_path: Path
) -> None:
    local = make(config_of(tmp_path / "local", media, None))
    assert len([name for name in local if name.endswith(".tar")]) >= NUM_SOUNDS // 2

    config = config_of(tmp_path / "ray", media, ray_nodes.address)
    with shared_engine(config) as engine, losing_a_node(engine, ray_nodes) as lost:
        on_ray = make(config)
    assert lost and sorted(on_ray) == sorted(local)
    assert [name for name in local if local[name] != on_ray[name]] == []
    assert not list((config.store / "_staging").glob("probe-*"))


@pytest.mark.sweep
@pytest.mark.slow
def test_a_store_at_s3_asks_for_no_keys_on_the_nodes(
    ray_nodes: RayNodes, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers write to the shared cache, and the driver alone speaks to the bucket."""
    s3fs = pytest.importorskip("s3fs", reason="the extra mmpipe[s3] is not installed")
    moto = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        keys = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        for name, value in {**keys, "AWS_DEFAULT_REGION": "us-east-1", "MMPIPE_CACHE": str(tmp_path)}.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem(use_listings_cache=False).mkdir("bucket")
        config = config_of("s3://bucket/store", media, ray_nodes.address)
        with shared_engine(config):
            ingest_corpus(config, CORPUS, DT)
            extract_plan(config, plan_corpus(config, CORPUS))
        assert verify_store(StoreLayout(config.store)) == ()
        assert StoreLayout(config.store).feature_names(CORPUS)
    finally:
        server.stop()


@contextmanager
def losing_a_node(engine, nodes: RayNodes) -> Iterator[list[int]]:
    """Kill the node of the first shard that is begun, once; note its worker."""
    lost: list[int] = []
    run = engine.run

    def watched(function, items, on_event=lambda event: None):
        def note(event) -> None:
            if "extract_shard" in function and event.kind == "started" and not lost:
                lost.append(int(event.text))
                nodes.lose(int(event.text))
            on_event(event)

        return run(function, items, note)

    engine.run = watched
    yield lost
    nodes.add()


# --------------------------------------------------------------------------- what a node must reach


@pytest.fixture
def reach(media: Path, tmp_path: Path) -> Iterator[tuple[StoreReach, Landmarks]]:
    reach = StoreReach(config_of(tmp_path / "store", media, "auto"))
    yield reach, decode(Landmarks, reach.prepare())
    reach.clear()


def test_a_node_with_the_same_folders_is_let_in(reach: tuple[StoreReach, Landmarks]) -> None:
    require_landmarks(encode(Landmarks, reach[1]))
    reach[0].clear()
    assert not Path(reach[1].probe).exists()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"probe": "/nowhere/_staging/probe-1"}, "does not reach /nowhere/_staging"),
        ({"token": "another"}, "is another folder there"),
        ({"format_sha256": "0"}, "is another one there"),
        ({"store": "/nowhere"}, "does not reach the store at /nowhere"),
    ],
)
def test_a_node_that_sees_another_store_is_told(
    reach: tuple[StoreReach, Landmarks], change: dict[str, str], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        require_landmarks(encode(Landmarks, replace(reach[1], **change)))  # type: ignore[arg-type]


def test_a_node_that_sees_other_media_is_told(reach: tuple[StoreReach, Landmarks]) -> None:
    other = replace(reach[1], media=tuple(replace(seen, nbytes=seen.nbytes + 1) for seen in reach[1].media))
    assert reach[1].media
    with pytest.raises(ConfigError, match=r"raw media are missing or others there: .*tone-"):
        require_landmarks(encode(Landmarks, other))


def test_a_remote_store_asks_for_a_shared_cache(reach: tuple[StoreReach, Landmarks]) -> None:
    away = replace(reach[1], store="s3://bucket/store", probe="/nowhere/probe")
    with pytest.raises(ConfigError, match="Let MMPIPE_CACHE name one folder that all nodes share"):
        require_landmarks(encode(Landmarks, away))


def test_the_engine_of_the_config_is_made_without_asking_anybody(media: Path, tmp_path: Path) -> None:
    config = config_of(tmp_path / "store", media, "ray://203.0.113.1:10001")
    make_engine(config).close()
    assert not (tmp_path / "store").exists()
