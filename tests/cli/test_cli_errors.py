"""Lines that cannot work, and projects that do not fit: the exit code says what to do next, the text says how."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from corpus_maker import CORPUS, DT, drops, make_config, tree, write_pairs, write_text
from typed_projects import Type, model_table, write_config

from mmpipe.store.claims import claim_shards
from mmpipe.store.layout import StoreLayout
from mmpipe.store.lease import Lease

pytestmark = pytest.mark.usefixtures("warm_workers")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with three sounds and a config."""
    write_pairs(tmp_path / "media", ["one", "two", "three"])
    write_config(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("frob", "No such command 'frob'"),
        ("run --nope", "No such option: --nope"),
        ("show", "Missing argument"),
        ("backfill --from 2026-11-20", "Missing option '--to'"),
        ("plan --only frob", "Invalid value for '--only': 'frob' is not one of"),
        ("run --dt tomorrow", "a partition is a date like 2026-11-20, got 'tomorrow'"),
        ("run --dt 2026-13-45", "got '2026-13-45': month must be in 1..12"),
        ("ingest --dt 2026-02-30 --dry-run", "day is out of range"),
        ("extract --dt ../../etc", "got '../../etc'"),
        ("report --dt ../../etc/x", "got '../../etc/x'"),
        ("plan --from x", "Invalid value for '--from'"),
        ("backfill --from 2026-11-20 --to x", "Invalid value for '--to'"),
    ],
)
def test_a_line_that_is_no_line_ends_with_2(project: Path, mmpipe: Type, line: str, said: str) -> None:
    before = tree(project)
    told = mmpipe(project, *line.split())
    flat = " ".join(told.err.replace("│", " ").split())
    assert told.code == 2 and said in flat, told
    assert tree(project) == before


def test_help_names_every_verb_and_ends_with_0(project: Path, mmpipe: Type) -> None:
    told = mmpipe(project, "--help")
    assert told.code == 0
    verbs = "init plan run backfill ingest extract train evaluate publish report predict models"
    for verb in [*verbs.split(), "ls", "show", "status", "verify", "probe", "doctor", "quarantine", "fusions"]:
        assert f" {verb} " in told.out, verb
        assert mmpipe(project, verb, "--help").code == 0
    single, keeping = told.out.index("One step of a night"), told.out.index("How the store is kept")
    for verb in ("forget", "compact"):
        assert not single < told.out.index(f" {verb} ") < told.out.index("─╯", single), verb
        assert keeping < told.out.index(f" {verb} ") < told.out.index("─╯", keeping), verb


def test_the_version_is_told(project: Path, mmpipe: Type) -> None:
    assert mmpipe(project, "--version").out == f"mmpipe {version('mmpipe')}\n"


def test_a_probe_says_what_a_file_has_and_not_what_it_lacks(project: Path, mmpipe: Type) -> None:
    write_text(project / "media" / "two.txt", "words")
    told = mmpipe(project, "probe", "one.wav", "two.txt", "--json").json()
    sound, text = (row["detail"] for row in told)
    assert " Hz, 1 channel" in sound and "px" not in sound and "frames" not in sound and "cue" not in sound
    assert not any(word in text for word in (" s", "Hz", "px", "0"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run --config nowhere.toml", "no config at nowhere.toml. Write one with: mmpipe init --corpus FOLDER"),
        ("run --config media", "cannot read media"),
        ("run --corpus other", "no corpus named 'other' in the config; known are: ['sounds']"),
        ("train", "the config has no model. Add a table [models.NAME]"),
        ("train --model frob", "no model named 'frob'"),
        ("init --corpus nowhere", "is there already. Use --force to overwrite it"),
        ("init --corpus nowhere --force", "nowhere is not a folder. Name the folder of raw files with --corpus"),
        ("ls", "it has no format.json. `mmpipe run` makes one"),
        ("show one", "no store at"),
        ("status", "no store at"),
        ("verify", "no store at"),
        ("extract", "no store at"),
        ("predict one.wav --model frob", "no model 'frob'"),
        ("probe nothing.wav", "media has no file 'nothing.wav'; names are relative to that folder"),
        ("backfill --from 2026-11-20 --to 2026-11-01", "ends on 2026-11-01, before it begins"),
    ],
)
def test_what_the_config_or_place_lacks_ends_with_3(project: Path, mmpipe: Type, line: str, said: str) -> None:
    before = tree(project)
    told = mmpipe(project, *line.split())
    assert told.code == 3 and told.err.startswith("error: ") and said in told.err, told
    assert told.out == "" and tree(project) == before


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("colour = 1", "corpora.sounds.colour = 1: unknown key; allowed here: arrays, banks, clips, damage"),
        ('shard_clips = "many"', "corpora.sounds.shard_clips = 'many': Input should be a valid integer"),
        ("shard_clips = 0", "corpora.sounds.shard_clips = 0: Input should be greater than or equal to 1"),
        (
            'clips = { rule = "halves" }',
            "corpora.sounds.clips.rule = 'halves': Input should be 'whole', 'window', 'cues', 'shots' or 'speech'",
        ),
        ("clips = { rool = 1 }", "corpora.sounds.clips.rool = 1: unknown key; allowed here: hop_s, length_s"),
        ("split = { val = 0.6, test = 0.5 }", "val + test must leave something to train on, got 0.6 + 0.5"),
        (
            'dates = { rule = "path", pattern = "(" }',
            "corpora.sounds.dates.pattern = '(': not a regular expr",
        ),
        (
            '[models.m]\ncorpus = "x"\ntarget = "w"\ninputs = ["text-ngrams"]',
            "models.m.corpus is 'x', known are: ['sounds']",
        ),
        ('[models.m]\ncorpus = "sounds"\ntarget = "w"\ninputs = []', "models.m.inputs = []"),
        (
            '[models.m]\ncorpus = "sounds"\ntarget = "w"\ninputs = ["text-ngrams", "audio-toy"]\nfusions = []',
            "fusions = [] with several inputs: name a fusion",
        ),
        ("[engine]\nworkers = 1", "cannot read mmpipe.toml: "),
        ("[[[", "cannot read mmpipe.toml: "),
        ("[features.text-ngrams]\ndims = 3", "text-ngrams"),
    ],
)
def test_a_config_that_is_wrong_names_key_value_and_what_is_allowed(
    project: Path, mmpipe: Type, line: str, said: str
) -> None:
    write_config(project, line)
    told = mmpipe(project, "run", "--dt", DT)
    assert told.code == 3 and said in told.err, told
    assert not (project / "store" / CORPUS / "clips").exists()


def test_an_extractor_that_does_not_exist_is_named_with_those_that_do(project: Path, mmpipe: Type) -> None:
    text = (project / "mmpipe.toml").read_text().replace("text-ngrams", "text-grams")
    write_text(project / "mmpipe.toml", text)
    told = mmpipe(project, "run", "--dt", DT)
    assert told.code == 3 and "text-grams" in told.err and "text-ngrams" in told.err


@pytest.mark.parametrize(("name", "value"), [("MMPIPE_ENGINE__WORKERS", "many"), ("MMPIPE_ENGINE", "{not json")])
def test_a_wrong_environment_is_named(
    project: Path, mmpipe: Type, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    told = mmpipe(project, "run", "--dt", DT)
    assert told.code == 3 and f"mmpipe.toml with {name} of the environment" in told.err and "engine" in told.err, told


@pytest.mark.parametrize("store", ["file", "file/store", "/proc/mmpipe-store"])
def test_a_store_that_cannot_be_written_says_where_and_why(project: Path, mmpipe: Type, store: str) -> None:
    write_text(project / "file", "in the way")
    text = (project / "mmpipe.toml").read_text().replace('"store"', json.dumps(store), 1)
    write_text(project / "mmpipe.toml", text)
    before = tree(project)
    for line in ("run", "ingest"):
        told = mmpipe(project, line, "--dt", DT)
        assert told.code == 3 and store in told.err and "`store`" in told.err, told
    for line in ("ls", "status", "verify", "models ls nothing"):
        assert mmpipe(project, *line.split()).code == 3
    told = mmpipe(project, "doctor", "--json")
    assert told.code == 3
    assert {row["check"]: row["state"] for row in told.json()}["store"] == "wrong"
    assert tree(project) == before


def test_doctor_makes_nothing_and_finds_a_broken_config(project: Path, mmpipe: Type) -> None:
    before = tree(project)
    told = mmpipe(project, "doctor", "--json")
    assert told.code == 0 and {row["state"] for row in told.json()} <= {"ok", "weak"}
    assert tree(project) == before
    told = mmpipe(project, "doctor", "--config", "nowhere.toml")
    assert told.code == 3 and "mmpipe init --corpus FOLDER" in told.out


def test_a_plan_tells_of_files_that_nobody_took_in_yet(project: Path, mmpipe: Type) -> None:
    (row,) = mmpipe(project, "plan", "--json").json()["due"]
    assert (row["feature"], row["reason"]) == ("(ingest)", "never ingested")
    mmpipe(project, "run", "--dt", DT)
    assert mmpipe(project, "plan").out == "due: none\n"
    write_pairs(project / "media", ["four"])
    assert "files were added, removed or changed" in mmpipe(project, "plan").out


def test_a_corpus_may_hold_its_own_config_and_store(tmp_path: Path, mmpipe: Type) -> None:
    write_pairs(tmp_path, ["one", "two"])
    assert mmpipe(tmp_path, "init", "--corpus", ".").code == 0
    assert mmpipe(tmp_path, "ingest", "--dt", DT).code == 0
    (row,) = mmpipe(tmp_path, "ls", "--json").json()[1:]
    assert (row["dataset"], row["rows"]) == ("clips", 2)
    assert "nothing" in mmpipe(tmp_path, "quarantine", "show").out
    assert mmpipe(tmp_path, "ingest", "--dt", DT, "--dry-run").out == "nothing to do\n"


def test_a_question_without_an_answer_ends_with_1(project: Path, mmpipe: Type) -> None:
    assert mmpipe(project, "ingest", "--dt", DT).code == 0
    told = mmpipe(project, "show", "nothing")
    assert told.code == 1 and "no clip, asset or source 'nothing' in sounds" in told.err
    assert mmpipe(project, "show", "nothing", "--json").json() == []


def test_a_feature_that_the_corpus_does_not_have_is_refused(project: Path, mmpipe: Type) -> None:
    mmpipe(project, "ingest", "--dt", DT)
    for line in ("plan", "extract", f"backfill --from {DT} --to {DT}"):
        told = mmpipe(project, *line.split(), "--feature", "frob")
        text = told.err + told.out
        assert told.code in (1, 3) and "has no feature 'frob'; its features are: audio-mfccseg, text-ngrams" in text
    assert mmpipe(project, "plan", "--feature", "text-ngrams", "--json").json()["due"][0]["feature"] == "text-ngrams@1"
    assert mmpipe(project, "plan", "--feature", "text-ngrams@1", "--json").json()["due"][0]["clips"] == 3


def test_all_files_bad_ends_with_5_and_nothing_is_lost(tmp_path: Path, mmpipe: Type) -> None:
    (tmp_path / "media").mkdir()
    for name in ("a.mp4", "b.wav"):
        write_text(tmp_path / "media" / name, "no media\n")
    write_config(tmp_path)
    told = mmpipe(tmp_path, "run", "--dt", DT)
    assert told.code == 5 and "100% of the files" in told.err and "mmpipe quarantine ls" in told.err
    assert mmpipe(tmp_path, "ingest", "--dt", DT).code == 5
    assert drops(make_config(tmp_path)) == {"a.mp4": "not_media", "b.wav": "not_media"}
    told = mmpipe(tmp_path, "quarantine", "show", "not_media")
    assert "a.mp4" in told.out and f"again: mmpipe probe --corpus {CORPUS} -- b.wav" in told.out
    assert mmpipe(tmp_path, "quarantine", "show", "frob").out == f"quarantine of {CORPUS}: nothing for 'frob'\n"
    assert "(files in quarantine: 2)" in mmpipe(tmp_path, "run", "--dt", DT).out


def test_training_without_labels_ends_with_3_after_everything_else_is_done(tmp_path: Path, mmpipe: Type) -> None:
    write_pairs(tmp_path / "media", ["one", "two"])
    write_config(tmp_path, model_table("m", "audio-mfccseg"))
    told = mmpipe(tmp_path, "run", "--dt", DT)
    assert told.code == 3 and "set `labels` of the corpus" in told.err
    assert {row["state"] for row in mmpipe(tmp_path, "status", "--json").json()} == {"1 complete"}


def test_without_patience_what_somebody_else_works_on_ends_with_75(project: Path, mmpipe: Type) -> None:
    assert mmpipe(project, "ingest", "--dt", DT).code == 0
    layout = StoreLayout(project / "store")
    write_pairs(project / "media", ["four"])
    for line, work in (
        ("run", lambda: Lease.acquire(layout, f"ingest-{CORPUS}")),
        ("ingest", lambda: Lease.acquire(layout, f"ingest-{CORPUS}")),
        ("extract", lambda: claim_shards(layout, CORPUS, [(DT, 0)])),
    ):
        with work():
            told = mmpipe(project, line, "--dt", DT, "--wait", "0")
            assert told.code == 75 and "is being worked on by process" in told.err and "run again" in told.err
            assert "waited for" not in told.err
    with claim_shards(layout, CORPUS, [(DT, 0)]):
        told = mmpipe(project, "extract", "--wait", "0.001")
    assert told.code == 75 and "being made by others, and waited for: process" in told.err and "--wait 0" in told.err
    assert mmpipe(project, "run", "--dt", DT).code == 0


def test_what_an_ingest_leaves_out_is_listed_on_request(tmp_path: Path, mmpipe: Type) -> None:
    write_pairs(tmp_path / "media", ["one"])
    write_text(tmp_path / "media" / ".note", "hidden\n")
    write_config(tmp_path, 'clips = { rule = "shots" }')
    told = mmpipe(tmp_path, "ingest", "--dt", DT)
    assert "left out" in told.out and "cuts dropped" in told.out and "cues" not in told.out
    assert "1 asset has no clip: mmpipe quarantine ls" in told.err
    said = mmpipe(tmp_path, "ingest", "--dt", DT, "--json").json()
    assert said["left_out"] == [{"name": ".note", "reason": "hidden"}]
    (row,) = said["partitions"]
    assert (row["files"], row["used"], row["left out"], row["clips"], row["assets without clips"]) == (3, 2, 1, 0, 1)
    assert mmpipe(tmp_path, "ingest", "--dt", DT, "--dry-run", "--json").json() == {"due": ""}


def test_labels_that_name_no_file_are_said(tmp_path: Path, mmpipe: Type) -> None:
    write_pairs(tmp_path / "media", ["one"])
    write_text(tmp_path / "labels.jsonl", '{"id": "gh\\u001bost", "word": "x"}\n')
    write_config(tmp_path, 'labels = { file = "labels.jsonl" }')
    for line in ("run", "ingest"):
        told = mmpipe(tmp_path, line, "--dt", DT)
        assert told.code == 0 and "1 label names no file, such as 'gh\\x1bost'" in told.err
