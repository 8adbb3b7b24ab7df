"""Corpora that are no folder of files: tars and tables are brought into one, whole, safe, and only what is new."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest
from corpus_maker import (
    CORPUS,
    DT,
    LATER,
    drops,
    extract,
    ingest,
    make_config,
    reasons,
    tree,
    values,
    write_pairs,
    write_text,
    write_tone,
)

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.steps.ground.mirror import refresh_mirror
from mmpipe.steps.ingest.ingest import ingest_reason
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.keep.gc import collect_garbage
from mmpipe.steps.quarantine.probe_again import probe_again
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.spine import read_spine

pytestmark = pytest.mark.usefixtures("warm_workers")
TARS = {"kind": "tars"}


def tone(hz: float, folder: Path) -> bytes:
    write_tone(folder / "tone", hz)
    return (folder / "tone").read_bytes()


def pack(path: Path, members: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> None:
    """Write an archive; whatever its name says, packed or not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    data = buffer.getvalue()
    path.write_bytes(gzip.compress(data) if path.suffix in (".gz", ".tgz") else data)


def make(folder: Path, **corpus) -> Config:
    return make_config(folder, **{"source": TARS, "max_quarantined": 1.0, **corpus})


def mirrored(config: Config) -> set[str]:
    root = StoreLayout(config.store).local / "_mirror" / CORPUS / "files"
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def sources(config: Config) -> list[str]:
    spine = read_spine(StoreLayout(config.store), CORPUS)
    return sorted(spine.filter(~pl.col("superseded"))["source_id"])


def test_tars_are_joined_by_webdataset_key_and_extracted(tmp_path):
    a, b = tone(300, tmp_path), tone(500, tmp_path)
    pack(tmp_path / "media/s-0.tar", {"x/v1.0.wav": a, "y.wav": b, "x/v1.en.txt": b"one", "y.txt": b"two"})
    pack(tmp_path / "media/deep/s-1.tar", {"y.wav": tone(700, tmp_path), "y.txt": b"three"})
    (tmp_path / "media/README.md").write_text("left out by the pattern")
    config = make(tmp_path)
    count = ingest(config).partitions[0]
    assert (count.used, count.quarantined, count.filtered) == (6, 0, 1)
    assert sources(config) == ["deep/s-1.tar/y", "s-0.tar/x/v1", "s-0.tar/y"]
    _, done = extract(config)
    assert [(one.written, one.quarantined) for one in done.features] == [(3, 0), (3, 0)]


def test_archives_that_the_pattern_passes_over_are_named(tmp_path):
    pack(tmp_path / "media/s-0.tar", {"a.wav": tone(300, tmp_path), ".hidden.wav": b"x"})
    for name in ("deep/s-1.tar.gz", "s-2.tgz", "README.md", ".note"):
        pack(tmp_path / "media" / name, {"b.wav": tone(400, tmp_path)})
    config = make(tmp_path)
    report = ingest(config)
    assert {(entry.name, str(entry.reason)) for entry in report.left_out} == {
        ("README.md", "pattern"),
        ("deep/s-1.tar.gz", "pattern"),
        ("s-2.tgz", "pattern"),
        ("s-0.tar/.hidden.wav", "hidden"),
    }
    assert list(report.notes()) == [
        "2 archives do not fit source.pattern, such as 'deep/s-1.tar.gz': correct the pattern to take them in"
    ]
    assert report.table()[0]["left out"] == 4 and "filtered" not in report.table()[0]
    taken = ingest(make(tmp_path, source={"kind": "tars", "pattern": "**/*.tar.gz"}))
    assert sum("archive does not fit" in note or "archives do not fit" in note for note in taken.notes()) == 1


def test_a_run_with_nothing_new_fetches_and_writes_nothing(tmp_path):
    pack(tmp_path / "media/s-0.tar", {"a.wav": tone(300, tmp_path), "b.wav": b"broken", "../c.wav": b"x"})
    config = make(tmp_path)
    ingest(config)
    before = tree(config.store)
    assert ingest_reason(config, CORPUS, DT) == ""
    assert ingest(config).probed == 0
    assert tree(config.store) == before
    assert [row["what"] for row in probe_again(config, CORPUS, ["s-0.tar/../c.wav#3"])] == ["unsafe_name"]


def test_a_question_brings_nothing(tmp_path):
    pack(tmp_path / "media/s-0.tar", {"a.wav": tone(300, tmp_path)})
    config = make(tmp_path)
    ingest(config)
    pack(tmp_path / "media/s-1.tar", {"b.wav": tone(400, tmp_path)})
    before = tree(tmp_path)
    assert ingest_reason(config, CORPUS, DT) == "the source has 1 new or changed parts, and lost 0"
    assert tree(tmp_path) == before


def test_only_what_changed_is_brought_and_what_is_gone_is_removed(tmp_path):
    a, b = tone(300, tmp_path), tone(500, tmp_path)
    pack(tmp_path / "media/s-0.tar", {"a.wav": a})
    pack(tmp_path / "media/s-1.tar", {"b.wav": b, "c.wav": tone(600, tmp_path)})
    config = make(tmp_path)
    ingest(config)
    root = StoreLayout(config.store).local / "_mirror" / CORPUS / "files"
    inode = (root / "s-0.tar/a.wav").stat().st_ino
    pack(tmp_path / "media/s-1.tar", {"b.wav": tone(550, tmp_path), "d.wav": b})
    ingest(config)
    assert mirrored(config) == {"s-0.tar/a.wav", "s-1.tar/b.wav", "s-1.tar/d.wav"}
    assert (root / "s-0.tar/a.wav").stat().st_ino == inode
    (tmp_path / "media/s-1.tar").unlink()
    (root / "s-0.tar/a.wav").unlink()  # a mirror that lost a file is healed
    ingest(config)
    assert mirrored(config) == {"s-0.tar/a.wav"}
    (tmp_path / "media/s-0.tar").unlink()
    with pytest.raises(ConfigError, match=r"has no archive that fits the pattern '\*\*/\*.tar'"):
        ingest(config)
    assert mirrored(config) == {"s-0.tar/a.wav"}


def test_hostile_members_stay_out_with_a_reason_that_names_tar_and_member(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("canary")
    good = tone(300, tmp_path)
    members = {
        "good.wav": good,
        "../escaped.wav": good,
        str(tmp_path / "absolute.wav"): good,
        "./dotted.wav": tone(900, tmp_path),
        ".hidden.wav": good,
        "a/._mac.wav": good,
        "GOOD.WAV": good,
        "good.wav/inside.wav": good,
        "zero.wav": b"",
        "x" * 300 + ".wav": good,
        "no-suffix": good,
    }
    pack(tmp_path / "media/s.tar", members, links={"link.txt": str(secret), "good.txt": "../../secret.txt"})
    config = make(tmp_path)
    count = ingest(config).partitions[0]
    assert mirrored(config) == {"s.tar/good.wav", "s.tar/dotted.wav", "s.tar/no-suffix"}
    assert count.filtered == 2
    found = drops(config)
    assert found == {
        "s.tar/../escaped.wav#2": "unsafe_name",
        f"s.tar/{tmp_path}/absolute.wav#3": "unsafe_name",
        "s.tar/GOOD.WAV#7": "name_twice",
        "s.tar/good.wav/inside.wav#8": "name_twice",
        "s.tar/zero.wav#9": "empty_file",
        "s.tar/" + "x" * 300 + ".wav#10": "unsafe_name",
        "s.tar/no-suffix": "unknown_type",
        "s.tar/link.txt#12": "not_regular",
        "s.tar/good.txt#13": "not_regular",
    }
    assert not (tmp_path / "escaped.wav").exists()
    assert not any(b"canary" in path.read_bytes() for path in config.store.rglob("*") if path.is_file())


def test_an_archive_that_breaks_off_keeps_its_whole_members(tmp_path):
    path = tmp_path / "media/s.tar.gz"
    pack(path, {"a.wav": tone(300, tmp_path), "b.wav": os.urandom(50_000)})
    path.write_bytes(path.read_bytes()[:-20_000])
    (tmp_path / "media/no.tar.gz").write_bytes(b"this is no archive")
    config = make(tmp_path, source={"kind": "tars", "pattern": "**/*.tar.gz"})
    ingest(config)
    assert mirrored(config) == {"s.tar.gz/a.wav"}
    assert drops(config) == {"s.tar.gz": "archive_damaged", "no.tar.gz": "archive_damaged"}


def test_an_archive_that_cannot_be_opened_is_a_row(tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    pack(media / "good.tar", {"a.wav": tone(300, tmp_path)})
    (media / "empty.tar").write_bytes(b"")
    (media / "link.tar").symlink_to(media / "good.tar")
    config = make(tmp_path, max_quarantined=1.0)
    ingest(config)
    rows = read_quarantine(StoreLayout(config.store), CORPUS).select("file", "code").rows()
    assert {file.partition("/")[0] for file, _ in rows} == {"empty.tar", "link.tar"}, rows
    assert len(sources(config)) == 1


@pytest.mark.parametrize(
    ("limits", "kept", "codes"),
    [
        ({"archive_members": 2}, set(), {"limit_archive": 1}),
        ({"archive_bytes": 20_000}, set(), {"limit_archive": 1}),
        ({"file_bytes": 9_000}, {"s.tar/a.wav", "s.tar/c.wav"}, {"limit_file": 1}),
    ],
)
def test_archives_are_bounded(tmp_path, limits, kept, codes):
    a, c = tone(300, tmp_path), tone(400, tmp_path)
    pack(tmp_path / "media/s.tar", {"a.wav": a, "b.wav": bytes(10_000), "c.wav": c})
    config = make(tmp_path, limits=limits)
    ingest(config)
    assert mirrored(config) == kept
    assert reasons(config) == codes


def test_a_run_that_fails_in_the_middle_is_finished_by_the_next(tmp_path, monkeypatch):
    for number in range(3):
        pack(tmp_path / f"media/s-{number}.tar", {"a.wav": tone(300 + number, tmp_path), "b.txt": b"word"})
    config = make(tmp_path)
    monkeypatch.setenv("MMPIPE_FAULT", "replace@s-1.tar:2:EIO")
    with pytest.raises(OSError, match="Input/output error"):
        refresh_mirror(config, CORPUS)
    monkeypatch.delenv("MMPIPE_FAULT")
    home = StoreLayout(config.store).local / "_mirror" / CORPUS
    (home / "unfinished/of-a-kill").write_bytes(b"half")
    (home / "files/s-0.tar/nobodys.wav").write_bytes(b"of a kill before the index was written")
    ingest(config)
    assert len(mirrored(config)) == 6
    assert not list((home / "unfinished").iterdir())
    before = tree(config.store)
    ingest(config)
    assert tree(config.store) == before


def test_what_is_forgotten_leaves_the_mirror_and_never_comes_again(tmp_path):
    keep, gone = tone(300, tmp_path), tone(500, tmp_path)
    pack(tmp_path / "media/s.tar", {"keep.wav": keep, "secret-name.wav": gone})
    config = make(tmp_path)
    ingest(config)
    extract(config)
    planned = forget(config, CORPUS, "s.tar/secret-name", "asked to", dry_run=True)
    assert {"mirrored files", "source"} <= {place.what for place in planned.holdings}
    forget(config, CORPUS, "s.tar/secret-name", "asked to")
    assert mirrored(config) == {"s.tar/keep.wav"}
    ingest(config)
    pack(tmp_path / "media/s.tar", {"keep.wav": keep, "secret-name.wav": gone, "new.wav": tone(700, tmp_path)})
    ingest(config, LATER)
    assert mirrored(config) == {"s.tar/keep.wav", "s.tar/new.wav"}
    assert sources(config) == ["s.tar/keep", "s.tar/new"]
    left = [path for path in config.store.rglob("*") if path.is_file() and "_audit" not in str(path)]
    assert not any(b"secret-name" in path.read_bytes() for path in left)


def test_gc_drops_the_mirror_of_a_corpus_that_is_no_more(tmp_path):
    pack(tmp_path / "media/s.tar", {"a.wav": tone(300, tmp_path)})
    config = make(tmp_path)
    ingest(config)
    assert not [item for item in collect_garbage(config, days=0, clock=lambda _: 1e12).items if item.kind == "mirror"]
    without = config.model_copy(update={"corpora": {}})
    gone = collect_garbage(without, days=0, delete=True, clock=lambda _: 1e12).items
    assert [item.path for item in gone if item.kind == "mirror"] == [f"_mirror/{CORPUS}"]
    assert not (config.store / "_mirror" / CORPUS).exists()


# --------------------------------------------------------------------------- tables


def table_config(folder: Path, rows: list[dict[str, object]], name: str = "rows.jsonl", **corpus) -> Config:
    path = folder / name
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".csv":
        pl.DataFrame(rows).write_csv(path)
    else:
        pl.DataFrame(rows).write_parquet(path)
    source = {"kind": "table", "file": str(path), "columns": {"audio": "path", "text": "caption"}}
    return make(folder, source=source | corpus.pop("source", {}), **corpus)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet"])
def test_a_row_is_an_asset(tmp_path, name):
    write_pairs(tmp_path / "media", ["a", "deep/b"])
    rows = [
        {"id": "v1.0", "path": "a.wav", "caption": "one"},
        {"id": "speaker/v1.1", "path": "deep/b.wav", "caption": "two"},
    ]
    config = table_config(tmp_path, rows, name)
    ingest(config)
    assert sources(config) == ["speaker/v1.1", "v1.0"]
    spine = read_spine(StoreLayout(config.store), CORPUS).sort("source_id")
    assert spine["text"].to_list() == ["two", "one"]
    linked = config.store / "_mirror" / CORPUS / "files/v1.0/audio.wav"
    assert linked.stat().st_ino == (tmp_path / "media/a.wav").stat().st_ino  # a link, no second copy
    extract(config)
    folder = make_config(tmp_path / "other", root=str(tmp_path / "media"))
    assert set(values(config).values()) >= {b for (_, name), b in _extracted(folder).items() if "audio" in name}
    before = tree(config.store)
    assert ingest(config).probed == 0
    assert tree(config.store) == before


def test_a_key_may_be_called_like_a_file(tmp_path):
    write_pairs(tmp_path / "media", ["a", "b"])
    rows = [{"id": f"{name}.wav", "path": f"{name}.wav", "caption": name} for name in ("a", "b")]
    config = table_config(tmp_path, rows)
    ingest(config)
    assert sources(config) == ["a.wav", "b.wav"] and drops(config) == {}


def _extracted(config: Config) -> dict[tuple[str, str], bytes]:
    ingest(config)
    extract(config)
    return values(config)


def test_rows_that_cannot_be_used_stand_in_the_quarantine(tmp_path):
    write_tone(tmp_path / "secret.wav")
    write_pairs(tmp_path / "media", ["a"])
    os.symlink(tmp_path / "secret.wav", tmp_path / "media/link.wav")
    rows = [
        {"id": "ok", "path": "a.wav", "caption": None},
        {"id": "ok", "path": "a.wav", "caption": "a second row"},
        {"id": "../up", "path": "a.wav", "caption": ""},
        {"id": None, "path": "a.wav", "caption": ""},
        {"id": "linked", "path": "link.wav", "caption": ""},
        {"id": "outside", "path": "../secret.wav", "caption": ""},
        {"id": "absent", "path": "none.wav", "caption": ""},
        {"id": "local", "path": f"file://{tmp_path}/secret.wav", "caption": ""},
        {"id": ".hidden", "path": "a.wav", "caption": ""},
    ]
    config = table_config(tmp_path, rows)
    ingest(config)
    assert mirrored(config) == {"ok/audio.wav"}
    assert drops(config) == {
        "row 2": "name_twice",
        "row 3": "unsafe_name",
        "row 4": "unsafe_name",
        "linked/audio.wav": "not_regular",
        "row 6": "unsafe_name",
        "absent/audio.wav": "unreadable",
        "local/audio.wav": "unsafe_name",
        "row 9": "unsafe_name",
    }


def test_rows_that_cannot_be_read_keep_no_other_out(tmp_path):
    write_pairs(tmp_path / "media", ["a", "b"])
    config = table_config(tmp_path, [{"id": "a", "path": "a.wav", "caption": "x"}])
    with (tmp_path / "rows.jsonl").open("ab") as file:
        file.write(b'{"id": \n{"id": "\xff"}\n{"id": "b", "path": "b.wav", "caption": "y"}\n')
    ingest(config)
    assert sources(config) == ["a", "b"]
    assert drops(config) == {"row 2": "row_unreadable", "row 3": "row_unreadable"}
    (told,) = probe_again(config, CORPUS, ["row 2"])
    assert told["what"] == "row_unreadable" and told["detail"].startswith("the table, line 2 is not JSON: ")


def test_a_cell_that_is_no_name_and_no_text_makes_its_row_unreadable(tmp_path):
    write_pairs(tmp_path / "media", ["a"])
    rows = [
        {"id": "ok", "path": "a.wav", "caption": 7},
        {"id": "object", "path": {"x": 1}, "caption": "said"},
        {"id": "named", "path": {"bytes": "UklGRg==", "path": "a.wav"}, "caption": "said"},
        {"id": "number", "path": 7, "caption": "said"},
        {"id": "listed", "path": ["a.wav"], "caption": "said"},
        {"id": "lines", "path": "a.wav", "caption": ["l"]},
        {"id": "keyed", "path": "a.wav", "caption": {"text": "l"}},
        {"id": ["l"], "path": "a.wav", "caption": "said"},
        {"id": float("inf"), "path": "a.wav", "caption": "said"},
        {"id": "endless", "path": "a.wav", "caption": float("inf")},
        {"id": "half", "path": "a.wav", "caption": "\ud800"},
        {"id": "silent", "path": {"bytes": None, "path": None}, "caption": "said"},
        {"id": "none", "path": float("nan"), "caption": "said so"},
    ]
    config = table_config(tmp_path, rows)
    count = ingest(config).partitions[0]
    assert mirrored(config) == {"ok/audio.wav", "ok/text.txt", "silent/text.txt", "none/text.txt"}
    assert drops(config) == {f"row {number}": "row_unreadable" for number in range(2, 12)}
    assert (count.used, count.quarantined) == (4, 10)
    told = read_quarantine(StoreLayout(config.store), CORPUS).sort("file")
    details = dict(zip(told["file"], told["detail"], strict=True))
    assert "row 2 of the table, id = 'object': the column 'path' (audio) holds an object" in details["row 2"]
    assert "must be the name of a file, a URL, bytes or null" in details["row 2"]
    assert "the column 'caption' (text) holds a list" in details["row 6"]
    assert "must be text, a number or null" in details["row 6"]
    (again,) = probe_again(config, CORPUS, ["row 2"])
    assert again["what"] == "row_unreadable"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_table_may_be_in_any_encoding_that_marks_itself(tmp_path, encoding):
    write_pairs(tmp_path / "media", ["a"])
    config = table_config(tmp_path, [{"id": "ä", "path": "a.wav", "caption": "größer"}], "rows.csv")
    (tmp_path / "rows.csv").write_bytes((tmp_path / "rows.csv").read_text(encoding="utf-8").encode(encoding))
    ingest(config)
    assert read_spine(StoreLayout(config.store), CORPUS)["text"].to_list() == ["größer"]


def test_a_row_in_another_encoding_says_so(tmp_path):
    write_pairs(tmp_path / "media", ["a"])
    config = table_config(tmp_path, [{"id": "a", "path": "a.wav", "caption": "x"}], "rows.csv")
    (tmp_path / "rows.csv").write_bytes(b"id,path,caption\na,a.wav,x\nb,a.wav,gr\xf6\xdfer\n")
    ingest(config)
    assert sources(config) == ["a"] and drops(config) == {"row 2": "row_unreadable"}
    detail = read_quarantine(StoreLayout(config.store), CORPUS)["detail"].item()
    assert "not in UTF-8" in detail and "0xf6 ('ö' in cp1252)" in detail and "save the table as UTF-8" in detail


def test_bytes_in_a_table_are_files_too(tmp_path):
    (tmp_path / "media").mkdir()
    data = {"bytes": tone(300, tmp_path), "path": "x.wav"}
    config = table_config(tmp_path, [{"id": "a", "path": data, "caption": "said"}], "rows.parquet")
    ingest(config)
    assert mirrored(config) == {"a/audio.wav", "a/text.txt"}


def test_a_table_without_its_columns_is_a_fault_of_the_config(tmp_path):
    write_pairs(tmp_path / "media", ["a"])
    rows = [{"id": "a", "path": "a.wav"}]
    with pytest.raises(ConfigError, match=r"no column 'caption'.*its columns are: \['id', 'path'\]"):
        ingest(table_config(tmp_path, rows))
    with pytest.raises(ConfigError, match="the role 'sound'"):
        ingest(table_config(tmp_path, rows, source={"columns": {"sound": "path"}}))


def test_a_changed_cell_is_brought_again(tmp_path):
    write_pairs(tmp_path / "media", ["a", "b"])
    rows = [{"id": "x", "path": "a.wav", "caption": "one"}]
    config = table_config(tmp_path, rows)
    ingest(config)
    config = table_config(tmp_path, [{**rows[0], "path": "b.wav", "caption": "two"}])
    ingest(config)
    files = config.store / "_mirror" / CORPUS / "files/x"
    assert (files / "audio.wav").read_bytes() == (tmp_path / "media/b.wav").read_bytes()
    assert (files / "text.txt").read_text() == "two"
    write_text(tmp_path / "rows.jsonl", json.dumps({**rows[0], "caption": None}))
    ingest(config)
    assert mirrored(config) == {"x/audio.wav"}
