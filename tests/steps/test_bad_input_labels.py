"""Labels as people write them: missing, wrong, twice, hostile; and targets that cannot or must not be learnt."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from corpus_maker import (
    CORPUS,
    DT,
    LATER,
    SOUND,
    TEXT,
    drops,
    extract,
    ingest,
    make_config,
    partitions,
    shards,
    write_pairs,
    write_text,
)

from mmpipe.config import Config, parse_config
from mmpipe.errors import ConfigError
from mmpipe.steps.ingest.ingest import ingest_corpus, ingest_reason
from mmpipe.steps.ingest.init import corpus_name, guess_labels, propose_config
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.quarantine.probe_again import probe_again
from mmpipe.steps.train.train import train_model
from mmpipe.store.assets import read_assets
from mmpipe.store.layout import CLIPS, StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.spine import read_spine

pytestmark = pytest.mark.usefixtures("warm_workers")

NAMES = ("one", "two", "three")


def write_labels(path: Path, *rows: dict[str, Any]) -> Path:
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    return path


def labelled(tmp_path: Path, *rows: dict[str, Any], **model: Any) -> Config:
    """Return the config of three sounds with a labels table beside them, and of a model that learns `word`."""
    write_pairs(tmp_path / "media", NAMES)
    labels = write_labels(tmp_path / "labels.jsonl", *rows)
    settings = {"corpus": CORPUS, "target": "word", "inputs": ["audio-mfccseg"], **model}
    return make_config(tmp_path, models={"words": settings}, labels={"file": str(labels)})


def words_of(config: Config) -> dict[str, str]:
    spine = read_spine(StoreLayout(config.store), CORPUS)
    return {row["source_id"]: json.loads(row["labels"]).get("word", "") for row in spine.iter_rows(named=True)}


def test_a_label_for_a_file_that_is_not_there_is_reported(tmp_path: Path) -> None:
    config = labelled(tmp_path, {"id": "one", "word": "yes"}, {"id": "ghost", "word": "no"})
    report = ingest(config)
    assert report.unmatched_labels == ("ghost",)
    assert "1 label names no file, such as 'ghost'" in report.summary()
    assert words_of(config) == {"one": "yes", "two": "", "three": ""}


def test_rows_that_disagree_cost_their_label_and_say_so(tmp_path: Path) -> None:
    config = labelled(tmp_path, {"id": "one", "word": "yes"}, {"id": "one", "word": "no"}, {"id": "two", "word": "no"})
    (count,) = ingest(config).partitions
    assert drops(config) == {"one": "label_conflict"}
    assert words_of(config) == {"one": "", "two": "no", "three": ""}
    assert (count.files, count.used, count.quarantined, count.clips) == (6, 6, 0, 3)


@pytest.mark.parametrize("name", ["labels.jsonl", "labels.csv"])
def test_a_labels_table_inside_the_corpus_is_no_raw_file(tmp_path: Path, name: str) -> None:
    write_pairs(tmp_path / "media", NAMES)
    write_text(
        tmp_path / "media" / name, 'id,word\none,"yes"\n' if name.endswith("csv") else '{"id":"one","word":"yes"}'
    )
    config = make_config(tmp_path, labels={"file": str(tmp_path / "media" / name)})
    (count,) = ingest(config).partitions
    assert (count.files, count.used, count.filtered) == (7, 6, 1)
    assert words_of(config)["one"] == "yes" and drops(config) == {}


def test_a_corrected_label_makes_no_feature_stale(tmp_path: Path) -> None:
    config = labelled(tmp_path, {"id": "one", "word": "yes"}, {"id": "two", "word": "no"})
    ingest(config)
    extract(config)
    before = {name: shards(config, name) for name in (CLIPS, SOUND, TEXT)}
    write_labels(tmp_path / "labels.jsonl", {"id": "one", "word": "no"}, {"id": "three", "word": "up"})
    assert ingest_reason(config, CORPUS, DT) == "the corpus's settings or labels changed"
    report = ingest(config, LATER)
    assert report.probed == 0 and partitions(config) == (DT,)
    assert words_of(config) == {"one": "no", "two": "", "three": "up"}
    assert plan_corpus(config, CORPUS).is_empty
    after = {name: shards(config, name) for name in (CLIPS, SOUND, TEXT)}
    assert after[CLIPS] != before[CLIPS] and {**after, CLIPS: before[CLIPS]} == before


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("labels.jsonl", None, r"cannot read the labels file .*labels.jsonl: No such file .*Correct `labels.file`"),
        ("labels.xlsx", "x", r"labels.xlsx must end with one of: .csv, .jsonl, .ndjson, .parquet"),
        ("labels.jsonl", '{"id": \n', r"no row of .*labels.jsonl can be used: .*labels.jsonl, line 1 is not JSON"),
        ("labels.jsonl", b'{"id": "\xff"}\n', r"labels.jsonl, line 1 is not JSON in UTF-8"),
        ("labels.jsonl", '{"name": "one"}\n', r"no column 'id' \(`labels.key`\); its columns are: \['name'\]"),
        ("labels.jsonl", '{"id": null, "word": "x"}\n', r"row 1 has no value in the key column 'id'"),
        ("labels.parquet", "PAR1", r"labels.parquet is not a Parquet table"),
    ],
)
def test_a_labels_table_that_cannot_be_used_is_refused_by_name(
    tmp_path: Path, name: str, content: str | bytes | None, said: str
) -> None:
    write_pairs(tmp_path / "media", ["one"])
    if content is not None:
        write_text(tmp_path / name, content)
    config = make_config(tmp_path, labels={"file": str(tmp_path / name)})
    with pytest.raises(ConfigError, match=said):
        ingest_corpus(config, CORPUS, DT)
    assert partitions(config) == ()


BAD_ROWS = (
    b'{"id": "one", "word": "yes"}\n{"id": "", "word": "no"}\n{"id": \n{"id": "\xff"}\n'
    b'{"id": "two", "word": Infinity}\n{"id": "three", "word": "up"}\n{"id": "nobody", "word": Infinity}\n'
)


def test_bad_rows_are_counted_and_the_rest_is_joined(tmp_path: Path) -> None:
    config = labelled(tmp_path)
    write_text(tmp_path / "labels.jsonl", BAD_ROWS)
    report = ingest(config)
    assert words_of(config) == {"one": "yes", "two": "", "three": "up"}
    lost = {
        "row 2 of the labels": "label_without_key",
        "row 3 of the labels": "row_unreadable",
        "row 4 of the labels": "row_unreadable",
        "row 7 of the labels": "label_not_usable",
    }
    assert drops(config, "labels") == lost
    assert drops(config) == {"two": "label_not_usable", **lost}
    details = [row["detail"] for row in read_quarantine(StoreLayout(config.store), CORPUS).to_dicts()]
    assert (
        "the labels table, row 2 has no value in the key column 'id'; what it is about, nobody can tell: correct or "
        "remove it"
    ) in details
    assert report.unusable_labels == 5 and "5 faults in the labels" in report.summary()
    (count,) = report.partitions
    assert (count.files, count.used, count.quarantined) == (6, 6, 0)  # a row of a table is no file
    for name, code in drops(config).items():
        (told,) = probe_again(config, CORPUS, [name])[:1]
        assert told["what"] == code, told
    assert ingest_reason(config, CORPUS, LATER) == ""
    ingest(config, LATER)
    assert partitions(config) == (DT,) and drops(config, "labels") == lost  # and never on two dates
    write_labels(tmp_path / "labels.jsonl", *({"id": name, "word": "yes"} for name in NAMES))
    assert probe_again(config, CORPUS, ["row 2 of the labels"])[0]["what"] == "gone"
    ingest(config, LATER)
    assert drops(config) == {} and set(words_of(config).values()) == {"yes"}


def test_a_bad_row_is_on_one_date_where_paths_tell_dates(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", [f"{DT}/one", f"{LATER}/two"])
    labels = write_labels(tmp_path / "labels.jsonl", {"id": "", "word": "no"}, {"id": "one", "word": "a"})
    with labels.open("a") as file:
        file.write('{"id": "two", "word": "b"}\n{"id": "two", "word": "c"}\n')
    config = make_config(tmp_path, labels={"file": str(labels)}, dates={"rule": "path"})
    for dt in (DT, LATER, DT):
        ingest(config, dt)
    rows = read_quarantine(StoreLayout(config.store), CORPUS)
    assert rows.select("partition", "code").rows() == [(DT, "label_without_key"), (LATER, "label_conflict")]
    assert ingest_reason(config, CORPUS, "2026-11-22") == ""  # a date without a file


def test_rights_are_not_known_where_a_row_is_lost(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", NAMES)
    rows = ({"id": "one", "consent": "yes"}, {"id": "", "consent": "no"})
    labels = write_labels(tmp_path / "labels.jsonl", *rows)
    rights = {"consent": "contract", "columns": {"consent": "consent"}}
    config = make_config(tmp_path, labels={"file": str(labels)}, rights=rights)
    ingest(config)
    assert consents(config) == {"one": "yes", "two": "unknown", "three": "unknown"}  # the row may be about either
    write_labels(labels, rows[0], {"id": "two", "consent": "no"})
    ingest(config)
    assert consents(config) == {"one": "yes", "two": "no", "three": "contract"}


def consents(config: Config) -> dict[str, str]:
    rows = read_assets(StoreLayout(config.store), CORPUS).unique("source_id")
    return {row["source_id"]: row["consent"] for row in rows.iter_rows(named=True)}


def test_a_bare_name_that_fits_two_files_is_a_row_and_all_else_comes_in(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["a/one", "b/one", "two", "three"])
    rows = ({"id": "one", "word": "yes", "consent": "yes"}, {"id": "two", "word": "no", "consent": "yes"})
    labels = write_labels(tmp_path / "labels.jsonl", *rows)
    rights = {"consent": "contract", "columns": {"consent": "consent"}}
    config = make_config(tmp_path, labels={"file": str(labels)}, rights=rights)
    report = ingest(config)
    assert drops(config) == {"row 1 of the labels": "label_ambiguous"} and report.unusable_labels == 1
    assert words_of(config) == {"a/one": "", "b/one": "", "two": "no", "three": ""}
    unknown = {"a/one": "unknown", "b/one": "unknown"}  # the row may be about either
    assert consents(config) == unknown | {"two": "yes", "three": "contract"}
    (told,) = probe_again(config, CORPUS, ["row 1 of the labels"])
    assert told["what"] == "label_ambiguous" and "fits 2 assets: ['a/one', 'b/one']" in told["detail"]
    write_labels(labels, {"id": "b/one", "word": "yes", "consent": "no"}, rows[1])
    ingest(config)
    assert drops(config) == {} and words_of(config)["b/one"] == "yes" and consents(config)["a/one"] == "contract"


# --------------------------------------------------------------------------- what cannot be learnt


def refusal(config: Config) -> str:
    """Return in which words training is refused, after a night up to it."""
    ingest(config)
    extract(config)
    with pytest.raises(ConfigError) as caught:
        train_model(config, "words")
    assert not any(StoreLayout(config.store).checkpoints.glob("*/fits"))
    return str(caught.value)


def test_training_without_labels_says_what_to_do(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", NAMES)
    model = {"corpus": CORPUS, "target": "word", "inputs": ["audio-mfccseg"]}
    config = make_config(tmp_path, models={"words": model})
    said = refusal(config)
    assert "none of 3 clips has a value for the target 'word'" in said and "set `labels` of the corpus" in said
    assert plan_corpus(config, CORPUS).is_empty


def test_a_target_that_is_no_column_is_named_with_those_that_are(tmp_path: Path) -> None:
    said = refusal(labelled(tmp_path, {"id": "one", "word": "yes", "room": "r"}, target="wrod"))
    assert "target 'wrod'" in said and "known columns are: ['room', 'word']" in said


def test_one_class_is_nothing_to_learn(tmp_path: Path) -> None:
    said = refusal(labelled(tmp_path, *({"id": name, "word": "yes"} for name in NAMES)))
    assert "one class only ('yes', 3 clips)" in said and "label more" in said


def test_too_few_groups_are_counted_in_words(tmp_path: Path) -> None:
    said = refusal(labelled(tmp_path, {"id": "one", "word": "yes"}, {"id": "two", "word": "no"}, folds=5))
    assert "folds = 5 needs at least so many groups, but there are 2" in said


def test_a_caption_is_no_input_for_the_caption(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", NAMES)
    for name in NAMES:
        write_text(tmp_path / "media" / f"{name}.vtt", f"WEBVTT\n\n00:00:00.000 --> 00:00:00.400\n{name}\n")
    model = {"corpus": CORPUS, "target": "cue", "inputs": ["audio-mfccseg", "text-ngrams"]}
    said = refusal(make_config(tmp_path, models={"words": model}, clips={"rule": "cues"}))
    assert said.startswith("leak: the target `cue` is the text of the cue, and 'text-ngrams' reads that same text")
    assert "Leave 'text-ngrams' out of `inputs`" in said


def test_the_cue_is_no_target_where_no_cue_cuts(tmp_path: Path) -> None:
    said = refusal(labelled(tmp_path, target="cue"))
    assert "needs clips that are cut by cues" in said and "corpora.sounds.clips.rule is 'whole'" in said


def test_an_input_that_no_clip_has_is_named(tmp_path: Path) -> None:
    rows = ({"id": name, "word": word} for name, word in zip(NAMES, ("yes", "no", "no"), strict=True))
    said = refusal(labelled(tmp_path, *rows, inputs=["video-hogdct"], folds=3))
    assert "no labelled clip has any of the inputs ['video-hogdct@1']" in said and "mmpipe status" in said


def test_training_before_any_ingest_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no store at .* `mmpipe run` makes one"):
        train_model(labelled(tmp_path), "words")


# --------------------------------------------------------------------------- a first config


def test_a_proposal_finds_the_key_and_the_target_of_a_table_without_an_id(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", [f"n{number}" for number in range(12)])
    rows = [{"it's": f"n{n}", "Word": ("yes", "no")[n % 2], "speaker": f"s{n % 4}"} for n in range(12)]
    write_labels(tmp_path / "media" / "labels.jsonl", *rows)
    proposal = propose_config(tmp_path / "media", beside=tmp_path)
    assert 'key = "it\'s", group = "speaker"' in proposal.toml
    assert 'target = "Word"' in proposal.toml and "folds = 4" in proposal.toml
    (model,) = tomllib.loads(proposal.toml)["models"].values()
    assert model["inputs"] == ["audio-mfccseg", "text-ngrams"]  # no image or video is there


def test_a_proposal_is_not_named_after_a_folder_that_says_nothing(tmp_path: Path) -> None:
    root = tmp_path / "Street talks" / "data" / "raw"
    write_pairs(root, [f"n{number}" for number in range(8)])
    write_labels(root / "labels.jsonl", *({"id": f"n{n}", "Word here": ("yes", "no")[n % 2]} for n in range(8)))
    config = tomllib.loads(propose_config(root, target="Word here").toml)
    assert list(config["corpora"]) == ["street-talks"] and list(config["models"]) == ["street-talks-word-here"]
    parse_config(config)
    assert [corpus_name(tmp_path / name) for name in ("street", "Raw 2")] == ["street", "raw-2"]


def test_a_proposal_for_a_table_of_other_names_says_which_columns_it_has(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["one"])
    table = tmp_path / "media" / "labels.jsonl"
    write_labels(table, {"who": "nobody", "word": "yes"})
    said = r"no column of .*labels.jsonl names the files .* columns are \['who', 'word'\]"
    for target, named in ((None, table), ("word", None)):
        with pytest.raises(ConfigError, match=said):
            propose_config(tmp_path / "media", named, target)


def test_a_table_that_lies_beside_and_is_of_something_else_is_passed_over_with_a_note(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["one"])
    write_labels(tmp_path / "labels.jsonl", {"who": "nobody", "word": "yes"})
    proposal = propose_config(tmp_path / "media", beside=tmp_path)
    assert any("labels.jsonl is passed over: no column of" in note for note in proposal.notes)
    assert "models" not in tomllib.loads(proposal.toml) and guess_labels(tmp_path / "media") is None


def test_a_table_that_is_declined_is_not_taken(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", [f"n{number}" for number in range(8)])
    table = tmp_path / "media" / "labels.jsonl"
    write_labels(table, *({"id": f"n{n}", "word": ("yes", "no")[n % 2]} for n in range(8)))
    assert guess_labels(tmp_path / "media") == table
    assert "models" in tomllib.loads(propose_config(tmp_path / "media", beside=tmp_path).toml)
    config = tomllib.loads(propose_config(tmp_path / "media", beside=tmp_path, no_labels=True).toml)
    (corpus,) = config["corpora"].values()
    assert "models" not in config and "labels" not in corpus
