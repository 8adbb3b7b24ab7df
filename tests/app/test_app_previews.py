"""Previews: what players get, in parts where they ask for parts, and never a byte of the raw files."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from corpus_maker import DT
from shown_app import CORPUS, Shown

from mmpipe.app.site import BusyError
from mmpipe.steps.app.previews import PreviewShelf
from mmpipe.steps.app.store_site import StoreSite

BASE = f"/corpora/{CORPUS}"


def address_of(shown: Shown, source: str, kind: str) -> str:
    key = shown.json(f"{BASE}/clips/{source}")["clip"]["key"]
    return f"{BASE}/previews/{key}/clip.{kind}?dt={DT}"


@pytest.mark.parametrize(
    ("source", "kind", "start", "media_type"),
    [
        ("film0", "mp4", b"ftyp", "video/mp4"),
        ("film0", "still.jpg", b"\xff\xd8\xff", "image/jpeg"),
        ("pair", "m4a", b"ftyp", "audio/mp4"),
        ("pair", "jpg", b"\xff\xd8\xff", "image/jpeg"),
        ("pair", "spectrum.png", b"\x89PNG", "image/png"),
    ],
)
def test_each_kind_of_clip_can_be_seen_or_heard(
    shown: Shown, source: str, kind: str, start: bytes, media_type: str
) -> None:
    answer = shown.client.get(address_of(shown, source, kind))
    assert answer.status_code == 200 and start in answer.content[:12]
    assert answer.headers["content-type"] == media_type
    raw = [path.read_bytes() for path in (shown.folder / "media").iterdir()]
    assert answer.content not in raw


def test_a_player_that_seeks_gets_the_part_it_asks_for(shown: Shown) -> None:
    address = address_of(shown, "film0", "mp4")
    whole = shown.client.get(address).content
    part = shown.client.get(address, headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole)}"
    assert shown.client.get(address, headers={"range": "bytes=-10"}).content == whole[-10:]
    assert shown.client.get(address, headers={"range": f"bytes={len(whole)}-"}).status_code == 416
    head = shown.client.head(address)
    assert head.headers["accept-ranges"] == "bytes" and head.content == b""


def test_a_kind_that_the_clip_has_not_is_not_there(shown: Shown) -> None:
    for source, kind in (("pair", "mp4"), ("film0", "jpg"), ("film0", "exe")):
        answer = shown.client.get(address_of(shown, source, kind))
        assert answer.status_code == 404, kind


def test_a_raw_file_that_changed_into_something_else_is_no_preview(shown: Shown) -> None:
    path = shown.folder / "media" / "film1.mp4"
    whole, stamp = path.read_bytes(), path.stat()
    path.write_bytes(b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:4,\n/etc/passwd\n#EXT-X-ENDLIST\n")
    try:
        answer = shown.client.get(address_of(shown, "film1", "mp4"))
        assert answer.status_code == 422 and "root:" not in answer.text
    finally:
        path.write_bytes(whole)
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PreviewShelf:
    monkeypatch.setenv("MMPIPE_CACHE", str(tmp_path))
    return PreviewShelf(most_bytes=250)


def test_a_preview_is_made_once_and_gone_with_the_app(shelf: PreviewShelf, tmp_path: Path) -> None:
    made: list[str] = []

    def make() -> bytes:
        made.append("one")
        return b"preview"

    assert shelf.get("a", make).read_bytes() == shelf.get("a", make).read_bytes() == b"preview"
    assert len(made) == 1
    shelf.close()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_shelf_is_bounded(shelf: PreviewShelf) -> None:
    paths = []
    for number in range(9):
        paths.append(shelf.get(str(number), lambda: bytes(100)))
        os.utime(paths[-1], (number, number))  # not asked for since long
    assert sum(path.stat().st_size for path in paths if path.exists()) <= 250
    assert paths[-1].exists() and not paths[0].exists()


def test_what_was_forgotten_empties_the_shelf(shelf: PreviewShelf) -> None:
    path = shelf.get("a", lambda: b"of a person")
    shelf.empty_on_change("street", ("before",))
    assert path.exists()
    shelf.empty_on_change("street", ("before", "after"))
    assert not path.exists()


def test_one_under_way_is_not_put_after_the_emptying(shelf: PreviewShelf, tmp_path: Path) -> None:
    epoch = shelf.empty_on_change("street", ("before",))

    def make() -> bytes:
        shelf.empty_on_change("street", ("before", "after"))
        return b"of a person"

    with pytest.raises(BusyError, match="forgotten"):
        shelf.get("a", make, epoch)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    with pytest.raises(BusyError, match="forgotten"):  # asked for before, looked up after
        shelf.get("b", lambda: b"of a person", epoch)
    later = shelf.empty_on_change("street", ("before", "after"))
    assert shelf.get("a", lambda: b"of another", later).read_bytes() == b"of another"


@pytest.mark.parametrize("next_page", ["/", "/models", f"{BASE}/samples", f"{BASE}/previews/nobody/clip.mp4"])
def test_what_was_forgotten_goes_with_the_next_request_of_any_page(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, next_page: str
) -> None:
    shelf = PreviewShelf()
    monkeypatch.setenv("MMPIPE_CACHE", str(tmp_path))
    monkeypatch.setattr(shown.site._previews, "_shelf", shelf)
    path = shelf.get("a", lambda: b"of a person", shelf.empty_on_change(CORPUS, ("before",)))
    shown.client.get(next_page)
    assert not path.exists()


def test_a_preview_that_was_just_removed_is_asked_for_again(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StoreSite, "preview", lambda *asked: tmp_path / "gone")
    answer = shown.client.get(f"{BASE}/previews/any/clip.mp4")
    assert answer.status_code == 503 and answer.headers["retry-after"] and "Ask again" in answer.text


def test_more_than_can_be_made_is_told_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMPIPE_CACHE", str(tmp_path))
    shelf = PreviewShelf(most_waiting=1)
    began, end = threading.Event(), threading.Event()

    def make_slowly() -> bytes:
        began.set()
        assert end.wait(30)
        return b"slow"

    thread = threading.Thread(target=shelf.get, args=("slow", make_slowly))
    thread.start()
    try:
        assert began.wait(30)
        with pytest.raises(BusyError):
            shelf.get("other", lambda: b"")
    finally:
        end.set()
        thread.join()
    assert shelf.get("other", lambda: b"now").read_bytes() == b"now"


def test_the_folder_of_an_app_that_was_killed_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMPIPE_CACHE", str(tmp_path))
    left = tmp_path / "app" / "previews-99999999-x"
    left.mkdir(parents=True)
    (left / "film").write_bytes(b"of a person")
    PreviewShelf().get("a", lambda: b"")
    assert not left.exists()
