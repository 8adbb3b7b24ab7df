"""Recordings without a text get the words that a speech model hears: right, in time, once, and forgotten with them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from corpus_maker import CORPUS, LATER, extract, ingest, make_config, reasons, tree, write_text
from speech_maker import FRAME_SAMPLES, RATE_HZ, make_words, save_ctc, save_whisper, sing, write_song

from mmpipe.config import Config, EngineConfig, LimitsConfig, SpeechModelConfig, load_config, parse_config
from mmpipe.engine.inline import InlineEngine
from mmpipe.engine.work import Outcome
from mmpipe.errors import ConfigError
from mmpipe.signals.recogniser import Recogniser, load_recogniser
from mmpipe.signals.words import one_line
from mmpipe.steps.ground.wire import decode, encode
from mmpipe.steps.ingest.transcribe_worker import Recording, SpeechWork, Transcript, cut_pieces, transcribe_recordings
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.plan.speech_model import find_speech_model
from mmpipe.steps.tell.inspect import find_clips
from mmpipe.steps.workers.workers import shared_engine
from mmpipe.store.assets import assets_of, read_assets
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.spine import read_spine
from mmpipe.types import Cue, Modality, Stream

FRAME_NS = FRAME_SAMPLES * 1_000_000_000 // RATE_HZ


@pytest.fixture(scope="module")
def worker():
    """Keep one real worker for the module."""
    config = parse_config({}).model_copy(update={"engine": EngineConfig(workers=1)})
    with shared_engine(config):
        yield


@pytest.fixture(scope="module")
def singer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_ctc(tmp_path_factory.mktemp("model") / "singer")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_whisper(tmp_path_factory.mktemp("model") / "whisper")


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hear in this process: the model is loaded here already."""
    monkeypatch.setattr("mmpipe.steps.ingest.transcribe.shared_engine", lambda config: InlineEngine())


def make_corpus(folder: Path, model: Path, *sources: str, **settings: Any) -> Config:
    (folder / "media").mkdir(parents=True, exist_ok=True)
    text = {"sources": sources or ("sidecar", "asr"), "asr": {"model": str(model), **settings.pop("asr", {})}}
    return make_config(folder, text=text, **settings)


def write_words(config: Config, name: str, words: list[str]) -> list[tuple[float, float]]:
    wave_N, spans, _ = sing(words)
    write_song(config.corpora[CORPUS].root / f"{name}.wav", wave_N)
    return spans


def heard(config: Config, name: str) -> list[tuple[int, int, str]]:
    frame = read_assets(StoreLayout(config.store), CORPUS).filter(pl.col("source_id") == name)
    (asset,) = assets_of(frame)
    return [(cue.start_ns, cue.end_ns, cue.text) for cue in asset.cues]


def no_engine(config: Config) -> None:
    raise AssertionError("a worker was started")


def test_tones_become_words_in_time_and_clips(tmp_path: Path, worker: None, singer: Path) -> None:
    config = make_corpus(tmp_path, singer, clips={"rule": "cues"})
    words = ["bad", "cab", "a", "ebb"]
    spans = write_words(config, "song", words)
    ingest(config)
    rows = find_clips(config, CORPUS, "song")
    assert [row["text"] for row in rows] == words
    assert {row["text_origin"] for row in rows} == {"asr:singer"}
    for row, (start_s, end_s) in zip(rows, spans, strict=True):
        assert abs(row["start_ns"] - start_s * 1e9) <= 2 * FRAME_NS
        assert abs(row["end_ns"] - end_s * 1e9) <= 2 * FRAME_NS
    done, _ = extract(config)
    assert not done.quarantined and done.computed == 2 * len(words)


def test_words_of_long_recordings_come_once_each(tmp_path: Path, inline: None, singer: Path) -> None:
    config = make_corpus(tmp_path, singer)
    words = make_words(98)
    spans = write_words(config, "long", words)
    assert spans[-1][1] > 41, "three pieces"
    ingest(config)
    found = heard(config, "long")
    assert [word for *_, word in found] == words
    off_ns = [abs(start - said[0] * 1e9) for (start, *_), said in zip(found, spans, strict=True)]
    assert max(off_ns) <= 2 * FRAME_NS


def test_pieces_cover_a_recording_on_a_fixed_grid() -> None:
    pieces = cut_pieces(1_000, 45_000_000_000, 2_000_000_000)
    assert [piece.start_ns for piece in pieces] == [1_000, 20_000_001_000, 40_000_001_000]
    assert all(one.end_ns == two.start_ns for one, two in pairwise(pieces))
    assert [(piece.heard.start_ns, piece.heard.end_ns) for piece in pieces] == [
        (1_000, 22_000_001_000),
        (18_000_001_000, 42_000_001_000),
        (38_000_001_000, 45_000_000_000),
    ]


def test_what_was_heard_is_never_heard_again(
    tmp_path: Path, inline: None, singer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_corpus(tmp_path, singer)
    write_words(config, "song", ["bad", "cab"])
    write_song(config.corpora[CORPUS].root / "quiet.wav", np.zeros(RATE_HZ, np.float32))
    report = ingest(config)
    assert report.quarantined_share == 0 and reasons(config) == {"no_words": 1}
    (note,) = read_quarantine(StoreLayout(config.store), CORPUS).to_dicts()
    assert note["kept"] and (note["source_id"], note["stage"]) == ("quiet", "transcribe")
    before = tree(config.store)
    monkeypatch.setattr("mmpipe.steps.ingest.transcribe.shared_engine", no_engine)
    ingest(config, LATER)
    assert tree(config.store) == before
    for scan in (config.store / "_runs").glob("scan-*"):
        scan.unlink()
    media = config.corpora[CORPUS].root
    (media / "song.wav").rename(media / "renamed.wav")
    ingest(config)
    cleaned = make_corpus(tmp_path, singer, shard_clips=7)
    cleaned = cleaned.model_copy(update={"corpora": {CORPUS: _with_stop_words(cleaned)}})
    ingest(cleaned)
    spine = read_spine(StoreLayout(config.store), CORPUS).filter(~pl.col("superseded"))
    assert set(spine["text"]) == {"bad cab", ""}


def _with_stop_words(config: Config) -> Any:
    source = config.corpora[CORPUS]
    return source.model_copy(update={"text": source.text.model_copy(update={"stop_words": "en"})})


def test_other_weights_hear_anew_and_leave_the_sound_features_alone(tmp_path: Path, inline: None, singer: Path) -> None:
    config = make_corpus(tmp_path, singer)
    write_words(config, "song", ["bad"])
    write_words(config, "told", ["cab"])
    write_text(tmp_path / "media" / "told.txt", "this has a text")
    ingest(config)
    extract(config)
    other = make_corpus(tmp_path, save_ctc(tmp_path / "other", steps=60))
    ingest(other)
    spine = read_spine(StoreLayout(config.store), CORPUS)
    song = spine.filter(pl.col("source_id") == "song")
    assert song["asset_id"].n_unique() == 2 and song["superseded"].sum() == 1 and song["audio"].n_unique() == 1
    assert spine.filter(pl.col("source_id") == "told")["text"].to_list() == ["this has a text"]
    done, _ = extract(other)
    assert done.reused == 1 and done.computed <= 1, "the sound's value is copied; the text may be new"


def test_what_was_heard_is_forgotten_with_its_asset(tmp_path: Path, inline: None, singer: Path) -> None:
    config = make_corpus(tmp_path, singer)
    write_words(config, "song", ["deadbeef"[:4], "cabbed"])
    write_words(config, "other", ["ace"])
    ingest(config)
    extract(config)
    assert forget(config, CORPUS, "song", "asked to").files == 1
    ingest(config)
    assert set(read_spine(StoreLayout(config.store), CORPUS)["source_id"]) == {"other"}
    assert not [path for path in config.store.rglob("*") if path.is_file() and b"cabbed" in path.read_bytes()]


def test_company_and_death_change_nothing_for_the_others(tmp_path: Path, inline: None, singer: Path) -> None:
    config = make_corpus(tmp_path, singer)
    for name, words in (("a", ["bad"]), ("b", ["cab", "e"])):
        write_words(config, name, words)
    ingest(config)
    sounds = [
        Recording(digest=asset.source_id, stream=sound)
        for asset in assets_of(read_assets(StoreLayout(config.store), CORPUS))
        if (sound := asset.stream(Modality.AUDIO))
    ]
    source = config.corpora[CORPUS]
    assert source.text.asr
    model = find_speech_model(source.text.asr)

    def hear(recordings: list[Recording], poisoned: dict[str, str]) -> dict[str, Transcript]:
        work = SpeechWork(root=source.root, limits=LimitsConfig(), model=model, recordings=tuple(recordings))
        parts: list[str] = []
        told = decode(tuple[Transcript, ...], transcribe_recordings(work, parts.append, poisoned))
        assert set(parts) == {recording.digest for recording in recordings} - set(poisoned)
        return {transcript.digest: transcript for transcript in told}

    both, alone = hear(sounds, {}), hear(sounds[1:], {})
    assert both["b"] == alone["b"] and [cue.text for cue in both["b"].cues] == ["cab", "e"]
    killed = hear(sounds, {"a": "worker_killed"})
    assert killed["a"].code == "worker_killed" and killed["b"] == both["b"]


def test_what_failed_is_tried_again_under_other_limits_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    class Failing(InlineEngine):
        def run(self, function, items, on_event=None):
            for item in items:
                heard.append(item.name)
                told = [
                    Transcript(digest=entry.digest, code="timeout", detail="too long")
                    for entry in item.payload.recordings
                ]
                yield Outcome(name=item.name, result=encode(tuple[Transcript, ...], tuple(told)))

    monkeypatch.setattr("mmpipe.steps.ingest.transcribe.shared_engine", lambda config: Failing())
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")  # a header, and no tensor
    config = make_corpus(tmp_path, tmp_path / "model")
    write_words(config, "song", ["bad"])
    for _ in range(2):
        ingest(config)
    assert reasons(config) == {"timeout": 1} and len(heard) == 1
    ingest(make_corpus(tmp_path, tmp_path / "model", limits={"seconds_per_asset": 99}))
    assert len(heard) == 2


def test_without_word_times_a_piece_is_one_cue(tmp_path: Path, inline: None, singer: Path) -> None:
    config = make_corpus(tmp_path, singer, asr={"word_times": False})
    write_words(config, "song", ["bad", "cab"])
    ingest(config)
    ((start_ns, end_ns, text),) = heard(config, "song")
    assert text == "bad cab" and 0 < start_ns < end_ns


def test_a_ctc_model_says_what_transformers_says(singer: Path) -> None:
    from transformers import AutoModelForCTC, AutoTokenizer

    wave_N, _, _ = sing(["ad", "bee", "c"])
    import torch

    with torch.inference_mode():
        ids_BT = AutoModelForCTC.from_pretrained(singer)(torch.from_numpy(wave_N)[None]).logits.argmax(-1)
    said = AutoTokenizer.from_pretrained(singer).decode(ids_BT[0], output_word_offsets=True)
    recogniser = load_recogniser(singer, "", True)
    one, two = recogniser.hear([wave_N, wave_N])
    assert one == two == recogniser.hear([wave_N])[0]
    assert [cue.text for cue in one] == said.text.split() == ["ad", "bee", "c"]
    assert [cue.start_ns for cue in one] == [entry["start_offset"] * FRAME_NS for entry in said.word_offsets]
    assert [cue.end_ns for cue in one] == [entry["end_offset"] * FRAME_NS for entry in said.word_offsets]


@pytest.mark.parametrize("word_times", [True, False])
@pytest.mark.filterwarnings("ignore:std")  # a model that knows nothing points behind the end of the sound
def test_a_whisper_model_says_what_transformers_says(whisper: Path, word_times: bool) -> None:
    wave_N = np.random.default_rng(0).normal(0, 0.1, 3 * RATE_HZ).astype(np.float32)
    recogniser = load_recogniser(whisper, "en", word_times)
    assert recogniser.times == ("word" if word_times else "segment")
    one, two = recogniser.hear([wave_N, wave_N])
    assert one == two == recogniser.hear([wave_N])[0], "nothing of a call is left for the next"
    from transformers import pipeline

    straight = pipeline("automatic-speech-recognition", model=str(whisper), device="cpu")
    sound = {"raw": wave_N, "sampling_rate": RATE_HZ}
    times, greedy = "word" if word_times else True, {"language": "en", "do_sample": False, "num_beams": 1}
    said = straight(sound, return_timestamps=times, generate_kwargs=greedy)["chunks"]
    expected = [
        (chunk["timestamp"][0], one_line(chunk["text"]))
        for chunk in said
        if chunk["timestamp"][0] < 3 and one_line(chunk["text"])
    ]
    assert expected == [(cue.start_ns / 1e9, cue.text) for cue in one]


def test_a_language_that_a_model_does_not_have_is_a_fault_of_the_config(whisper: Path) -> None:
    recogniser = load_recogniser(whisper, "xx", True)
    with pytest.raises(ConfigError, match=r"text\.asr"):
        recogniser.hear([np.ones(RATE_HZ, np.float32)])


def test_a_model_that_is_not_here_or_is_pickled_is_refused(tmp_path: Path, singer: Path) -> None:
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text("{}")
    (pickled / "pytorch_model.bin").write_bytes(b"never read")
    for folder, said in ((pickled, "safetensors"), (tmp_path / "nowhere", "there is no folder")):
        with pytest.raises(ConfigError, match=said):
            find_speech_model(SpeechModelConfig(model=str(folder)))
    with pytest.raises(ConfigError, match=r"offline = false"):
        find_speech_model(SpeechModelConfig(model="nobody/nothing", revision="0" * 40))
    with pytest.raises(ConfigError, match="revision"):
        parse_config({"corpora": {"a": {"root": ".", "text": {"sources": ["asr"], "asr": {"model": "some/model"}}}}})
    one = find_speech_model(SpeechModelConfig(model=str(singer)))
    two = find_speech_model(SpeechModelConfig(model=str(singer), language="en"))
    sound = Stream(
        role="audio", modality=Modality.AUDIO, digest="d", file="a", file_sha256="", file_nbytes=1, track=0,
        start_ns=0, duration_ns=1, codec="",
    )  # fmt: skip
    assert one.sha256 == two.sha256 and one.transcript_digest(sound) != two.transcript_digest(sound)


def test_a_model_of_the_hub_is_fetched_only_where_that_is_said(
    singer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setenv("MMPIPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda name, **how: asked.append({"name": name, **how}) or str(singer)
    )
    for offline in (True, False):
        model = find_speech_model(SpeechModelConfig(model="owner/singer", revision="a" * 40, offline=offline))
        assert model.name == "owner/singer" and model.folder == singer
    assert [how["local_files_only"] for how in asked] == [True, False]
    assert {how["revision"] for how in asked} == {"a" * 40}
    assert not {"*.bin", "*.py", "*.pt"} & {pattern for how in asked for pattern in how["allow_patterns"]}


def test_a_folder_of_a_model_is_relative_to_the_config(tmp_path: Path) -> None:
    text = '[corpora.a]\nroot = "media"\n[corpora.a.text]\nsources = ["asr"]\nasr = {model = "./models/one"}\n'
    (tmp_path / "mmpipe.toml").write_text(text)
    asr = load_config(tmp_path / "mmpipe.toml").corpora["a"].text.asr
    assert asr and Path(asr.model) == tmp_path / "models" / "one"


def test_pieces_of_one_length_are_heard_together(tmp_path: Path, inline: None, whisper: Path) -> None:
    config = make_corpus(tmp_path, whisper)
    wave_N = np.random.default_rng(0).normal(0, 0.1, 63 * RATE_HZ).astype(np.float32).clip(-1, 1)
    write_song(config.corpora[CORPUS].root / "noise.wav", wave_N)
    sizes: list[int] = []
    hear = Recogniser.hear

    def counted(self: Recogniser, waves: Sequence[np.ndarray]) -> list[tuple[Cue, ...]]:
        sizes.append(len(waves))
        return hear(self, waves)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recogniser, "hear", counted)
        ingest(config)
    assert sizes == [1, 2, 1], "the first and the last piece have a neighbour on one side only"
    words = heard(config, "noise")
    assert words == sorted(words, key=lambda word: word[:2]) and words[-1][1] <= 63_100_000_000
