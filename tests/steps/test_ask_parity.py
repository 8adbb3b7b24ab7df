"""What a warm worker gives of raw files is, bit for bit, what a night puts into the store: of every kind of media."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus_maker import CORPUS, make_config, write_film, write_picture, write_text, write_tone

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import Config
from mmpipe.features.extractor import feature_name
from mmpipe.steps.ask.ask_work import AskReply, AskWork, pack_reply, unpack_reply
from mmpipe.steps.ask.asking import open_asking
from mmpipe.steps.ask.listed import find_recordings
from mmpipe.steps.ask.settings import CORPUS as ASKED
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.feature_set import resolve_features
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.store.layout import StoreLayout
from mmpipe.store.snapshot import take_snapshot

pytestmark = pytest.mark.usefixtures("warm_workers")

FEATURES = ["audio-logmel", "audio-mfccseg.low", "image-hogdct", "text-ngrams", "text-words", "video-hogdct"]
LOW = {"low": {"modality": "audio", "filters": ["lowpass=f=900"]}}
CUES = "WEBVTT\n\n00:00.000 --> 00:00.200\nfirst words\n\n00:00.200 --> 00:00.500\nand the others\n"


def write_media(root: Path) -> None:
    root.mkdir()
    write_film(root / "film.mp4")
    write_text(root / "film.vtt", CUES)
    write_film(root / "silent.mp4", sound=False, hz=600)
    write_tone(root / "tone.wav", 700, seconds=0.9)
    write_text(root / "tone.txt", "a tone, with words\n")
    write_picture(root / "still.png")
    write_text(root / "only.txt", "words alone\n")
    write_text(root / "lies.wav", "no sound at all")


def stored(config: Config) -> dict[str, dict[str, np.ndarray]]:
    """Return clip key -> feature -> value, by a night."""
    ingest_corpus(config, CORPUS, "2026-11-20")
    extract_plan(config, plan_corpus(config, CORPUS))
    layout = StoreLayout(config.store)
    names = [feature_name(extractor) for extractor in resolve_features(config, CORPUS)]
    reader = AlignedReader(layout, take_snapshot(layout, CORPUS, names), names)
    values = {
        key: {name: reader.value(row, name) for name in names} for row, key in enumerate(reader.spine["key"].to_list())
    }
    return {
        key: {name: value.array for name, value in found.items() if value is not None} for key, found in values.items()
    }


def asked(config: Config, staging: Path, stems_per_call: int) -> AskReply:
    """Return the same of raw files, by workers that know no store."""
    source = config.corpora[CORPUS]
    config = config.model_copy(update={"corpora": {ASKED: source}})
    wanted = [feature_name(extractor) for extractor in resolve_features(config, ASKED)]
    (found,) = find_recordings([source.root], source)
    with open_asking(config, wanted) as asking:
        works: dict[str, AskWork] = {
            str(start): asking.work(source.root, staging, found.stems[start : start + stems_per_call])
            for start in range(0, len(found.stems), stems_per_call)
        }
        replies = dict(asking.ask(works))
    return AskReply(
        clips=tuple(clip for name in works for clip in replies[name].clips),
        drops=tuple(drop for name in works for drop in replies[name].drops),
    )


ALL = {f"{name}@1" for name in FEATURES}


@pytest.mark.parametrize(
    ("clips", "stems_per_call", "features"),
    [
        ({"rule": "whole"}, 1, ALL),
        ({"rule": "cues"}, 10, ALL - {"image-hogdct@1"}),
        ({"rule": "window", "length_s": 0.25}, 2, ALL),
        ({"rule": "shots"}, 3, ALL - {"image-hogdct@1"}),
    ],
)
def test_the_features_of_raw_files_are_those_of_the_store(
    tmp_path: Path, clips: dict[str, Any], stems_per_call: int, features: set[str]
) -> None:
    write_media(tmp_path / "media")
    config = make_config(tmp_path, clips=clips, features=FEATURES, renditions=LOW, max_quarantined=1.0)
    reply, expected = asked(config, tmp_path, stems_per_call), stored(config)
    assert {clip.key for clip in reply.clips} == set(expected)
    assert {name for found in expected.values() for name in found} == features
    for clip in reply.clips:
        assert clip.values.keys() == expected[clip.key].keys(), clip.source
        for name, value in clip.values.items():
            assert np.array_equal(value, expected[clip.key][name]), (clip.source, name)
    assert "not_media" in {drop.code for drop in reply.drops if drop.file == "lies.wav"}


def test_a_reply_comes_back_as_it_was_packed(tmp_path: Path) -> None:
    write_media(tmp_path / "media")
    config = make_config(tmp_path, features=["audio-logmel", "text-ngrams"], max_quarantined=1.0)
    reply = asked(config, tmp_path, 4)
    again = unpack_reply(pack_reply(reply.clips, reply.drops))
    assert again.drops == reply.drops and len(again.clips) == len(reply.clips)
    for one, other in zip(again.clips, reply.clips, strict=True):
        assert (one.source, one.key, one.start_ns, one.end_ns) == (
            other.source,
            other.key,
            other.start_ns,
            other.end_ns,
        )
        assert all(np.array_equal(one.values[name], value) for name, value in other.values.items())
