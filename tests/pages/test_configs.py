"""The configs of `docs/how-to/corpus.md` and `docs/how-to/networks.md`, on media and models that are made for them."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import audio_models
import numpy as np
import polars as pl
import pytest
import text_models
import vision_models
from pages import DOCS, blocks_of
from typed_projects import type_words

import mmpipe
from examples.demo_corpus import make_corpus
from mmpipe.config import parse_config

pytestmark = pytest.mark.usefixtures("warm_workers")


def config_of(page: str) -> str:
    """Return the first table of a page."""
    return next(block.text for block in blocks_of(DOCS / "how-to" / page) if block.kind == "toml")


@pytest.mark.parametrize("page", ["corpus.md", "networks.md"])
def test_every_table_is_a_config(page: str) -> None:
    for block in blocks_of(DOCS / "how-to" / page):
        if block.kind == "toml":
            assert "street" in parse_config(tomllib.loads(block.text)).corpora, block.place


@pytest.mark.slow
def test_the_config_for_any_media_takes_a_corpus_in(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "made", num_clips=4)
    shutil.move(corpus / "media", tmp_path / "raw")
    shutil.move(corpus / "labels.jsonl", tmp_path / "labels.jsonl")
    np.save(tmp_path / "raw" / "scene-001.npy", np.ones((400, 3), np.float32))
    toml = config_of("corpus.md")
    (tmp_path / "mmpipe.toml").write_text(toml.replace('"sidecar", "column:caption"', '"sidecar"'), "utf-8")
    for words in (["ingest", "--dt", "2026-11-20"], ["extract"]):
        told = type_words(tmp_path, words)
        assert told.code == 0, (words, told.out, told.err)
    datasets = {path.name for path in (tmp_path / "store" / "street").iterdir()}
    assert {"signals", "audio-logmel.clean@1", "video-hogdct@1", "audio-logmel@1"} <= datasets
    signals = pl.read_parquet(tmp_path / "store" / "street" / "signals" / "data" / "*" / "*.parquet")
    assert signals.height >= 4 and signals["loudness_lufs"].null_count() == 0


@pytest.mark.slow
def test_the_config_for_networks_makes_features(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "made", num_clips=4)
    shutil.move(corpus / "media", tmp_path / "raw")
    vision_models.save_model(tmp_path / "models" / "clip", "clip")
    audio_models.make_whisper(tmp_path / "models" / "whisper")
    text_models.make_bert(tmp_path / "models" / "minilm")
    (tmp_path / "mmpipe.toml").write_text(config_of("networks.md").replace("window_s = 3.0", "window_s = 0.4"), "utf-8")
    for words in (["ingest", "--dt", "2026-11-20"], ["extract"], ["bench", "extract", "--json"]):
        told = type_words(tmp_path, words)
        assert told.code == 0, (words, told.out, told.err)
    for feature in ("video-hf@1", "audio-hf@1", "text-hf@1", "video-pixels@1", "text-tokens@1"):
        (reader,) = [mmpipe.open(tmp_path / "store" / "street", features=[feature])]
        assert reader.gather([0, 1, 2, 3]).features[feature].mask_BT.any(axis=1).all(), feature
