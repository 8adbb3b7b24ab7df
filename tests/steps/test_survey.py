"""Every asset is decoded once as it is taken in: cut where its content says so, measured, filtered."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import polars as pl
import pytest
import soundfile
from corpus_maker import CORPUS, DT, ingest, make_config, write_film, write_pairs, write_picture, write_text, write_tone
from imageio_ffmpeg import get_ffmpeg_exe

from mmpipe.config import ClipsConfig, Config
from mmpipe.errors import ConfigError
from mmpipe.io import sha256_file
from mmpipe.steps.ingest import ingest as ingest_module
from mmpipe.steps.ingest import partition_draft, survey
from mmpipe.steps.ingest.survey_meter import AssetMeter
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.plan.status import read_status
from mmpipe.steps.tell.inspect import find_clips
from mmpipe.store.commit import read_head
from mmpipe.store.layout import CLIPS, SIGNALS, SURVEYS, StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.signals import read_signals
from mmpipe.store.spine import read_spine
from mmpipe.store.surveys import read_surveys
from mmpipe.store.verify import verify_store

SECOND = 1_000_000_000
ON = {"enabled": True}

pytestmark = pytest.mark.usefixtures("warm_workers")


def layout_of(config: Config) -> StoreLayout:
    return StoreLayout(config.store)


def live(config: Config) -> pl.DataFrame:
    return read_spine(layout_of(config), CORPUS).filter(~pl.col("superseded"))


def signals(config: Config) -> pl.DataFrame:
    return read_signals(layout_of(config), CORPUS)


def drops(config: Config) -> pl.DataFrame:
    return read_quarantine(layout_of(config), CORPUS)


def bytes_of(config: Config) -> dict[str, str]:
    """Return the digest of every file of the corpus in the store."""
    root = config.store / CORPUS
    return {str(path.relative_to(root)): sha256_file(path) for path in sorted(root.rglob("*")) if path.is_file()}


def refuse_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("something was surveyed again")

    monkeypatch.setattr(survey, "_in_workers", refuse)


def write_mix(media: Path) -> None:
    """Write one asset of every kind."""
    write_pairs(media, ["pair"], {"pair": "the quick brown fox jumps over the lazy dog and runs away"})
    write_film(media / "film.mp4")
    write_picture(media / "still.png")
    write_text(media / "words.txt", "hello there, this is a text that stands alone")


def test_every_clip_has_signals_and_another_team_reads_them(tmp_path: Path) -> None:
    write_mix(tmp_path / "media")
    config = make_config(tmp_path, signals=ON)
    ingest(config)
    spine, found = live(config), signals(config)
    assert set(spine["key"]) == set(found["key"]) and spine.height == 4
    rows = {row["source_id"]: row for row in spine.join(found, on="key").iter_rows(named=True)}
    assert rows["film"]["has_video"] and rows["film"]["has_audio"] and rows["film"]["num_shots"] == 1
    assert rows["pair"]["loudness_lufs"] is not None and rows["pair"]["brightness"] is None
    assert rows["pair"]["language"] == "en" and rows["pair"]["text_words"] == 12
    assert rows["still"]["has_image"] and 0 < rows["still"]["brightness"] < 1
    assert rows["words"]["has_text"] and rows["words"]["damaged_share"] is None
    seen = pl.scan_parquet(config.store / CORPUS / SIGNALS / "data/*/*.parquet", hive_partitioning=True).collect()
    assert set(seen["key"]) == set(spine["key"]) and "loudness_lufs" in seen.columns
    (shown,) = find_clips(config, CORPUS, "still")
    assert shown["brightness"] == rows["still"]["brightness"] and "loudness_lufs" not in shown
    card = (config.store / CORPUS / SIGNALS / "README.md").read_text()
    assert all(f"`{name}`" in card for name in found.columns if name != "partition")
    assert verify_store(layout_of(config)) == ()


def test_nothing_new_starts_no_process_and_writes_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mix(tmp_path / "media")
    config = make_config(tmp_path, signals=ON)
    ingest(config)
    before = bytes_of(config)
    refuse_workers(monkeypatch)
    ingest(config)
    assert bytes_of(config) == before


def test_a_corpus_that_asks_for_nothing_has_no_signals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mix(tmp_path / "media")
    refuse_workers(monkeypatch)
    config = make_config(tmp_path)
    ingest(config)
    assert not {SIGNALS, SURVEYS} & set(layout_of(config).dataset_names(CORPUS))


def test_bytes_do_not_depend_on_the_order_or_number_of_runs(tmp_path: Path) -> None:
    for place in ("at_once", "one_by_one"):
        write_mix(tmp_path / place / "media")
    at_once = make_config(tmp_path / "at_once", signals=ON)
    ingest(at_once)
    one_by_one = make_config(tmp_path / "one_by_one", signals=ON)
    late = tmp_path / "late.mp4"
    (tmp_path / "one_by_one/media/film.mp4").rename(late)
    ingest(one_by_one)
    late.rename(tmp_path / "one_by_one/media/film.mp4")
    ingest(one_by_one)
    tables = [
        next((config.store / CORPUS / SIGNALS / "data" / f"dt={DT}").iterdir()) for config in (at_once, one_by_one)
    ]
    assert sha256_file(tables[0]) == sha256_file(tables[1])


def test_filter_leaves_clips_out_and_back_in_without_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media = tmp_path / "media"
    write_mix(media)
    write_tone(media / "long.wav", hz=300, seconds=2)
    short = make_config(tmp_path, filters={"short": "duration_s < 1.5"})
    report = ingest(short)
    assert sum(count.clips_filtered for count in report.partitions) == 1
    assert report.table()[0]["clips filtered"] == 1 and report.table()[0]["quarantined"] == 0
    assert report.table()[0]["left out"] == 0
    (row,) = drops(short).filter(pl.col("stage") == "filter").iter_rows(named=True)
    assert row["code"] == "filtered_short" and "duration_s = 2" in row["detail"] and row["file"] == ""
    (told,) = read_status(short, CORPUS).matrix()
    assert told["filtered"] == 1 and told["clips"] == 4
    assert "long" not in set(live(short)["source_id"]) and row["clip_key"] in set(signals(short)["key"])
    refuse_workers(monkeypatch)
    ingest(make_config(tmp_path, filters={"short": "duration_s < 3"}))
    assert "long" in set(live(short)["source_id"])
    loud = make_config(tmp_path, filters={"bright": "brightness > 2"})
    ingest(loud)
    # What has no pictures has no brightness: the filter has no answer for it.
    assert set(live(loud)["source_id"]) == {"pair", "words", "long"}
    assert read_spine(layout_of(loud), CORPUS).filter("superseded")["source_id"].sort().to_list() == ["film", "still"]
    assert verify_store(layout_of(loud)) == ()


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("loudness > 3", "names loudness, which no signal is called"),
        ('language == "en"', "text is written in single quotes: 'en'."),
        ("duration_s >", "is no SQL expression"),
        ("duration_s + 1", "is no condition"),
        ("language > 3", "cannot be computed"),
    ],
)
def test_bad_filter_names_the_key_and_the_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expression: str, said: str
) -> None:
    write_pairs(tmp_path / "media", ["a"])
    monkeypatch.setattr(ingest_module, "probe_in_workers", None)  # before anything is opened
    with pytest.raises(ConfigError, match=r"corpora\.sounds\.filters\.odd") as error:
        ingest(make_config(tmp_path, filters={"odd": expression}))
    assert said in str(error.value)


def test_another_setting_surveys_anew(tmp_path: Path) -> None:
    write_tone(_made(tmp_path / "media") / "a.wav", seconds=1.0)
    ingest(make_config(tmp_path, signals=ON))
    windows = make_config(tmp_path, signals=ON, clips={"rule": "window", "length_s": 0.25, "hop_s": 0.25})
    ingest(windows)
    assert live(windows).height == 4 and set(live(windows)["key"]) <= set(signals(windows)["key"])
    assert signals(windows)["settings"].n_unique() == 2  # what is no longer cut keeps what was measured


def write_silent(media: Path) -> None:
    """Write silence, a black film with silence in it, a tone, and a picture without any sound."""
    _made(media)
    silence = ("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono")
    black = ("-f", "lavfi", "-i", "color=black:s=64x48:d=1")
    ffmpeg = (get_ffmpeg_exe(), "-y", "-v", "error")
    subprocess.run([*ffmpeg, *silence, "-t", "1", media / "silence.wav"], check=True)
    subprocess.run([*ffmpeg, *black, *silence, "-shortest", media / "black.mkv"], check=True)
    write_tone(media / "tone.wav", seconds=1.0)
    write_picture(media / "still.png")


def test_a_loudness_filter_leaves_out_what_is_silent_and_not_what_has_no_sound(tmp_path: Path) -> None:
    write_silent(tmp_path / "media")
    config = make_config(tmp_path, filters={"loud": "loudness_lufs > -50 or not has_audio"})
    ingest(config)
    assert set(live(config)["source_id"]) == {"tone", "still"}
    details = drops(config).filter(pl.col("code") == "filtered_loud")["detail"].to_list()
    assert len(details) == 2 and all("loudness_lufs = -70:" in detail for detail in details)


def test_what_another_version_measured_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_silent(tmp_path / "media")
    config = make_config(tmp_path, signals=ON)
    with monkeypatch.context() as before:
        before.setattr(survey, "SURVEY_VERSION", "survey-1")
        ingest(config)
    old = signals(config)
    assert ingest_module.ingest_reason(config, CORPUS, DT)
    ingest(config)
    assert set(signals(config)["key"]) == set(old["key"]) and old.height == 4
    assert not set(signals(config)["settings"]) & set(old["settings"])
    assert ingest_module.ingest_reason(config, CORPUS, DT) == ""


def test_forgotten_asset_leaves_no_signal(tmp_path: Path) -> None:
    write_mix(tmp_path / "media")
    config = make_config(tmp_path, signals=ON)
    ingest(config)
    asset = live(config).row(by_predicate=pl.col("source_id") == "film", named=True)["asset_id"]
    forget(config, CORPUS, "film", reason="asked")
    assert asset not in set(signals(config)["asset_id"]) and asset not in read_surveys(layout_of(config), CORPUS)
    assert live(config).height == signals(config).height == 3
    assert verify_store(layout_of(config)) == ()
    ingest(config)
    assert signals(config).height == 3


def test_what_was_cut_short_goes_on_and_comes_out_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("whole", "cut_short"):
        write_mix(tmp_path / place / "media")
    whole = make_config(tmp_path / "whole", signals=ON)
    ingest(whole)
    again = make_config(tmp_path / "cut_short", signals=ON)

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as broken:
        broken.setattr(partition_draft, "write_spine", fail)
        with pytest.raises(OSError, match="no space"):
            ingest(again)
    assert signals(again).height == 4 and live(again).is_empty()  # no clip without signals, at any moment
    refuse_workers(monkeypatch)
    ingest(again)
    assert bytes_of(again) == bytes_of(whole)


def hear(meter: AssetMeter, first: int, wave_N: np.ndarray) -> None:
    meter.sound(first, wave_N)
    meter.channels(first * 1_000_000_000 // 16_000, wave_N[None], 16_000, ("FC",))


def test_the_sound_is_that_of_all_channels(tmp_path: Path) -> None:
    tone_N = 0.3 * np.sin(np.arange(32_000) * 2 * np.pi * 440 / 16_000)
    (tmp_path / "media").mkdir()
    soundfile.write(tmp_path / "media" / "antiphase.wav", np.stack((tone_N, -tone_N), axis=1), 16_000)
    soundfile.write(tmp_path / "media" / "left.wav", np.stack((np.clip(9 * tone_N, -1, 1), 0 * tone_N), axis=1), 16_000)
    config = make_config(tmp_path, signals=ON)
    ingest(config)
    found = {
        row["source_id"]: row
        for row in signals(config).join(live(config).select("key", "source_id"), on="key").iter_rows(named=True)
    }
    assert found["antiphase"]["loudness_lufs"] == pytest.approx(-11.1, abs=0.1)  # FFmpeg's ebur128
    assert found["antiphase"]["silence_share"] == 0.0
    assert found["left"]["peak_dbfs"] == pytest.approx(0.0, abs=0.01)
    assert found["left"]["clipping_share"] == pytest.approx(1 - 2 / np.pi * np.arcsin(1 / 2.7), abs=0.01)


def test_a_gap_in_the_sound_is_silence_and_an_overlap_is_heard_once() -> None:
    wave_N = np.random.default_rng(0).uniform(-0.1, 0.1, 32_000).astype(np.float32)
    meter, even = AssetMeter(ClipsConfig(), True), AssetMeter(ClipsConfig(), True)
    for first in range(0, 16_000, 400):
        hear(meter, first, wave_N[first : first + 500])
    hear(meter, 48_000, wave_N[16_100:])
    hear(even, 0, np.concatenate((wave_N[:16_100], np.zeros(31_900, np.float32), wave_N[16_100:])))
    found, wanted = meter.sound_measured(), even.sound_measured()
    assert found and wanted and len(found.series) == len(wanted.series)
    np.testing.assert_allclose(found.series.power_T, wanted.series.power_T, rtol=1e-5)
    assert (found.series.power_T[110:290] == 0).all()
    assert found.print and wanted.print
    np.testing.assert_array_equal(found.print.words_T, wanted.print.words_T)


def test_a_filtered_asset_is_forgotten_and_counted_so(tmp_path: Path) -> None:
    media = _made(tmp_path / "media")
    write_tone(media / "short.wav", seconds=0.5)
    write_tone(media / "long.wav", seconds=2)
    config = make_config(tmp_path, filters={"short": "duration_s < 1"})
    ingest(config)
    forget(config, CORPUS, "long", reason="asked")
    assert drops(config).filter(pl.col("stage") == "filter").is_empty() and signals(config).height == 1
    ingest(config)
    head = read_head(layout_of(config).dataset(CORPUS, CLIPS), DT)
    assert head and (head.totals["used"], head.totals["tombstoned"]) == (1, 1)
    assert signals(config).height == 1 and verify_store(layout_of(config)) == ()


# --------------------------------------------------------------------------- cuts


def test_every_joint_of_takes_is_a_cut_within_a_frame(corpora: Path, tmp_path: Path) -> None:
    scenedetect = pytest.importorskip("scenedetect")
    names = ["s1_bbaf2n", "s1_lrae3s", "s1_bbbm2p", "s1_bbaz4n"]
    lengths = _join([corpora / "grid/raw" / f"{name}.mpg" for name in names], _made(tmp_path / "media") / "joined.mp4")
    config = make_config(tmp_path, clips={"rule": "shots"}, features=["video-hogdct"])
    ingest(config)
    spine = live(config)
    joints = np.cumsum(lengths)[:-1] * 40_000_000
    assert np.abs(spine["start_ns"].to_numpy()[1:] - joints).max() <= 40_000_000
    assert spine["end_ns"].to_list()[:-1] == spine["start_ns"].to_list()[1:]
    # At PySceneDetect's default of 27 it finds none of these joints; told to look for 3, it agrees.
    manager = scenedetect.SceneManager()
    manager.add_detector(scenedetect.ContentDetector(threshold=3.0))
    manager.detect_scenes(scenedetect.open_video(str(tmp_path / "media/joined.mp4")))
    theirs = [start.frame_num * 40_000_000 for start, _ in manager.get_scene_list()]
    assert np.abs(spine["start_ns"].to_numpy() - np.array(theirs)).max() <= 40_000_000


def test_shots_are_cut_into_windows_and_speech_out_of_silence(tmp_path: Path) -> None:
    media = _made(tmp_path / "media")
    _write_scenes(media / "scenes.mp4", [30, 25, 45])
    config = make_config(
        tmp_path, clips={"rule": "shots", "then": "window", "length_s": 1.0, "hop_s": 1.0}, features=["video-hogdct"]
    )
    ingest(config)
    spans = [(row[0] / SECOND, row[1] / SECOND) for row in live(config).select("start_ns", "end_ns").iter_rows()]
    assert spans == [(0, 1), (1.2, 2.2), (2.2, 3.2), (3.2, 4.0)]


@pytest.mark.parametrize("detector", ["energy", "silero"])
def test_speech_is_cut_out_of_silence(corpora: Path, tmp_path: Path, detector: str) -> None:
    if detector == "silero":
        pytest.importorskip("silero_vad")
    media = _made(tmp_path / "media")
    _write_two_utterances(corpora / "grid/raw/s1_bbaf2n.mpg", media / "two.wav")
    config = make_config(
        tmp_path,
        clips={"rule": "speech", "speech_detector": detector, "speech_pause_s": 1.0},
        features=["audio-mfccseg"],
    )
    ingest(config)
    spans = live(config).select("start_ns", "end_ns").to_numpy() / SECOND
    assert len(spans) == 2 and (np.diff(spans) < 3).all()
    assert spans[0, 1] < 3.2 and spans[1, 0] > 5.8  # three seconds of silence are in no clip


def test_silence_gives_no_clip_of_speech_and_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tone(_made(tmp_path / "media") / "tone.wav", seconds=1.0)
    config = make_config(tmp_path, clips={"rule": "speech"}, max_quarantined=1.0)
    ingest(config)
    assert drops(config)["code"].to_list() == ["no_speech"]
    refuse_workers(monkeypatch)
    ingest(config)
    assert drops(config)["code"].to_list() == ["no_speech"]


def test_missing_detector_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(tmp_path / "media", ["a"])
    monkeypatch.setattr("mmpipe.signals.silero.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install silero-vad"):
        ingest(make_config(tmp_path, clips={"rule": "speech", "speech_detector": "silero"}))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _join(films: list[Path], target: Path) -> list[int]:
    """Join films to one; return how many frames each gave."""
    lengths = []
    with av.open(str(target), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "18", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 360, 288, "yuv420p"
        for film in films:
            with av.open(str(film)) as source:
                frames = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
            for number, pixels in enumerate(frames, start=sum(lengths)):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(video.encode(frame))
            lengths.append(len(frames))
        container.mux(video.encode(None))
    return lengths


def _write_scenes(path: Path, lengths: list[int]) -> None:
    """Write a film of still scenes, each of another picture."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"qp": "10", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        for scene, length in enumerate(lengths):
            coarse = np.random.default_rng(scene).integers(20, 236, (6, 10, 3), np.uint8)
            for number in range(length):
                frame = av.VideoFrame.from_ndarray(coarse.repeat(16, axis=0).repeat(16, axis=1), format="rgb24")
                frame.pts, frame.time_base = sum(lengths[:scene]) + number, Fraction(1, 25)
                container.mux(video.encode(frame))
        container.mux(video.encode(None))


def _write_two_utterances(film: Path, target: Path) -> None:
    """Write what is said in a film twice, with three seconds of silence between."""
    import imageio_ffmpeg

    line = ["-i", str(film), "-f", "lavfi", "-t", "3", "-i", "anullsrc=r=16000:cl=mono", "-filter_complex"]
    graph = "[0:a]aresample=16000,aformat=channel_layouts=mono,asplit[a][b];[a][1:a][b]concat=n=3:v=0:a=1[o]"
    ffmpeg = shutil.which(imageio_ffmpeg.get_ffmpeg_exe())
    assert ffmpeg
    subprocess.run([ffmpeg, "-nostdin", "-v", "error", *line, graph, "-map", "[o]", str(target)], check=True)
