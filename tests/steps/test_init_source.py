"""What `mmpipe init` makes of tars and tables: a config that runs as it is."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import polars as pl
import pytest
from corpus_maker import DT, write_pairs, write_tone

from mmpipe.config import load_config
from mmpipe.errors import ConfigError
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.ingest.init import Proposal, guess_labels, propose_config
from mmpipe.store.layout import StoreLayout
from mmpipe.store.spine import read_spine

pytestmark = pytest.mark.usefixtures("warm_workers")


def pack(path: Path, folder: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as tar:
        for file in sorted(path for path in folder.iterdir() if path.is_file()):
            info = tarfile.TarInfo(file.name)
            info.size = file.stat().st_size
            tar.addfile(info, io.BytesIO(file.read_bytes()))


def ingested(folder: Path, proposal: Proposal) -> pl.DataFrame:
    """Ingest with the config as it was written."""
    (folder / "mmpipe.toml").write_text(proposal.toml)
    config = load_config(folder / "mmpipe.toml")
    (corpus,) = config.corpora
    ingest_corpus(config, corpus, DT)
    return read_spine(StoreLayout(config.store), corpus)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_tars(tmp_path, suffix):
    names = [f"n{number}" for number in range(8)]
    write_pairs(tmp_path / "raw", names)
    pack(tmp_path / f"media/s-0{suffix}", tmp_path / "raw")
    rows = ({"id": name, "class": f"c{number % 2}"} for number, name in enumerate(names))
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    proposal = propose_config(tmp_path / "media", beside=tmp_path, store=tmp_path / "store")
    assert f'source = {{ kind = "tars", pattern = "**/*{suffix}" }}' in proposal.toml
    assert 'target = "class"' in proposal.toml
    spine = ingested(tmp_path, proposal)
    assert sorted(spine["source_id"]) == [f"s-0{suffix}/{name}" for name in names]
    assert {json.loads(labels)["class"] for labels in spine["labels"]} == {"c0", "c1"}


@pytest.mark.parametrize("asked", ["media/rows.csv", "media"])
def test_a_table(tmp_path, asked):
    names = [f"n{number}" for number in range(8)]
    for name in names:
        (tmp_path / "media/deep").mkdir(parents=True, exist_ok=True)
        write_tone(tmp_path / f"media/deep/{name}.wav", 300 + sum(name.encode()))
    rows = [
        {"clip": f"deep/{name}.wav", "uid": f"u.{name}", "caption": f"words {number}", "class": f"c{number % 2}"}
        for number, name in enumerate(names)
    ]
    if asked == "media":  # a folder that has the table alone; its media lie where it says
        pl.DataFrame([{**row, "clip": f"memory://nowhere/{row['clip']}"} for row in rows]).write_csv(
            tmp_path / "rows.csv"
        )
        (tmp_path / "empty").mkdir()
        (tmp_path / "rows.csv").rename(tmp_path / "empty/rows.csv")
        proposal = propose_config(tmp_path / "empty", beside=tmp_path, store=tmp_path / "store")
        assert 'root = "empty"' in proposal.toml
        assert 'key = "uid", columns = { audio = "clip", text = "caption" }' in proposal.toml
        return
    pl.DataFrame(rows).write_csv(tmp_path / asked)
    proposal = propose_config(tmp_path / asked, beside=tmp_path, store=tmp_path / "store")
    assert guess_labels(tmp_path / asked) == tmp_path / asked, "it holds the labels, too"
    assert "\n[models." not in propose_config(tmp_path / asked, beside=tmp_path, no_labels=True).toml
    assert "[corpora.rows]" in proposal.toml
    assert 'target = "class"' in proposal.toml
    spine = ingested(tmp_path, proposal)
    assert sorted(spine["source_id"]) == sorted(f"u.{name}" for name in names)
    assert json.loads(spine["labels"][0])["class"] in ("c0", "c1")


def test_media_beside_tars_are_a_folder_and_the_tars_are_told_of(tmp_path):
    write_pairs(tmp_path / "media", ["a"])
    pack(tmp_path / "media/deep/s.tar", tmp_path / "media")
    proposal = propose_config(tmp_path / "media", beside=tmp_path, store=tmp_path / "store")
    assert "source =" not in proposal.toml
    assert any("1 archives are not read" in note for note in proposal.notes)


def test_what_names_nothing_is_refused(tmp_path):
    (tmp_path / "numbers.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match=r"no column with a name .* its columns are \['a', 'b'\]"):
        propose_config(tmp_path / "numbers.csv")
    (tmp_path / "media").mkdir()
    with pytest.raises(ConfigError, match="no tar, and no table"):
        propose_config(tmp_path / "media")
