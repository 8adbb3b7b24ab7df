from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import pytest

from mmpipe.watch.lines import append_line
from mmpipe.watch.logs import LIBRARY, LineHandler, LogSettings, StageLog, set_up_logs
from mmpipe.watch.stage import Stage
from mmpipe.watch.watcher import Watcher
from mmpipe.words import printable

HOSTILE = "a\n2026-11-20 ERROR mmpipe.stage: forged\x1b[31m\u202e\r.wav"


@pytest.fixture(autouse=True)
def untouched_logger() -> object:
    """Leave the library's logger as it was."""
    handlers, level = LIBRARY.handlers[:], LIBRARY.level
    yield
    LIBRARY.handlers[:] = handlers
    LIBRARY.setLevel(level)


def settings(file: str, format: str = "text", level: int = logging.INFO) -> LogSettings:
    return LogSettings(file=file, format=format, level=level)  # type: ignore[arg-type]


def test_lines_of_many_writers_are_whole_and_one_that_was_cut_short_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "below" / "lines.jsonl"
    path.parent.mkdir()
    path.write_bytes(b'{"half": ')
    writers = [threading.Thread(target=append_all, args=(path, number)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    first, *others = path.read_bytes().splitlines()
    assert first == b'{"half": '
    assert sorted(json.loads(line)["is"] for line in others) == sorted([*range(4)] * 50)


def test_a_file_of_lines_is_not_for_everybody(tmp_path: Path) -> None:
    append_line(tmp_path / "below" / "new", b"it may name files")
    assert (tmp_path / "below" / "new").stat().st_mode & 0o007 == 0


def append_all(path: Path, number: int) -> None:
    for _ in range(50):
        append_line(path, json.dumps({"is": number, "long": "x" * 9000}).encode())


@pytest.mark.parametrize("format", ["text", "json"])
def test_no_name_forges_a_line(format: str, tmp_path: Path) -> None:
    set_up_logs(settings(str(tmp_path / "log"), format))
    logging.getLogger("mmpipe.any").warning("file %s", HOSTILE)
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert line.isprintable() and "forged" in line
    if format == "json":
        assert json.loads(line)["message"] == f"file {HOSTILE}", "the file keeps the truth"


def test_a_json_line_says_in_which_stage_it_was_said(tmp_path: Path) -> None:
    set_up_logs(settings(str(tmp_path / "log"), "json"))
    with pytest.raises(ZeroDivisionError), Watcher([StageLog()]).stage(Stage.TRAIN, corpus="c", model="m") as stage:
        logging.getLogger("mmpipe.worker").warning("odd", extra={"clip": "k1", "shard": "s1"})
        1 / 0  # noqa: B018
    began, said, ended = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert began["message"] == "train of m began" and began["level"] == "info"
    assert (said["stage"], said["run"], said["model"]) == ("train", stage.run.run_id, "m")
    assert (said["clip"], said["shard"]) == ("k1", "s1")
    assert (ended["level"], ended["ending"], ended["error"]) == ("error", "failed", "ZeroDivisionError")


def test_the_level_holds_and_a_second_set_up_adds_no_second_line(tmp_path: Path) -> None:
    for _ in range(2):
        set_up_logs(settings(str(tmp_path / "log"), level=logging.WARNING))
    logging.getLogger("mmpipe.any").info("too little")
    logging.getLogger("mmpipe.any").warning("enough")
    assert "enough" in (tmp_path / "log").read_text() and (tmp_path / "log").read_text().count("\n") == 1
    set_up_logs(settings(str(tmp_path / "other")))
    logging.getLogger("mmpipe.any").info("moved")
    assert "moved" in (tmp_path / "other").read_text() and "moved" not in (tmp_path / "log").read_text()


def test_the_standard_error_is_a_place_too(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs(settings("-"))
    logging.getLogger("mmpipe.any").warning("seen")
    assert capsys.readouterr().err.endswith("WARNING mmpipe.any: seen\n")


def test_a_log_that_cannot_be_written_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    handler = LineHandler(settings(str(tmp_path / "file" / "log")))
    for _ in range(3):
        handler.emit(logging.makeLogRecord({"msg": "lost"}))
        handler.emit(logging.makeLogRecord({"msg": "%d is no number", "args": ("x",)}))
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "log lines are lost" in err


def test_printable_leaves_what_people_read() -> None:
    assert printable("Grüße, 世界 a b") == "Grüße, 世界 a b"
    assert printable("a\nb\x1b\u202ec\x85") == r"a\nb\x1b\u202ec\x85"
