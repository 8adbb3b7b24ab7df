"""Training and release as steps: parts are honest, refusals are kept and helpful, and nothing is done twice."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
from kill_corpus import CORPUS, DT, write_words
from kill_models import MODEL, NUM_GROUPS

from mmpipe.config import Config, ModelConfig, SplitConfig
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.files import from_parquet
from mmpipe.evaluate.verdict import Status
from mmpipe.registry.aliases import read_aliases, read_events
from mmpipe.registry.versions import list_versions, pick_version
from mmpipe.segment.split import split_of
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.night.night import what_is_due
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.release.evaluate import evaluate_checkpoint, is_refused
from mmpipe.steps.release.release import release_model, release_reason
from mmpipe.steps.tell.report import write_report
from mmpipe.steps.train.candidates import UNIMODAL, fit_folder, join_parts, list_contenders, options_of
from mmpipe.steps.train.train import newest_checkpoint, train_model
from mmpipe.steps.train.trained import CONTROL
from mmpipe.steps.train.training_set import TrainingSet, open_training_set, plan_parts, plan_release_part
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.train.weights import load_model

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")


@pytest.fixture(scope="module")
def data(winning) -> TrainingSet:
    return open_training_set(winning.config, winning.config.models[MODEL])


def model_of(config: Config, **changes) -> ModelConfig:
    return config.models[MODEL].model_copy(update=changes)


def with_model(config: Config, **changes) -> Config:
    return config.model_copy(update={"models": {MODEL: model_of(config, **changes)}})


# --------------------------------------------------------------------------- parts


@pytest.mark.parametrize("folds", [0, 2, 3, 5, NUM_GROUPS])
def test_parts_never_share_a_group_and_folds_test_each_clip_once(winning, data, folds):
    split = SplitConfig(val=0.2, test=0.25)
    if not folds:
        data = with_splits(data, split)
    parts = plan_parts(model_of(winning.config, folds=folds), split, data)
    groups = np.array(data.groups)
    for part in parts:
        rows = (part.train_rows, part.val_rows, part.test_rows)
        assert sorted(np.concatenate(rows)) == list(range(len(data.keys)))
        seen = [set(groups[chosen]) for chosen in rows]
        assert all(seen)
        assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    tested = np.concatenate([part.test_rows for part in parts])
    assert len(tested) == len(set(tested))
    if folds:
        assert sorted(tested) == list(range(len(data.keys)))


def with_splits(data: TrainingSet, split: SplitConfig) -> TrainingSet:
    """Return the set under other shares than it was ingested with."""
    return dataclasses.replace(data, splits=tuple(str(split_of(group, split)) for group in data.groups))


def test_the_weights_for_release_learn_from_all_groups_but_a_share_that_stops_them(winning, data):
    part = plan_release_part(winning.config.models[MODEL], winning.config.corpora[CORPUS].split, data)
    assert len(part.test_rows) == 0
    assert sorted(np.concatenate([part.train_rows, part.val_rows])) == list(range(len(data.keys)))
    groups = np.array(data.groups)
    assert not set(groups[part.train_rows]) & set(groups[part.val_rows])


def test_too_few_groups_are_refused_with_a_way_out(winning, data):
    size = len(data.keys)
    lonely = dataclasses.replace(data, groups=("one",) * size, splits=("train",) * size)
    with pytest.raises(ConfigError, match=r"no labelled clip is left for val: there are only 1 groups.*labels\.group"):
        plan_parts(model_of(winning.config, folds=0), SplitConfig(), lonely)
    with pytest.raises(ConfigError, match="needs at least so many groups, but there are 1"):
        plan_parts(winning.config.models[MODEL], SplitConfig(), lonely)


def test_every_single_input_competes_before_any_fusion(data, winning):
    contenders = list_contenders(winning.config.models[MODEL], data.schemas)
    assert [(c.name, c.fused) for c in contenders] == [
        ("audio-mfccseg@1", False),
        ("text-ngrams@1", False),
        ("concat", True),
    ]
    alone = list_contenders(winning.config.models[MODEL], data.schemas[:1])
    assert [(c.name, c.fusion) for c in alone] == [("audio-mfccseg@1", UNIMODAL)]


# --------------------------------------------------------------------------- training


def test_every_clip_is_answered_once_by_a_network_that_never_saw_its_group(winning, data):
    folder = winning.config.store / "checkpoints" / winning.trained.checkpoint
    answers = join_parts([fit_folder(folder, "concat", part, 0) for part in range(3)], "test")
    assert sorted(answers.keys) == sorted(data.keys)
    for part in plan_parts(winning.config.models[MODEL], winning.config.corpora[CORPUS].split, data):
        tested = fit_folder(folder, "concat", part.number, 0).read("test")
        learnt = {data.groups[row] for row in part.train_rows} | {data.groups[row] for row in part.val_rows}
        assert not learnt & set(tested.groups)


@pytest.mark.parametrize("kind", ["winning", "losing"])
def test_the_control_on_shuffled_labels_stays_at_chance(request, kind):
    made = request.getfixturevalue(kind)
    folder = made.config.store / "checkpoints" / made.trained.checkpoint
    control = fit_folder(folder, CONTROL, 0, 0).read("test")
    assert np.mean(control.correct_N) < 0.85  # where the judged model is at 1.0
    (check,) = [check for check in verdict_of(made)["checks"] if check["name"] == "control"]
    assert check["passed"]


def test_a_second_training_returns_at_once_with_the_same_scores(winning):
    again = train_model(winning.config, MODEL)
    assert again.num_fits == 0
    assert winning.trained.num_fits == 3 * 3 + 2 + 1
    assert (again.checkpoint, again.scores) == (winning.trained.checkpoint, winning.trained.scores)
    assert newest_checkpoint(winning.config, MODEL) == again.checkpoint


def test_another_seed_or_split_is_another_training_and_workers_are_not(winning):
    recipe = newest_checkpoint(winning.config, MODEL)
    train = winning.config.models[MODEL].train.model_copy(update={"seeds": (1,)})
    for other in (with_model(winning.config, train=train), with_model(winning.config, folds=4)):
        assert release_reason(other, MODEL) == "new clips, features or settings since the last release"
        with pytest.raises(ConfigError, match="was not trained on what the store holds now"):
            newest_checkpoint(other, MODEL)
    engine = winning.config.engine.model_copy(update={"workers": 1})
    assert newest_checkpoint(winning.config.model_copy(update={"engine": engine}), MODEL) == recipe


def test_a_checkpoint_of_other_clips_is_not_judged(winning, tmp_path):
    config = winning.place(winning.before_release, tmp_path)
    root = tmp_path / "media"
    root.mkdir()
    write_words(root / "more.txt", "warm words")
    source = config.corpora[CORPUS].model_copy(update={"root": root})
    config = config.model_copy(update={"corpora": {CORPUS: source}})
    ingest_corpus(config, CORPUS, "2026-11-21")
    extract_plan(config, plan_corpus(config, CORPUS))
    with pytest.raises(ConfigError, match=r"was trained on snapshot .* Train again"):
        evaluate_checkpoint(config, MODEL, winning.trained.checkpoint)


def test_an_input_that_no_labelled_clip_has_is_left_out_and_said(winning, tmp_path):
    config = with_model(winning.place(winning.extracted, tmp_path), inputs=("audio-mfccseg", "image-hogdct"))
    extract_plan(config, plan_corpus(config, CORPUS))
    trained = train_model(config, MODEL)
    assert [score.name for score in trained.scores] == ["audio-mfccseg@1"]
    evaluation = evaluate_checkpoint(config, MODEL, trained.checkpoint)
    assert evaluation.absent_inputs == ("image-hogdct@1",)
    report = release_model(config, MODEL, trained.checkpoint)
    card = pick_version(config.store / "models", MODEL, report.version).read("README.md").decode()
    assert "No labelled clip has image-hogdct@1" in card
    assert release_model(config, MODEL, trained.checkpoint) == report
    assert list(report.table()[0])[:4] == ["contender", "kind", "chosen", "validation"], "read from left to right"


# --------------------------------------------------------------------------- release


def verdict_of(made) -> dict:
    return json.loads(pick_version(made.config.store / "models", MODEL, made.released.version).read("verdict.json"))


def test_a_fused_model_that_wins_is_put_into_production(winning):
    report = winning.released
    assert (report.status, report.offered) == ("candidate", "concat")
    assert report.version == report.offered_version == report.production
    assert [event["action"] for event in read_events(winning.config.store / "models", MODEL)] == ["nominate", "promote"]


def test_a_fused_model_that_does_not_win_is_kept_as_refused_and_the_single_modality_offered(losing):
    report = losing.released
    assert (report.status, report.offered) == ("refused", "audio-mfccseg@1")
    versions = {version.label: version for version in list_versions(losing.config.store / "models", MODEL)}
    assert {label: version.status for label, version in versions.items()} == {
        report.version: Status.REFUSED,
        report.offered_version: Status.CANDIDATE,
    }
    assert report.production == report.offered_version != report.version
    spec = load_model(versions[report.offered_version].path).spec
    assert (spec.fusion, spec.features) == (UNIMODAL, ("audio-mfccseg@1",))
    assert "model.safetensors" in {path.name for path in versions[report.version].path.iterdir()}
    assert "refused" in report.summary()
    assert is_refused(evaluate_checkpoint(losing.config, MODEL, losing.trained.checkpoint))
    failed = {check["name"] for check in verdict_of(losing)["checks"] if not check["passed"]}
    assert failed == {"gain"}


def test_the_page_of_a_refusal_says_first_what_is_in_production(losing, tmp_path):
    config, report = losing.place(losing.config.store, tmp_path), losing.released
    page = write_report(config, CORPUS, DT, MODEL, losing.trained.checkpoint).read_text()
    headline = page.split('<div class="headline')[1].split("</div>")[0]
    assert headline.startswith(" weak") and "single modality in production" in headline
    assert f"audio-mfccseg@1 alone is in production as {MODEL}@{report.offered_version}." in headline
    assert f"<dt>in production</dt><dd>{report.production}</dd>" in page
    assert (
        ("mmpipe quarantine ls" in page)
        is ('id="quarantine"' in page)
        is (not read_quarantine(StoreLayout(config.store), CORPUS).is_empty())
    )
    card = pick_version(config.store / "models", MODEL, report.version).read("README.md").decode()
    assert re.search(r"without .* \| one modality hidden \| 0\.\d{3} \|  \|", card)  # no interval was measured


def test_a_single_modality_that_its_own_gate_refuses_is_not_offered(losing, tmp_path):
    """It beats chance, but not the limit on calibration: nothing may be used, and the report says so twice alike."""
    config = losing.place(losing.before_release, tmp_path, max_calibration_error=0.0)
    report = release_model(config, MODEL, losing.trained.checkpoint)
    assert (report.status, report.offered, report.offered_version, report.production) == ("refused", "nothing", "", "")
    assert {version.status for version in list_versions(config.store / "models", MODEL)} == {Status.REFUSED}
    assert "Nothing is in production." in report.summary()
    assert release_model(config, MODEL, losing.trained.checkpoint) == report
    assert release_reason(config, MODEL) == ""


def test_without_promotion_production_stays_and_a_person_is_asked(winning, tmp_path):
    config = winning.place(winning.before_release, tmp_path, promote=False)
    report = release_model(config, MODEL, winning.trained.checkpoint)
    aliases = read_aliases(config.store / "models", MODEL)
    assert (aliases.candidate, aliases.production) == (report.version, "")
    assert report.production == ""
    assert release_reason(config, MODEL) == ""


def test_a_later_release_is_compared_with_production(winning, tmp_path):
    config = winning.place(winning.config.store, tmp_path)
    worse = with_model(config, train=config.models[MODEL].train.model_copy(update={"epochs": 1}), fusions=("concat",))
    trained = train_model(worse, MODEL)
    report = release_model(worse, MODEL, trained.checkpoint)
    checks = json.loads(pick_version(config.store / "models", MODEL, report.version).read("verdict.json"))["checks"]
    (check,) = [check for check in checks if check["name"] == "production"]
    assert not check["passed"]
    assert check["value"] < -0.1
    assert "on 48 of 48 clips" in check["detail"]
    assert report.status == "refused"
    assert report.production == winning.released.version


def test_options_of_a_fusion_reach_its_weights_and_a_wrong_one_stops_before_any_fit(winning, tmp_path):
    config = winning.place(winning.config.store, tmp_path)
    checkpoints = StoreLayout(config.store).checkpoints
    quick = {"train": config.models[MODEL].train.model_copy(update={"epochs": 1}), "folds": 2}
    before = sorted(checkpoints.glob("*/fits/*"))
    wrong = with_model(config, fusions=("concat", "lmf"), fusion_options={"lmf": {"rang": 2}}, **quick)
    with pytest.raises(ConfigError, match="rang = 2: unknown key; allowed here: rank"):
        train_model(wrong, MODEL)
    assert sorted(checkpoints.glob("*/fits/*")) == before
    trained = train_model(with_model(config, fusions=("lmf",), fusion_options={"lmf": {"rank": 2}}, **quick), MODEL)
    assert load_model(checkpoints / trained.checkpoint / "release" / "lmf").spec.options == {"rank": 2}
    with pytest.raises(ConfigError, match="was not trained on what the store holds now"):
        newest_checkpoint(with_model(config, fusions=("lmf",), **quick), MODEL)


def test_a_weight_of_an_input_that_no_clip_has_is_left_out_and_one_of_a_stranger_is_not(winning, data):
    weights = {"audio-mfccseg": 3, "text-ngrams@1": 2, "text-ngram": 1}
    model = model_of(
        winning.config, fusions=("early_weighted",), fusion_options={"early_weighted": {"weights": weights}}
    )
    fused = list_contenders(model, data.schemas)[-1]
    assert options_of(model, fused) == {"weights": weights}
    without_text = dataclasses.replace(fused, inputs=fused.inputs[:1])
    assert options_of(model, without_text) == {"weights": {"audio-mfccseg": 3, "text-ngram": 1}}


def test_a_night_after_a_release_has_nothing_to_do(winning, tmp_path):
    config = winning.place(winning.config.store, tmp_path)
    ingest_corpus(config, CORPUS, DT)
    assert what_is_due(config, CORPUS, DT) == ()
    assert what_is_due(with_model(config, folds=4), CORPUS, DT) == (
        f"train {MODEL}: new clips, features or settings since the last release",
    )


def test_released_answers_are_those_of_the_judged_clips(winning):
    version = pick_version(winning.config.store / "models", MODEL, winning.released.version)
    answers = from_parquet(version.read("predictions.parquet"))
    assert len(answers.keys) == 48
    assert np.mean(answers.correct_N) == 1.0
