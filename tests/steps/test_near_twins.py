"""Near twins are dropped against what is kept, over nights, and every one of them is a row."""

from __future__ import annotations

import subprocess
import wave
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from corpus_maker import CORPUS, DT, LATER, ingest, make_config, tree, write_text
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image

from mmpipe.config import Config
from mmpipe.steps.ingest import survey
from mmpipe.steps.ingest.near_told import NEAR, SHARED
from mmpipe.steps.keep.forget import forget
from mmpipe.store.admitted import admit
from mmpipe.store.layout import ADMITTED, CLIPS, PRINTS, QUARANTINE, StoreLayout
from mmpipe.store.prints import read_prints
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.spine import read_spine
from mmpipe.store.verify import verify_store

NEARLY = {"near": True}

pytestmark = pytest.mark.usefixtures("warm_workers")


def live(config: Config) -> pl.DataFrame:
    return read_spine(StoreLayout(config.store), CORPUS).filter(~pl.col("superseded"))


def kept(config: Config) -> set[str]:
    return set(live(config)["source_id"])


def rows_of(config: Config, code: str) -> dict[str, dict[str, object]]:
    rows = read_quarantine(StoreLayout(config.store), CORPUS).filter(pl.col("code") == code)
    return {row["source_id"]: row for row in rows.iter_rows(named=True)}


def datasets(config: Config) -> dict[str, str]:
    return tree(config.store / CORPUS)


def scene(seed: int, side: int = 256) -> Image.Image:
    """Return a picture of soft blots that no other seed has."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def write_sound(path: Path, seed: int, seconds: float = 2.5, gain: float = 0.5) -> None:
    """Write babble: noise whose loudness and colour change, as of no other seed."""
    generator = np.random.default_rng(seed)
    count = int(16_000 * seconds)
    knots = generator.uniform(0.1, 1, (8, int(seconds * 12) + 2))
    times = np.arange(count) / 16_000
    parts = [
        np.sin(2 * np.pi * (330 * 1.25**band) * times + generator.uniform(0, 6))
        * np.interp(times * 12, np.arange(knots.shape[1]), level)
        for band, level in enumerate(knots)
    ]
    wave_N = np.sum(parts, axis=0) / 8 * gain
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes((wave_N * 32_000).astype("<i2").tobytes())


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run([get_ffmpeg_exe(), "-y", "-v", "error", *map(str, arguments)], check=True)


def write_copies(media: Path) -> None:
    """Write three pictures, with copies of the first, and two sounds with a copy of one."""
    media.mkdir(parents=True)
    for seed in range(3):
        scene(seed).save(media / f"picture{seed}.png")
    scene(0).resize((120, 120)).save(media / "resized.png")
    scene(0).save(media / "shrunk.jpg", quality=60)
    scene(0).save(media / "other.webp", quality=70)
    write_sound(media / "said.wav", 1)
    write_sound(media / "said_else.wav", 2)
    ffmpeg("-i", media / "said.wav", "-af", "volume=-8dB", "-b:a", "48k", media / "quiet.mp3")


def test_copies_are_dropped_others_are_not_and_the_numbers_add_up(tmp_path: Path) -> None:
    write_copies(tmp_path / "media")
    write_text(tmp_path / "media" / "shrunk.txt", "what has a caption stays")
    config = make_config(tmp_path, dedup=NEARLY)
    count = ingest(config).partitions[0]
    assert len(kept(config) & {"said", "quiet"}) == 1
    assert kept(config) - {"said", "quiet"} == {"shrunk", "picture1", "picture2", "said_else"}
    gone = rows_of(config, NEAR)
    assert {"resized", "picture0", "other"} < set(gone) and len(gone) == 4
    assert (count.used, count.duplicates, count.quarantined) == (6, 4, 0)
    row = gone["picture0"]
    assert row["stage"] == "dedup" and "'shrunk'" in str(row["detail"]) and row["asset_id"] and row["file_sha256"]
    assert verify_store(StoreLayout(config.store)) == ()


def test_nothing_is_surveyed_or_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_copies(tmp_path / "media")
    config = make_config(tmp_path, dedup=NEARLY)
    ingest(config)
    before = datasets(config)
    monkeypatch.setattr(survey, "_in_workers", lambda *_: pytest.fail("something was surveyed again"))
    ingest(config)
    ingest(config, LATER)
    assert datasets(config) == before


def test_what_is_kept_wins_over_nights_and_after_its_file_is_gone(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    scene(0, 100).save(media / "small.png")
    config = make_config(tmp_path, dedup=NEARLY)
    ingest(config)
    scene(0, 400).save(media / "a_large.png")
    ingest(config, LATER)
    assert kept(config) == {"small"} and set(rows_of(config, NEAR)) == {"a_large"}
    (media / "small.png").unlink()
    ingest(config, LATER)
    assert kept(config) == {"small"} and set(rows_of(config, NEAR)) == {"a_large"}


def test_of_new_twins_the_larger_stays_whatever_its_name(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    for name, side in (("a", 80), ("b", 300), ("c", 150)):
        scene(5, side).save(media / f"{name}.png")
    config = make_config(tmp_path, dedup=NEARLY)
    ingest(config)
    assert kept(config) == {"b"} and set(rows_of(config, NEAR)) == {"a", "c"}


def test_new_bytes_under_the_same_name_take_the_place_of_the_old(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    scene(0, 200).save(media / "one.png")
    config = make_config(tmp_path, dedup=NEARLY)
    ingest(config)
    first = live(config)["asset_id"].item()
    scene(0, 100).save(media / "one.png")
    ingest(config)
    assert live(config)["asset_id"].item() != first and not rows_of(config, NEAR)


def test_a_forgotten_twin_brings_nothing_in_and_leaves_no_name(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    scene(0, 300).save(media / "holder-name.png")
    scene(0, 100).save(media / "small.png")
    scene(1, 100).save(media / "else.png")
    config = make_config(tmp_path, dedup=NEARLY)
    ingest(config)
    layout = StoreLayout(config.store)
    forget(config, CORPUS, "holder-name", "asked for")
    (media / "holder-name.png").unlink()
    assert set(read_prints(layout, CORPUS)["source_id"]) == {"small", "else"}
    for _ in range(2):
        names = {
            name for frame in (read_quarantine(layout, CORPUS), read_prints(layout, CORPUS)) for name in frame.columns
        }
        text = "".join(
            str(frame.to_dicts()) for frame in (read_quarantine(layout, CORPUS), read_prints(layout, CORPUS))
        )
        assert names and "holder-name" not in text
        ingest(config)
    assert kept(config) == {"else"}
    assert "no longer here" in str(rows_of(config, NEAR)["small"]["detail"])
    assert verify_store(layout) == ()


def test_a_dropped_twin_can_be_forgotten_by_its_name(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    scene(0, 300).save(media / "large.png")
    scene(0, 100).save(media / "small.png")
    config = make_config(tmp_path, dedup=NEARLY)
    ingest(config)
    forget(config, CORPUS, "small", "asked for")
    layout = StoreLayout(config.store)
    assert set(read_prints(layout, CORPUS)["source_id"]) == {"large"} and not rows_of(config, NEAR)
    ingest(config)
    assert kept(config) == {"large"} and set(read_prints(layout, CORPUS)["source_id"]) == {"large"}


def test_other_thresholds_decide_anew_without_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media = tmp_path / "media"
    media.mkdir()
    write_text(media / "a.txt", "the quick brown fox jumps over the lazy dog by the river bank at noon")
    write_text(media / "b.txt", "the quick brown fox jumps over the lazy dog by the river bank at noon!!")
    write_text(media / "c.txt", "nobody expected this sentence to be anywhere near to the other sentences")
    config = make_config(tmp_path, dedup=NEARLY, features=["text-ngrams"])
    ingest(config)
    assert len(kept(config)) == 2 and len(rows_of(config, NEAR)) == 1
    monkeypatch.setattr(survey, "_in_workers", lambda *_: pytest.fail("something was surveyed again"))
    strict = make_config(tmp_path, dedup={"near": True, "text_jaccard": 1.0}, features=["text-ngrams"])
    ingest(strict)
    assert kept(strict) == {"a", "b", "c"} and not rows_of(strict, NEAR)


def test_nothing_is_near_where_it_is_not_asked_for(tmp_path: Path) -> None:
    write_copies(tmp_path / "media")
    config = make_config(tmp_path)
    ingest(config)
    assert len(kept(config)) == 9 and PRINTS not in StoreLayout(config.store).dataset_names(CORPUS)


def test_flat_pictures_and_silence_are_nobodys_twins(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    for level in (10, 40, 250):
        Image.new("RGB", (90, 60), (level, level, level)).save(media / f"flat{level}.png")
        write_sound(media / f"still{level}.wav", level, gain=0.0, seconds=1 + level / 100)
    config = make_config(tmp_path, dedup=NEARLY)
    ingest(config)
    assert len(kept(config)) == 6


def test_copies_of_grid_clips_are_found_and_other_utterances_are_not(tmp_path: Path, corpora: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    clips = sorted((corpora / "grid" / "raw").glob("*.mpg"))[:8]
    for clip in clips:
        (media / clip.name).write_bytes(clip.read_bytes())
    small, quiet = ("-vf", "scale=180:144", "-b:v", "200k"), ("-vf", "scale=288:230", "-af", "volume=-6dB")
    for number, clip in enumerate(clips[:4]):
        changed = small if number % 2 else quiet
        ffmpeg("-i", clip, *changed, "-c:v", "libx264", "-c:a", "aac", "-b:a", "64k", media / f"zz_copy{number}.mp4")
    # The same pictures under the sound of another.
    joined = ("-map", "0:v", "-map", "1:a", "-c", "copy")
    ffmpeg("-i", clips[4], "-i", clips[5], *joined, media / "zz_dubbed.mkv")
    config = make_config(tmp_path, dedup=NEARLY)
    ingest(config)
    assert kept(config) == {clip.stem for clip in clips} | {"zz_dubbed"}
    assert set(rows_of(config, NEAR)) == {f"zz_copy{number}" for number in range(4)}
    notes = rows_of(config, SHARED)
    assert len(notes) == 2 and all(row["kept"] for row in notes.values())
    groups = dict(live(config).select("source_id", "group").iter_rows())
    assert groups["zz_dubbed"] == groups[clips[4].stem] == groups[clips[5].stem] != groups[clips[6].stem]


def test_a_run_that_was_ended_decides_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trees = []
    for place in ("whole", "ended"):
        write_copies(tmp_path / place / "media")
        config = make_config(tmp_path / place, dedup=NEARLY)
        if place == "ended":
            with monkeypatch.context() as broken:
                broken.setattr(
                    "mmpipe.steps.ingest.partition_draft.write_assets",
                    lambda *_: (_ for _ in ()).throw(OSError("ended")),
                )
                with pytest.raises(OSError, match="ended"):
                    ingest(config)
        ingest(config)
        trees.append({name: found for name, found in datasets(config).items() if "objects" in name or "_meta" in name})
    assert trees[0] == trees[1]


def test_a_twin_that_a_person_lets_in_stays_in(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    scene(0, 300).save(media / "large.png")
    scene(0, 100).save(media / "small.png")
    config = make_config(tmp_path, dedup=NEARLY)
    ingest(config)
    layout = StoreLayout(config.store)
    for name in (CLIPS, PRINTS, QUARANTINE):
        assert layout.dataset(CORPUS, name).partitions() == (DT,)
    sha256 = str(rows_of(config, NEAR)["small"]["file_sha256"])
    admit(layout.dataset(CORPUS, ADMITTED), DT, [(NEAR, sha256)])
    for _ in range(2):
        ingest(config)
        assert kept(config) == {"large", "small"} and not rows_of(config, NEAR)
