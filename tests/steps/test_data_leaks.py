"""Leaks between the parts of a training, found by what the store knows of its recordings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from corpus_maker import CORPUS, DT, extract, ingest, make_config, write_text
from PIL import Image

from mmpipe.config import Config
from mmpipe.steps.ingest.near_told import NEAR
from mmpipe.steps.train.data_leaks import LeakSearch, find_data_leaks
from mmpipe.steps.train.training_set import open_training_set, plan_parts
from mmpipe.store.admitted import admit
from mmpipe.store.layout import ADMITTED, StoreLayout
from mmpipe.store.quarantine import read_quarantine

pytestmark = pytest.mark.usefixtures("warm_workers")

MODEL = {"corpus": CORPUS, "target": "who", "inputs": ["image-hogdct"], "folds": 2}


def write_picture(path: Path, seed: int, side: int) -> None:
    small = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(path)


def filled(folder: Path, near: bool, twin_group: str) -> Config:
    """Return a store of eight pictures and a small copy of the first, which a person let in."""
    media = folder / "media"
    media.mkdir()
    rows = [{"id": f"p{n}", "who": "ab"[n % 2], "room": f"room{n}"} for n in range(8)]
    for number, row in enumerate(rows):
        write_picture(media / f"{row['id']}.png", number, 200)
    write_picture(media / "copy.png", 0, 100)
    rows.append({"id": "copy", "who": "a", "room": twin_group})
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = make_config(
        folder,
        models={"m": MODEL},
        dedup={"near": near},
        labels={"file": str(folder / "labels.jsonl"), "key": "id", "group": "room"},
        features=["image-hogdct"],
    )
    ingest(config)
    layout = StoreLayout(config.store)
    dropped = read_quarantine(layout, CORPUS).filter(pl.col("code") == NEAR)
    if near:
        admit(layout.dataset(CORPUS, ADMITTED), DT, [(NEAR, dropped["file_sha256"][0])])
        ingest(config)
    extract(config)
    return config


def search(config: Config) -> LeakSearch:
    return find_data_leaks(
        config, config.models["m"], open_training_set(config, config.models["m"]), StoreLayout(config.store)
    )


def apart(config: Config) -> str:
    """Return a group that is tested in another fold than the first picture."""
    data = open_training_set(config, config.models["m"])
    folds = [
        {data.groups[row] for row in p.test_rows}
        for p in plan_parts(config.models["m"], config.corpora[CORPUS].split, data)
    ]
    return min(next(groups for groups in folds if "room0" not in groups))


def test_a_near_copy_that_was_let_in_is_a_leak_where_it_is_in_another_fold(tmp_path: Path) -> None:
    for name in ("first", "beside", "across"):
        (tmp_path / name).mkdir()
    beside = filled(tmp_path / "beside", near=True, twin_group="room0")
    assert search(beside) == LeakSearch(leaks=(), unasked=(), notes=())
    across = filled(tmp_path / "across", near=True, twin_group=apart(beside))
    (leak,) = search(across).leaks
    assert leak.code == "near_duplicate" and leak.count == 1
    fixed = across.models["m"].model_copy(update={"folds": 0})
    whole = across.model_copy(update={"models": {"m": fixed}})
    data = open_training_set(whole, fixed)
    split_of = dict(zip(data.groups, data.splits, strict=True))
    assert len(search(whole).leaks) == (split_of["room0"] != split_of[apart(beside)])


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    found = search(filled(tmp_path, near=False, twin_group="room1"))
    assert found.leaks == () and found.unasked == (
        f"near_duplicate: no prints are made, corpora.{CORPUS}.dedup.near is off",
    )


def test_labels_that_the_file_names_hold_are_noted(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    rows = []
    for number in range(8):
        name = f"{'ab'[number % 2]} {number}"
        write_picture(tmp_path / "media" / f"{name}.png", number, 120)
        rows.append({"id": name, "who": "ab"[number % 2], "room": f"room{number}"})
    write_text(tmp_path / "labels.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    labels = {"file": str(tmp_path / "labels.jsonl"), "key": "id", "group": "room"}
    config = make_config(tmp_path, models={"m": MODEL}, labels=labels, features=["image-hogdct"])
    ingest(config)
    extract(config)
    assert "file names of 8 of 8 clips hold the clip's own label" in search(config).notes[0]
