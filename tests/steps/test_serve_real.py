"""A released model behind HTTP, with real workers: its answers are those of the batch, whatever else is sent."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import httpx
import polars as pl
import pytest
from kill_models import MODEL

from mmpipe.config import Config, CorpusConfig
from mmpipe.engine.engine import Engine, OnEvent, ignore_event
from mmpipe.engine.work import Event, Outcome, WorkItem
from mmpipe.errors import ConfigError
from mmpipe.registry.aliases import promote, read_aliases
from mmpipe.registry.versions import Version, publish_version
from mmpipe.serve.app import make_app
from mmpipe.serve.limits import ServeLimits
from mmpipe.serve.predictor import NotFound, Upload, UploadedFile
from mmpipe.serve.service import Service
from mmpipe.steps.ask.asking import Asking
from mmpipe.steps.ask.network import ReleasedNetwork
from mmpipe.steps.ask.predict import find_askable, predict_files
from mmpipe.steps.serve.follow import Follower
from mmpipe.steps.serve.released import ReleasedPredictor
from mmpipe.steps.serve.server import ServeSettings, make_follower, require_guarded, serve_model, suffixes_by_role
from mmpipe.steps.serve.stored_clips import StoredClips
from mmpipe.store.layout import StoreLayout
from mmpipe.store.schema import read_schema
from mmpipe.store.spine import read_spine
from mmpipe.types import FeatureSchema

sys.path.append(str(Path(__file__).parent.parent / "media"))

from mutants import make_mutants, make_seeds, references

if TYPE_CHECKING:
    from kill_fixtures import TrainedStore

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")

LIMITS = ServeLimits(upload_bytes=2 << 20, workers=2, queue=200, timeout_s=30)


@asynccontextmanager
async def serving(
    config: Config, folder: Path, reference: str = MODEL, limits: ServeLimits = LIMITS, duration_s: float = 60.0
) -> AsyncIterator[tuple[httpx.AsyncClient, Service, Follower]]:
    (folder / "uploads").mkdir(parents=True)
    service = Service(limits, suffixes_by_role(), folder / "uploads")
    settings = ServeSettings(reference=reference, limits=limits, device="cpu", duration_s=duration_s)
    follower = make_follower(config, settings, folder)
    await follower.begin(service)
    transport = httpx.ASGITransport(make_app(lambda: service))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as client:
        yield client, service, follower
    await service.close()
    assert list((folder / "uploads").rglob("*")) == []


def form_of(media: Path, stem: str) -> dict[str, tuple[str, bytes]]:
    return {
        "audio": (f"/etc/../{stem}.wav", (media / f"{stem}.wav").read_bytes()),
        "text": ("x\x00.txt", (media / f"{stem}.txt").read_bytes()),
    }


def test_uploads_and_keys_are_answered_as_the_batch_answers(winning: TrainedStore, tmp_path: Path) -> None:
    media = winning.folder / "media"
    stems = [f"clip-{number:02d}" for number in range(8)]
    batch = predict_files(winning.config, [media / f"{stem}.wav" for stem in stems], MODEL)
    expected = {answer.source: answer for answer in batch.answers}

    async def run() -> None:
        async with serving(winning.config, tmp_path) as (client, _, _):
            uploads = [client.post("/v1/predict", files=form_of(media, stem)) for stem in stems]
            keys = [client.post("/v1/predict", json={"key": expected[stem].key}) for stem in stems]
            told = await asyncio.gather(*uploads, *keys)
            for stem, answer in zip([*stems, *stems], told, strict=True):
                assert answer.status_code == 200, answer.text
                (clip,) = answer.json()["clips"]
                assert clip["key"] == expected[stem].key
                assert clip["probabilities"] == pytest.approx(expected[stem].said["probabilities"], abs=1e-5)
            missing = await client.post("/v1/predict", json={"key": "a" * 24})
            assert missing.status_code == 404
            outside = await client.post("/v1/predict", json={"key": "a" * 24, "corpus": "../../etc"})
            assert outside.status_code == 404

    asyncio.run(run())


def test_a_clip_whose_features_were_made_otherwise_is_not_answered_about(winning: TrainedStore) -> None:
    layout = StoreLayout(winning.config.store)
    lineage = json.loads(find_askable(winning.config, MODEL).read("lineage.json"))
    corpus, prints = lineage["corpus"], lineage["fingerprints"]
    schemas = {name: read_schema(layout.dataset(corpus, name)) for name in prints}
    live = read_spine(layout, corpus).filter(~pl.col("superseded"))
    key = live["key"][0]

    def clips(schemas: Mapping[str, FeatureSchema], prints: Mapping[str, str]) -> StoredClips:
        return StoredClips(layout, winning.config.corpora, schemas, prints, corpus)

    assert clips(schemas, prints).find(key, None).values
    feature = min(prints)
    with pytest.raises(NotFound, match=f"left out.* {feature} was made otherwise"):
        clips(schemas, {**prints, feature: "other"}).find(key, None)
    wider = {**schemas, feature: replace(schemas[feature], dim=schemas[feature].dim * 2)}
    with pytest.raises(NotFound, match="numbers, and the model reads"):
        clips(wider, prints).find(key, None)


def hostile_uploads(count: int) -> Iterator[tuple[str, str, bytes]]:
    """Yield role, name and bytes of what nobody should send: bombs, playlists, empty, wrong, broken."""
    for number, data in enumerate(references("/etc/passwd", "http://127.0.0.1:9/")):
        yield ("video", "audio", "image", "text")[number % 4], f"../../../reference-{number}.mp4", data
    wide = png(60_000, 60_000)
    yield "image", "bomb.png", wide
    yield "video", "bomb.mp4", wide
    yield "audio", "", b""
    yield "text", "long.txt", b"x" * (1 << 20)
    yield "text", "nul.txt", bytes(4_096)
    yield "audio", "-version", b"RIFF\xff\xff\xff\xffWAVEfmt "
    seeds = make_seeds()
    for number, mutant in enumerate(make_mutants(seeds, 11, count)):
        yield ("video", "audio", "image", "text")[number % 4], mutant.name.decode("latin-1"), mutant.data


def png(width: int, height: int) -> bytes:
    """Return a picture that would take gigabytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


def test_after_a_hundred_hostile_uploads_a_good_one_is_answered_rightly(winning: TrainedStore, tmp_path: Path) -> None:
    media = winning.folder / "media"
    uploads = list(hostile_uploads(100))[:110]
    assert len(uploads) >= 100

    async def run() -> None:
        async with serving(winning.config, tmp_path, duration_s=20) as (client, _, _):
            good = (await client.post("/v1/predict", files=form_of(media, "clip-03"))).json()["clips"]
            asked = [client.post("/v1/predict", files={role: (name, data)}) for role, name, data in uploads]
            told = await asyncio.gather(*asked)
            for (role, name, _), answer in zip(uploads, told, strict=True):
                assert answer.status_code in (200, 413, 415, 422, 504), (role, name, answer.text)
                assert "/etc/passwd" not in answer.text and "root:" not in answer.text
                assert answer.status_code == 200 or answer.json()["way_out"]
            assert sum(answer.status_code != 200 for answer in told) > 40
            assert (await client.post("/v1/predict", files=form_of(media, "clip-03"))).json()["clips"] == good
            assert [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()] == []

    asyncio.run(run())


def test_a_recording_beyond_the_limits_is_refused_before_it_is_decoded(winning: TrainedStore, tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(winning.config, tmp_path, duration_s=0.1) as (client, _, _):
            told = await client.post("/v1/predict", files=form_of(winning.folder / "media", "clip-03"))
            assert (told.status_code, told.json()["code"]) == (413, "limit_duration")

    asyncio.run(run())


def test_another_version_takes_over_under_load_and_no_question_is_lost(winning: TrainedStore, tmp_path: Path) -> None:
    config = winning.place(winning.config.store, tmp_path / "copy")
    models = config.store / "models"
    first = find_askable(config, MODEL)
    files: dict[str, bytes | Path] = {
        path.name: path for path in first.path.iterdir() if path.name not in ("SHA256SUMS", "version.json")
    }
    files["metrics.json"] = json.dumps(json.loads(first.read("metrics.json")) | {"temperature": 9.0}).encode()
    second = publish_version(models, MODEL, files, status="candidate", recipe_digest="other")
    media = winning.folder / "media"

    async def run() -> None:
        async with serving(config, tmp_path / "served") as (client, service, follower):

            async def ask(number: int) -> httpx.Response:
                return await client.post("/v1/predict", files=form_of(media, f"clip-{number % 4:02d}"))

            before = asyncio.gather(*(ask(number) for number in range(12)))
            await follower.look(service)  # nothing has moved
            promote(models, MODEL, second.label, why="a test")
            await follower.look(service)
            after = await asyncio.gather(*(ask(number) for number in range(4)))
            told = [*await before, *after]
            assert {answer.status_code for answer in told} == {200}
            assert {answer.json()["version"] for answer in after} == {second.label}
            assert {answer.json()["version"] for answer in told} == {first.label, second.label}
            said = {(answer.json()["version"], answer.json()["clips"][0]["probability"]) for answer in told}
            assert len({probability for _, probability in said}) == len(said) == 8, "one version said what another says"

            (second.path / "model.safetensors").write_bytes(b"damaged")
            promote(models, MODEL, first.label, why="back")
            await follower.look(service)
            assert service.host.lane and service.host.lane.predictor.version == first.label
            with pytest.raises(Exception, match="other content"):
                promote(models, MODEL, second.label, why="a damaged one")
            assert (await ask(0)).json()["version"] == first.label

    asyncio.run(run())


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_in_service(winning: TrainedStore, tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(winning.config, tmp_path) as (client, service, follower):
            label = read_aliases(winning.config.store / "models", MODEL).production
            broken = Follower(label_now=lambda: "9-gone", load=follower.load, every_s=1.0)
            await broken.look(service)
            assert service.host.lane and service.host.lane.predictor.version == label
            metrics = (await client.get("/metrics")).text
            assert 'mmpipe_serve_swaps_total{outcome="failed"} 1.0' in metrics
            assert (await client.get("/readyz")).status_code == 200

    asyncio.run(run())


class SlowEngine:
    """Tells of a worker that was killed for its slowness, and would try again for ever."""

    def __init__(self) -> None:
        self.attempts = 0

    def run(self, function: str, items: Sequence[WorkItem], on_event: OnEvent = ignore_event) -> Iterator[Outcome]:
        while True:
            self.attempts += 1
            on_event(Event(item=items[0].name, kind="died", text="timeout: nothing for 1 s"))
            yield from ()


def test_a_worker_that_is_too_slow_is_not_tried_twice(tmp_path: Path) -> None:
    engine = SlowEngine()
    asking = Asking(
        engine=cast(Engine, engine),
        workers=1,
        source=CorpusConfig(root=tmp_path),
        features=(),
        schemas={},
        speech=None,
        device="cpu",
        encoders="",
        pictures="",
    )
    (tmp_path / "audio.wav").write_bytes(b"RIFF")
    predictor = ReleasedPredictor(
        version=cast(Version, SimpleNamespace(name="m", label="1")),
        asking=asking,
        network=cast(ReleasedNetwork, None),
        stored=cast(StoredClips, None),
        stack=ExitStack(),
    )
    file = UploadedFile(role="audio", path=tmp_path / "audio.wav", nbytes=4)
    with pytest.raises(TimeoutError):
        predictor.read(Upload(folder=tmp_path, files=(file,), timeout_s=10))
    assert engine.attempts == 1


def test_without_a_key_it_listens_to_this_machine_alone(winning: TrainedStore) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.4", "example.org"):
        with pytest.raises(ConfigError, match="no API key"):
            require_guarded(host, "")
        require_guarded(host, "key")
    for host in ("127.0.0.1", "::1", "localhost"):
        require_guarded(host, "")
    with pytest.raises(ConfigError, match="no model 'none'"):
        serve_model(winning.config, ServeSettings(reference="none", limits=LIMITS), print)


@pytest.mark.slow
def test_the_verb_serves_a_port_until_it_is_told_to_stop(winning: TrainedStore, tmp_path: Path) -> None:
    (tmp_path / "mmpipe.toml").write_text(f'store = "{winning.config.store}"')
    line = [sys.executable, "-m", "mmpipe.cli", "serve", "--model", MODEL, "--port", "0", "--workers", "1"]
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stderr is not None
        told = server.stderr.readline()
        address = told.split(" at ")[1].split(";")[0]
        with httpx.Client(base_url=address, timeout=60) as client:
            while client.get("/readyz").status_code != 200:
                assert server.poll() is None, server.stderr.read()
            form = form_of(winning.folder / "media", "clip-01")
            assert client.post("/v1/predict", files=form).json()["model"] == MODEL
            server.terminate()
        assert server.wait(60) == 0
        assert server.stderr.read().endswith("stopped\n")
    assert [path.name for path in tmp_path.iterdir()] == ["mmpipe.toml"]
