"""A file whose bytes changed is looked at again, also where somebody set its time stamp back."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from corpus_maker import CORPUS, LATER, SOUND, drops, extract, ingest, make_config, write_pairs

from mmpipe.config import Config
from mmpipe.steps.ground.scan import scan_path
from mmpipe.steps.ingest.ingest import ingest_reason
from mmpipe.steps.share.open import open_corpus
from mmpipe.store.layout import StoreLayout
from mmpipe.store.spine import read_spine

pytestmark = pytest.mark.usefixtures("warm_workers")


def overwrite(path: Path) -> None:
    """Change bytes in place, and set the modification time back: only the change time tells."""
    before = path.stat()
    with open(path, "r+b") as file:
        file.seek(200)
        file.write(os.urandom(2) * 1_000)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)


def taken_in(tmp_path: Path) -> tuple[Config, Path]:
    """Return the config of two sounds that are ingested, and the path of one."""
    write_pairs(tmp_path / "media", ["kept", "one"])
    config = make_config(tmp_path)
    ingest(config)
    assert ingest_reason(config, CORPUS, LATER) == ""
    return config, tmp_path / "media" / "one.wav"


def live_assets(config: Config) -> dict[str, str]:
    spine = read_spine(StoreLayout(config.store), CORPUS).filter(~pl.col("superseded"))
    return dict(spine.select("source_id", "asset_id").iter_rows())


def test_bytes_changed_in_place_under_the_old_time_stamp_are_taken_in(tmp_path: Path) -> None:
    config, one = taken_in(tmp_path)
    before = live_assets(config)
    overwrite(one)
    assert ingest_reason(config, CORPUS, LATER) == "files were added, removed or changed"
    assert ingest(config, LATER).probed == 1
    after = live_assets(config)
    assert after["kept"] == before["kept"] and after["one"] != before["one"]
    extract(config)
    assert drops(config) == {} and ingest(config, LATER).probed == 0


def test_rows_of_a_scan_without_the_change_time_are_looked_at_once_more(tmp_path: Path) -> None:
    config, _ = taken_in(tmp_path)
    path = scan_path(StoreLayout(config.store), CORPUS)
    pl.read_parquet(path).drop("ctime_ns").write_parquet(path)
    assert [ingest(config, LATER).probed for _ in range(2)] == [4, 0]


def test_what_the_extraction_finds_changed_is_looked_at_again_where_no_stamp_tells(tmp_path: Path) -> None:
    config, one = taken_in(tmp_path)
    overwrite(one)
    # As on a file system that keeps no change time: all that is known of the file says that it is the same.
    path = scan_path(StoreLayout(config.store), CORPUS)
    now = pl.when(pl.col("name") == "one.wav").then(one.stat().st_ctime_ns).otherwise("ctime_ns")
    pl.read_parquet(path).with_columns(ctime_ns=now).write_parquet(path)
    assert ingest(config).probed == 0 and ingest_reason(config, CORPUS, LATER) == ""

    extract(config)
    assert drops(config, "extract") == {"one.wav": "changed_since_ingest"}
    assert ingest_reason(config, CORPUS, LATER) == "files were added, removed or changed"
    assert ingest(config, LATER).probed == 1
    extract(config)
    assert open_corpus(config.store).gather(np.arange(2)).features[SOUND].mask_BT.any(axis=1).all()
    assert ingest_reason(config, CORPUS, LATER) == ""
