"""Text and audio encoders in the real pipeline: what workers store is what the encoder gives, once for all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus_maker import CORPUS, extract, ingest, make_config, write_pairs

sys.path.insert(0, str(Path(__file__).parent.parent / "features" / "encoders"))
import audio_models
import text_models

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import Config
from mmpipe.features.naming import make_feature
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.store.layout import StoreLayout
from mmpipe.store.snapshot import take_snapshot
from mmpipe.store.verify import verify_store
from mmpipe.types import TextClip

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("warm_workers")
CAPTIONS = {f"clip-{n}": " ".join(text_models.WORDS[: 2 + 3 * n]) for n in range(6)}


def with_tables(config: Config, tables: dict[str, dict[str, Any]]) -> Config:
    source = config.corpora[CORPUS].model_copy(update={"features": tuple(tables)})
    return config.model_copy(update={"features": tables, "corpora": {CORPUS: source}})


def test_values_of_workers_are_those_of_the_encoder(tmp_path: Path) -> None:
    text_models.make_bert(tmp_path / "bert")
    audio_models.make_wav2vec2(tmp_path / "ears", "layer")
    write_pairs(tmp_path / "media", CAPTIONS, CAPTIONS)
    tables: dict[str, dict[str, Any]] = {
        "text-hf": {"model": str(tmp_path / "bert")},
        "every-word": {"extractor": "text-hf", "model": str(tmp_path / "bert"), "pool": "none", "values": "float16"},
        "text-tokens": {"model": str(tmp_path / "bert")},
        "audio-hf": {"model": str(tmp_path / "ears"), "pool": "none"},
        "audio-mfcc": {},
    }
    config = with_tables(make_config(tmp_path), tables)
    ingest(config)
    report, _ = extract(config)
    assert report.computed == 6 * len(tables)
    assert plan_corpus(config, CORPUS).is_empty
    layout = StoreLayout(config.store)
    assert verify_store(layout) == ()

    features = tuple(f"{name}@1" for name in tables)
    reader = AlignedReader(layout, take_snapshot(layout, CORPUS, features), features)
    sources = reader.spine["source_id"].to_list()
    for name in ("text-hf", "every-word", "text-tokens"):
        extractor = make_feature(name, tables[name])
        extractor.setup("cpu")
        wanted = extractor.extract([TextClip(text=CAPTIONS[source]) for source in sources])
        for row, value in enumerate(wanted):
            got = reader.value(row, f"{name}@1")
            assert got is not None
            assert got.array.dtype == value.array.dtype
            np.testing.assert_allclose(got.array.astype(np.float32), value.array.astype(np.float32), atol=2e-2)
    part = reader.gather(np.arange(6)).features["text-tokens@1"]
    assert part.x_BTD.dtype == np.int32
    lengths = [len(CAPTIONS[source].split()) + 2 for source in sources]
    assert part.mask_BT.sum(axis=1).tolist() == lengths
    assert (part.x_BTD[:, 0, 0] == 2).all()
    assert not part.x_BTD[..., 0][~part.mask_BT].any()
    frames = 1 + (8_000 - 85) // 80
    assert reader.lengths("audio-hf@1").tolist() == [frames] * 6
    assert sum(meter.used_units for meter in report.meters) > 0
