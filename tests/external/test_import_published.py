"""From the authors' files to a trained model: import, ingest, extract and train by the commands that are printed."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from corpus_maker import write_film
from published_files import (
    MELD_FOLDERS,
    write_av_mnist,
    write_meld_tables,
    write_meld_vectors,
    write_mm_imdb,
    write_pickle,
)
from typer.testing import CliRunner

from benchmarks.quality.tiny_mosi import mosi_table
from mmpipe.batches.aligned import AlignedReader
from mmpipe.cli.main import app
from mmpipe.config import LabelsConfig, load_config
from mmpipe.errors import ConfigError
from mmpipe.external.published.sets import DataSet
from mmpipe.sources.labels import read_labels
from mmpipe.steps.ingest.import_published import import_published
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.snapshot import take_snapshot
from mmpipe.store.spine import read_spine

pytestmark = pytest.mark.usefixtures("warm_workers")


def bring(data_set: DataSet, path: Path, out: Path) -> list[str]:
    """Type the import, and return the commands that it prints; one fusion and two epochs are enough here."""
    told = CliRunner().invoke(app, ["import", str(data_set), "--from", str(path), "--out", str(out)])
    assert told.exit_code == 0, told.output
    config = out / "mmpipe.toml"
    assert config.read_text("utf-8") in told.output
    told_config = config.read_text("utf-8")
    fusions = 'fusions = ["lmf"]' if "lmf" in told_config else 'fusions = ["concat"]'
    config.write_text(re.sub("(?m)^fusions = .*$", fusions, told_config) + "train = { epochs = 2 }\n", "utf-8")
    lines = told.output.splitlines()
    return lines[lines.index(f"cd {shlex.quote(str(out))}") + 1 :][:-1]


def type_all(commands: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Type commands in a folder; return the last one's answer."""
    monkeypatch.chdir(folder)
    answer = ""
    for command in commands:
        told = CliRunner().invoke(app, shlex.split(command)[1:])
        assert told.exit_code == 0, f"{command}: {told.output}"
        answer = told.output
    return answer


def splits_of(folder: Path, corpus: str) -> dict[str, str]:
    return dict(read_spine(StoreLayout(folder / "store"), corpus).select("source_id", "split").iter_rows())


def test_mosi_is_trained_on_its_own_splits_and_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = mosi_table({"train": 24, "valid": 8, "test": 12})
    table["train"]["vision"][7, 0, 0] = np.nan
    write_pickle(tmp_path / "theirs" / "aligned_50.pkl", table)
    out = tmp_path / "mosi"
    commands = bring(DataSet.MOSI, tmp_path / "theirs", out)
    assert [json.loads(line)["code"] for line in (out / "left_out.jsonl").read_text().splitlines()] == ["nonfinite"]
    assert "mosi-text@1" in type_all(commands, out, monkeypatch)
    splits = splits_of(out, "mosi")
    ids = {split: {name.replace("$_$", "/") for name in table[split]["id"]} for split in table}
    assert {name for name, split in splits.items() if split == "val"} == ids["valid"]
    assert {name for name, split in splits.items() if split == "test"} == ids["test"]
    layout, features = StoreLayout(out / "store"), ("mosi-text@1", "mosi-vision@1")
    reader = AlignedReader(layout, take_snapshot(layout, "mosi", features), features)
    row = reader.spine["source_id"].to_list().index("_train-video3/2")
    batch = reader.gather(np.array([row]))
    assert not batch.features["mosi-vision@1"].mask_BT.any()
    text = batch.features["mosi-text@1"]
    steps = int(table["train"]["text_bert"][7, 1].sum())
    np.testing.assert_array_equal(text.x_BTD[0][text.mask_BT[0]], table["train"]["text"][7, :steps])
    (checkpoint,) = (out / "store" / "checkpoints").iterdir()
    trained = json.loads((checkpoint / "checkpoint.json").read_bytes())
    names = {score["name"] for score in trained["scores"]}
    assert names == {"lmf", "mosi-audio@1", "mosi-text@1", "mosi-vision@1"} and trained["classes"] == [
        "negative",
        "positive",
    ]


def test_av_mnist_is_an_array_corpus_that_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_av_mnist(tmp_path / "theirs", train=36, test=12)
    out = tmp_path / "av"
    commands = bring(DataSet.AV_MNIST, tmp_path / "theirs", out)
    type_all(commands, out, monkeypatch)
    assert Counter(splits_of(out, "av-mnist").values()) == {"train": 33, "val": 3, "test": 12}
    (checkpoint,) = (out / "store" / "checkpoints").iterdir()
    scores = json.loads((checkpoint / "checkpoint.json").read_bytes())["scores"]
    assert {score["name"] for score in scores} == {"array-raw@1", "image-pixels@1", "concat"}


def test_meld_and_mm_imdb_are_taken_in_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tmp_path / "MELD.Raw"
    for split, names in write_meld_tables(theirs).items():
        (theirs / split / MELD_FOLDERS[split]).mkdir()
        for number, name in enumerate(names):
            hz = 200.0 + 40 * number + 7 * len(split) + 300 * (split == "test")
            write_film(theirs / split / MELD_FOLDERS[split] / name, hz=hz)
    write_meld_vectors(theirs)
    write_mm_imdb(tmp_path / "mmimdb")
    meld, films = tmp_path / "meld", tmp_path / "films"
    commands = bring(DataSet.MELD, theirs, meld)
    type_all(commands[:3], meld, monkeypatch)
    spine = read_spine(StoreLayout(meld / "store"), "meld")
    assert Counter(spine["split"]) == {"train": 5, "val": 5, "test": 5}
    assert set(spine["group"]) >= {"dev-0", "test-2"} and "That I did." in spine["text"].to_list()
    assert all(spine["audio"]) and all(spine["video"]), "the videos are where the config says"
    type_all(bring(DataSet.MM_IMDB, tmp_path / "mmimdb", films)[:1], films, monkeypatch)
    assert Counter(splits_of(films, "mm-imdb").values()) == {"train": 8, "val": 2, "test": 2}
    assert read_quarantine(StoreLayout(films / "store"), "mm-imdb").is_empty()


def test_a_row_without_a_split_makes_no_clip_until_it_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_av_mnist(tmp_path / "theirs", train=12, test=2)
    out = tmp_path / "av"
    commands = bring(DataSet.AV_MNIST, tmp_path / "theirs", out)
    labels = (out / "labels.jsonl").read_text()
    (out / "labels.jsonl").write_text(
        labels.replace('"train/00000", "split": "train"', '"train/00000", "split": "dev"')
    )
    type_all(commands[:1], out, monkeypatch)
    assert "train/00000" not in splits_of(out, "av-mnist")
    (drop,) = read_quarantine(StoreLayout(out / "store"), "av-mnist").to_dicts()
    assert (drop["code"], drop["source_id"]) == ("no_split", "train/00000") and "'dev'" in drop["detail"]
    with pytest.raises(ConfigError, match=r"has no column 'part' \(`labels.split`\)"):
        read_labels(LabelsConfig(file=out / "labels.jsonl", split="part"))
    (out / "labels.jsonl").write_text(labels)
    type_all(commands[:1], out, monkeypatch)
    assert splits_of(out, "av-mnist")["train/00000"] == "train"
    assert read_quarantine(StoreLayout(out / "store"), "av-mnist").is_empty()


def test_nothing_is_left_behind_where_the_import_is_refused(tmp_path: Path) -> None:
    table = mosi_table()
    table["test"]["regression_labels"][:] = np.nan
    file = write_pickle(tmp_path / "theirs" / "a.pkl", table)
    with pytest.raises(ConfigError, match=r"no usable sample of test is left; left out: \{'bad_score': 20\}"):
        import_published(DataSet.MOSI, file, tmp_path / "out")
    write_pickle(file, mosi_table())
    report = import_published(DataSet.MOSI, file, tmp_path / "out", dry_run=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["theirs"]
    assert report == import_published(DataSet.MOSI, file, tmp_path / "out")
    with pytest.raises(ConfigError, match="not empty"):
        import_published(DataSet.MOSI, file, tmp_path / "out")
    assert load_config(tmp_path / "out" / "mmpipe.toml").corpora["mosi"].labels is not None
    table = mosi_table()
    table["test"]["audio"] = table["test"]["audio"][:, :, :3]
    with pytest.raises(ConfigError, match="splits of one set have one width"):
        import_published(DataSet.MOSI, write_pickle(file, table), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_an_id_that_comes_twice_is_kept_once(tmp_path: Path) -> None:
    table = mosi_table()
    table["test"]["id"][0] = table["train"]["id"][0]
    report = import_published(DataSet.MOSI, write_pickle(tmp_path / "a.pkl", table), tmp_path / "out")
    assert report.left_out == {"same_id": 1} and report.splits == {"train": 40, "val": 12, "test": 19}
