"""What came from a URL is looked at again where it lies: the command of every row tells the row, or that it is good."""

from __future__ import annotations

import functools
import http.server
import io
import json
import shlex
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus_maker import CORPUS, ingest, make_config, tree, write_pairs, write_text, write_tone

from mmpipe.config import Config
from mmpipe.steps.quarantine.probe_again import probe_again
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine

pytestmark = pytest.mark.usefixtures("warm_workers")


def put(root: str, folder: Path) -> None:
    """Copy a folder's files to a URL."""
    import fsspec

    system, base = fsspec.core.url_to_fs(root, use_listings_cache=False)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            system.pipe_file(f"{base}/{path.relative_to(folder)}", path.read_bytes())


def write_raw(folder: Path) -> Path:
    """Write two pairs, a sound that is none, one that is empty and one that is too long."""
    write_pairs(folder, ["a", "b"])
    write_text(folder / "bad.wav", "no sound")
    write_text(folder / "zero.wav", "")
    write_tone(folder / "long.wav", 500, 2.0)
    return folder


def make(folder: Path, root: str, **corpus: Any) -> Config:
    return make_config(folder, root=root, max_quarantined=1.0, limits={"duration_s": 1.0}, **corpus)


def look(config: Config) -> dict[str, str]:
    """Type the command of every row; return the codes there are by file."""
    rows = read_quarantine(StoreLayout(config.store), CORPUS).to_dicts()
    for row in rows:
        words = shlex.split(row["replay"])
        assert words[:-1] == ["mmpipe", "probe", "--corpus", CORPUS, "--"], words
        told = [one for one in probe_again(config, CORPUS, words[-1:]) if one["what"] == row["code"]]
        assert [(one["file"], one["detail"]) for one in told] == [(row["file"], row["detail"])]
    return {row["file"]: row["code"] for row in rows}


def now(config: Config, *names: str) -> dict[str, str]:
    told = probe_again(config, CORPUS, names)
    return {row["file"]: row["what"] for row in reversed(told)}


def test_objects_of_a_bucket(tmp_path: Path, s3_root: Path) -> None:
    import s3fs

    root = f"{s3_root}/corpus"
    put(root, write_raw(tmp_path / "raw"))
    s3fs.S3FileSystem().pipe_file(f"{root}/../up.wav", b"x")
    config = make(tmp_path, root)
    ingest(config)
    assert look(config) == {
        "../up.wav": "unsafe_name",
        "bad.wav": "not_media",
        "zero.wav": "empty_file",
        "long.wav": "limit_duration",
    }
    before = tree(config.store)
    write_tone(tmp_path / "raw/bad.wav", 600)
    write_tone(tmp_path / "raw/zero.wav", 700)
    put(root, tmp_path / "raw")
    s3fs.S3FileSystem().rm_file(f"{root}/long.wav")
    assert now(config, "bad.wav", "zero.wav", "long.wav") == {"bad.wav": "good", "zero.wav": "good", "long.wav": "gone"}
    assert tree(config.store) == before  # the mirror too is as it was


def test_tars_of_a_bucket(tmp_path: Path, s3_root: Path) -> None:
    raw = write_raw(tmp_path / "raw")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(raw.iterdir()):
            tar.add(path, path.name)
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars/s.tar").write_bytes(buffer.getvalue())
    (tmp_path / "tars/cut.tar").write_bytes(buffer.getvalue()[:9_000])
    put(f"{s3_root}-tars", tmp_path / "tars")
    config = make(tmp_path, f"{s3_root}-tars", source={"kind": "tars"}).model_copy(update={"store": s3_root})
    ingest(config)
    found = look(config)
    assert {"s.tar/bad.wav", "s.tar/zero.wav#7", "s.tar/long.wav", "cut.tar"} <= found.keys()


def write_table(folder: Path, *rows: tuple[str, str, str]) -> None:
    text = "".join(json.dumps({"id": key, "path": path, "caption": said}) + "\n" for key, path, said in rows)
    (folder / "rows.jsonl").write_text(text)


def test_a_table_at_a_url(tmp_path: Path, memory_root: Path) -> None:
    url = str(memory_root)
    raw = write_raw(tmp_path / "raw")
    rows = [
        ("ok", "a.wav", "near"),
        ("bad", f"{url}/bad.wav", "far"),
        ("none", f"{url}/none.wav", "nowhere"),
        ("ftp", "ftp://host/a.wav", "not asked"),
        ("nul", "b.wav", "a\x00b"),
        ("../up", "b.wav", "x"),
        ("long", "long.wav", "x"),
    ]
    write_table(raw, *rows)
    put(url, raw)
    source = {"kind": "table", "file": f"{url}/rows.jsonl", "columns": {"audio": "path", "text": "caption"}}
    config = make(tmp_path, url, source=source)
    ingest(config)
    assert look(config) == {
        "bad/audio.wav": "not_media",
        "bad/text.txt": "sibling_unusable",
        "none/audio.wav": "unreadable",
        "ftp/audio.wav": "unsafe_name",
        "nul/text.txt": "encoding",
        "row 6": "unsafe_name",
        "long/audio.wav": "limit_duration",
        "long/text.txt": "sibling_unusable",
    }
    write_tone(raw / "none.wav", 900)
    write_table(raw, *rows[:4], ("nul", "b.wav", "mended"), ("up", "b.wav", "x"))
    put(url, raw)
    names = ("none/audio.wav", "nul/text.txt", "row 6", "long/audio.wav", "ftp/audio.wav")
    assert [now(config, name)[name] for name in names] == ["good", "good", "good", "gone", "unsafe_name"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """Serve `tmp_path/raw` by HTTP."""
    handler = functools.partial(Quiet, directory=str(tmp_path / "raw"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A web server that writes no log."""

    def log_message(self, *args: object) -> None:
        pass


def test_a_web_server(tmp_path: Path, served: str, cache_folder: Path) -> None:
    pytest.importorskip("aiohttp")
    raw = write_raw(tmp_path / "raw")
    config = make(tmp_path, served)
    ingest(config)
    assert look(config) == {"bad.wav": "not_media", "zero.wav": "empty_file", "long.wav": "limit_duration"}
    write_tone(raw / "bad.wav", 600)
    assert now(config, "bad.wav") == {"bad.wav": "good"}
