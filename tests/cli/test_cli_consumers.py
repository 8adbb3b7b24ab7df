from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from corpus_maker import CORPUS, DT, LATER, write_pairs
from typed_projects import AUDIO, Type, write_config, write_sample_project

import mmpipe as library
from mmpipe.config import load_config
from mmpipe.steps.ingest.ingest import ingest_reason
from mmpipe.store.audit import read_events
from mmpipe.store.layout import StoreLayout
from mmpipe.store.sample import SampleFeature, sample_value
from mmpipe.store.spine import read_spine
from mmpipe.store.verify import verify_store
from mmpipe.types import FeatureKind, FeatureSchema, Modality

NEXT = SampleFeature(
    schema=FeatureSchema(feature="audio-toy@2", modality=Modality.AUDIO, kind=FeatureKind.VECTOR, dim=4)
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_sample_project(tmp_path, AUDIO, NEXT)


def test_a_feature_is_browsed(project: Path, mmpipe: Type) -> None:
    facts = mmpipe(project, "schema", "audio-toy@1", "--json").json()
    assert (facts["dim"], facts["dtype"], facts["newest"], facts["pii"]) == (6, "float32", "2026-11-20", "unknown")
    assert next(column["column"] for column in facts["columns"]) == "key"
    rows = mmpipe(project, "sample", "audio-toy@1", "-n", "3", "--json").json()
    assert len(rows) == 3
    for row in rows:
        array = sample_value(AUDIO, row["key"]).array
        assert (row["steps"], row["dim"]) == array.shape and row["source"].startswith("2026-11-20/")
        assert row["norm"] == pytest.approx(np.linalg.norm(array), rel=1e-5)
    assert "audio-toy@2" in mmpipe(project, "sample", "audio-toy@1").out + mmpipe(project, "ls").out
    told = mmpipe(project, "schema", "audio-toy", "--json")  # without a version: the newest, by its name
    assert told.json()["feature"] == "audio-toy@2" and "'audio-toy' is shown as audio-toy@2" in told.err
    told = mmpipe(project, "sample", "audio-toy")
    assert told.code == 0 and "clips of audio-toy@2" in told.out
    told = mmpipe(project, "feature", "deprecate", "audio-toy", "--use", "audio-toy@2", "--until", "2027-05-01")
    assert told.code == 3 and "'audio-toy' in 2 versions: say which of ['audio-toy@1', 'audio-toy@2']" in told.err
    told = mmpipe(project, "sample", "audio-toy@9")
    assert told.code == 3 and "features there: ['audio-toy@1', 'audio-toy@2']" in told.err


def test_a_deprecated_feature_warns_whoever_opens_it(project: Path, mmpipe: Type) -> None:
    words = ["feature", "deprecate", "audio-toy@1", "--use", "audio-toy@2", "--until", "2027-05-01"]
    assert mmpipe(project, *words).code == 3  # no reason
    assert mmpipe(project, *words, "--reason", "Two is better.", "--dry-run").code == 0
    library.open(project / "store", features=["audio-toy@1"])
    assert mmpipe(project, *words, "--reason", "Two is better.").code == 0
    with pytest.warns(FutureWarning, match="Two is better. Use audio-toy@2; audio-toy@1 stays until 2027-05-01"):
        library.open(project / "store", features=["audio-toy@1"])
    library.open(project / "store", features=["audio-toy@2"])
    assert "**Deprecated.**" in (project / "store" / "sample" / "audio-toy@1" / "README.md").read_text()
    assert mmpipe(project, "schema", "audio-toy@1", "--json").json()["deprecated"]
    assert verify_store(StoreLayout(project / "store")) == ()
    assert mmpipe(project, "feature", "deprecate", "audio-toy@1", "--undo").code == 0
    library.open(project / "store", features=["audio-toy@1"])
    kinds = [event.kind for event in read_events(StoreLayout(project / "store"))]
    assert kinds == ["feature-deprecate", "feature-restore"]


def test_an_export_is_typed(project: Path, mmpipe: Type) -> None:
    words = ["export", "--to", "parquet", "--out", "out", "--split", "train"]
    plan = mmpipe(project, *words, "--dry-run", "--json").json()
    assert [row["split"] for row in plan] == ["train"] and not (project / "out").exists()
    files = mmpipe(project, *words, "--json").json()
    assert sum(file["clips"] for file in files) == plan[0]["clips"]
    assert (project / "out" / files[0]["name"]).is_file()
    again = mmpipe(project, *words)
    assert again.code == 3 and "not empty" in again.err
    wrong = mmpipe(project, "export", "--to", "csv", "--out", "new")
    assert wrong.code == 3 and "webdataset, parquet, lance, hf" in wrong.err


@pytest.mark.usefixtures("warm_workers")
def test_rights_reach_the_cards_and_make_nothing_due(tmp_path: Path, mmpipe: Type) -> None:
    write_pairs(tmp_path / "media", ["one", "two"])
    write_config(tmp_path)
    assert mmpipe(tmp_path, "run", "--dt", DT).code == 0
    write_config(tmp_path, 'rights = { owner = "Speech team", licence = "CC-BY-4.0", pii = "no" }')
    assert not ingest_reason(load_config(tmp_path / "mmpipe.toml"), CORPUS, DT)
    assert mmpipe(tmp_path, "ingest", "--dt", DT).code == 0
    corpus = tmp_path / "store" / CORPUS
    for card in (corpus / "clips" / "README.md", corpus / "text-ngrams@1" / "README.md"):
        assert "| owner | Speech team |\n" in card.read_text()
    assert json.loads((corpus / "text-ngrams@1" / "croissant.json").read_bytes())["license"] == "CC-BY-4.0"
    assert verify_store(StoreLayout(tmp_path / "store")) == ()
    write_config(tmp_path, 'rights = { pii = "perhaps" }')
    told = mmpipe(tmp_path, "ls")
    assert told.code == 3 and "rights.pii = 'perhaps'" in told.err


@pytest.mark.usefixtures("warm_workers")
def test_a_file_is_found_by_its_old_its_new_and_its_second_name(tmp_path: Path, mmpipe: Type) -> None:
    media = tmp_path / "media"
    write_pairs(media, ["one", "two"])
    write_config(tmp_path)
    assert mmpipe(tmp_path, "ingest", "--dt", DT).code == 0
    told = mmpipe(tmp_path, "snapshot", "create", "early")
    assert told.code == 0 and "no feature was made yet" in told.out and "Train on it" not in told.out
    for path in list(media.glob("two.*")):
        path.rename(media / f"renamed{path.suffix}")
    for path in list(media.glob("one.*")):
        (media / f"dup{path.suffix}").write_bytes(path.read_bytes())
    (media / "broken.wav").write_bytes(b"no sound")
    assert mmpipe(tmp_path, "ingest", "--dt", LATER).code in (0, 5)
    for name, kept in (("renamed", "two"), ("dup", "one"), ("two", "two"), ("one", "one")):
        told = mmpipe(tmp_path, "show", name, "--json")
        assert told.code == 0 and {row["source_id"] for row in told.json()} == {kept}, (name, told)
        assert ("kept as" in told.err) is (name != kept), name
    told = mmpipe(tmp_path, "show", "dup")
    assert "'dup' has the same content: kept as one" in told.err
    told = mmpipe(tmp_path, "show", "broken.wav")
    assert told.code == 1 and "it is in quarantine: " in told.err
    assert mmpipe(tmp_path, "extract").code in (0, 5)
    rows = mmpipe(tmp_path, "sample", "text-ngrams@1", "--json").json()
    assert sorted(row["text"] for row in rows) == sorted(read_spine(StoreLayout(tmp_path / "store"), CORPUS)["text"])


@pytest.mark.usefixtures("warm_workers")
def test_a_configured_feature_is_browsed_by_its_own_name(tmp_path: Path, mmpipe: Type) -> None:
    write_pairs(tmp_path / "media", ["one"])
    own = '[features.words2]\nextractor = "text-ngrams"\ndim = 64'
    write_config(tmp_path, own)
    config = tmp_path / "mmpipe.toml"
    config.write_text(config.read_text().replace('"text-ngrams"]', '"words2"]'))
    assert mmpipe(tmp_path, "ingest", "--dt", DT).code == 0 and mmpipe(tmp_path, "extract").code == 0
    told = mmpipe(tmp_path, "schema", "words2")
    assert told.code == 0 and "words2@1" in told.out and "'words2' is shown as words2@1" in told.err


@pytest.mark.usefixtures("warm_workers")
def test_a_clip_that_a_filter_left_out_is_shown_with_why_and_where(tmp_path: Path, mmpipe: Type) -> None:
    write_pairs(tmp_path / "media", ["one"])
    write_config(tmp_path, 'filters = { long = "duration_s > 0.7" }')
    assert mmpipe(tmp_path, "ingest", "--dt", DT).code in (0, 5)
    (row,) = mmpipe(tmp_path, "quarantine", "show", "--json").json()
    for name in (row["clip_key"], row["asset_id"], "one"):
        told = mmpipe(tmp_path, "show", name)
        assert told.code == 1 and f"clip {row['clip_key']!r} of 'one' was left out by the filter 'long'" in told.err
        assert "duration_s = 0.5: not duration_s > 0.7" in told.err
        assert f"store/{CORPUS}/signals/data/dt={DT}" in told.err and "quarantine show filtered_long" in told.err
    assert mmpipe(tmp_path, "quarantine", "release", row["clip_key"], "--reason", "short is fine").code == 0
    told = mmpipe(tmp_path, "show", row["clip_key"])
    assert told.code == 0 and told.err == ""
