from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpipe.config import SourceKind
from mmpipe.sources.stems import group_files
from mmpipe.sources.suffixes import MODALITY_OF_SUFFIX, modality_hint, split_suffix
from mmpipe.types import Modality, RawFile


def raw(name: str) -> RawFile:
    return RawFile(name=name, nbytes=1, mtime_ns=0, inode=0)


def grouped(*names: str) -> dict[str, list[str]]:
    grouping = group_files(raw(name) for name in names)
    assert grouping.drops == ()
    return {asset.source_id: [file.name for file in asset.files] for asset in grouping.assets}


def test_sidecars_join_the_media_of_their_folder_and_stem() -> None:
    assert grouped("x/a.mp4", "x/a.vtt", "x/a.json", "x/a.srt", "x/a.txt", "y/a.vtt", "a.mp4") == {
        "a": ["a.mp4"],
        "x/a": ["x/a.json", "x/a.mp4", "x/a.srt", "x/a.txt", "x/a.vtt"],
        "y/a": ["y/a.vtt"],
    }


def test_suffix_is_cut_once_and_in_any_case() -> None:
    assert grouped("a.MP4", "a.Wav", "a.en.vtt", "v1.0.mp4", "v1.1.mp4") == {
        "a": ["a.MP4", "a.Wav"],
        "a.en": ["a.en.vtt"],
        "v1.0": ["v1.0.mp4"],
        "v1.1": ["v1.1.mp4"],
    }


@pytest.mark.parametrize("stem", ["-version", "two words", 'it\'s "it"', "new%0Aline", "%FF", "a.b.c", "x.mp4"])
def test_odd_stems_are_kept_whole(stem: str) -> None:
    assert grouped(f"dir.wav/{stem}.mp4", f"dir.wav/{stem}.wav") == {
        f"dir.wav/{stem}": [f"dir.wav/{stem}.mp4", f"dir.wav/{stem}.wav"]
    }


@pytest.mark.parametrize("name", ["readme", "a.exe", "pipe:0", "x.wav/.mp4", "a.mp4.zip"])
def test_unknown_suffix_is_a_drop(name: str) -> None:
    grouping = group_files([raw(name), raw("b.wav")])
    assert [asset.source_id for asset in grouping.assets] == ["b"]
    assert [(drop.stage, drop.code, drop.file) for drop in grouping.drops] == [("list", "unknown_type", name)]


def test_every_suffix_has_one_modality() -> None:
    assert modality_hint("A/B.MKV") is Modality.VIDEO
    assert all(split_suffix(f"a{suffix}") == ("a", suffix) for suffix in MODALITY_OF_SUFFIX)


names = st.lists(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["", "x/", "x/y/"]),
        st.sampled_from(["a", "a.b", "-", " "]),
        st.sampled_from([*sorted(MODALITY_OF_SUFFIX), ".zip", ""]),
    ),
    unique=True,
)


@given(names)
def test_every_file_is_in_one_asset_or_dropped_whatever_the_order(files: list[str]) -> None:
    grouping = group_files(raw(name) for name in files)
    members = [file.name for asset in grouping.assets for file in asset.files]
    assert sorted([*members, *(drop.file for drop in grouping.drops)]) == sorted(files)
    assert grouping == group_files(raw(name) for name in reversed(files))


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_table_is_a_text_only_beside_something_else(suffix):
    grouping = group_files([raw(f"a.{suffix}"), raw("a.wav"), raw(f"alone.{suffix}"), raw("b.csv"), raw("b.jsonl")])
    assert [(asset.source_id, len(asset.files)) for asset in grouping.assets] == [("a", 2)]
    assert {drop.file: drop.code for drop in grouping.drops} == {
        f"alone.{suffix}": "unknown_type",
        "b.csv": "unknown_type",
        "b.jsonl": "unknown_type",
    }
    assert [asset.source_id for asset in group_files([raw("b.csv")], arrays=("csv",)).assets] == ["b"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_table_that_stands_alone_is_told_what_it_may_be(suffix):
    (drop,) = group_files([raw(f"deep/rows.{suffix}")]).drops
    assert drop.detail.startswith(f"a .{suffix} table without media of its stem; say what it is: a table of assets")
    assert 'source = { kind = "table", file = ... } in [corpora.NAME]' in drop.detail
    assert "labels = { file = ... }" in drop.detail
    assert f"beside media of its stem, as VIDEO.mp4 and VIDEO.{suffix}" in drop.detail
    assert ("arrays.suffixes = ['csv']" in drop.detail) is (suffix == "csv")


def test_the_form_of_a_corpus_says_which_files_are_one_asset():
    files = [raw("s.tar/v1.0.wav"), raw("s.tar/v1.en.txt"), raw("s.tar/v2.wav")]
    assert [asset.source_id for asset in group_files(files, kind=SourceKind.TARS).assets] == ["s.tar/v1", "s.tar/v2"]
    files = [raw("v1.0/audio.wav"), raw("v1.0/text.txt"), raw("v1.1/audio.wav")]
    assert [asset.source_id for asset in group_files(files, kind=SourceKind.TABLE).assets] == ["v1.0", "v1.1"]


def test_a_key_of_tars_that_joins_media_of_one_kind_is_noted() -> None:
    names = ("s.tar/v1.0.wav", "s.tar/v1.1.wav", "s.tar/v1.2.flac", "s.tar/v2.wav", "s.tar/v2.mp4", "s.tar/v2.a.txt")
    files = [RawFile(name=name, nbytes=1, mtime_ns=0, inode=0) for name in (*names, "s.tar/v2.json")]
    grouping = group_files(files, kind=SourceKind.TARS)
    assert [asset.source_id for asset in grouping.assets] == ["s.tar/v1", "s.tar/v2"]
    (note,) = grouping.drops
    assert (note.code, note.file, note.source_id, note.kept) == ("key_shared", "s.tar/v1.0.wav", "s.tar/v1", True)
    assert note.detail.startswith("3 members with audio have the key 's.tar/v1', such as 's.tar/v1.0.wav' and ")
    assert group_files(files).drops == ()
