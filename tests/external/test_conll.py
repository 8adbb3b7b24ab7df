"""Tagged sentences: every form of the files, what is left out with its line, and what becomes of the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conll_files import CONLL_2003, CONLL_U, TWEETS, sentences_of, write_pictures, write_sentences
from typer.testing import CliRunner

from mmpipe.cli.main import app
from mmpipe.config import load_config
from mmpipe.errors import ConfigError
from mmpipe.external.published.conll_lines import BadSentence, Columns, Sentence, read_sentences
from mmpipe.external.published.sample import Choices, LeftOut, Sample
from mmpipe.external.published.sets import DataSet, read_published
from mmpipe.steps.ingest.import_published import import_published


def sentences(text: str, **columns: int) -> list[Sentence]:
    found = list(read_sentences(text, Columns(**columns), "a.txt"))
    assert all(isinstance(one, Sentence) for one in found), found
    return [one for one in found if isinstance(one, Sentence)]


def told(path: Path, **choices) -> tuple[list[Sample], list[LeftOut]]:
    rows = list(read_published(DataSet.CONLL, path, Choices(**choices)).rows)
    return [row for row in rows if isinstance(row, Sample)], [row for row in rows if isinstance(row, LeftOut)]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


# --------------------------------------------------------------------------- lines


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_conll_2003_has_four_columns_and_documents(newline: str) -> None:
    first, second, third = sentences(CONLL_2003.replace("\n", newline))
    assert first.words == ("U.N.", "official", "Ekeus", "heads", "for", "Baghdad", ".")
    assert first.tags == ("I-ORG", "O", "I-PER", "O", "O", "I-LOC", "O")
    assert (first.document, second.document, third.document) == (1, 1, 2)
    assert first.lines == tuple(range(3, 10)) and third.tags == ("I-LOC", "B-LOC")
    assert sentences(CONLL_2003, tags=2)[1].tags == ("NNP", "NNP")
    assert sentences(CONLL_2003, tags=-2)[1].tags == ("I-NP", "I-NP")


def test_conll_u_has_numbers_ranges_and_empty_nodes() -> None:
    first, second = sentences(CONLL_U)
    assert first.words == ("vamos", "nos", "a", "el", "mar") and first.tags == ("VERB", "PRON", "ADP", "DET", "NOUN")
    assert (first.sent_id, first.document, second.sent_id) == ("s-1", 1, "s-2")
    assert second.words == ("10_000", "#"), "between words stands a blank, so none stands in one"
    assert sentences(CONLL_U, tags=8)[0].tags[0] == "root"


def test_tweets_name_their_pictures_and_a_hashtag_is_no_comment() -> None:
    first, second, third = sentences(TWEETS)
    assert first.words == ("RT", "@Paris_Hilton", "#Paris", "\u2764\ufe0f") and first.image == "101"
    assert (second.words[0], second.image, third.image) == ("#", "102", "103")


def test_comments_before_plain_columns_are_none_of_the_words() -> None:
    text = "# a comment of many words\nParis\tB-LOC\nis\tO\n\n# another\nHello\tO\nyou\tO"
    assert [one.words for one in sentences(text)] == [("Paris", "is"), ("Hello", "you")]


def test_a_word_is_kept_as_a_store_holds_it() -> None:
    (one,) = sentences("e\u0301te\u0301 O\na\u00a0b O\n\ufeffx O\ny\u200bz O\n")
    assert one.words == ("\u00e9t\u00e9", "a_b", "x", "y\u200bz")


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("Oslo\tB-LOC\tx", "bad_columns", "line 5 has 3 columns, the others 2"),
        ("Oslo", "bad_columns", "line 5 has 1 columns"),
        ("\u00a0\tO", "no_word", "line 5 has no word"),
        ("Oslo\t", "no_tag", "line 5 has no tag"),
    ],
)
def test_a_bad_line_costs_its_sentence_and_says_where_it_is(line: str, code: str, words: str) -> None:
    text = f"good\tO\nword\tO\n\nin\tO\n{line}\n\nlast\tO\none\tO\n"
    first, bad, last = read_sentences(text, Columns(), "a.txt")
    assert isinstance(first, Sentence) and isinstance(last, Sentence)
    assert isinstance(bad, BadSentence) and bad.code == code and words in bad.detail and bad.line == 5


def test_a_number_that_does_not_follow_is_told() -> None:
    text = CONLL_U + "\n1\ta\t_\tX\t_\t_\t_\t_\t_\t_\n3\tb\t_\tX\t_\t_\t_\t_\t_\t_\n"
    bad = list(read_sentences(text, Columns(), "a.conllu"))[-1]
    assert isinstance(bad, BadSentence) and bad.code == "bad_number" and "is word '3', after 1 word" in bad.detail


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        ("", {}, "has no line with a word"),
        ("one\ntwo\n", {}, "lines of one column"),
        ("a O\n", {"tags": 3}, "has 2 columns: --tags 3"),
        ("a O\n", {"words": -3}, "has 2 columns: --words -3"),
    ],
)
def test_a_file_that_is_none_is_refused(text: str, columns: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        list(read_sentences(text, Columns(**columns), "a.txt"))


# --------------------------------------------------------------------------- sets


def test_a_folder_has_its_splits_by_the_names_of_its_files(tmp_path: Path) -> None:
    for name in ("eng.train", "eng.testa", "eng.testb"):
        write(tmp_path / name, CONLL_2003.replace("Baghdad", name))
    published = read_published(DataSet.CONLL, tmp_path)
    samples, left_out = told(tmp_path)
    assert {str(sample.split): sample.text.split()[5] for sample in samples if len(sample.text.split()) == 7} == {
        "train": "eng.train",
        "val": "eng.testa",
        "test": "eng.testb",
    }
    first = next(sample for sample in samples if sample.id == "test/000001")
    assert first.labels == {"tags": "B-ORG O B-PER O O B-LOC O", "document": "test-1"}
    assert published.described.group == "document" and "read as iob1" in published.described.notes[0]
    twins = [(row.row, row.code) for row in left_out]
    assert twins == [(f"{split}/00000{n}", "same_words") for split in ("val", "train") for n in (2, 3)]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("readme.md", "latest.txt"), "has no file called after train and val and test, as train.txt"),
        (("train.txt", "test.txt"), "has no file called after val, as"),
        (("train.txt", "deep/training.conll", "dev.txt", "x.test"), "has 2 files of train: train.txt, deep/training.c"),
    ],
)
def test_a_folder_without_one_file_a_split_is_refused(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    for name in names:
        write(tmp_path / name, CONLL_2003)
    with pytest.raises(ConfigError, match=words):
        read_published(DataSet.CONLL, tmp_path)


def test_a_strange_tag_costs_its_sentence(tmp_path: Path) -> None:
    lines = "".join(f"w{n}\tO\nTown\tB-LOC\n\n" for n in range(12))
    samples, left_out = told(write(tmp_path / "a.txt", lines + "x\tO\ny\tb-loc\n"))
    assert len(samples) == 12 and [row.code for row in left_out] == ["bad_tag"]
    assert "line 38: the tag 'b-loc' is not O, B-TYPE or I-TYPE" in left_out[0].detail


def test_pictures_lie_beside_their_sentences(tmp_path: Path) -> None:
    file = write(tmp_path / "all.txt", TWEETS)
    images = write_pictures(tmp_path / "pictures", ["101", "102"])
    report = import_published(DataSet.CONLL, file, tmp_path / "out", choices=Choices(images=images))
    raw = tmp_path / "out" / "raw" / "all"
    assert sorted(path.name for path in raw.iterdir()) == [
        "000001.jpg", "000001.txt", "000002.jpg", "000002.txt", "000003.txt",
    ]  # fmt: skip
    assert (raw / "000001.txt").read_text("utf-8") == "RT @Paris_Hilton #Paris \u2764\ufe0f"
    assert (raw / "000002.jpg").read_bytes() == (images / "102.jpg").read_bytes()
    assert report.left_out == {"no_image": 1} and report.splits == {"all": 3}
    labels = [json.loads(line) for line in (tmp_path / "out" / "labels.jsonl").read_text("utf-8").splitlines()]
    assert labels[1] == {"id": "all/000002", "tags": "O B-LOC I-LOC", "image": "all-102"}
    config = load_config(tmp_path / "out" / "mmpipe.toml")
    model, corpus = config.models["conll"], config.corpora["conll"]
    assert (model.goal, model.inputs) == ("tag", ("image-hogdct", "text-words"))
    assert model.encoders["text-words"].steps == 16 and model.goal_options == {"crf": True}
    assert corpus.labels and (corpus.labels.group, corpus.labels.split) == ("image", None)
    assert not corpus.text.repair


def test_parts_of_speech_need_no_chain(tmp_path: Path) -> None:
    import_published(DataSet.CONLL, write(tmp_path / "a.conllu", CONLL_U), tmp_path / "out")
    assert load_config(tmp_path / "out" / "mmpipe.toml").models["conll"].goal_options == {}


@pytest.mark.parametrize(
    ("text", "choices", "words"),
    [
        ("a\tO\nb\tO\n", {}, "one tag only in its column of tags. Name another: --tags"),
        (TWEETS, {"images": Path("nowhere")}, "--images nowhere is no folder"),
        ("a\tO\n" * 5000 + "b\tB-X\n", {}, "the longest sentence has 5001 words"),
        (b"caf\xe9 O\n", {}, r"not in UTF-8, at byte 3\. Convert it"),
    ],
)
def test_what_cannot_be_a_set_is_refused(tmp_path: Path, text, choices: dict, words: str) -> None:
    (tmp_path / "a.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=words):
        read_published(DataSet.CONLL, tmp_path / "a.txt", Choices(**choices))


@pytest.mark.parametrize(("column", "is_entity"), [("-1", True), ("2", False)])
def test_columns_are_named_on_the_command_line(tmp_path: Path, column: str, is_entity: bool) -> None:
    file = write(tmp_path / "eng.txt", CONLL_2003)
    command = ["import", "conll", "--from", str(file), "--out", str(tmp_path / "out"), "--tags", column, "--dry-run"]
    told = CliRunner().invoke(app, [*command, "--json"])
    assert told.exit_code == 0, told.output
    report = json.loads(told.stdout)
    assert report["splits"] == {"all": 3} and ("crf = true" in report["toml"]) is is_entity
    assert not (tmp_path / "out").exists()


def test_choices_are_of_conll_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--images, --words and --tags are of conll"):
        read_published(DataSet.MELD, tmp_path, Choices(tags=2))


def test_made_sentences_come_back_as_they_were(tmp_path: Path) -> None:
    made = sentences_of(30, seed=1)
    samples, _ = told(write_sentences(tmp_path / "a.txt", made))
    kept = {sample.text: str(sample.labels["tags"]) for sample in samples}
    assert kept == {" ".join(w for w, _ in one): " ".join(t for _, t in one) for one in made}
