"""Where the text of an asset comes from: files, columns of the labels, in an order; and what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from corpus_maker import (
    CORPUS,
    DT,
    LATER,
    TEXT,
    extract,
    ingest,
    make_config,
    partitions,
    reasons,
    tree,
    write_pairs,
    write_text,
    write_tone,
)

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import Config, ModelConfig
from mmpipe.errors import ConfigError
from mmpipe.steps.ground.text_origin import TextOrigin, kept_words
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.release.lineage import trace_snapshot
from mmpipe.steps.tell.inspect import find_clips
from mmpipe.steps.train.training_set import open_training_set
from mmpipe.store.assets import read_assets
from mmpipe.store.layout import StoreLayout
from mmpipe.store.signals import read_signals
from mmpipe.store.snapshot import take_snapshot
from mmpipe.store.spine import read_spine
from mmpipe.store.verify import verify_store
from mmpipe.types import Modality, Stream

pytestmark = pytest.mark.usefixtures("warm_workers")


def make_corpus(folder: Path, captions: Mapping[str, str | None], **settings: Any) -> Config:
    """Sounds with a caption each in the labels table; None: the row has no caption."""
    (folder / "media").mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(captions):
        write_tone(folder / "media" / f"{name}.wav", hz=300 + 90 * number)
    write_labels(folder, captions)
    text = {"sources": ["column:caption"], **settings.pop("text", {})}
    return make_config(folder, labels={"file": str(folder / "labels.jsonl")}, text=text, **settings)


def write_labels(folder: Path, captions: Mapping[str, str | None]) -> None:
    rows = [{"id": name, "class": name[0], "caption": caption} for name, caption in captions.items()]
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def live(config: Config) -> dict[str, str]:
    """Return the text of every live clip by its source."""
    spine = read_spine(StoreLayout(config.store), CORPUS).filter(~pl.col("superseded"))
    return dict(spine.select("source_id", "text").iter_rows())


def origins(config: Config) -> dict[tuple[str, str], str]:
    """Return the origin of every text stream by source and role."""
    texts = read_assets(StoreLayout(config.store), CORPUS).filter(pl.col("modality") == "text")
    return {(source, role): origin for source, role, origin in texts.select("source_id", "role", "origin").iter_rows()}


def text_vectors(config: Config) -> dict[str, np.ndarray]:
    """Return the text feature of every live clip that has one."""
    reader = AlignedReader(
        StoreLayout(config.store), take_snapshot(StoreLayout(config.store), CORPUS, (TEXT,)), (TEXT,)
    )
    found = np.flatnonzero(reader.lengths(TEXT))
    batch = reader.gather(found).features[TEXT]
    return dict(zip(reader.spine[found.tolist()]["source_id"], batch.x_BTD[:, 0], strict=True))


def test_a_column_is_the_text_without_a_file(tmp_path: Path) -> None:
    config = make_corpus(tmp_path, {"a": "ein  Hund\tbellt", "b": "a dog barks", "c": None})
    report = ingest(config)
    assert report.quarantined_share == 0
    assert live(config) == {"a": "ein Hund bellt", "b": "a dog barks", "c": ""}
    assert origins(config) == {("a", "text"): "column:caption", ("b", "text"): "column:caption"}
    done, _ = extract(config)
    assert not done.quarantined
    # The vector is that of the same words in a file.
    plain = make_config(tmp_path / "files")
    write_pairs(tmp_path / "files" / "media", ["a", "b"], {"a": "ein Hund bellt", "b": "a dog barks\n"})
    ingest(plain)
    extract(plain)
    found, expected = text_vectors(config), text_vectors(plain)
    assert sorted(found) == ["a", "b"]
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert not verify_store(StoreLayout(config.store))


def test_nothing_new_starts_no_process_and_writes_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_corpus(tmp_path, {"a": "one", "b": "two"}, text={"stop_words": "en"})
    ingest(config)
    before = tree(config.store)
    monkeypatch.setattr("mmpipe.steps.ingest.ingest.shared_engine", None)
    ingest(config, LATER)
    assert tree(config.store) == before and partitions(config) == (DT,)


def test_a_changed_caption_makes_another_asset_and_no_other_feature_anew(tmp_path: Path) -> None:
    config = make_corpus(tmp_path, {"a": "one dog", "b": "two cats"})
    ingest(config)
    extract(config)
    write_labels(tmp_path, {"a": "one wolf", "b": "two cats"})
    ingest(config)
    spine = read_spine(StoreLayout(config.store), CORPUS).filter(pl.col("source_id") == "a")
    assert dict(spine.select("text", "superseded").iter_rows()) == {"one dog": True, "one wolf": False}
    assert spine["audio"].n_unique() == 1 and spine["text_stream"].n_unique() == 2
    done, _ = extract(config)
    assert (done.computed, done.reused) == (1, 1), "the text is computed, the sound is copied"
    assert live(config) == {"a": "one wolf", "b": "two cats"}


def test_the_first_source_that_has_a_text_gives_it(tmp_path: Path) -> None:
    captions = {"a": "from the column", "b": None}
    config = make_corpus(tmp_path, captions, text={"sources": ["column:caption", "sidecar"]})
    for name in captions:
        write_text(tmp_path / "media" / f"{name}.txt", f"from the file {name}")
    ingest(config)
    assert live(config) == {"a": "from the column", "b": "from the file b"}
    assert origins(config) == {("a", "text"): "column:caption", ("a", "text.1"): "sidecar", ("b", "text"): "sidecar"}
    turned = make_corpus(tmp_path, captions, text={"sources": ["sidecar", "column:caption"]})
    ingest(turned)
    assert live(turned) == {"a": "from the file a", "b": "from the file b"}


def test_a_sidecar_that_is_no_source_is_not_read_but_forgotten_with_its_asset(tmp_path: Path) -> None:
    config = make_corpus(tmp_path, {"a": None, "b": "walrus"})
    for name in "ab":
        write_text(tmp_path / "media" / f"{name}.txt", f"the secret of {name}")
    report = ingest(config)
    assert report.partitions[0].used == 4
    assert live(config) == {"a": "", "b": "walrus"}
    assert origins(config) == {("a", "text.1"): "unread", ("b", "text"): "column:caption", ("b", "text.1"): "unread"}
    extract(config)
    assert sorted(text_vectors(config)) == ["b"]
    assert forget(config, CORPUS, "b", "asked to").files == 2
    ingest(config)
    assert live(config) == {"a": ""}
    assert not [path for path in config.store.rglob("*") if path.is_file() and b"walrus" in path.read_bytes()]


def test_a_caption_lasts_as_long_as_the_asset(tmp_path: Path) -> None:
    clips = {"rule": "window", "length_s": 0.2, "hop_s": 0.2}
    config = make_corpus(tmp_path, {"a": "all the time"}, clips=clips)
    ingest(config)
    rows = find_clips(config, CORPUS, "a")
    assert [row["text"] for row in rows] == ["all the time"] * 3
    whole = make_corpus(tmp_path / "cues", {"a": "all the time"}, clips={"rule": "cues"})
    ingest(whole)
    (row,) = find_clips(whole, CORPUS, "a")
    assert (row["start_ns"], row["end_ns"], row["text"]) == (0, 500_000_000, "all the time")
    assert row["text_origin"] == "column:caption"


@pytest.mark.parametrize("sidecar", [False, True])
def test_stop_words_are_left_out_of_clips_and_said_so(tmp_path: Path, sidecar: bool) -> None:
    captions = {"a": "The dog is on the roof", "b": "To be or not to be"}
    config = make_corpus(tmp_path, captions, text={"stop_words": "en", **({"sources": ["sidecar"]} if sidecar else {})})
    if sidecar:
        for name, caption in captions.items():
            write_text(tmp_path / "media" / f"{name}.txt", caption)
    ingest(config)
    source = "sidecar" if sidecar else "column:caption"
    assert live(config) == {"a": "dog roof", "b": ""}
    assert set(origins(config).values()) == {f"{source}; stop_words=en"}
    extract(config)
    plain = make_corpus(tmp_path / "plain", {"a": "dog roof"})
    ingest(plain)
    extract(plain)
    assert sorted(text_vectors(config)) == ["a"]
    assert np.array_equal(text_vectors(config)["a"], text_vectors(plain)["a"])
    kept = make_corpus(tmp_path, captions, **({"text": {"sources": ["sidecar"]}} if sidecar else {}))
    ingest(kept)
    assert live(kept) == captions, "another list makes another text: the old clips are superseded"
    assert not reasons(kept).get("sibling_unusable")


def test_columns_are_repaired_where_they_were_decoded_wrongly(tmp_path: Path) -> None:
    broken = "sch\u00f6n".encode().decode("latin-1")
    config = make_corpus(tmp_path, {"a": f"{broken}\x07 e\u0301"})
    ingest(config)
    assert live(config) == {"a": "sch\u00f6n \u00e9"}
    as_is = make_corpus(tmp_path / "as-is", {"a": broken}, text={"repair": False})
    ingest(as_is)
    assert live(as_is) == {"a": broken}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ({"sources": ["column:title"]}, "no column 'title'"),
        ({"stop_words": "xx"}, "there are lists for de, en"),
    ],
)
def test_what_is_not_there_is_said_by_name(tmp_path: Path, text: dict[str, Any], said: str) -> None:
    config = make_corpus(tmp_path, {"a": "b"}, text=text)
    with pytest.raises(ConfigError, match=said):
        ingest(config)


def test_a_column_needs_a_table(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["a"])
    with pytest.raises(ConfigError, match="no labels table"):
        ingest(make_config(tmp_path, text={"sources": ["column:caption"]}))


def test_an_origin_reads_as_it_was_written() -> None:
    for origin in (
        TextOrigin(source="sidecar"),
        TextOrigin(source="column:a; b", stop_words="de"),
        TextOrigin(source="asr:owner/name", stop_words="en"),
        TextOrigin(source=""),
    ):
        assert TextOrigin.parse(str(origin)) == origin
    stream = Stream(
        role="text",
        modality=Modality.TEXT,
        digest="d",
        file="",
        file_sha256="",
        file_nbytes=0,
        track=0,
        start_ns=0,
        duration_ns=0,
        codec="words",
        origin="sidecar; stop_words=en",
    )
    once = kept_words("The cat and the Hat", stream)
    assert once == "cat hat" == kept_words(once, stream)


def test_a_text_that_the_label_was_read_from_is_refused_by_name(tmp_path: Path) -> None:
    config = make_corpus(tmp_path, {f"{kind}{number}": f"{kind} {number % 2}" for kind in "ab" for number in range(4)})
    ingest(config)
    extract(config)

    def model(target: str, *inputs: str) -> ModelConfig:
        return ModelConfig(corpus=CORPUS, target=target, inputs=inputs)

    with pytest.raises(ConfigError, match=r"leak: the text of 8 clips is the labels column 'caption' .*'text-ngrams'"):
        open_training_set(config, model("caption", "audio-mfccseg", "text-ngrams"))
    assert len(open_training_set(config, model("class", "audio-mfccseg", "text-ngrams")).keys) == 8
    data = open_training_set(config, model("caption", "audio-mfccseg"))
    assert len(data.classes) == 4, "without the text there is no leak"
    lineage = trace_snapshot(StoreLayout(config.store), data.snapshot)
    assert lineage["texts"] == [{"origin": "column:caption", "assets": 8}]
    assert sorted(file["name"] for file in lineage["raw_files"]) == sorted(
        f"{a}{n}.wav" for a in "ab" for n in range(4)
    )


def test_the_signals_see_the_words_before_any_are_left_out(tmp_path: Path) -> None:
    caption = "the dog that you saw was on the roof of our house all day"
    config = make_corpus(tmp_path, {"a": caption}, text={"stop_words": "en"}, signals={"enabled": True})
    ingest(config)
    (row,) = read_signals(StoreLayout(config.store), CORPUS).to_dicts()
    assert row["language"] == "en" and row["text_words"] == len(caption.split()) > len(live(config)["a"].split())


def test_a_text_of_a_table_of_assets_is_from_its_column(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    for number, name in enumerate("ab"):
        write_tone(tmp_path / "media" / f"{name}.wav", hz=300 + 90 * number)
    rows = [{"id": name, "path": f"{name}.wav", "caption": f"this is {name}"} for name in "ab"]
    (tmp_path / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = {"kind": "table", "file": str(tmp_path / "table.jsonl"), "columns": {"audio": "path", "text": "caption"}}
    config = make_config(tmp_path, source=table)
    ingest(config)
    assert sorted(live(config).values()) == ["this is a", "this is b"]
    assert set(origins(config).values()) == {"column:caption"}
