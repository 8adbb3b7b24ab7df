"""Texts are measured and compared as a whole, however they begin."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest
from corpus_maker import CORPUS, LATER, drops, ingest, make_config, write_text

from mmpipe.config import Config
from mmpipe.signals.text_prints import print_text
from mmpipe.steps.ingest import survey
from mmpipe.store.layout import PRINTS, StoreLayout
from mmpipe.store.prints import read_prints, write_prints
from mmpipe.store.signals import read_signals
from mmpipe.store.spine import read_spine
from mmpipe.types import digest_of

pytestmark = pytest.mark.usefixtures("warm_workers")

HEADER = "This document is provided under the terms of the Example Licence. " * 40
NEARLY = {"near": True, "text_jaccard": 0.7}


def document(seed: int, num_words: int = 3_000) -> str:
    """Return a header that others have too, and words that none has."""
    draw = random.Random(seed)
    words = ("".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(num_words))
    return HEADER + " ".join(words)


def write_documents(root: Path, count: int, num_words: int = 3_000) -> dict[str, str]:
    """Write documents of one licence, and under `copy` one of them with another end."""
    root.mkdir(parents=True)
    texts = {f"doc{number}": document(number, num_words) for number in range(count)}
    texts["copy"] = texts["doc0"][:-20] + " the end"
    for name, text in texts.items():
        write_text(root / f"{name}.txt", text)
    return texts


def kept(config: Config) -> set[str]:
    rows = read_spine(StoreLayout(config.store), CORPUS).filter(~pl.col("superseded"))
    return set(rows["source_id"])


def test_documents_of_one_licence_are_no_twins_and_a_copy_is(tmp_path: Path) -> None:
    write_documents(tmp_path / "media", 4)
    config = make_config(tmp_path, dedup=NEARLY, features=["text-ngrams"])
    ingest(config)
    assert kept(config) - {"copy", "doc0"} == {"doc1", "doc2", "doc3"} and len(kept(config)) == 4
    assert list(drops(config).values()) == ["near_duplicate"]


def test_signals_and_filters_are_of_the_whole_text(tmp_path: Path) -> None:
    texts = write_documents(tmp_path / "media", 2)
    write_text(tmp_path / "media" / "short.txt", "a few words")
    whole = "word " * 20_000
    write_text(tmp_path / "media" / "long.txt", whole)
    config = make_config(
        tmp_path,
        signals={"enabled": True},
        filters={"brief": "text_characters < 50000"},
        features=["text-ngrams"],
    )
    ingest(config)
    rows = {row["asset_id"]: row for row in read_signals(StoreLayout(config.store), CORPUS).iter_rows(named=True)}
    told = {(row["text_characters"], row["text_words"]) for row in rows.values()}
    assert told == {(len(text), len(text.split())) for text in (*texts.values(), "a few words", whole.strip())}
    assert kept(config) == {"doc0", "doc1", "copy", "short"}
    spine = read_spine(StoreLayout(config.store), CORPUS)
    assert max(map(len, spine["text"])) == 2_000  # what is shown of a text stays short


def test_what_was_dropped_by_how_a_text_begins_is_decided_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = write_documents(tmp_path / "media", 3, num_words=60)
    write_text(tmp_path / "media" / "note.txt", "0123456789 9876543210 0246813579")
    write_text(tmp_path / "media" / "longer note.txt", "0123456789 9876543210 0246813579!")
    config = make_config(tmp_path, dedup=NEARLY, features=["text-ngrams"])
    with monkeypatch.context() as before:  # all that resembles anything is dropped
        before.setattr(survey, "SURVEY_VERSION", "survey-2")
        ingest(make_config(tmp_path, dedup={**NEARLY, "text_jaccard": 0.02}, features=["text-ngrams"]))
    assert len(kept(config)) == 2
    print_as_before(config, texts)
    (tmp_path / "media" / "longer note.txt").unlink()
    ingest(config, LATER)
    dropped = {name.removesuffix(".txt") for name, code in drops(config).items() if code == "near_duplicate"}
    assert "note" in dropped  # its print is what it was: that its twin is gone brings it in no more than before
    assert dropped - {"note"} in ({"copy"}, {"doc0"})
    versions = read_prints(StoreLayout(config.store), CORPUS).group_by("version").agg("source_id")
    assert dict(versions.iter_rows())["prints-2"] == ["longer note"]
    ingest(config, LATER)
    assert {name.removesuffix(".txt") for name in drops(config)} == dropped


def print_as_before(config: Config, texts: Mapping[str, str]) -> None:
    """Leave the prints as the version before did: of the first 2,000 characters, and decided by these."""
    dataset = StoreLayout(config.store).dataset(CORPUS, PRINTS)
    rows = read_prints(StoreLayout(config.store), CORPUS)
    prints = {name: print_text(text[:2_000]).astype("<u4").tobytes() for name, text in texts.items()}
    held = [prints.get(row["source_id"], row["print"]) for row in rows.iter_rows(named=True)]
    settings = digest_of(config.corpora[CORPUS].dedup.model_dump_json())
    before = rows.with_columns(
        version=pl.lit("prints-2"), print=pl.Series(held, dtype=pl.Binary), settings=pl.lit(settings)
    )
    write_prints(dataset, rows["partition"][0], before)
