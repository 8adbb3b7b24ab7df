"""The `again:` line of every row of the quarantine: pasted as it stands it tells the same, or that all is well now."""

from __future__ import annotations

import io
import json
import os
import shlex
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from corpus_maker import DT, write_pairs, write_text, write_tone
from PIL import Image
from typed_projects import Told, Type, write_config

pytestmark = pytest.mark.usefixtures("warm_workers")

LIMITS = "max_quarantined = 1\nlimits = { duration_s = 1.0 }"


def write_media(folder: Path) -> None:
    """Write two pairs, and one of each trouble."""
    media = folder / "media"
    write_pairs(media, ["a", "b"])
    write_text(media / "bad.wav", "no sound")
    write_text(media / "bad.txt", "of a sound that cannot be used")
    write_text(media / "-v.wav", "no option either")
    write_text(media / "zero.wav", "")
    write_text(media / "odd 'name\" $x.txt", b"a\x00b")
    write_tone(media / "long.wav", 500, 2.0)
    write_tone(media / "copy of a.wav", hz=300 + ord("a") * 7)
    write_text(media / "copy of a.txt", "the caption of a\n")
    (media / "link.wav").symlink_to("/dev/null")


def as_folder(folder: Path) -> str:
    write_text(folder / "media/rows.jsonl", '{"text": "x"}\n')
    write_text(folder / "media/notes.doc", "x")
    return ""


def as_tars(folder: Path) -> str:
    media = folder / "media"
    with tarfile.open(folder / "s.tar", "w") as tar:
        for path in sorted(media.iterdir()):
            tar.add(path, arcname=path.name)
        member = tarfile.TarInfo("../up.wav")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))
    for path in media.iterdir():
        path.unlink()
    (folder / "s.tar").rename(media / "s.tar")
    (media / "broken.tar").write_bytes(b"no archive")
    (media / "empty.tar").write_bytes(b"")
    return 'source = { kind = "tars" }'


TABLE: tuple[dict[str, Any], ...] = (
    {"id": "ok", "path": "a.wav", "caption": "fine"},
    {"id": "nul", "path": "b.wav", "caption": "a\x00b"},
    {"id": "bad", "path": "bad.wav", "caption": "goes with it"},
    {"id": "zero", "path": "zero.wav", "caption": "alone"},
    {"id": "linked", "path": "link.wav", "caption": "alone"},
    {"id": "absent", "path": "none.wav", "caption": "nothing there"},
    {"id": "outside", "path": "../x.wav", "caption": "x"},
    {"id": "../up", "path": "a.wav", "caption": "x"},
    {"id": "ok", "path": "a.wav", "caption": "again"},
    {"id": None, "path": "a.wav", "caption": "x"},
    {"id": "deep/x.y 'z\"ü", "path": "long.wav", "caption": "long"},
    {"id": "url", "path": "file:///etc/passwd", "caption": "local"},
)


def as_table(suffix: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        path = folder / f"rows.{suffix}"
        if suffix == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in TABLE))
        elif suffix == "csv":
            pl.DataFrame(TABLE).write_csv(path)
        else:
            pl.DataFrame(TABLE).write_parquet(path)
        return f'source = {{ kind = "table", file = "{path.name}", columns = {{ audio = "path", text = "caption" }} }}'

    return write


def shown(mmpipe: Type, folder: Path, *options: str) -> list[tuple[dict[str, Any], str]]:
    """Return every row of the quarantine with the command that is printed for it."""
    told = mmpipe(folder, "quarantine", "show", *options)
    lines = [line.strip().removeprefix("again: ") for line in told.out.splitlines() if line.startswith("    again: ")]
    rows = mmpipe(folder, "quarantine", "show", "--json", *options).json()
    assert len(lines) == len(rows) and [row["replay"] for row in rows] == lines
    return list(zip(rows, lines, strict=True))


def paste(mmpipe: Type, folder: Path, command: str) -> Told:
    words = shlex.split(command)
    assert words[0] == "mmpipe"
    told = mmpipe(folder, *words[1:])
    assert told.code == 0, (command, told.err)
    return told


def require_same(mmpipe: Type, folder: Path, *options: str) -> set[str]:
    """Hold that every printed command tells its row again and nothing else; return the codes there are."""
    rows = shown(mmpipe, folder, *options)
    for row, command in rows:
        said = paste(mmpipe, folder, f"{command.partition(' -- ')[0]} --json -- {command.partition(' -- ')[2]}").json()
        assert [(one["what"], one["detail"]) for one in said if one["what"] == row["code"]] == [
            (row["code"], row["detail"])
        ], (command, said)
        words = paste(mmpipe, folder, command).out.split()
        assert row["code"] in words and " ".join(row["detail"].split()) in " ".join(words), command
    return {row["code"] for row, _ in rows}


@pytest.mark.parametrize(
    ("write", "codes"),
    [
        (as_folder, {"unknown_type", "not_regular", "duplicate", "encoding", "sibling_unusable"}),
        (as_tars, {"archive_damaged", "unsafe_name", "empty_file", "duplicate", "encoding", "sibling_unusable"}),
        *(
            (as_table(suffix), {"name_twice", "unsafe_name", "unreadable", "encoding", "sibling_unusable", "duplicate"})
            for suffix in ("jsonl", "csv", "parquet")
        ),
    ],
    ids=["folder", "tars", "jsonl", "csv", "parquet"],
)
def test_a_pasted_command_tells_its_row_again(
    mmpipe: Type, tmp_path: Path, write: Callable[[Path], str], codes: set[str]
) -> None:
    write_media(tmp_path)
    write_config(tmp_path, write(tmp_path), LIMITS)
    assert mmpipe(tmp_path, "ingest", "--dt", DT).code == 0
    before = content(tmp_path)
    assert require_same(mmpipe, tmp_path) >= codes | {"limit_duration", "not_media"}
    assert content(tmp_path) == before  # a look leaves nothing behind


def content(folder: Path) -> Mapping[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and "_leases" not in str(path)}


def test_what_a_policy_or_a_label_refused_is_told_again_too(mmpipe: Type, tmp_path: Path) -> None:
    media = tmp_path / "media"
    write_pairs(media, ["a", "b", "short"])
    write_tone(media / "short.wav", 700, 0.2)
    small = np.random.default_rng(1).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize((256, 256), Image.Resampling.BICUBIC)
    picture.save(media / "x.png")
    picture.save(media / "y.jpg", quality=90)
    labels = [{"id": "a", "word": "yes"}, {"id": "a", "word": "no"}, {"id": "b", "consent": "mayhap"}]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in labels))
    write_config(
        tmp_path,
        'labels = { file = "labels.jsonl" }\nrights = { columns = { consent = "consent" } }\ndedup = { near = true }',
        'filters = { long = "duration_s > 0.3 or not has_audio" }\nmax_quarantined = 1',
    )
    assert mmpipe(tmp_path, "ingest", "--dt", DT).code == 0
    listed = {row["code"]: row["example"] for row in mmpipe(tmp_path, "quarantine", "ls", "--json").json()}
    assert listed["label_conflict"] == "a"  # what is no file is named too
    codes = require_same(mmpipe, tmp_path)
    assert codes >= {"label_conflict", "rights_not_understood", "near_duplicate", "filtered_long"}
    (media / "x.png").unlink()
    write_config(tmp_path, "max_quarantined = 1")
    for row, command in shown(mmpipe, tmp_path):
        assert f"good was {row['code']}" in " ".join(paste(mmpipe, tmp_path, command).out.split()), command


def test_what_is_mended_is_told_to_be_good(mmpipe: Type, tmp_path: Path) -> None:
    write_media(tmp_path)
    write_config(tmp_path, as_table("jsonl")(tmp_path), LIMITS)
    assert mmpipe(tmp_path, "ingest", "--dt", DT).code == 0
    commands = {row["file"]: command for row, command in shown(mmpipe, tmp_path)}
    write_tone(tmp_path / "media/none.wav", 600)  # a file that was missing
    write_tone(tmp_path / "media/bad.wav", 650)
    rows = [
        row | {"id": f"r{number}", "caption": f"words {number}"}
        if row["id"] in ("ok", None) and number
        else row | ({"caption": "a b"} if row["id"] == "nul" else {})
        for number, row in enumerate(TABLE)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:11]))
    now = {name: paste(mmpipe, tmp_path, command).out for name, command in commands.items()}
    for name in ("row 9", "row 10", "nul/text.txt", "bad/audio.wav", "bad/text.txt", "absent/audio.wav"):
        assert " good " in now[name] and "mmpipe quarantine retry" in now[name], (name, now[name])
    assert "r8/audio.wav" in now["row 9"]
    assert " gone " in now["url/audio.wav"]  # its row was taken out
    assert "limit_duration" in now["deep/x.y 'z\"ü/audio.wav"]
    assert mmpipe(tmp_path, "quarantine", "retry").code == 0
    assert {"row 9", "row 10", "nul/text.txt", "url/audio.wav"}.isdisjoint(
        row["file"] for row, _ in shown(mmpipe, tmp_path)
    )


def test_a_mended_archive_is_seen(mmpipe: Type, tmp_path: Path) -> None:
    write_media(tmp_path)
    write_config(tmp_path, as_tars(tmp_path), LIMITS)
    assert mmpipe(tmp_path, "ingest", "--dt", DT).code == 0
    commands = {row["file"]: command for row, command in shown(mmpipe, tmp_path)}
    zero = next(name for name in commands if name.startswith("s.tar/zero.wav#"))
    write_tone(tmp_path / "tone", 650)
    with tarfile.open(tmp_path / "media/s.tar", "w") as tar:
        tar.add(tmp_path / "tone", "zero.wav")
    (tmp_path / "media/empty.tar").write_bytes((tmp_path / "media/s.tar").read_bytes())
    mirror = content(tmp_path / "store/_mirror")
    assert " good " in paste(mmpipe, tmp_path, commands[zero]).out
    assert " gone " in paste(mmpipe, tmp_path, commands["s.tar/bad.wav"]).out
    assert "1 file is in it" in paste(mmpipe, tmp_path, commands["empty.tar"]).out
    assert "archive_damaged" in paste(mmpipe, tmp_path, commands["broken.tar"]).out
    assert content(tmp_path / "store/_mirror") == mirror


def test_a_config_that_was_named_by_hand_is_named_in_the_command(mmpipe: Type, tmp_path: Path) -> None:
    write_media(tmp_path / "project 1")
    write_config(tmp_path / "project 1", LIMITS)
    config = ("--config", os.path.join("project 1", "mmpipe.toml"))
    assert mmpipe(tmp_path, "ingest", "--dt", DT, *config).code == 0
    assert all("--config 'project 1/mmpipe.toml'" in command for _, command in shown(mmpipe, tmp_path, *config))
    assert "not_media" in require_same(mmpipe, tmp_path, *config)


def test_a_name_that_nobody_knows_is_refused(mmpipe: Type, tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["a"])
    write_config(tmp_path)
    told = mmpipe(tmp_path, "probe", "--", "b.wav")
    assert told.code == 3 and "media has no file 'b.wav'; names are relative to that folder" in told.err
