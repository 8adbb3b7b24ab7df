"""A whole job with its store in a bucket, by real workers, against the same job with its store in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.dataset
import pytest
from corpus_maker import CORPUS, DT, LATER, SOUND, extract, ingest, make_config, write_pairs, write_text

import mmpipe
from mmpipe.steps.ingest.ingest import ingest_reason
from mmpipe.steps.plan.plan import plan_corpus, read_states
from mmpipe.steps.workers.workers import shared_engine
from mmpipe.store.commit import read_head
from mmpipe.store.layout import StoreLayout
from mmpipe.store.verify import verify_store


@pytest.mark.slow
@pytest.mark.usefixtures("warm_workers")
def test_job_in_a_bucket_is_the_job_in_a_folder(tmp_path: Path, s3_root: Path, store_content):
    write_pairs(tmp_path / "media", [f"talk-{number}" for number in range(5)])
    config = make_config(tmp_path)
    far = config.model_copy(update={"store": s3_root})
    with shared_engine(config):  # its workers are told the store with each piece of work
        for each in (config, far):
            ingest(each)
            extract(each)
        assert store_content(s3_root) == store_content(config.store)
        assert {str(state.state) for state in read_states(far, CORPUS)} == {"complete"}

        before = store_content(s3_root)
        assert ingest_reason(far, CORPUS, DT) == ""
        assert plan_corpus(far, CORPUS).shards == ()
        ingest(far)
        report, _ = extract(far)
        assert report.shards == 0
        assert store_content(s3_root) == before

        # a committed shard is made anew, of what is there already
        write_text(tmp_path / "media" / "talk-1.txt", "other words")
        for each in (config, far):
            ingest(each, LATER)
            report, _ = extract(each)
            assert report.reused
        assert store_content(s3_root) == store_content(config.store)
        assert list((StoreLayout(s3_root).local / "_outbox").iterdir()) == []
    assert verify_store(StoreLayout(s3_root)) == ()
    require_same_values(config.store, s3_root)
    require_plain_readers(s3_root)


def require_same_values(local: Path, far: Path) -> None:
    here, there = mmpipe.open(local / CORPUS), mmpipe.open(f"{far}/{CORPUS}")
    rows = np.arange(here.spine.height)
    mine, theirs = here.gather(rows), there.gather(rows)
    assert mine.keys == theirs.keys
    for name, values in mine.features.items():
        np.testing.assert_array_equal(values.x_BTD, theirs.features[name].x_BTD)


def require_plain_readers(root: Path) -> None:
    """Read the view as other teams do: by its URL, without mmpipe."""
    import fsspec

    layout = StoreLayout(root)
    head = read_head(layout.dataset(CORPUS, SOUND), DT)
    assert head is not None
    folder = f"{root}/{CORPUS}/{SOUND}/data"
    system, path = fsspec.core.url_to_fs(folder)
    table = pyarrow.dataset.dataset(path, filesystem=system, partitioning="hive").to_table(columns=["key", "dt"])
    assert table["dt"].to_pylist().count(DT) == head.samples
    with fsspec.open(f"{folder}/dt={DT}/000000.parquet") as file:
        assert pl.read_parquet(file).height == head.shards[0].samples
