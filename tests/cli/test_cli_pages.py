"""The pages that a person asks for: a corpus, a dataset, a release, clips to browse."""

from __future__ import annotations

from pathlib import Path

import pytest
from typed_projects import AUDIO, Type, write_sample_project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_sample_project(tmp_path, AUDIO)


def test_a_dataset_without_its_media_has_a_card(project: Path, mmpipe: Type) -> None:
    planned = mmpipe(project, "report", "--dataset", "audio-toy", "--dry-run").out.strip()
    path = project / "store" / "reports" / "sample-dataset-audio-toy@1.html"
    assert planned.replace("\n", "").endswith("sample-dataset-audio-toy@1.html") and not path.exists()
    assert mmpipe(project, "report", "--dataset", "audio-toy").code == 0
    page = path.read_text("utf-8")
    assert "<dt>clips with a value</dt><dd>7</dd>" in page and "What it promises" in page and "<script" not in page


def test_clips_are_browsed_on_a_page_even_where_nothing_can_be_played(project: Path, mmpipe: Type) -> None:
    told = mmpipe(project, "sample", "audio-toy@1", "-n", "3", "--html", "out/clips.html")
    assert told.code == 0 and (project / "out" / "clips.html").read_text("utf-8").count("<article") == 3
    assert "Nothing to play" in (project / "out" / "clips.html").read_text("utf-8")
    assert mmpipe(project, "sample", "audio-toy@1", "-n", "500", "--html", "clips.html").code == 2


def test_two_cards_at_once_are_refused(project: Path, mmpipe: Type) -> None:
    told = mmpipe(project, "report", "--dataset", "audio-toy", "--release", "tones")
    assert told.code == 2 and "one at a time" in " ".join(told.err.split())


@pytest.mark.parametrize("option", ["--dt 2026-11-20", "--model both", "--map pca", "--corpus sample"])
@pytest.mark.parametrize("page", ["--dataset audio-toy", "--release tones"])
def test_an_option_that_says_nothing_of_the_page_is_refused(
    project: Path, mmpipe: Type, page: str, option: str
) -> None:
    told = mmpipe(project, "report", *page.split(), *option.split(), "--dry-run")
    if (page, option) == ("--dataset audio-toy", "--corpus sample"):
        assert told.code == 0, "a dataset is one of a corpus"
    else:
        assert told.code == 2 and page.split()[0] in told.err and option.split()[0] in told.err


def test_clips_are_browsed_on_a_page_or_printed(project: Path, mmpipe: Type) -> None:
    told = mmpipe(project, "sample", "audio-toy@1", "--html", "clips.html", "--json")
    assert told.code == 2 and "--html" in told.err and "--json" in told.err and not (project / "clips.html").exists()
