"""A search asks validation clips alone, is the same for the same seed, and survives a kill and a second worker."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from kill_corpus import CORPUS, DT, write_config
from kill_models import MODEL, copy_store, model_table, write_pairs_that_need_both
from kill_process import KILLED

from mmpipe.config import Config, ModelConfig, TrackerName, TuneConfig, TunedParts, parse_config
from mmpipe.errors import ConfigError, StoreError
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.train.training_set import open_training_set, plan_parts
from mmpipe.steps.train.tune import look_at_search, open_search, tune_model
from mmpipe.steps.train.tune_journal import JOURNAL_NAME
from mmpipe.steps.train.tune_space import list_axes, model_at
from mmpipe.steps.train.tune_study import TuneStudy
from mmpipe.steps.train.tune_trial import OnlyThese, TuneTrials

pytestmark = pytest.mark.usefixtures("warm_workers")

CHILD = Path(__file__).with_name("tune_child.py")
QUICK = {"learning_rate": [1e-3, 5e-2], "batch_clips": [], "encoder": {"width": [4, 8]}, "startup_trials": 2, "top": 0}


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a corpus and a store that has its features."""
    folder = tmp_path_factory.mktemp("tune")
    write_pairs_that_need_both(folder / "media")
    config = parse_config(model_table(folder, "whole"))
    ingest_corpus(config, CORPUS, DT)
    extract_plan(config, plan_corpus(config, CORPUS))
    return folder


@pytest.fixture
def place(extracted: Path, tmp_path: Path):
    """Return a function that makes a config over a copy of the store, with a search of its own."""

    def make(name: str = "one", train: dict | None = None, folds: int = 3, **tune) -> Config:
        folder = tmp_path / name
        copy_store(extracted / "store", folder / "store")
        table = model_table(extracted, "whole")
        table["store"] = str(folder / "store")
        model = table["models"][MODEL]
        model |= {"fusions": ["concat", "lmf"], "folds": folds, "tune": QUICK | tune}
        model["train"] |= {"epochs": 4} | (train or {})
        write_config(folder, table)
        return parse_config(table)

    return make


def told(rows) -> list[dict]:
    """Return what trials tried and came to, without the numbers that a killed one shifts."""
    return [{key: value for key, value in row.items() if key != "trial"} for row in rows]


def child(config: Config, trials: int, words: str = "") -> subprocess.Popen:
    path = config.store.parent / "config.json"
    command = [sys.executable, str(CHILD), str(path), str(trials), words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# --------------------------------------------------------------------------- who chooses


class Spy:
    """A reader that raises where one of some rows is read."""

    def __init__(self, reader, forbidden: np.ndarray) -> None:
        self._reader, self._forbidden = reader, forbidden

    def __getattr__(self, name: str):
        return getattr(self._reader, name)

    def __len__(self) -> int:
        return len(self._reader)

    def gather(self, rows: np.ndarray):
        assert not np.isin(rows, self._forbidden).any(), "a test clip was read"
        return self._reader.gather(rows)


@pytest.mark.parametrize("folds", [0, 3])
@pytest.mark.parametrize("measure", ["score", "loss"])
def test_test_clips_are_neither_read_nor_does_what_is_true_of_them_matter(place, folds, measure):
    config = place(folds=folds, measure=measure)
    model, source = config.models[MODEL], config.corpora[CORPUS]
    data = open_training_set(config, model)
    (test_rows, *_) = [part.test_rows for part in plan_parts(model, source.split, data)]
    others = data.targets_N.copy()
    others[test_rows] = (others[test_rows] + 1) % len(data.classes)
    spied = dataclasses.replace(data, targets_N=others, reader=Spy(data.reader, data.reader_rows_N[test_rows]))
    values = [TuneTrials(model, source, which).train(model, 0, lambda *_: None) for which in (data, spied)]
    assert values[0] == values[1]
    assert len(test_rows) >= 8


def test_a_clip_that_may_not_be_read_is_refused(place):
    config = place()
    data = open_training_set(config, config.models[MODEL])
    source = OnlyThese(data.reader, np.array([1, 2, 3]))
    assert source.gather(np.array([3, 1])).keys == (data.reader.spine["key"][3], data.reader.spine["key"][1])
    with pytest.raises(ValueError, match="train and validation clips only"):
        source.gather(np.array([3, 4]))


def test_with_all_parts_a_trial_is_the_mean_over_them_and_without_the_first(place):
    config = place()
    model, source = config.models[MODEL], config.corpora[CORPUS]
    data = open_training_set(config, model)
    all_parts = model.model_copy(update={"tune": model.tune.model_copy(update={"parts": TunedParts.ALL})})
    heard: list[int] = []
    value = TuneTrials(all_parts, source, data).train(model, 0, lambda epoch, value, said: heard.append(epoch))
    assert heard == list(range(3 * 4))
    alone = []
    for number in range(3):
        trials = TuneTrials(all_parts, source, data)
        trials.parts = trials.parts[number : number + 1]
        alone.append(trials.train(model, 0, lambda *_: None))
    assert value == pytest.approx(np.mean(alone))
    assert TuneTrials(model, source, data).train(model, 0, lambda *_: None) == alone[0]


# --------------------------------------------------------------------------- one worker


def test_the_same_seed_is_the_same_search_and_another_is_another(place):
    first, second = (tune_model(place(name), MODEL, 5) for name in ("one", "two"))
    assert told(first.trials) == told(second.trials) and len(first.trials) == 5
    assert (first.study, first.best, first.toml) == (second.study, second.best, second.toml)
    other = tune_model(place("other", seed=1), MODEL, 5)
    assert told(other.trials) != told(first.trials) and other.study != first.study


def test_a_search_goes_on_to_more_trials_and_stops_where_it_is_done(place):
    config = place()
    first = tune_model(config, MODEL, 2)
    again = tune_model(config, MODEL, 2)
    assert (again.num_new, again.trials) == (0, first.trials)
    more = tune_model(config, MODEL, 4)
    assert (more.num_new, more.trials[:2]) == (2, first.trials)
    assert told(more.trials) == told(tune_model(place("at once"), MODEL, 4).trials)


def test_after_the_timeout_no_trial_is_begun(place):
    report = tune_model(place(), MODEL, 3, timeout_s=0.0)
    assert (report.num_new, report.num_left, report.trials, report.toml) == (0, 3, (), "")


def test_another_space_or_other_data_is_another_search_and_what_comes_after_is_not(place, tmp_path):
    config = place()
    model = config.models[MODEL]

    def study_of(**changes) -> str:
        changed = model.model_copy(update=changes)
        return open_search(config.model_copy(update={"models": {MODEL: changed}}), MODEL, to_write=False).study.name

    tune = model.tune
    before = study_of()
    assert study_of(tune=tune.model_copy(update={"top": 5, "seeds": (7, 8)})) == before
    assert study_of(train=model.train.model_copy(update={"trackers": (TrackerName.WANDB,)})) == before
    for changes in (
        {"tune": tune.model_copy(update={"dropout": (0.0, 0.2)})},
        {"tune": tune.model_copy(update={"parts": TunedParts.ALL})},
        {"train": model.train.model_copy(update={"epochs": 5})},
        {"folds": 4},
    ):
        assert study_of(**changes) != before
    media = tmp_path / "media"
    shutil.copytree(config.corpora[CORPUS].root, media)
    (media / "clip-00.txt").write_text("another word", encoding="utf-8")
    source = config.corpora[CORPUS].model_copy(update={"root": media})
    config = config.model_copy(update={"corpora": {CORPUS: source}})
    ingest_corpus(config, CORPUS, "2026-11-21")
    extract_plan(config, plan_corpus(config, CORPUS))
    assert study_of() != before


def test_the_best_are_trained_again_and_their_mean_decides(place):
    config = place(top=2, seeds=[0, 1])
    report = tune_model(config, MODEL, 4)
    assert [len(one.values) for one in report.finalists] == [2, 2]
    assert [one.mean for one in report.finalists] == sorted((one.mean for one in report.finalists), reverse=True)
    assert report.best == report.finalists[0].point
    by_number = {row["trial"]: row["value"] for row in report.trials}
    assert all(one.values[0] == by_number[one.number] for one in report.finalists)
    files = sorted(Path(report.folder, "again").glob("*.json"))
    stamps = [path.stat().st_mtime_ns for path in files]
    assert tune_model(config, MODEL, 4).finalists == report.finalists
    assert [path.stat().st_mtime_ns for path in files] == stamps  # nothing was trained twice
    found = tomllib.loads(Path(report.folder, "best.toml").read_text())["models"][MODEL]
    assert found["fusions"] == [report.best["fusion"]]
    assert found["train"]["learning_rate"] == report.best["train.learning_rate"]
    at = model_at(config.models[MODEL], report.best)
    table = config.models[MODEL].model_dump(exclude={"tune"})
    pasted = {
        **table,
        **found,
        "train": table["train"] | found["train"],
        "encoder": table["encoder"] | found["encoder"],
    }
    assert ModelConfig(**pasted) == at


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_trial_that_falls_behind_ends_before_its_last_epoch(place, pruner):
    config = place(
        pruner=pruner,
        measure="loss",
        learning_rate=[1e-6, 5e-2],
        fusions=["concat"],
        train={"epochs": 20},
        startup_trials=16,
    )
    report = tune_model(config, MODEL, 16)
    ended = [row for row in report.trials if row["state"] == "ended early"]
    finished = [row for row in report.trials if row["state"] == "finished"]
    assert ended and finished
    for row in ended:
        assert row["value"] == "" and row["why"].startswith("fell behind the others: part 0: epoch ")
        assert int(row["why"].split("epoch ")[1].split(" of 20")[0]) < 20
    assert report.best["train.learning_rate"] in {row["train.learning_rate"] for row in finished}


def test_what_does_not_go_together_or_diverges_is_ended_with_the_reason(place):
    config = place(
        fusions=["concat"],
        encoder={"width": [6, 8], "kind": ["transformer"]},
        optimizer=["sgd"],
        learning_rate=[1e-3, 1e9],
        startup_trials=10,
    )
    report = tune_model(config, MODEL, 10)
    why = " ".join(row["why"] for row in report.trials)
    assert "width = 6 cannot be shared by heads = 4" in why and "not finite" in why
    assert {row["state"] for row in report.trials} == {"finished", "ended early"}


def test_where_no_trial_can_be_finished_the_reason_is_the_error(place):
    config = place(fusions=["concat"], encoder={"width": [6], "kind": ["transformer"]})
    with pytest.raises(ConfigError, match=r"no trial of who could be finished: .*cannot be shared by heads"):
        tune_model(config, MODEL, 2)


def test_names_that_no_trial_could_use_are_refused_before_any(place):
    for number, (tune, words) in enumerate(
        (
            ({"fusions": ["concta"]}, "no fusion named 'concta'"),
            (
                {"fusion_options": {"lmf": {"rang": [2]}}},
                r"tune.fusion_options.lmf has \['rang'\]; the fusion takes: \['rank'\]",
            ),
            ({"fusion_options": {"tfn": {"rank": [2]}}}, "'tfn', which is not tried"),
        )
    ):
        config = place(str(number), **tune)
        with pytest.raises(ConfigError, match=words):
            tune_model(config, MODEL, 2)
        assert not (config.store / "_runs" / "tune").exists()


def test_a_damaged_store_stops_the_search_and_the_trial_is_begun_again(place):
    config = place()
    search = open_search(config, MODEL, to_write=True)
    with search.study.work({}):
        for _ in range(4):  # more often than a process may be killed: this is not the trial's fault
            with pytest.raises(StoreError), search.study.ask(1) as asked:
                raise StoreError("a shard is damaged")
        assert search.study.num_left(1) == 1
        with search.study.ask(1) as again:
            search.study.answer(again, 0.5)
        assert again.point == asked.point
        assert (search.study.num_left(1), len(search.study.trials())) == (0, 1)


def test_without_optuna_the_extra_is_named(place, monkeypatch):
    config = place()
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'mmpipe\[hpo\]'"):
        tune_model(config, MODEL, 2)


def test_one_input_has_no_fusion_to_choose(place):
    config = place()
    alone = config.models[MODEL].model_copy(update={"inputs": ("audio-mfccseg",)})
    config = config.model_copy(update={"models": {MODEL: alone}})
    report = tune_model(config, MODEL, 2)
    assert {axis.key for axis in report.axes} == {
        *("train.learning_rate", "train.weight_decay", "train.dropout", "encoder.width")
    }
    assert "fusions" not in report.toml and report.best


def test_looking_makes_nothing(place):
    config = place()
    before = sorted(config.store.rglob("*"))
    found = look_at_search(config, MODEL, 5)
    assert (found.num_left, found.trials) == (5, ())
    assert sorted(config.store.rglob("*")) == before
    tune_model(config, MODEL, 2)
    journal = Path(found.folder, JOURNAL_NAME).read_bytes()
    found = look_at_search(config, MODEL, 5)
    assert (found.num_left, len(found.trials)) == (3, 2)
    assert Path(found.folder, JOURNAL_NAME).read_bytes() == journal


# --------------------------------------------------------------------------- kills and two workers


def test_killed_in_a_trial_a_second_run_begins_it_again_and_ends_where_it_would_have(place):
    config = place()
    process = child(config, 4, "trial 2 (")
    _, error = process.communicate(timeout=120)
    assert process.returncode == KILLED, error
    found = look_at_search(config, MODEL, 4)
    assert (len(found.trials), found.num_left, found.num_running) == (3, 2, 0)
    report = tune_model(config, MODEL, 4)
    assert [row["trial"] for row in report.trials] == [0, 1, 3, 4]  # 2 failed, and is 3 now
    assert report.num_new == 2
    assert told(report.trials) == told(tune_model(place("undisturbed"), MODEL, 4).trials)


def test_a_line_that_a_kill_left_half_written_is_dropped(place):
    config = place()
    first = tune_model(config, MODEL, 2)
    journal = Path(first.folder, JOURNAL_NAME)
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"worker')
    report = tune_model(config, MODEL, 3)
    assert (report.num_new, report.trials[:2]) == (1, first.trials)
    assert all(json.loads(line) for line in journal.read_bytes().splitlines())


def test_two_processes_share_a_search_and_do_each_trial_once(place):
    config = place(top=1, seeds=[0, 1])
    workers = [child(config, 4) for _ in range(2)]
    done = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], done
    assert sum(int(out) for out, _ in done) == 4
    report = look_at_search(config, MODEL, 4)
    assert [row["state"] for row in report.trials] == ["finished"] * 4
    assert [row["trial"] for row in report.trials] == list(range(4))
    assert (report.num_left, report.num_running) == (0, 0)
    assert set(report.finalists[0].values) == {0, 1}


def study_of(config: Config, folder: Path) -> TuneStudy:
    model = config.models[MODEL]
    return TuneStudy(folder, model.tune, list_axes(model, fused=True), model.train.epochs)


def test_a_trial_that_always_kills_its_process_is_given_up_at_last(place, tmp_path):
    study = study_of(place(), tmp_path / "study")
    numbers = []
    for _ in range(4):
        pid = os.fork()
        if not pid:  # dies in the middle of a trial, as for want of memory
            with study.work({}), study.ask(1) as asked:
                os._exit(100 + asked.trial.number if asked else 99)
        numbers.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    assert numbers == [100, 101, 102, 99]
    study.look()
    (given_up,) = study.trials("PRUNED")
    assert given_up.number == 2 and study.num_left(1) == 0


def test_a_trial_of_a_living_process_is_left_to_it(place, tmp_path):
    config = place()
    first, second = (study_of(config, tmp_path / "study") for _ in range(2))
    with first.work({}), first.ask(2) as asked:
        with second.work({}):
            with second.ask(2) as other:
                assert other.trial.number == 1 != asked.trial.number
                assert second.num_left(3) == 2
                second.answer(other, 0.5)
            with second.ask(2) as none:
                assert none is None
            assert (second.num_running(), second.num_left(2), second.num_left(3)) == (1, 0, 1)
        first.answer(asked, 0.25)
    assert (first.num_running(), [trial.value for trial in first.best(5)]) == (0, [0.5, 0.25])


# --------------------------------------------------------------------------- the space


def test_what_is_tried_is_checked_when_the_config_is_read():
    for table, words in (
        ({"dropout": [0.5, 0.1]}, "low < high"),
        ({"dropout": [0.1]}, "low < high"),
        ({"dropout": [0.0, 1.5]}, "dropout = 1.5 cannot be tried: Input should be less than 1"),
        ({"batch_clips": [0]}, "batch_clips = 0 cannot be tried"),
        ({"encoder": {"width": [1]}}, "width = 1 cannot be tried"),
        ({"learning_rates": [1e-3, 1e-2]}, "Extra inputs are not permitted"),
    ):
        with pytest.raises(ValueError, match=words):
            TuneConfig(**table)


def test_the_search_is_no_part_of_what_a_training_is(place):
    model = place().models[MODEL]
    plain = model.model_copy(update={"tune": TuneConfig()})
    assert model.model_dump_json(exclude=model.left_out()) == plain.model_dump_json(exclude=plain.left_out())
    assert "tune" not in model.model_dump(exclude=model.left_out())


def test_own_encoders_have_the_width_that_is_tried(place):
    model = place().models[MODEL]
    model = ModelConfig(**model.model_dump() | {"encoders": {"text-ngrams": {"width": 8, "hidden_layers": 1}}})
    at = model_at(model, {"fusion": "lmf", "encoder.width": 4, "fusion_options.lmf.rank": 2})
    assert (at.encoder.width, at.encoders["text-ngrams"].width, at.encoders["text-ngrams"].hidden_layers) == (4, 4, 1)
    assert (at.fusions, at.fusion_options) == (("lmf",), {"lmf": {"rank": 2}})


def test_options_are_drawn_for_the_fusion_that_is_tried(place):
    config = place(fusion_options={"lmf": {"rank": [2, 3]}}, train={"epochs": 1}, startup_trials=8)
    report = tune_model(config, MODEL, 8)
    key = "fusion_options.lmf.rank"
    assert {row[key] for row in report.trials if row["fusion"] == "lmf"} <= {2, 3}
    assert {row[key] for row in report.trials if row["fusion"] == "concat"} == {""}
