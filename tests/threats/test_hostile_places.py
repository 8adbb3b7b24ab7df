"""What is no plain file, or changes under the reader: never opened, or refused."""

from __future__ import annotations

import os

import pytest
from corpus_maker import CORPUS, drops, ingest, make_config, write_pairs, write_tone
from hostile_makers import listed, wav_of

from mmpipe.config import LimitsConfig
from mmpipe.media import probe as probing
from mmpipe.media.probe import probe_file
from mmpipe.store.layout import StoreLayout
from mmpipe.store.spine import read_spine
from mmpipe.types import RawFile

pytestmark = pytest.mark.usefixtures("warm_workers")


def test_links_pipes_devices_and_ways_out_are_never_opened(tmp_path):
    outside = tmp_path / "secret.wav"
    outside.write_bytes(wav_of(8_000, 1, 800))
    root = tmp_path / "media"
    (root / "deep").mkdir(parents=True)
    os.symlink(outside, root / "link.wav")
    os.symlink(tmp_path, root / "way")
    os.mkfifo(root / "pipe.wav")
    (root / "folder.wav").mkdir()
    names = {
        "link.wav": "not_regular",
        "pipe.wav": "not_regular",
        "way/secret.wav": "not_regular",
        "folder.wav": "not_regular",
        "../secret.wav": "outside_root",
        "deep/../../secret.wav": "outside_root",
        "/etc/passwd": "outside_root",
        "gone.wav": "unreadable",
    }
    if os.geteuid() == 0:
        os.mknod(root / "zero.wav", 0o20666, os.makedev(1, 5))
        names["zero.wav"] = "not_regular"
    for name, code in names.items():
        file = RawFile(name=name, nbytes=1, mtime_ns=0, inode=0)
        (drop,) = probe_file(root, file, LimitsConfig()).drops
        assert drop.code == code, name


def test_a_hard_link_is_one_recording_with_two_names(tmp_path):
    write_pairs(tmp_path / "media", ["one"])
    os.link(tmp_path / "media" / "one.wav", tmp_path / "media" / "two.wav")
    os.link(tmp_path / "media" / "one.txt", tmp_path / "media" / "two.txt")
    config = make_config(tmp_path)
    ingest(config)
    assert drops(config) == {"two.wav": "duplicate", "two.txt": "duplicate"}
    assert read_spine(StoreLayout(config.store), CORPUS)["source_id"].to_list() == ["one"]


def test_a_file_swapped_while_it_is_read_is_refused(tmp_path, monkeypatch):
    write_tone(tmp_path / "a.wav")
    write_tone(tmp_path / "b.wav", 900)
    file = listed(tmp_path / "a.wav")
    read = probing._probe_content

    def swap_and_read(*arguments, **named):
        os.replace(tmp_path / "b.wav", tmp_path / "a.wav")
        with open(tmp_path / "a.wav", "r+b") as now:
            now.truncate(100)
        return read(*arguments, **named)

    monkeypatch.setattr(probing, "_probe_content", swap_and_read)
    first = probe_file(tmp_path, file, LimitsConfig())
    assert [stream.modality for stream in first.streams] == ["audio"]  # the bytes that were opened, to the end
    assert probe_file(tmp_path, file, LimitsConfig()).drops[0].code == "changed_while_reading"


def test_a_file_written_to_while_it_is_read_is_refused(tmp_path, monkeypatch):
    write_tone(tmp_path / "a.wav")
    file = listed(tmp_path / "a.wav")
    read = probing._probe_content

    def write_and_read(*arguments, **named):
        with open(tmp_path / "a.wav", "ab") as now:
            now.write(b"more")
        return read(*arguments, **named)

    monkeypatch.setattr(probing, "_probe_content", write_and_read)
    assert probe_file(tmp_path, file, LimitsConfig()).drops[0].code == "changed_while_reading"
