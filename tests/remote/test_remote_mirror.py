"""Corpora at a URL: objects, tars and tables are brought here, and no credential is ever said."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import json
import logging
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus_maker import CORPUS, DT, drops, extract, ingest, make_config, tree, write_pairs

from mmpipe.config import Config
from mmpipe.errors import ConfigError, TransientError
from mmpipe.steps.ingest.ingest import ingest_reason
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.quarantine.probe_again import probe_again
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.spine import read_spine

pytestmark = pytest.mark.usefixtures("warm_workers")
CANARY = "canary123"


def put(root: str, folder: Path) -> None:
    """Copy a folder's files to a URL."""
    import fsspec

    system, base = fsspec.core.url_to_fs(root, use_listings_cache=False)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            system.pipe_file(f"{base}/{path.relative_to(folder)}", path.read_bytes())


def sources(config: Config) -> list[str]:
    return sorted(read_spine(StoreLayout(config.store), CORPUS)["source_id"])


def make(folder: Path, root: str, **corpus) -> Config:
    return make_config(folder, **{"root": root, "max_quarantined": 1.0, **corpus})


@pytest.fixture
def memory_url(memory_root: Path) -> str:
    return str(memory_root)


def test_objects_of_a_bucket_are_a_corpus(tmp_path, s3_root):
    import s3fs

    write_pairs(tmp_path / "raw", ["a", "deep/b"])
    root = f"{s3_root}/corpus"
    put(root, tmp_path / "raw")
    s3fs.S3FileSystem().pipe_file(f"{root}/../escaped.wav", b"x")
    config = make(tmp_path, root)
    ingest(config)
    assert sources(config) == ["a", "deep/b"]
    assert drops(config) == {"../escaped.wav": "unsafe_name"}
    assert all(one.written == 2 for one in extract(config)[1].features)
    before = tree(config.store)
    assert ingest_reason(config, CORPUS, DT) == ""
    assert ingest(config).probed == 0
    assert tree(config.store) == before
    s3fs.S3FileSystem().pipe_file(f"{root}/a.txt", b"other words")
    assert ingest_reason(config, CORPUS, DT) == "the source has 1 new or changed parts, and lost 0"
    ingest(config)
    assert (config.store / "_mirror" / CORPUS / "files/a.txt").read_bytes() == b"other words"


def test_tars_of_a_bucket_into_a_store_in_a_bucket(tmp_path, s3_root):
    write_pairs(tmp_path / "raw", ["a"])
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(tmp_path / "raw/a.wav", "a.wav")
        tar.add(tmp_path / "raw/a.txt", "a.txt")
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars/s.tar").write_bytes(buffer.getvalue())
    put(f"{s3_root}-tars", tmp_path / "tars")
    config = make(tmp_path, f"{s3_root}-tars", source={"kind": "tars"}).model_copy(update={"store": s3_root})
    ingest(config)
    assert sources(config) == ["s.tar/a"]
    assert all(one.written == 1 for one in extract(config)[1].features)
    assert not list(s3_root.glob("_mirror*"))  # it lies on this machine


def test_a_table_at_a_url_names_objects_and_urls(tmp_path, memory_url):
    write_pairs(tmp_path / "raw", ["a", "b"])
    rows = [
        {"id": "one", "path": "a.wav", "caption": "near"},
        {"id": "two", "path": f"{memory_url}/b.wav", "caption": "far"},
        {"id": "three", "path": f"{memory_url}/none.wav", "caption": "nowhere"},
        {"id": "four", "path": "ftp://host/a.wav", "caption": "not asked"},
    ]
    (tmp_path / "raw/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    put(memory_url, tmp_path / "raw")
    source = {"kind": "table", "file": f"{memory_url}/rows.jsonl", "columns": {"audio": "path", "text": "caption"}}
    config = make(tmp_path, memory_url, source=source)
    ingest(config)
    assert sources(config) == ["four", "one", "three", "two"]
    assert drops(config) == {"three/audio.wav": "unreadable", "four/audio.wav": "unsafe_name"}


def test_what_is_forgotten_is_not_fetched_again(tmp_path, memory_url):
    write_pairs(tmp_path / "raw", ["keep", "secret-name"])
    put(memory_url, tmp_path / "raw")
    config = make(tmp_path, memory_url)
    ingest(config)
    forget(config, CORPUS, "secret-name", "asked to")
    before = tree(config.store / "_mirror")
    ingest(config)
    assert tree(config.store / "_mirror") == before
    assert not any("secret-name" in name for name in before)
    put(memory_url, tmp_path / "raw")  # the same bytes under another date
    ingest(config)
    assert sources(config) == ["keep"]
    found = [path for path in (config.store / "_mirror").rglob("*") if path.is_file()]
    assert not any(b"secret-name" in path.read_bytes() for path in found)


def test_an_empty_listing_removes_nothing(tmp_path, memory_url):
    import fsspec

    write_pairs(tmp_path / "raw", ["a"])
    put(memory_url, tmp_path / "raw")
    config = make(tmp_path, memory_url)
    ingest(config)
    fsspec.filesystem("memory").store.clear()
    with pytest.raises(ConfigError):
        ingest(config)
    assert (config.store / "_mirror" / CORPUS / "files/a.wav").exists()


# --------------------------------------------------------------------------- credentials


class Guarded(http.server.SimpleHTTPRequestHandler):
    """A folder behind a user and a password."""

    is_down = False

    def send_head(self):
        wanted = "Basic " + base64.b64encode(f"user:{CANARY}".encode()).decode()
        if self.headers.get("Authorization") != wanted:
            self.send_error(401)
            return None
        if self.is_down or self.path.endswith("busy.wav"):
            self.send_error(503)
            return None
        return super().send_head()

    def log_message(self, *args):
        pass


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[str]:
    write_pairs(tmp_path / "raw", ["a"])
    handler = functools.partial(Guarded, directory=str(tmp_path / "raw"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def write_table(folder: Path, cells: dict[str, str]) -> dict[str, object]:
    """Write a table of sounds beside `raw`; return it as a source."""
    rows = [{"id": name, "path": cell, "caption": f"of {name}"} for name, cell in cells.items()]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"audio": "path", "text": "caption"}
    return {"kind": "table", "file": str(folder / "rows.jsonl"), "columns": columns}


def test_one_address_that_cannot_be_asked_keeps_no_other_row_out(tmp_path: Path, guarded: str) -> None:
    write_pairs(tmp_path / "raw", ["b", "c"])
    (tmp_path / "raw/busy.wav").write_bytes(b"x")
    server = f"http://user:{CANARY}@{guarded}"
    cells = {"local": "b.wav", "served": f"{server}/a.wav", "nobody": "http://127.0.0.1:9/a.wav"}
    cells |= {"busy": f"{server}/busy.wav", "uninstalled": "gs://bucket/a.wav", "other": "c.wav"}
    config = make(tmp_path, str(tmp_path / "raw"), source=write_table(tmp_path, cells))
    ingest(config)
    missing = {f"{name}/audio.wav": "unreadable" for name in ("nobody", "busy", "uninstalled")}
    assert drops(config) == missing
    assert sources(config) == ["busy", "local", "nobody", "other", "served", "uninstalled"]  # the captions of all
    (told,) = probe_again(config, CORPUS, ["uninstalled/audio.wav"])
    assert told["what"] == "unreadable" and "gs://bucket/a.wav needs the package" in told["detail"]
    assert CANARY not in str(told)
    ingest(config)
    assert drops(config) == missing


def test_what_was_brought_of_an_address_stays_while_nobody_answers(tmp_path: Path, guarded: str) -> None:
    write_pairs(tmp_path / "raw", ["b"])
    server = f"http://user:{CANARY}@{guarded}"
    (tmp_path / "raw/busy.wav").write_bytes((tmp_path / "raw/a.wav").read_bytes())
    cells = {"local": "b.wav", "served": f"{server}/a.wav"}
    config = make(tmp_path, str(tmp_path / "raw"), source=write_table(tmp_path, cells))
    ingest(config)
    held = config.store / "_mirror" / CORPUS / "files/served/audio.wav"
    assert drops(config) == {} and held.exists()
    Guarded.is_down = True
    try:
        (count,) = ingest(config).partitions
        assert (count.used, count.quarantined, count.clips) == (4, 0, 2) and held.exists()
        rows = read_quarantine(StoreLayout(config.store), CORPUS)
        assert rows.select("file", "code", "kept").rows() == [("served/audio.wav", "unreadable", True)]
        (tmp_path / "new").mkdir()
        source = write_table(tmp_path / "new", {name: f"{server}/{name}.wav" for name in ("a", "b")})
        with pytest.raises(TransientError, match="the server answers 503"):  # nothing at all: no matter of a row
            ingest(make(tmp_path / "new", str(tmp_path / "raw"), source=source))
    finally:
        Guarded.is_down = False
    ingest(config)
    assert drops(config) == {}


def test_credentials_are_never_said(tmp_path, guarded, cache_folder, caplog, capfd):
    pytest.importorskip("aiohttp")
    caplog.set_level(logging.DEBUG)
    config = make(tmp_path, f"http://user:{CANARY}@{guarded}")
    ingest(config)
    assert sources(config) == ["a"]
    faults = []
    (tmp_path / "raw/busy.wav").write_bytes(b"x")
    for root, kind in (
        (f"http://user:{CANARY}@{guarded}", TransientError),
        (f"http://user:{CANARY}x@{guarded}", ConfigError),
        (f"http://user:{CANARY}@127.0.0.1:9", TransientError),
    ):
        with pytest.raises(kind) as caught:
            ingest(make(tmp_path / "other", root))
        faults.append(str(caught.value))
    assert all("127.0.0.1" in text for text in faults)
    said = "".join(faults) + "".join(capfd.readouterr())
    said += "".join(record.getMessage() for record in caplog.records)
    assert CANARY not in said
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert not any(CANARY.encode() in path.read_bytes() or CANARY in str(path) for path in kept)
