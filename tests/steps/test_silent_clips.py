"""Clips in which a recording has nothing of a kind: absent, not in quarantine; and tried again where it was."""

from __future__ import annotations

import os
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from corpus_maker import CORPUS, DT, OLD_S, RATE_HZ, SOUND, TEXT, extract, ingest, make_config, write_text

from mmpipe.config import Config
from mmpipe.engine.inline import InlineEngine
from mmpipe.steps.extract import growing_shard
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.plan.plan import Only, State, plan_corpus, read_states
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.revisions import read_head
from mmpipe.store.verify import verify_store

CUES = "WEBVTT\n\n00:00.000 --> 00:00.500\nfirst words\n\n00:02.100 --> 00:02.900\nlast words\n"


def fates(config: Config, feature: str) -> tuple[int, int, int]:
    """Return how many values of a feature are written, absent and in quarantine; each shard's add up to its clips."""
    head = read_head(StoreLayout(config.store).dataset(CORPUS, feature), DT)
    assert head is not None
    for shard in head.shards:
        assert shard.spine == shard.samples + shard.absent + shard.quarantined
    counts = [(shard.samples, shard.absent, shard.quarantined) for shard in head.shards]
    return tuple(sum(column) for column in zip(*counts, strict=True))  # type: ignore[return-value]


def write_mostly_silent_film(path: Path) -> None:
    """Write three seconds of pictures with half a second of sound."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=8)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("aac", rate=RATE_HZ, layout="mono")
        for index in range(24):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * index, np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 8)
            container.mux(video.encode(frame))
        heard = av.AudioFrame.from_ndarray(np.ones((1, RATE_HZ // 2), np.float32) / 4, format="fltp", layout="mono")
        heard.sample_rate, heard.pts, heard.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
        container.mux([*video.encode(None), *audio.encode(heard), *audio.encode(None)])
    os.utime(path, (OLD_S, OLD_S))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Return a film of three windows: words in the first and the last, sound in the first."""
    (tmp_path / "media").mkdir()
    write_mostly_silent_film(tmp_path / "media" / "film.mp4")
    write_text(tmp_path / "media" / "film.vtt", CUES)
    made = make_config(tmp_path, clips={"rule": "window", "length_s": 1.0, "hop_s": 1.0})
    ingest(made)
    return made


@pytest.mark.usefixtures("warm_workers")
def test_where_no_cue_and_no_sound_reaches_a_clip_it_is_absent(config: Config) -> None:
    report, _ = extract(config)
    assert dict(report.quarantined) == {}
    assert fates(config, TEXT) == (2, 1, 0) and fates(config, SOUND) == (1, 2, 0)
    assert {state.state for state in read_states(config, CORPUS)} == {State.COMPLETE}
    assert read_quarantine(StoreLayout(config.store), CORPUS).is_empty()
    assert verify_store(StoreLayout(config.store)) == ()


def test_what_was_quarantined_for_it_before_is_cleared_by_its_own_command(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:  # in this process, and as it was
        before.setattr(growing_shard, "should_reach", lambda *_: True)
        before.setattr("mmpipe.steps.extract.extract.shared_engine", lambda _: nullcontext(InlineEngine()))
        extract(config)
    assert fates(config, TEXT) == (2, 0, 1) and fates(config, SOUND) == (1, 0, 2)
    objects = {path.name for path in (config.store / CORPUS / TEXT / "objects").rglob("*")}
    assert plan_corpus(config, CORPUS).is_empty, "the fingerprint is the same: no night makes it again"
    report, _ = extract_plan(config, plan_corpus(config, CORPUS, only=Only.FAILED))
    assert (report.computed, fates(config, TEXT), fates(config, SOUND)) == (0, (2, 1, 0), (1, 2, 0))
    assert {path.name for path in (config.store / CORPUS / TEXT / "objects").rglob("*")} == objects
    assert read_quarantine(StoreLayout(config.store), CORPUS).is_empty()
