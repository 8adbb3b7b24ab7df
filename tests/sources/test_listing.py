from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmpipe.errors import ConfigError
from mmpipe.io import escape_name, unescape_name
from mmpipe.sources.listing import FilterReason, list_corpus

# Names that tools take for options, URLs, patterns or markup (T3): each is plain data.
ODD_NAMES = [
    b"-version.mp4",
    b"-i.mp4",
    b"concat:a|b.mp4",
    b"http:x.mp4",
    b"data:x,y.mp4",
    b"img%03d.png",
    b"img*.png",
    b"new\nline.wav",
    b"not utf-8 \xff\xfe.wav",
    b"'[]:,.mp4",
    b"two words.v1.0.mp4",
    "übung.txt".encode(),
]


def test_lists_recursively_sorted_by_escaped_name(tmp_path: Path) -> None:
    for name in ("b.wav", "a/z.mp4", "a/b/c.txt", "a.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    listing = list_corpus(tmp_path)
    assert [file.name for file in listing.files] == ["a.wav", "a/b/c.txt", "a/z.mp4", "b.wav"]
    status = (tmp_path / "b.wav").stat()
    last = listing.files[-1]
    assert (last.nbytes, last.mtime_ns, last.inode) == (5, status.st_mtime_ns, status.st_ino)
    assert listing.drops == () and listing.filtered == ()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_plain_data(tmp_path: Path, name: bytes) -> None:
    (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    (file,) = list_corpus(tmp_path).files
    assert unescape_name(file.name) == name
    assert file.name.isprintable()


def test_links_pipes_and_sockets_are_dropped_and_never_opened(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.mp4").write_bytes(b"secret")
    root = tmp_path / "corpus"
    root.mkdir()
    (root / "link.mp4").symlink_to(outside / "secret.mp4")
    (root / "folder_link").symlink_to(outside)
    (root / "dangling.mp4").symlink_to("nowhere")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket.mp4"))
        listing = list_corpus(root)
    assert listing.files == ()
    assert {drop.file for drop in listing.drops} == {
        "link.mp4", "folder_link", "dangling.mp4", "loop", "pipe.mp4", "socket.mp4"
    }  # fmt: skip
    assert {(drop.stage, drop.code) for drop in listing.drops} == {("list", "not_regular")}


def test_empty_file_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (drop,) = list_corpus(tmp_path).drops
    assert (drop.code, drop.file) == ("empty_file", "a.mp4")


def test_folder_named_like_media_is_reported_and_listed_inside(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").mkdir()
    (tmp_path / "x.mp4" / "inner.wav").write_bytes(b"x")
    listing = list_corpus(tmp_path)
    assert [file.name for file in listing.files] == ["x.mp4/inner.wav"]
    assert [(drop.code, drop.file) for drop in listing.drops] == [("not_regular", "x.mp4")]


def test_hidden_and_junk_are_filtered_and_counted(tmp_path: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "a.mp4~", "~$a.txt", "a.mp4.part", ".hidden.mp4", "a.mp4"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "b.mp4").write_bytes(b"x")
    listing = list_corpus(tmp_path)
    assert [file.name for file in listing.files] == ["a.mp4"]
    assert Counter(str(entry.reason) for entry in listing.filtered) == {"hidden": 2, "junk": 5}


def test_excluded_files_and_folders_are_left_out_by_any_path(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    (root / "store").mkdir(parents=True)
    (root / "store" / "a.parquet").write_bytes(b"x")
    (root / "labels.json").write_bytes(b"x")
    (root / "more.csv").write_bytes(b"x")
    (root / "a.wav").write_bytes(b"x")
    detour = tmp_path / "detour"
    detour.symlink_to(root)
    alias = tmp_path / "alias.json"
    alias.symlink_to(root / "labels.json")
    exclude = frozenset({alias, detour / "more.csv", root / "a" / ".." / "store", root / "absent"})
    (root / "a").mkdir()
    listing = list_corpus(root, exclude)
    assert [file.name for file in listing.files] == ["a.wav"]
    assert {(entry.name, entry.reason) for entry in listing.filtered} == {
        ("labels.json", FilterReason.EXCLUDED),
        ("more.csv", FilterReason.EXCLUDED),
        ("store", FilterReason.EXCLUDED),
    }


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_bytes(b"x")])
def test_root_that_is_no_folder_is_a_config_error(tmp_path: Path, make) -> None:
    make(tmp_path / "corpus")
    with pytest.raises(ConfigError, match="not a folder"):
        list_corpus(tmp_path / "corpus")


@pytest.fixture
def as_ordinary_user() -> Iterator[Path]:
    """Yield a folder, with root's rights put aside while the test runs: root may read everything."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    for parent, _, _ in os.walk(folder):
        os.chmod(parent, 0o700)
    shutil.rmtree(folder)


def test_unreadable_files_and_folders_are_dropped(as_ordinary_user: Path) -> None:
    root = as_ordinary_user
    (root / "open.wav").write_bytes(b"x")
    (root / "shut.wav").write_bytes(b"x")
    (root / "shut.wav").chmod(0)
    (root / "shut_folder").mkdir(mode=0)
    (root / "no_search").mkdir()
    (root / "no_search" / "a.wav").write_bytes(b"x")
    (root / "no_search").chmod(0o400)
    listing = list_corpus(root)
    assert [file.name for file in listing.files] == ["open.wav"]
    assert [(drop.code, drop.file) for drop in listing.drops] == [
        ("unreadable", "no_search/a.wav"),
        ("unreadable", "shut.wav"),
        ("unreadable", "shut_folder"),
    ]
    (root / "no_search").chmod(0)
    with pytest.raises(ConfigError, match="cannot be read"):
        list_corpus(root / "no_search")


def test_listing_does_not_depend_on_the_order_of_creation(tmp_path: Path) -> None:
    names = [f"{letter}/{number}.wav" for letter in "ab" for number in range(20)]
    listings = []
    for folder, order in (("x", names), ("y", names[::-1])):
        for name in order:
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).write_bytes(b"x")
        listings.append([file.name for file in list_corpus(tmp_path / folder).files])
    assert listings[0] == listings[1] == sorted(names)


def test_a_tree_too_deep_for_the_system_is_a_drop_not_a_crash(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    name = "d" * 200
    for _ in range(40):  # longer than PATH_MAX: made step by step, since no path names its end
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    listing = list_corpus(tmp_path)
    assert [drop.code for drop in listing.drops] == ["unreadable"]


def test_real_corpus_is_listed_whole(corpora: Path) -> None:
    listing = list_corpus(corpora / "grid" / "raw")
    assert len(listing.files) == 480 and listing.drops == ()
    assert listing.files[0].name == escape_name(sorted(os.listdir(corpora / "grid" / "raw"))[0])
