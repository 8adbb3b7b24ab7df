"""Copies of films are found however they were made, and the one that says most is the one that stays."""

from __future__ import annotations

import subprocess
from pathlib import Path

import polars as pl
import pytest
from corpus_maker import CORPUS, LATER, ingest, make_config, write_text
from imageio_ffmpeg import get_ffmpeg_exe

from mmpipe.config import Config
from mmpipe.steps.ingest.near_told import NEAR, SHARED
from mmpipe.store.layout import PRINTS, StoreLayout
from mmpipe.store.prints import STREAM_PRINTS, read_prints, write_prints
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.spine import read_spine
from mmpipe.store.verify import verify_store

NEARLY = {"near": True}
LAST = "2026-11-22"
ENCODED = ("-c:v", "libx264", "-crf", "24", "-c:a", "aac", "-b:a", "96k")

pytestmark = pytest.mark.usefixtures("warm_workers")


def kept(config: Config) -> set[str]:
    return set(read_spine(StoreLayout(config.store), CORPUS).filter(~pl.col("superseded"))["source_id"])


def told(config: Config, code: str) -> dict[str, str]:
    """Return what the rows of a code say, by file, or by source where they are of none."""
    rows = read_quarantine(StoreLayout(config.store), CORPUS).filter(pl.col("code") == code)
    return {row["file"] or row["source_id"]: row["detail"] for row in rows.iter_rows(named=True)}


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run([get_ffmpeg_exe(), "-y", "-v", "error", *map(str, arguments)], check=True)


def write_humming(path: Path, hz: int = 500) -> None:
    """Write three seconds of moving pictures under a steady tone."""
    pictures, tone = "testsrc2=s=320x240:r=25:d=3", f"sine=f={hz}:d=3"
    ffmpeg("-f", "lavfi", "-i", pictures, "-f", "lavfi", "-i", tone, *ENCODED, path)


def copy_clip(corpora: Path, media: Path, number: int, name: str) -> Path:
    media.mkdir(exist_ok=True)
    clip = sorted((corpora / "grid" / "raw").glob("*.mpg"))[number]
    (media / name).write_bytes(clip.read_bytes())
    return media / name


@pytest.mark.parametrize("copied", [("-c", "copy"), ("-c", "copy", "-an")], ids=["remuxed", "without its sound"])
def test_a_copy_of_a_stream_does_not_hide_the_re_encodes_after_it(
    tmp_path: Path, corpora: Path, copied: tuple[str, ...]
) -> None:
    film = copy_clip(corpora, tmp_path / "media", 71, "o.mpg")
    config = make_config(tmp_path, dedup=NEARLY, features=["audio-logmel"])
    ingest(config)
    ffmpeg("-i", film, *copied, film.with_name("a_copy.mkv"))
    ingest(config, LATER)
    before = kept(config)
    ffmpeg("-i", film, *ENCODED, film.with_name("z_encoded.mp4"))
    ingest(config, LAST)
    assert kept(config) == before and "'o', which is kept" in told(config, NEAR)["z_encoded.mp4"]
    assert "z_encoded" not in told(config, SHARED)
    assert verify_store(StoreLayout(config.store)) == ()


def test_a_film_under_the_sound_of_another_is_kept_also_on_a_later_night(tmp_path: Path, corpora: Path) -> None:
    ones, others = (copy_clip(corpora, tmp_path / "media", number, f"take{number}.mpg") for number in (4, 5))
    config = make_config(tmp_path, dedup=NEARLY, features=["audio-logmel"])
    ingest(config)
    joined = ("-map", "0:v", "-map", "1:a", "-c", "copy")
    ffmpeg("-i", ones, "-i", others, *joined, ones.with_name("dubbed.mkv"))
    ingest(config, LATER)
    assert kept(config) == {"take4", "take5", "dubbed"} and set(told(config, SHARED)) == {"dubbed"}


def test_under_a_steady_tone_the_pictures_decide_and_the_pitch(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    write_humming(media / "hum.mp4")
    write_humming(media / "other_pitch.mp4", hz=900)
    ffmpeg("-i", media / "hum.mp4", "-vf", "vflip", *ENCODED, media / "other_pictures.mp4")
    ffmpeg("-i", media / "hum.mp4", "-an", *ENCODED[:4], media / "unheard.mp4")
    config = make_config(tmp_path, dedup=NEARLY, features=["audio-logmel"])
    ingest(config)
    assert kept(config) == {"hum", "other_pitch", "other_pictures", "unheard"}
    ffmpeg("-i", media / "hum.mp4", "-c:v", "libvpx", "-b:v", "400k", "-c:a", "libvorbis", media / "hum_copy.webm")
    ffmpeg("-i", media / "hum.mp4", "-vf", "scale=200:150", "-c:v", "mpeg4", "-c:a", "mp3", media / "hum_small.avi")
    ingest(config, LATER)
    assert set(told(config, NEAR)) == {"hum_copy.webm", "hum_small.avi"}


def test_prints_of_before_are_made_anew_and_what_is_gone_is_still_known(tmp_path: Path, corpora: Path) -> None:
    film = copy_clip(corpora, tmp_path / "media", 71, "gone.mpg")
    write_humming(film.with_name("hum.mp4"))
    config = make_config(tmp_path, dedup=NEARLY, features=["audio-logmel"])
    ingest(config)
    layout = StoreLayout(config.store)
    old = read_prints(layout, CORPUS).with_columns(
        version=pl.lit("prints-1"), heard=pl.col("heard").map_elements(lambda heard: b"\1" * len(heard), pl.Binary)
    )
    dt = str(old["partition"][0]) if "partition" in old.columns else str(old.to_series(0)[0])
    write_prints(layout.dataset(CORPUS, PRINTS), dt, old.select(STREAM_PRINTS.names))
    ffmpeg("-i", film, *ENCODED, film.with_name("said_again.mp4"))
    ffmpeg("-i", film.with_name("hum.mp4"), *ENCODED, film.with_name("hum_again.mkv"))
    film.unlink()
    ingest(config)
    assert kept(config) == {"gone", "hum"} and set(told(config, NEAR)) == {"said_again.mp4", "hum_again.mkv"}
    versions = dict(read_prints(layout, CORPUS).select("source_id", "version").iter_rows())
    assert versions["gone"] == "prints-1" != versions["hum"] == versions["said_again"]


def test_of_new_twins_the_one_with_a_caption_stays(tmp_path: Path, corpora: Path) -> None:
    film = copy_clip(corpora, tmp_path / "media", 71, "cap.mpg")
    write_text(film.with_name("cap.txt"), "set white in e two now")
    ffmpeg("-i", film, "-c", "copy", film.with_name("wrap.ts"))
    config = make_config(tmp_path, dedup=NEARLY)
    ingest(config)
    assert kept(config) == {"cap"} and set(told(config, NEAR)) == {"wrap.ts"}


def test_of_new_twins_the_one_with_labels_stays(tmp_path: Path, corpora: Path) -> None:
    film = copy_clip(corpora, tmp_path / "media", 71, "a_film.mpg")
    ffmpeg("-i", film, *ENCODED, film.with_name("z_small.mp4"))
    write_text(tmp_path / "labels.csv", "id,word\nz_small,white\n")
    labels = {"file": str(tmp_path / "labels.csv"), "key": "id"}
    config = make_config(tmp_path, dedup=NEARLY, labels=labels, features=["audio-logmel"])
    ingest(config)
    assert kept(config) == {"z_small"} and set(told(config, NEAR)) == {"a_film.mpg"}


def test_a_caption_that_goes_with_its_film_says_so(tmp_path: Path, corpora: Path) -> None:
    film = copy_clip(corpora, tmp_path / "media", 71, "first.mpg")
    config = make_config(tmp_path, dedup=NEARLY, features=["audio-logmel"])
    ingest(config)
    ffmpeg("-i", film, "-c", "copy", film.with_name("wrap.ts"))
    write_text(film.with_name("wrap.txt"), "set white in e two now")
    ingest(config, LATER)
    assert kept(config) == {"first"}  # what is kept stays kept
    rows = told(config, NEAR)
    assert rows["wrap.ts"].startswith("a near twin of 'first', which is kept: 0.0")
    assert rows["wrap.txt"] == (
        "goes with 'wrap.ts', a near twin of 'first', which is kept; `mmpipe quarantine release` lets both in"
    )
