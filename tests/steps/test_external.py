"""Datasets of other teams as features: copied, verified, stale with a cause, and usable when theirs is gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_maker import CORPUS, DT, LATER, SOUND, extract, ingest, make_config, tree, write_pairs
from kill_models import MODEL, model_table, write_pairs_that_need_both

from mmpipe.config import Config, parse_config
from mmpipe.errors import ConfigError
from mmpipe.external.pin import MatchBy
from mmpipe.registry.versions import pick_version
from mmpipe.steps.ask.predict import predict_files
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.night.night import what_is_due, what_waits
from mmpipe.steps.plan.choices import Only, State
from mmpipe.steps.plan.forecast import forecast_plan
from mmpipe.steps.plan.plan import plan_corpus, read_states
from mmpipe.steps.release.release import release_model
from mmpipe.steps.share.external import NewFeature, PinReport, add_feature, list_features, refresh_feature
from mmpipe.steps.train.snapshots import create_snapshot
from mmpipe.steps.train.train import is_trained, newest_checkpoint, train_model
from mmpipe.steps.train.training_set import TrainingSet, open_training_set, pin_snapshot
from mmpipe.store.audit import read_events
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.reader import ShardReader
from mmpipe.store.revisions import read_head
from mmpipe.store.schema import read_schema
from mmpipe.store.spine import read_spine
from mmpipe.types import Modality

pytestmark = pytest.mark.usefixtures("warm_workers")
THEIRS = "theirs@1"
NAMES = ("a", "b", "c", "d")


def publish(folder: Path, rows: dict[str, list[float]], part: str = "part.parquet") -> Path:
    """Write what another team publishes."""
    folder.mkdir(exist_ok=True)
    table = pa.table({"id": list(rows), "value": pa.array(list(rows.values()), pa.list_(pa.float32()))})
    pq.write_table(table, folder / part)
    return folder


def register(config: Config, uri: Path, corpus: str = CORPUS, **changes) -> PinReport:
    new = NewFeature(name="theirs", uri=str(uri), key="id", modality=Modality.AUDIO, reason="a test", **changes)
    return add_feature(config, corpus, new)


def values(config: Config, corpus: str = CORPUS) -> dict[str, list[float]]:
    """Return what our store holds of theirs, by source id."""
    layout = StoreLayout(config.store)
    dataset = layout.dataset(corpus, THEIRS)
    names = dict(read_spine(layout, corpus).select("key", "source_id").iter_rows())
    heads = [head for partition in dataset.partitions() if (head := read_head(dataset, partition))]
    opened = [ShardReader.open(dataset, shard, read_schema(dataset)) for head in heads for shard in head.shards]
    return {
        names[key]: shard.raw(row).value.array.tolist()
        for shard in opened
        if shard
        for row, key in enumerate(shard.keys)
    }


def states(config: Config) -> dict[tuple[str, str], tuple[State, str]]:
    found = read_states(config, CORPUS, None, ["theirs"])
    return {(state.partition, state.feature): (state.state, state.reason) for state in found}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Return a corpus of four recordings, ingested, that wants theirs alone."""
    write_pairs(tmp_path / "media", NAMES)
    config = make_config(tmp_path, features=["theirs"])
    ingest(config)
    return config


def test_their_rows_become_ours_and_what_has_no_partner_is_counted(config, tmp_path):
    uri = publish(tmp_path / "out", {"a": [1, 2], "b": [3, 4], "c": [float("nan"), 0], "zz": [5, 6]})
    report = register(config, uri)
    facts = {row["what"]: row["value"] for row in report.table()}
    assert facts["clips with a row"] == 3
    assert facts["recordings without"] == "1: d"
    assert facts["their keys without a clip"] == "1: zz"
    forecast = forecast_plan(config, plan_corpus(config, CORPUS))
    assert (forecast.values_to_compute, forecast.values_to_copy, forecast.seconds) == (0, 4, 0)
    _, commit = extract(config)
    (count,) = commit.features
    assert (count.written, count.absent, count.quarantined) == (2, 1, 1)
    assert values(config) == {"a": [1, 2], "b": [3, 4]}
    readme = (config.store / CORPUS / THEIRS / "README.md").read_text()
    assert "A clip which their dataset lacks has no row." in readme and "weights" not in readme
    assert f"| sha256 of the pin: what theirs was, here in external-NUMBER.json | {report.pin.digest} |" in readme
    (drop,) = read_quarantine(StoreLayout(config.store), CORPUS).to_dicts()
    assert (drop["code"], drop["source_id"], drop["feature"]) == ("nonfinite", "c", THEIRS)
    head = read_head(StoreLayout(config.store).dataset(CORPUS, THEIRS), DT)
    pinned = config.store / CORPUS / THEIRS / "external-000001.json"
    assert head.fingerprint == report.pin.digest
    assert json.loads(pinned.read_bytes())["files"][0]["name"] == "part.parquet"
    assert plan_corpus(config, CORPUS).is_empty
    event = read_events(StoreLayout(config.store))[-1]
    assert (event.kind, event.subject, event.reason) == ("feature-add", f"{CORPUS}/{THEIRS}", "a test")


def test_the_same_rows_give_the_same_bytes_and_theirs_is_never_written(config, tmp_path):
    uri = publish(tmp_path / "out", {"a": [1, 2], "b": [3, 4]})
    before = tree(uri)
    stores = []
    for place in ("one", "two"):
        shutil.copytree(config.store, tmp_path / place)
        mine = config.model_copy(update={"store": tmp_path / place})
        register(mine, uri)
        extract(mine)
        stores.append(tree(tmp_path / place / CORPUS))
    assert stores[0] == stores[1]
    assert tree(uri) == before


def test_a_dry_run_says_it_all_and_keeps_nothing(config, tmp_path):
    uri = publish(tmp_path / "out", {"a": [1, 2]})
    before = tree(config.store)
    new = NewFeature(name="theirs", uri=str(uri), key="id", modality=Modality.AUDIO)
    assert add_feature(config, CORPUS, new, dry_run=True).pin.rows == 1
    assert tree(config.store) == before


def test_new_clips_are_filled_from_the_pin_and_what_changed_there_waits_for_a_person(config, tmp_path):
    uri = publish(tmp_path / "out", {"a": [1, 2], "e": [7, 8]})
    register(config, uri)
    extract(config)
    write_pairs(tmp_path / "media", ["e"])
    ingest(config, LATER)
    assert states(config)[LATER, THEIRS] == (State.MISSING, "never extracted")
    extract(config)
    assert values(config) == {"a": [1, 2], "e": [7, 8]}

    publish(uri, {"a": [1, 2], "b": [9, 9], "e": [7, 8]})
    found = states(config)
    assert {state for state, _ in found.values()} == {State.STALE}
    assert "1 changed (part.parquet); take it over: mmpipe feature refresh theirs" in found[DT, THEIRS][1]
    plan = plan_corpus(config, CORPUS)
    assert plan.is_empty, "no night takes over by itself"
    assert {(state.partition, state.feature) for state in plan.held} == {(DT, THEIRS), (LATER, THEIRS)}
    assert what_waits(config, CORPUS) == plan.held_reasons and what_is_due(config, CORPUS, LATER) == ()
    assert [reason[-40:] for reason in plan.held_reasons] == ["take it over: mmpipe feature refresh theirs"[-40:]]
    assert plan_corpus(config, CORPUS, only=Only.ALL, force=True).is_empty
    assert values(config) == {"a": [1, 2], "e": [7, 8]}

    report = refresh_feature(config, CORPUS, "theirs", "they added b")
    assert (report.number, report.is_new, report.changed) == (2, True, ("part.parquet",))
    assert states(config)[DT, THEIRS] == (State.STALE, "theirs was pinned anew since it was copied")
    extract(config)
    assert values(config) == {"a": [1, 2], "b": [9, 9], "e": [7, 8]}
    assert "made anew (from a new pin of theirs): " in (config.store / CORPUS / THEIRS / "CHANGELOG.md").read_text()
    assert not refresh_feature(config, CORPUS, "theirs").is_new
    assert read_events(StoreLayout(config.store))[-1].facts["pin"] == 2


def test_when_theirs_is_gone_what_is_copied_stays_and_the_list_says_so(config, tmp_path):
    uri = publish(tmp_path / "out", {"a": [1, 2]})
    register(config, uri)
    extract(config)
    write_pairs(tmp_path / "media", ["e"])
    ingest(config, LATER)
    shutil.rmtree(uri)
    found = states(config)
    assert found[DT, THEIRS][0] is State.COMPLETE
    assert found[LATER, THEIRS][0] is State.MISSING
    assert all("theirs is gone" in reason for _, reason in found.values())
    assert plan_corpus(config, CORPUS).is_empty
    assert values(config) == {"a": [1, 2]}
    (row,) = list_features(config, CORPUS)
    assert (row["origin"], row["pin"], row["matched"], row["unmatched"], row["waiting"]) == (str(uri), 1, 1, 3, 1)
    assert "what is copied stays usable" in row["state"]


def test_a_fill_that_dies_before_its_commit_is_finished_from_its_receipts(config, tmp_path, monkeypatch):
    from mmpipe.steps.extract import extract as extracting

    uri = publish(tmp_path / "out", {"a": [1, 2]})
    register(config, uri)
    with monkeypatch.context() as patch:
        patch.setattr(extracting, "commit_features", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            extract(config)
    assert not plan_corpus(config, CORPUS).is_empty
    extract(config)
    assert values(config) == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("text-ngrams", {}, "is an extractor of ours"),
        ("Theirs", {}, "is none"),
        ("theirs", {"modality": None}, "has audio, text: say what theirs was made from with --modality"),
        ("theirs", {"match_pattern": "(.*)"}, "needs a group named key"),
        ("theirs", {"match": MatchBy.CLIP, "uri": "https://host/x?token=1"}, "credentials through the environment"),
    ],
)
def test_what_cannot_be_registered_is_refused(config, tmp_path, name, changes, why):
    uri = publish(tmp_path / "out", {"a": [1, 2]})
    told = {"name": name, "uri": str(uri), "key": "id", "modality": Modality.AUDIO, **changes}
    with pytest.raises(ConfigError, match=why):
        add_feature(config, CORPUS, NewFeature(**told))


def test_another_shape_is_another_feature_and_a_name_is_taken_once(config, tmp_path):
    uri = publish(tmp_path / "out", {"a": [1, 2]})
    register(config, uri)
    with pytest.raises(ConfigError, match="registered already"):
        register(config, uri)
    publish(uri, {"a": [1, 2, 3]})
    with pytest.raises(ConfigError, match="shape of a feature is fixed"):
        refresh_feature(config, CORPUS, "theirs")
    with pytest.raises(ConfigError, match="there are: theirs"):
        refresh_feature(config, CORPUS, "others")


def test_a_model_learns_from_one_of_ours_and_one_of_theirs(tmp_path):
    write_pairs_that_need_both(tmp_path / "media")
    table = model_table(tmp_path, "whole")
    table["gate"]["shuffled_control"] = False
    table["models"][MODEL]["folds"] = 2
    table["models"][MODEL]["train"]["epochs"] = 15
    table["models"][MODEL]["inputs"] = ["audio-mfccseg", "theirs"]
    table["corpora"]["talk"]["features"] = ["audio-mfccseg"]
    settings = parse_config({**table, "models": {}})
    ingest_corpus(settings, "talk", DT)
    rng = np.random.default_rng(1)
    rows = {
        f"clip-{number:02d}": (rng.normal(0, 0.1, 4) + number // 2 % 2 * np.array([2, -2, 1, 0])).tolist()
        for number in range(48)
    }
    uri = publish(tmp_path / "out", rows)
    report = register(settings, uri, "talk")
    config = parse_config(table)
    extract_plan(config, plan_corpus(config, "talk"))
    create_snapshot(config, "paper", "talk")
    shutil.rmtree(uri)  # a training needs only what was copied
    trained = train_model(config, MODEL)
    released = release_model(config, MODEL, trained.checkpoint)
    assert (released.status, released.offered) == ("candidate", "concat")
    version = pick_version(config.store / "models", MODEL, released.version)
    lineage = json.loads(version.read("lineage.json"))
    (external,) = lineage["external"]
    assert (external["dataset"], external["uri"], external["sha256"]) == (THEIRS, str(uri), report.pin.digest)
    assert external["files"] == [{"name": file.name, "sha256": file.sha256} for file in report.pin.files]
    assert lineage["fingerprints"][THEIRS] == report.pin.digest
    with pytest.raises(ConfigError, match=r"reads theirs@1, which another team publishes .* Put the files into"):
        predict_files(config, [tmp_path / "media" / "clip-00.wav"], MODEL)

    publish(uri, {key: [-value for value in values] for key, values in rows.items()})
    refresh_feature(config, "talk", "theirs", "a correction")
    extract_plan(config, plan_corpus(config, "talk"))
    pinned = pin_snapshot(config, MODEL, "paper")
    then = open_training_set(pinned, pinned.models[MODEL])
    assert then.fingerprints == (lineage["fingerprints"][SOUND], report.pin.digest)
    assert np.array_equal(values_of(then, ["clip-03"]), np.float32([rows["clip-03"]]))
    assert newest_checkpoint(pinned, MODEL) == trained.checkpoint and not is_trained(config, MODEL)


def values_of(data: TrainingSet, sources: list[str]) -> np.ndarray:
    """Return what a training reads of theirs, for some sources."""
    rows = [list(data.reader.spine["source_id"]).index(source) for source in sources]
    return data.reader.gather(np.array(rows)).features[THEIRS].x_BTD[:, 0]
