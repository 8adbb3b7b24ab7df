"""Asking about media where something is wrong beside them: workers that crash, folders that look alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from mmpipe.config import Config, CorpusConfig, TextConfig
from mmpipe.engine.engine import Engine, OnEvent, ignore_event
from mmpipe.engine.work import Outcome, WorkFailure, WorkItem
from mmpipe.errors import StoreError
from mmpipe.registry.versions import Version
from mmpipe.serve.limits import ServeLimits
from mmpipe.serve.predictor import Upload, UploadedFile
from mmpipe.sources.stems import AssetFiles
from mmpipe.steps.ask.answers import Answer, Unanswered
from mmpipe.steps.ask.ask_work import AskedClip, AskWork, pack_reply
from mmpipe.steps.ask.asking import WARM_UP, Asking
from mmpipe.steps.ask.listed import find_recordings
from mmpipe.steps.ask.network import HeldClips, ReleasedNetwork
from mmpipe.steps.ask.predict import _replies, _Told
from mmpipe.steps.serve import server
from mmpipe.steps.serve.released import ReleasedPredictor
from mmpipe.steps.serve.server import ServeSettings, make_follower
from mmpipe.steps.serve.stored_clips import StoredClips
from mmpipe.types import FeatureKind, FeatureSchema, Modality

TRACE = 'Traceback (most recent call last):\n  File "/home/us/mmpipe/x.py", line 1, in f\nKeyError: 7'


class CrashingEngine:
    """Crashes on whatever holds a recording named `bad`, and warms the same worker again and again."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def run(self, function: str, items: Sequence[WorkItem], on_event: OnEvent = ignore_event) -> Iterator[Outcome]:
        self.calls.append(len(items))
        for item in items:
            assert isinstance(item.payload, AskWork)
            names = [stem.source_id for stem in item.payload.stems]
            if function == WARM_UP:
                yield Outcome(name=item.name, result=str(len(self.calls) // 2).encode())
            elif "bad" in names or "upload" in names:
                yield Outcome(name=item.name, failure=WorkFailure(code="crashed", detail=TRACE))
            else:
                clips = [AskedClip(source=name, key="k", start_ns=0, end_ns=1) for name in names]
                yield Outcome(name=item.name, result=pack_reply(clips, ()))


def asking_with(engine: CrashingEngine, root: Path, text: TextConfig | None = None) -> Asking:
    return Asking(
        engine=cast(Engine, engine),
        workers=2,
        source=CorpusConfig(root=root, text=text or TextConfig()),
        features=(),
        schemas={},
        speech=None,
        device="cpu",
        encoders="",
        pictures="",
    )


def predictor_with(asking: Asking) -> ReleasedPredictor:
    return ReleasedPredictor(
        version=cast(Version, SimpleNamespace(name="m", label="1")),
        asking=asking,
        network=cast(ReleasedNetwork, None),
        stored=cast(StoredClips, None),
        stack=ExitStack(),
    )


def test_one_recording_that_crashes_its_worker_does_not_take_its_neighbours(tmp_path: Path) -> None:
    asking = asking_with(CrashingEngine(), tmp_path)
    stems = [AssetFiles(source_id=name, files=()) for name in ("bad", "good", "fine")]
    ((name, reply),) = _replies(asking, tmp_path, tmp_path, {"0": asking.work(tmp_path, tmp_path, stems)})
    assert name == "0" and [clip.source for clip in reply.clips] == ["good", "fine"]
    assert [(drop.source_id, drop.code, drop.detail) for drop in reply.drops] == [("bad", "crashed", "KeyError: 7")]


def test_an_upload_that_crashes_its_worker_is_a_fault_of_ours(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "audio.wav").write_bytes(b"RIFF")
    file = UploadedFile(role="audio", path=tmp_path / "audio.wav", nbytes=4)
    with pytest.raises(RuntimeError) as failed:
        predictor_with(asking_with(CrashingEngine(), tmp_path)).read(
            Upload(folder=tmp_path, files=(file,), timeout_s=10)
        )
    assert "/home/us" not in str(failed.value) and "/home/us" in caplog.text


def test_a_text_that_the_model_does_not_read_is_told(tmp_path: Path) -> None:
    heard = TextConfig.model_construct(sources=("asr",))
    files = [UploadedFile(role=role, path=tmp_path / f"{role}.x", nbytes=1) for role in ("audio", "text")]
    upload = Upload(folder=tmp_path, files=tuple(files), timeout_s=1)
    asking = asking_with(CrashingEngine(), tmp_path)
    assert predictor_with(asking)._unread(upload) == []
    asking = Asking(
        **{name: getattr(asking, name) for name in Asking.__slots__ if name != "source"},
        source=asking.source.model_copy(update={"text": heard}),
    )
    assert [(lost.source, lost.code) for lost in predictor_with(asking)._unread(upload)] == [
        ("text.x", "text_not_read")
    ]


def test_beside_another_version_workers_are_warmed_one_by_one(tmp_path: Path) -> None:
    engine = CrashingEngine()
    asking_with(engine, tmp_path).warm_up(tmp_path)
    assert engine.calls == [2]
    engine.calls.clear()
    asking_with(engine, tmp_path).warm_up(tmp_path, one_by_one=True)
    assert engine.calls == [1, 1], "two workers answered"


def test_files_of_several_folders_are_told_apart_and_what_is_no_media_did_not_fail(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.wav").write_bytes(b"RIFF")
    (tmp_path / "a" / "one.nfo").write_text("about it")
    (tmp_path / "a" / "answers.parquet").write_text("answers")
    out = frozenset({tmp_path / "a" / "answers.parquet"})
    source = CorpusConfig(root=tmp_path)
    found = find_recordings([tmp_path / "a", tmp_path / "b" / "one.wav"], source, out)
    assert [(part.prefix, [stem.source_id for stem in part.stems]) for part in found] == [
        ("a/", ["one"]),
        ("b/", ["one"]),
    ]
    assert [row.source for row in found[0].beside] == ["one.nfo"] and not found[0].unusable
    (alone,) = find_recordings([tmp_path / "a" / "one.nfo"], source)
    assert alone.prefix == "" and [row.source for row in alone.unusable] == ["one.nfo"]

    rows: list[Answer | Unanswered] = []
    told = _Told(take=rows.append, prefix="a/")
    told.mention(found[0].beside)
    told.add(found[0].stems, [Answer(source="one", key="k", start_s=0, end_s=1, said={})])
    assert [row.source for row in rows] == ["a/one.nfo", "a/one"] and (told.recordings, told.failed) == (1, 0)


def test_a_value_of_another_dimension_is_not_read_as_other_steps() -> None:
    schema = FeatureSchema(feature="f@1", modality=Modality.AUDIO, kind=FeatureKind.SEQUENCE, dim=128)
    for shape, is_read in (((10, 64), False), ((64,), False), ((3, 128), True), ((128,), True)):
        clip = AskedClip(source="", key="", start_ns=0, end_ns=1, values={"f@1": np.ones(shape, np.float32)})
        if is_read:
            assert HeldClips([clip], {"f@1": schema}).gather(np.arange(1)).features["f@1"].mask_BT.all()
        else:
            with pytest.raises(StoreError, match="128 numbers"):
                HeldClips([clip], {"f@1": schema}).gather(np.arange(1))


def test_what_is_no_alias_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def find(_: Config, reference: str) -> SimpleNamespace:
        looked.append(reference)
        return SimpleNamespace(label="1-a")

    monkeypatch.setattr(server, "find_askable", find)
    settings = ServeSettings(reference="m@1", limits=ServeLimits())
    follower = make_follower(Config(store=tmp_path), settings, tmp_path)
    assert [follower.label_now() for _ in range(3)] == ["1-a"] * 3 and looked == ["m@1"]
