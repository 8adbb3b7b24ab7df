"""GIFs that move and anamorphic films go all the way: taken in, measured, told apart from copies, and extracted."""

from __future__ import annotations

import shutil
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import polars as pl
import pytest
from corpus_maker import CORPUS, LATER, drops, extract, ingest, make_config, write_film
from PIL import Image, ImageDraw

from mmpipe.config import Config
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.store.assets import read_assets
from mmpipe.store.layout import StoreLayout
from mmpipe.store.signals import read_signals
from mmpipe.store.spine import read_spine

pytestmark = pytest.mark.usefixtures("warm_workers")


def write_moving(path: Path, number: int = 6, shade: int = 90) -> None:
    """Write pictures of a square that goes to the right, each for a quarter of a second."""
    path.parent.mkdir(exist_ok=True)
    made = []
    for place in range(number):
        picture = Image.new("RGB", (64, 48), (20, shade, 160))
        ImageDraw.Draw(picture).rectangle((4 + 8 * place, 10, 16 + 8 * place, 34), fill=(240, 60, 60))
        made.append(picture)
    more: dict[str, Any] = {"save_all": True, "append_images": made[1:], "duration": 250} if number > 1 else {}
    made[0].save(path, **more)


def streams(config: Config) -> dict[str, tuple[str, str]]:
    rows = read_assets(StoreLayout(config.store), CORPUS).select("source_id", "modality", "codec")
    return {source: (modality, codec) for source, modality, codec in rows.iter_rows()}


def assets(config: Config) -> dict[str, str]:
    spine = read_spine(StoreLayout(config.store), CORPUS).filter(~pl.col("superseded"))
    return dict(spine.select("source_id", "asset_id").iter_rows())


def test_gifs_go_all_the_way_as_films(tmp_path: Path) -> None:
    media = tmp_path / "media"
    write_moving(media / "moving.gif")
    shutil.copy(media / "moving.gif", media / "mover.gif")
    write_moving(media / "still.gif", number=1)
    write_moving(media / "waving.webp", shade=200)
    write_film(media / "film.mp4", sound=False)
    (media / "torn.gif").write_bytes((media / "moving.gif").read_bytes()[:-40])
    config = make_config(
        tmp_path, signals={"enabled": True}, features=["video-hogdct", "image-hogdct"], max_quarantined=1.0
    )
    (count,) = ingest(config).partitions
    assert (count.files, count.used, count.duplicates, count.quarantined) == (6, 4, 1, 1)
    assert drops(config) == {
        "moving.gif": "duplicate",
        "torn.gif": "decode_error",
        "waving.webp": "first_picture_only",
    }
    assert streams(config) == {
        "film": ("video", "mpeg4"),
        "mover": ("video", "gif"),
        "still": ("image", "gif"),
        "waving": ("image", "webp"),
    }
    layout = StoreLayout(config.store)
    measured = read_spine(layout, CORPUS).join(read_signals(layout, CORPUS), on="key")
    (moving,) = measured.filter(pl.col("source_id") == "mover").iter_rows(named=True)
    assert moving["end_ns"] == 1_500_000_000 and moving["has_video"] and not moving["has_image"]
    assert moving["motion"] > 0 and moving["damaged_share"] == 0
    _, done = extract(config)
    assert sorted((one.feature, one.written) for one in done.features) == [("image-hogdct@1", 2), ("video-hogdct@1", 2)]
    ingest(config, LATER)
    assert not plan_corpus(config, CORPUS).shards


def write_shaped(path: Path, shade: int) -> None:
    """Write a film that says in its container, and there alone, that its pixels are square."""
    path.parent.mkdir(exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(1)
        for number in range(4):
            pixels = np.full((48, 64, 3), shade, np.uint8)
            pixels[8:40, 8 + 4 * number : 30 + 4 * number] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    assert b"pasp" in path.read_bytes()


def test_only_the_film_that_is_found_to_be_anamorphic_is_due_again(tmp_path: Path) -> None:
    media = tmp_path / "media"
    for number, name in enumerate(("square", "wide")):
        write_shaped(media / f"{name}.mp4", 40 + 30 * number)
    config = make_config(tmp_path, features=["video-hogdct"])
    ingest(config)
    assert extract(config)[0].computed == 2
    data = (media / "wide.mp4").read_bytes()
    start = data.index(b"pasp") + 4
    (media / "wide.mp4").write_bytes(data[:start] + struct.pack(">2I", 16, 11) + data[start + 8 :])
    before = assets(config)
    ingest(config, LATER)
    assert extract(config)[0].computed == 1
    after = assets(config)
    assert after["square"] == before["square"] and after["wide"] != before["wide"]
