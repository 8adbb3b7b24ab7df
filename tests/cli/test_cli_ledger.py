"""The verbs that ask the ledger, typed: what is due is what a run makes, how fresh it is, and that no row is hidden."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import pytest
from corpus_maker import CORPUS, DT, LATER, write_pairs, write_text
from typed_projects import Type, write_config

from mmpipe.config import load_config
from mmpipe.steps.plan.inputs import split_inputs
from mmpipe.steps.plan.plan import read_states
from mmpipe.store.journal import read_made
from mmpipe.store.layout import StoreLayout
from mmpipe.store.revisions import read_head
from mmpipe.store.sample import SampleFeature, make_sample_store
from mmpipe.types import FeatureKind, FeatureSchema, Modality

WORDS = SampleFeature(
    schema=FeatureSchema(feature="text-ngrams@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=512)
)


@pytest.fixture(scope="module")
def many_dates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project of 42 dates whose feature was made by nobody's parameters."""
    folder = tmp_path_factory.mktemp("many")
    dates = [(date(2026, 1, 1) + timedelta(days=number)).isoformat() for number in range(42)]
    make_sample_store(folder / "store", [WORDS], partitions=dates, shards=1, shard_clips=1)
    (folder / "media").mkdir()
    (folder / "mmpipe.toml").write_text(
        'store = "store"\n[corpora.sample]\nroot = "media"\nfeatures = ["text-ngrams"]\n', encoding="utf-8"
    )
    return folder


@pytest.mark.usefixtures("warm_workers")
def test_a_run_makes_the_very_shards_that_the_plan_names(tmp_path: Path, mmpipe: Type) -> None:
    write_pairs(tmp_path / "media", ["a", "b", "c"])
    write_config(tmp_path, "shard_clips = 2")
    mmpipe(tmp_path, "run", "--dt", DT)
    write_pairs(tmp_path / "media", ["d"])
    write_text(tmp_path / "media" / "a.txt", "other words")
    mmpipe(tmp_path, "ingest", "--dt", LATER)
    write_config(tmp_path, "shard_clips = 2", "[features.audio-mfccseg]", "num_mels = 30")
    config = load_config(tmp_path / "mmpipe.toml")
    layout = StoreLayout(config.store)
    before = read_made(layout, CORPUS)
    inputs = {(row.partition, row.shard, row.feature): row.inputs for row in read_states(config, CORPUS)}
    due = mmpipe(tmp_path, "plan", "--json").json()["due"]
    assert {row["feature"] for row in due} == {"audio-mfccseg@1", "text-ngrams@1"} and len(due) >= 4
    assert mmpipe(tmp_path, "run", "--dt", LATER).code == 0
    made = read_made(layout, CORPUS)[len(before) :]
    assert [(row.partition, row.shard, row.feature, row.clips, row.reason, row.inputs) for row in made] == [
        (row["dt"], row["shard"], row["feature"], row["clips"], row["reason"], inputs[_place(row)])
        for row in sorted(due, key=_place)
    ]
    for row in made:  # and what it says is what is committed
        entry = read_head(layout.dataset(CORPUS, row.feature), row.partition).shard(row.shard)
        left_out = split_inputs(entry.inputs)[1]  # what was superseded before the shard was made
        assert (entry.inputs, entry.spine - len(left_out)) == (row.inputs, row.clips)
    assert mmpipe(tmp_path, "plan", "--json").json()["due"] == []
    mmpipe(tmp_path, "run", "--dt", LATER)
    assert len(read_made(layout, CORPUS)) == len(before) + len(made)


def _place(row: dict) -> tuple[str, int, str]:
    return row["dt"], row["shard"], row["feature"]


@pytest.mark.usefixtures("warm_workers")
def test_a_feature_that_is_older_than_it_may_be_ends_status_with_1(tmp_path: Path, mmpipe: Type) -> None:
    write_pairs(tmp_path / "media", ["a"])
    write_config(tmp_path, "max_age_h = 1")
    mmpipe(tmp_path, "ingest", "--dt", "2020-01-01")
    told = mmpipe(tmp_path, "status")
    assert told.code == 1 and "newest whole date of text-ngrams@1 is not there yet; max_age_h = 1" in told.err
    assert mmpipe(tmp_path, "extract").code == 0
    told = mmpipe(tmp_path, "status")
    assert told.code == 1 and "2020-01-01" in told.out
    assert re.search(r"late: the newest whole date of audio-mfccseg@1 ended \d+ h ago; max_age_h = 1\n", told.err)
    told = mmpipe(tmp_path, "status", "--json")  # a program gets both: the figures, and the code
    assert told.code == 1 and [row["late"] for row in told.json()] == [True, True]
    write_config(tmp_path, "max_age_h = 1000000000")
    assert mmpipe(tmp_path, "status").code == 0
    assert [row["late"] for row in mmpipe(tmp_path, "status", "--json").json()] == [False, False]


def test_a_person_is_shown_the_newest_rows_and_told_of_the_rest_and_a_program_gets_all(
    many_dates: Path, mmpipe: Type
) -> None:
    told = mmpipe(many_dates, "status")
    assert told.code == 0 and "2 older rows are left out; --json has all" in told.out
    assert "2026-02-11" in told.out and "2026-01-03" in told.out and "2026-01-02" not in told.out
    assert len(mmpipe(many_dates, "status", "--json").json()) == 42
    told = mmpipe(many_dates, "plan")
    assert "older rows are left out; --json has all" in told.out and "2026-01-02" not in told.out
    due = [row for row in mmpipe(many_dates, "plan", "--json").json()["due"] if row["feature"] == "text-ngrams@1"]
    assert len(due) == 42
    few = mmpipe(many_dates, "plan", "--from", "2026-02-01")
    assert few.code == 0 and "left out" not in few.out


def test_ls_counts_what_the_manifests_name(many_dates: Path, mmpipe: Type) -> None:
    layout = StoreLayout(many_dates / "store")
    rows = {row["dataset"]: row for row in mmpipe(many_dates, "ls", "--json").json()}
    assert rows.keys() == {"clips", "text-ngrams@1"}
    for name, row in rows.items():
        dataset = layout.dataset("sample", name)
        heads = [read_head(dataset, partition) for partition in dataset.partitions()]
        files = [file for head in heads for shard in head.shards for file in shard.files]
        assert (row["partitions"], row["newest"], row["shards"]) == (42, "2026-02-11", 42)
        assert (row["rows"], row["bytes"]) == (42, sum(file.nbytes for file in files))
    assert list((many_dates / "store" / "_runs" / "ledger").glob("sample.*")) == []  # too few to be worth keeping


@pytest.mark.usefixtures("warm_workers")
def test_show_says_why_a_clip_has_no_value(tmp_path: Path, mmpipe: Type) -> None:
    write_pairs(tmp_path / "media", ["a", "b"])
    (tmp_path / "media" / "b.txt").unlink()
    write_config(tmp_path, "max_quarantined = 1.0")
    mmpipe(tmp_path, "ingest", "--dt", DT)
    sound = tmp_path / "media" / "a.wav"
    sound.write_bytes(sound.read_bytes()[:-2])
    mmpipe(tmp_path, "extract")
    (clip,) = mmpipe(tmp_path, "show", "a", "--json").json()
    assert clip["audio-mfccseg@1"].startswith("none: changed_since_ingest, 'a.wav' holds other bytes now")
    assert clip["text-ngrams@1"] == "[512]"
    (clip,) = mmpipe(tmp_path, "show", "b", "--json").json()
    assert clip["text-ngrams@1"] == "none"  # there is no text
    told = mmpipe(tmp_path, "show", "nobody")
    assert told.code == 1 and "no clip, asset or source 'nobody'" in told.err


# --------------------------------------------------------------------------- what cannot be made here


@pytest.fixture(scope="module")
def half_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with a feature whose model lies nowhere, beside one that is stale."""
    folder = tmp_path_factory.mktemp("half")
    make_sample_store(folder / "store", [WORDS], partitions=["2026-01-01", "2026-01-02"], shards=1, shard_clips=2)
    (folder / "media").mkdir()
    return folder


def write_half(folder: Path, *lines: str, device: str = "auto", model: str = "./nowhere") -> None:
    """Write its config; `lines` are of the corpus."""
    text = [
        'store = "store"',
        f'engine = {{ device = "{device}" }}',
        "[corpora.sample]",
        'root = "media"',
        'features = ["image-resnet50", "text-ngrams", "text-hf"]',
        *lines,
        "[features.text-hf]",
        f'model = "{model}"',
    ]
    write_text(folder / "mmpipe.toml", "\n".join(text) + "\n")


def test_status_shows_the_rest_where_a_feature_cannot_be_made_and_says_why(half_made: Path, mmpipe: Type) -> None:
    write_half(half_made)
    told = mmpipe(half_made, "status")
    assert told.code == 0, told.err
    assert "1 missing" in told.out and "unknown: features.text-hf.model = '" in told.out
    assert "1 stale: " in told.out, "with its cause"
    why = f"features.text-hf.model = '{half_made}/nowhere': there is no folder"
    assert f"text-hf cannot be made here: {why}" in told.err
    rows = mmpipe(half_made, "status", "--json").json()
    assert [(row["dt"], row["feature"], row["state"]) for row in rows if row["feature"] == "text-hf"] == [
        ("2026-01-01", "text-hf", "unknown"),
        ("2026-01-02", "text-hf", "unknown"),
    ]
    assert {row["feature"] for row in rows} == {"image-resnet50@1", "text-ngrams@1", "text-hf"}
    assert all(row["why"] for row in rows if row["state"] in ("unknown", "1 stale"))
    write_half(half_made, "max_age_h = 1e9")
    told = mmpipe(half_made, "status")
    assert told.code == 1 and "the newest whole date of text-hf is not known" in told.err


def test_without_the_gpu_of_the_config_the_other_features_are_shown(half_made: Path, mmpipe: Type) -> None:
    write_half(half_made, device="cuda")
    told = mmpipe(half_made, "status")
    assert told.code == 0 and 'image-resnet50 cannot be made here: engine.device = "cuda"' in told.err
    assert "1 stale: " in told.out


def test_doctor_finds_a_model_that_is_not_there_and_a_gpu_that_is_none(half_made: Path, mmpipe: Type) -> None:
    write_half(half_made, device="cuda")
    told = mmpipe(half_made, "doctor", "--json")
    rows = {row["check"]: row for row in told.json()}
    assert told.code == 3 and (rows["torch"]["state"], rows["features"]["state"]) == ("wrong", "wrong")
    assert 'Take device = "auto" or "cpu"' in rows["torch"]["detail"]
    assert "sample: text-hf: features.text-hf.model" in rows["features"]["detail"]
    assert "there is no folder" in rows["features"]["detail"]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (("[features.audio-mfccseg]", "num_mel = 30"), "num_mel = 30: unknown parameter; allowed here: "),
        (("[features.audio-mfcseg]", "num_mels = 30"), "no extractor named 'audio-mfcseg'"),
        (("[features.mine]", 'extractor = "audio-mfccseg"', "num_mels = 0"), "num_mels = 0: "),
    ],
)
def test_a_wrong_parameter_is_told_before_the_first_ingest(
    tmp_path: Path, mmpipe: Type, lines: tuple[str, ...], why: str
) -> None:
    write_pairs(tmp_path / "media", ["a"])
    write_config(tmp_path, *lines)
    for line in (("plan",), ("ingest", "--dt", DT)):
        told = mmpipe(tmp_path, *line)
        assert told.code == 3 and why in told.err, (line, told)
    assert not (tmp_path / "store").exists()
    told = mmpipe(tmp_path, "doctor", "--json")
    assert why in {row["check"]: row["detail"] for row in told.json()}["features"]
