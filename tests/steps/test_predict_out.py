"""Answers for whole folders: into files, in bounded windows, each recording with an answer or a reason."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import polars as pl
import pytest
from kill_corpus import write_sound, write_words
from kill_models import MODEL

from mmpipe.cli.main import main
from mmpipe.errors import ConfigError
from mmpipe.registry.versions import Version
from mmpipe.steps.ask import predict
from mmpipe.steps.ask.answer_file import Row, open_answer_file
from mmpipe.steps.ask.answers import Answer, Unanswered
from mmpipe.steps.ask.predict import predict_files

if TYPE_CHECKING:
    from kill_fixtures import TrainedStore

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")

ANSWER = Answer(
    source="a", key="k", start_s=0.0, end_s=1.0, said={"label": "x", "probabilities": {"x": 0.75, "y": 0.25}}
)
VERSION = cast(Version, SimpleNamespace(name="m", label="1-a"))
LOST = Unanswered(source="b.wav", code="not_media", detail="text")


def test_a_folder_with_folders_in_it_is_answered_in_windows(
    winning: TrainedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "_STEMS_PER_WORKER", 2)
    for number in range(9):
        folder = tmp_path / "in" / str(number % 2)
        folder.mkdir(parents=True, exist_ok=True)
        write_sound(folder / f"{number}.wav", 320 if number % 3 else 1_400)
    write_sound(tmp_path / "in" / "0" / "twin.wav", 1_400)  # the bytes of another: it is asked about as well
    write_words(tmp_path / "in" / "bad.wav", "no sound")
    rows: list[Answer | Unanswered] = []
    report = predict_files(winning.config, [tmp_path / "in"], MODEL, take=rows.append)
    assert (report.answers, report.unanswered) == ((), ())
    assert (report.clips, report.recordings, report.failed, report.reasons) == (10, 11, 1, {"not_media": 1})
    by_source = {row.source: row for row in rows}
    assert set(by_source) == {"bad.wav", "0/twin", *(f"{number % 2}/{number}" for number in range(9))}
    told = {source: row.said["label"] for source, row in by_source.items() if isinstance(row, Answer)}
    assert told["0/twin"] == told["0/0"] and told["1/1"] != told["0/0"]


def test_a_file_below_a_folder_that_is_named_is_answered_once(winning: TrainedStore, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    write_sound(tmp_path / "a" / "one.wav", 330)
    report = predict_files(winning.config, [tmp_path, tmp_path / "a", tmp_path / "a" / "one.wav"], MODEL)
    assert [answer.source for answer in report.answers] == ["a/one"]
    with pytest.raises(ConfigError, match="no such file or folder"):
        predict_files(winning.config, [tmp_path / "none.wav"], MODEL)


@pytest.mark.parametrize("rows", [(), (LOST,), (LOST, ANSWER), (ANSWER, LOST, ANSWER)])
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".json"])
def test_a_file_has_a_row_for_each_answer_and_each_reason(tmp_path: Path, suffix: str, rows: tuple[Row, ...]) -> None:
    path = tmp_path / f"out{suffix}"
    path.write_text("an older one")
    with open_answer_file(path, VERSION) as file:
        for row in rows:
            file.add(row)
    if suffix == ".parquet":
        read = pl.read_parquet(path).to_dicts()
        found = [{name: value for name, value in row.items() if value is not None} for row in read]
    elif suffix == ".jsonl":
        found = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        found = json.loads(path.read_text())
    by = {"model": "m", "version": "1-a"}
    told = {**by, "source": "a", "key": "k", "start_s": 0.0, "end_s": 1.0, **ANSWER.said}
    lost = {**by, "source": "b.wav", "code": "not_media", "detail": "text"}
    assert found == [told if row is ANSWER else lost for row in rows]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_file_that_is_not_whole_is_not_left(tmp_path: Path) -> None:
    for suffix in (".parquet", ".jsonl", ".json"):
        with pytest.raises(KeyboardInterrupt), open_answer_file(tmp_path / f"out{suffix}", VERSION) as file:
            file.add(ANSWER)
            raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="must end in one of"), open_answer_file(tmp_path / "out.csv", VERSION):
        pass
    nowhere = tmp_path / "none" / "out.json"
    with pytest.raises(ConfigError, match="there is no folder"), open_answer_file(nowhere, VERSION):
        pass


def test_the_verb_writes_a_file_and_ends_with_5_where_too_much_is_bad(
    winning: TrainedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mmpipe.toml").write_text(f'store = "{winning.config.store}"')
    asked = tmp_path / "asked"
    asked.mkdir()
    write_sound(asked / "good.wav", 330)
    write_words(asked / "bad.wav", "no sound")
    monkeypatch.chdir(tmp_path)
    line = ["predict", str(asked), "--model", MODEL, "--out", "out.jsonl"]
    for more, code in (([], 5), (["--max-failed", "0.5"], 0)):
        with pytest.raises(SystemExit) as end:
            main([*line, *more])
        told = capsys.readouterr()
        assert end.value.code == code
        assert told.out == "out.jsonl: 1 clips of 1 recordings\n" and "not_media: 1 rows without an answer" in told.err
        assert {json.loads(row)["source"] for row in Path("out.jsonl").read_text().splitlines()} == {"good", "bad.wav"}
