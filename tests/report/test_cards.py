"""The pages that are handed to others: inert, bounded, and with all that there is to say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_page import HOSTILE, _Audit, picture, report_of
from test_plots import examined

from mmpipe.report.cards import (
    ColumnShown,
    DatasetCard,
    DateShown,
    ReleaseCard,
    SamplePage,
    SampleShown,
    Snippet,
    SplitShown,
    render_dataset_card,
    render_release_card,
    render_sample,
)
from mmpipe.report.page import MOST_BYTES
from mmpipe.report.range import Range
from mmpipe.report.values import Fact, Headline, Source, Step

FILM = b"\x00\x00\x00\x18ftypisom" + bytes(100)


def sample_of(text: str, kind: str = "video") -> SampleShown:
    return SampleShown(
        key="key", caption=text, facts=(Fact(label=text, value=text),), text=text, heat=picture(), shape="3 x 4",
        kind=kind, media={"picture": picture(), "": b""}.get(kind, FILM), note=text,
    )  # fmt: skip


def dataset_of(text: str = "plain") -> DatasetCard:
    dates = tuple(
        DateShown(
            date=f"{text}{n}", revision=n, shards=1, written=8, absent=1, quarantined=1, num_nan=0, num_constant=2,
            norm=Range(value=2.0 + n, low=1, high=4),
        )
        for n in range(3)
    )  # fmt: skip
    return DatasetCard(
        title=text,
        subtitle=text,
        headline=Headline(word=text, sentence=text),
        facts=(Fact(label=text, value=text),),
        contract=(Fact(label=text, value=text),),
        columns=(ColumnShown(name=text, kind=text, meaning=text),),
        dates=dates,
        splits=(SplitShown(name=text, clips=7, groups=3, share=1.0),),
        norms=report_of().histograms[0],
        rights=(Fact(label=text, value=text),),
        samples=(sample_of(text),),
        pictures={"key": picture()},
        snippets=(Snippet(tool=text, program=f"first\n{text}"),),
        files=(Step(text=text, command="../clips/README.md"),),
    )


def release_of(text: str = "plain") -> ReleaseCard:
    model = report_of(text).model
    assert model is not None
    return ReleaseCard(
        title=text,
        subtitle=text,
        headline=Headline(word=text, sentence=text),
        warnings=(text,),
        inputs=(text,),
        model=model,
        examined=examined(text[:50]),
        limits=(text,),
        loading=(Snippet(tool=text, program=text),),
        files=(Fact(label=text, value=text),),
        moves=(Fact(label=text, value=text),),
        lineage=(Source(kind=text, name=text, digest=text),),
    )


def sample_page_of(text: str = "plain") -> SamplePage:
    samples = tuple(sample_of(text, kind) for kind in ("video", "audio", "picture", ""))
    return SamplePage(title=text, subtitle=text, facts=(Fact(label=text, value=text),), samples=samples)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_inert_on_every_card(text: str) -> None:
    for plain, page in (
        (render_dataset_card(dataset_of()), render_dataset_card(dataset_of(text))),
        (render_release_card(release_of()), render_release_card(release_of(text))),
        (render_sample(sample_page_of()), render_sample(sample_page_of(text))),
    ):
        calm, hostile = _Audit(plain), _Audit(page)
        assert hostile.tags == calm.tags and not hostile.open
        acting = [
            act
            for act in hostile.acting
            if not act.startswith(("video src=data:video/mp4", "audio src=data:audio/mp4"))
        ]
        assert not acting and "script" not in hostile.tags and len(page.encode()) < MOST_BYTES


def test_a_dataset_card_says_what_a_reader_asks() -> None:
    text = " ".join(" ".join(_Audit(render_dataset_card(dataset_of())).text).split())
    for title in ("What it promises", "Dates", "Splits", "Whose it is", "Some clips", "How to read it"):
        assert text.count(title) >= 2  # in the list of contents, and above its section
    assert "Norm of the values over dates" in text and "7 plain, 3 groups" in text


def test_a_release_card_says_what_a_user_asks() -> None:
    text = " ".join(" ".join(_Audit(render_release_card(release_of())).text).split())
    for title in ("Before you use it", "Candidates", "The gate", "What each modality brings", "Limits", "Made from"):
        assert text.count(title) >= 2


def test_a_release_that_no_gate_has_judged_has_no_results() -> None:
    text = " ".join(_Audit(render_release_card(replace(release_of(), model=None, examined=None))).text)
    assert "Made from" in text and "Candidates" not in text and "The gate" not in text


def test_what_is_not_known_is_left_out() -> None:
    audit = _Audit(render_dataset_card(DatasetCard(title="new", subtitle="")))
    assert audit.tags.count("section") == 1
    bare = replace(release_of(), warnings=(), examined=None, limits=(), moves=(), files=(), lineage=())
    assert "Before you use it" not in render_release_card(bare)


def test_media_that_do_not_fit_are_left_out_and_it_says_so() -> None:
    page = render_sample(sample_page_of(), most_bytes=200)
    assert page.count("<video") == 1 and "<audio" not in page and page.count("Ask for fewer clips") == 2


def test_only_an_mp4_is_played() -> None:
    with pytest.raises(ValueError, match="must be in an MP4"):
        render_sample(SamplePage(title="", subtitle="", samples=(replace(sample_of("a"), media=b"<svg onload=x>"),)))
