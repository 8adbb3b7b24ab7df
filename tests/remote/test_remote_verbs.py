"""The other verbs on a store in a bucket: datasets of others, snapshots, packing, forgetting, exports, checks."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_maker import CORPUS, DT, TEXT, extract, ingest, make_config, write_pairs

from mmpipe import remote
from mmpipe.cli.main import main
from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.remote import store_path
from mmpipe.steps.keep.compact import compact_corpus
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.keep.verify import find_faults
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.share.export import RECORD_NAME, Target, plan_export, write_export
from mmpipe.steps.share.external import NewFeature, add_feature, list_features
from mmpipe.steps.share.open import open_corpus
from mmpipe.steps.train.snapshots import compare_snapshots, create_snapshot
from mmpipe.steps.workers.workers import shared_engine
from mmpipe.store.layout import StoreLayout
from mmpipe.store.revisions import read_head
from mmpipe.store.sample import SampleFeature, make_sample_store
from mmpipe.store.spine import read_spine
from mmpipe.types import FeatureKind, FeatureSchema, Modality


def values(config: Config, snapshot: str | None = None) -> dict[str, bytes]:
    reader = open_corpus(config.store / CORPUS, [TEXT], snapshot=snapshot)
    batch = reader.gather(np.arange(len(reader)))
    return dict(zip(batch.keys, (row.tobytes() for row in batch.features[TEXT].x_BTD), strict=True))


@pytest.mark.sweep
@pytest.mark.usefixtures("warm_workers")
def test_verbs_that_change_a_store_work_in_a_bucket(s3_root: Path, tmp_path: Path) -> None:
    theirs = store_path(f"s3://{s3_root.parts[1]}/their/vectors")
    table = pa.table({"id": ["a", "b", "zz"], "value": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.float32()))})
    pq.write_table(table, sink := io.BytesIO())
    remote.put(theirs / "part.parquet", sink.getvalue())
    config = make_config(tmp_path, shard_clips=4, features=["text-ngrams"])
    config = config.model_copy(update={"store": s3_root})
    layout = StoreLayout(config.store)
    with shared_engine(config):
        write_pairs(tmp_path / "media", ("a", "b"))
        ingest(config)
        extract(config)
        new = NewFeature(name="theirs", uri=str(theirs), key="id", modality=Modality.AUDIO, reason="a test")
        add_feature(config, CORPUS, new)
        wanted = config.corpora[CORPUS].model_copy(update={"features": (*config.corpora[CORPUS].features, "theirs")})
        config = config.model_copy(update={"corpora": {CORPUS: wanted}})
        write_pairs(tmp_path / "media", ("c",))
        ingest(config)
        extract(config)
        head = read_head(layout.dataset(CORPUS, "theirs@1"), DT)
        assert head is not None and head.samples == 2
        assert {row["state"] for row in list_features(config, CORPUS) if row["feature"] == "theirs@1"} == {"complete"}

        before = values(config)
        create_snapshot(config, "before", CORPUS, (TEXT,))
        assert compact_corpus(config, CORPUS, below=4).repacks
        assert list(values(config).items()) == list(before.items())
        (change,) = {
            row.dataset: row for row in compare_snapshots(config, "before", "head") if row.dataset == TEXT
        }.values()
        assert change.partition == DT
        forget(config, CORPUS, "b", "asked for")
        after = values(config)
        assert after.items() < before.items() and len(after) == len(before) - 1
        assert values(config, "before") == after
        assert plan_corpus(config, CORPUS).is_empty
    assert read_spine(layout, CORPUS)["source_id"].sort().to_list() == ["a", "c"]
    assert find_faults(layout) == ()


def test_export_goes_into_a_bucket_whole_or_is_refused(s3_root: Path, tmp_path: Path, capfd) -> None:
    schema = FeatureSchema(feature="text-toy@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=4)
    make_sample_store(s3_root, [SampleFeature(schema=schema)], shards=1, shard_clips=4)
    config = make_config(tmp_path).model_copy(update={"store": s3_root})
    out = store_path(f"s3://{s3_root.parts[1]}/exports/one")
    near = write_export(plan_export(config, "sample", Target.PARQUET, tmp_path / "near"), 10)
    assert write_export(plan_export(config, "sample", Target.PARQUET, out), 10) == near
    names = {str(path.relative_to(tmp_path / "near")) for path in (tmp_path / "near").rglob("*") if path.is_file()}
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == names
    for name in names:
        assert (out / name).read_bytes() == (tmp_path / "near" / name).read_bytes()
    assert RECORD_NAME in names and pl.read_parquet((out / near[0]["name"]).read_bytes()).height == near[0]["clips"]
    with pytest.raises(ConfigError, match="not empty"):
        plan_export(config, "sample", Target.PARQUET, out)

    (tmp_path / "mmpipe.toml").write_text(f'store = "{s3_root}"\n[corpora.sample]\nroot = "media"\n')
    words = ["export", "--to", "webdataset", "--corpus", "sample", "--out", f"{out.parent}/two", "--json"]
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--config", str(tmp_path / "mmpipe.toml")])
    assert all((out.parent / "two" / row["name"]).is_file() for row in json.loads(capfd.readouterr().out))
